from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from placement.kinds.podforms import antichain


@st.composite
def orders(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, set[str]]]:
    """Tasks that wait only for earlier ones, so that there is no cycle."""
    count = draw(st.integers(0, 7))
    names = [f"t{index}" for index in range(count)]
    weights = {name: draw(st.integers(0, 9)) for name in names}
    waits = {
        name: set(draw(st.sets(st.sampled_from(names[:index]))) if index else ()) for index, name in enumerate(names)
    }
    return weights, waits


def by_trying_all(weights: dict[str, int], waits: dict[str, set[str]]) -> int:
    before = antichain.closure(waits)
    best = 0
    for size in range(len(weights) + 1):
        for chosen in combinations(weights, size):
            if all(one not in before[other] and other not in before[one] for one, other in combinations(chosen, 2)):
                best = max(best, sum(weights[name] for name in chosen))
    return best


@given(orders())
def test_it_is_the_heaviest_set_of_tasks_that_do_not_wait_for_each_other(
    order: tuple[dict[str, int], dict[str, set[str]]],
) -> None:
    weights, waits = order
    assert antichain.heaviest(weights, waits) == by_trying_all(weights, waits)


def test_a_chain_is_as_heavy_as_its_heaviest_and_free_tasks_as_all() -> None:
    chain = {f"t{index}": {f"t{index - 1}"} if index else set() for index in range(100)}
    weights = {name: index + 1 for index, name in enumerate(chain)}
    assert antichain.heaviest(weights, chain) == 100
    assert antichain.heaviest(weights, {name: set() for name in chain}) == sum(range(1, 101))


def test_a_cycle_ends_all_the_same() -> None:
    assert antichain.heaviest({"a": 1, "b": 2}, {"a": {"b"}, "b": {"a"}}) <= 3


def test_beyond_its_reach_it_is_never_too_little() -> None:
    names = [f"t{index}" for index in range(antichain.EXACT_UP_TO + 1)]
    chain = {name: {names[index - 1]} if index else set() for index, name in enumerate(names)}
    assert antichain.heaviest(dict.fromkeys(names, 1), chain) == len(names)
