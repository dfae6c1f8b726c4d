from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.cards import NodeCards, closeness, pick
from placement.inventory import Gpu
from placement.workload import DeviceNeed
from tests.placement.worlds import GPU, MEM_SHARE, gpu_node, shared_node


def cards(links: list[list[int]], indices: list[int] | None = None) -> list[Gpu]:
    return [Gpu(i, links=tuple(links[i])) for i in (indices if indices is not None else range(len(links)))]


# Two islands of four, as PCIe switches make them.
ISLANDS = [[0 if a == b else 50 if a // 4 == b // 4 else 10 for b in range(8)] for a in range(8)]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_other_choice_is_closer_and_ties_go_to_the_lowest_indices(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    links = [[data.draw(st.integers(0, 3)) for _ in range(count)] for _ in range(count)]
    wanted = data.draw(st.integers(0, count))
    free = cards(links)
    best = max(closeness(choice) for choice in combinations(free, wanted))
    first = next(choice for choice in combinations(free, wanted) if closeness(choice) == best)
    assert pick(free, wanted) == tuple(gpu.index for gpu in first)


def test_a_pod_stays_on_one_island() -> None:
    assert pick(cards(ISLANDS, [1, 2, 4, 5, 6, 7]), 4) == (4, 5, 6, 7)
    assert pick(cards(ISLANDS, [3, 2, 7, 6, 0]), 3) == (0, 2, 3)


def test_where_all_links_are_alike_the_lowest_indices() -> None:
    assert pick(cards([[1] * 8] * 8, [5, 3, 1, 7]), 2) == (1, 3)


@pytest.mark.parametrize(
    ("free", "wanted", "expected"),
    [
        ([0, 2, 3, 4, 6, 7], 2, (6, 7)),
        ([0, 2, 3, 4, 6, 7], 3, (2, 3, 4)),
        ([0, 2, 4], 2, (0, 2)),
        ([3, 1, 2], 3, (1, 2, 3)),
    ],
)
def test_unknown_links_take_the_smallest_run_of_neighbours(
    free: list[int], wanted: int, expected: tuple[int, ...]
) -> None:
    assert pick([Gpu(i) for i in free], wanted) == expected


def test_sixteen_cards_are_compared_exactly_and_more_are_grown() -> None:
    def rings(count: int) -> list[list[int]]:
        return [[9 if a % 4 == b % 4 else 1 for b in range(count)] for a in range(count)]

    assert pick(cards(rings(16)), 4) == (0, 4, 8, 12)
    assert pick(cards(rings(20)), 5) == (0, 4, 8, 12, 16)


def test_only_healthy_free_cards_are_given_and_none_twice() -> None:
    node = gpu_node("n", free=5)
    sick = node.gpus[5]
    gpus = tuple(Gpu(g.index, healthy=g is not sick, free=g.free) for g in node.gpus)
    left = NodeCards(type(node)(node.name, node.labels, (), node.capacity, node.free, node.devices, gpus))
    two = [DeviceNeed(GPU, 2)]
    assert [left.serve(two), left.serve(two)] == [(3, 4), (6, 7)]


def test_a_share_goes_to_the_card_with_the_least_that_suffices() -> None:
    left = NodeCards(shared_node("n", [4, 9, 6]))
    need = [DeviceNeed(MEM_SHARE, 4, is_share=True)]
    assert [left.serve(need) for _ in range(4)] == [(0,), (2,), (1,), (1,)]


def test_slices_have_no_index() -> None:
    assert NodeCards(gpu_node("n")).serve([DeviceNeed("nvidia.com/mig-1g.10gb", 2)]) == ()
