"""Which of the devices that match are taken first, from what their drivers say of where they are."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from placement.dra.closeness import in_order, numa_of, score
from placement.dra.devices import Device
from tests.placement.dra.offers import device, offer, slice_of


def devices(*places: tuple[str, int]) -> tuple[Device, ...]:
    """(PCIe root, NUMA node) of each."""
    made = [device(f"d{i}", root=root, numa=numa) for i, (root, numa) in enumerate(places)]
    return offer(slice_of("n", *made)).nodes["n"].devices


def test_one_root_is_closer_than_one_numa_node_and_silence_is_far() -> None:
    a, b, c, d, silent = devices(("r0", 0), ("r0", 0), ("r1", 0), ("r2", 1), ("", -1))
    assert score(a, b) > score(a, c) > score(a, d) == score(a, silent) == score(silent, silent)


def test_the_numa_node_is_read_in_whatever_domain_it_is_said() -> None:
    made = device("a")
    made["attributes"] |= {"dra.net/numaNode": {"int": 1}}
    [found] = offer(slice_of("n", made)).nodes["n"].devices
    assert numa_of(found) == 1
    assert numa_of(devices(("", -1))[0]) == -1


_PLACES = st.tuples(st.sampled_from(["r0", "r1", "r2", ""]), st.integers(-1, 1))


@settings(max_examples=60)
@given(st.lists(_PLACES, min_size=1, max_size=6), st.lists(_PLACES, max_size=2), st.integers(1, 6))
def test_no_other_choice_is_nearer_or_as_near_and_closer_together(
    places: list[tuple[str, int]], near: list[tuple[str, int]], wanted: int
) -> None:
    every = devices(*places, *near)
    candidates, beside = every[: len(places)], every[len(places) :]
    wanted = min(wanted, len(candidates))
    order = in_order(candidates, wanted, beside)
    assert {d.name for d in order} == {d.name for d in candidates}

    def worth(chosen: tuple[Device, ...] | list[Device]) -> tuple[int, int]:
        nearness = sum(score(d, other) for d in chosen for other in beside)
        return nearness, sum(score(a, b) for a, b in combinations(chosen, 2))

    assert worth(order[:wanted]) == max(worth(choice) for choice in combinations(candidates, wanted))
