"""Cards on the NUMA nodes that suit a pod: by example, and against every choice."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from placement import alignment
from placement.alignment import Near
from placement.cards import NodeCards, pick
from placement.inventory import Gpu, Nic, Node
from placement.resources import Resources
from placement.workload import DeviceNeed
from tests.placement.worlds import GPU, gpu_node

RDMA = "rdma/hca"
TWO_SOCKETS = (0, 0, 0, 0, 1, 1, 1, 1)
ALIKE = tuple(tuple(0 if a == b else 18 for b in range(8)) for a in range(8))  # every pair by NVSwitch


def cards(numas: tuple[int, ...], free: list[int] | None = None, links: tuple[tuple[int, ...], ...] = ()) -> list[Gpu]:
    wanted = range(len(numas)) if free is None else free
    return [Gpu(i, numa=numas[i], links=links[i] if links else ()) for i in wanted]


def a_node(free_nics: set[int], numas: tuple[int, ...] = TWO_SOCKETS) -> Node:
    """Four NICs, two on either socket."""
    plain = gpu_node("n")
    gpus = tuple(Gpu(g.index, numa=numas[g.index], links=ALIKE[g.index]) for g in plain.gpus)
    nics = tuple(Nic(RDMA, i, i // 2, free=i in free_nics) for i in range(4))
    capacity = plain.capacity + Resources({RDMA: 4})
    return Node("n", plain.labels, (), capacity, plain.free, plain.devices, gpus, nics=nics)


def test_where_links_tie_cards_of_one_numa_node_are_taken() -> None:
    assert pick(cards(TWO_SOCKETS, [3, 4, 5, 6], ALIKE), 2) == (4, 5)
    assert pick(cards(TWO_SOCKETS, [3, 4, 5, 6]), 2) == (4, 5)  # no links are told


def test_links_come_before_numa_nodes() -> None:
    bridges = [[0] * 4 for _ in range(4)]
    for a, b in ((0, 2), (1, 3)):
        bridges[a][b] = bridges[b][a] = 9
    assert pick(cards((0, 0, 1, 1), None, tuple(map(tuple, bridges))), 2) == (0, 2)


def test_whole_numa_nodes_are_left_to_others() -> None:
    assert pick(cards(TWO_SOCKETS, [2, 3, 4, 5, 6, 7]), 2) == (2, 3)
    assert pick(cards(TWO_SOCKETS, [0, 1, 2, 3, 6, 7]), 2) == (6, 7)
    assert pick(cards(TWO_SOCKETS, [0, 4, 5]), 1) == (0,)


def test_cards_near_a_free_nic_are_taken_and_its_index_is_told() -> None:
    node, asks = a_node({3}), Resources({GPU: 2, RDMA: 1})
    gpus = NodeCards(node).serve([DeviceNeed(GPU, 2)], asks)
    assert gpus == (4, 5)
    assert alignment.nics(node, gpus, asks) == ((RDMA, 3),)
    assert NodeCards(node).serve([DeviceNeed(GPU, 2)], Resources({GPU: 2})) == (0, 1)


def test_pods_of_one_gang_do_not_count_on_the_same_nic() -> None:
    node, asks = a_node({0, 2, 3}), Resources({GPU: 2, RDMA: 1})
    left = NodeCards(node)
    assert [left.serve([DeviceNeed(GPU, 2)], asks) for _ in range(3)] == [(0, 1), (4, 5), (6, 7)]


def test_two_nics_serve_two_numa_nodes() -> None:
    node, asks = a_node({0, 1, 2, 3}), Resources({GPU: 8, RDMA: 2})
    gpus = NodeCards(node).serve([DeviceNeed(GPU, 8)], asks)
    assert gpus == tuple(range(8))
    assert alignment.nics(node, gpus, asks) == ((RDMA, 0), (RDMA, 2))
    assert alignment.nics(node, (4, 5), asks) == ((RDMA, 2), (RDMA, 3))
    assert alignment.nics(node, (), asks) == ((RDMA, 0), (RDMA, 1))


def test_more_than_sixteen_cards_are_still_kept_together() -> None:
    numas = tuple(i % 4 for i in range(32))
    assert pick(cards(numas), 4) == (0, 4, 8, 12)


@settings(max_examples=120)
@given(st.data())
def test_no_other_choice_is_better_and_ties_go_to_the_lowest_indices(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    numas = tuple(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    links = [[data.draw(st.integers(0, 2)) if a != b else 0 for b in range(count)] for a in range(count)]
    weights = tuple(tuple(links[a][b] + links[b][a] for b in range(count)) for a in range(count))
    wish = Near(frozenset(data.draw(st.sets(st.integers(0, 2)))), data.draw(st.integers(0, 3)))
    wanted = data.draw(st.integers(1, count))
    choices = list(combinations(range(count), wanted))
    best = max(alignment.score(weights, numas, choice, wish) for choice in choices)
    first = next(choice for choice in choices if alignment.score(weights, numas, choice, wish) == best)
    assert alignment.best(weights, numas, wanted, wish) == first
    if wanted < count:
        assert pick(cards(numas, None, tuple(map(tuple, links))), wanted, wish) == first


def test_sixteen_cards_are_compared_exactly() -> None:
    """The worst case: no two cards are alike, so that all 12,870 choices are looked at."""
    numas = tuple(i // 8 for i in range(16))
    weights = tuple(tuple(0 if a == b else (a * b) % 5 for b in range(16)) for a in range(16))
    found = alignment.best(weights, numas, 8, Near(frozenset({1}), 1))
    best = max(alignment.score(weights, numas, c, Near(frozenset({1}), 1)) for c in combinations(range(16), 8))
    assert alignment.score(weights, numas, found, Near(frozenset({1}), 1)) == best
