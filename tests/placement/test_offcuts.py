"""Worths of pieces of a card: no cut may be worth more than the card, and what is asked for must pay for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from placement.offcuts import WHOLE, worths

demands = st.dictionaries(st.integers(1, WHOLE), st.floats(0.01, 100), min_size=1, max_size=8)


def test_a_card_cut_in_halves_is_worth_its_halves() -> None:
    found = worths({500: 3.0})
    assert (found[499], found[500], found[999], found[WHOLE]) == (0, 0.5, 0.5, 1)


def test_what_leaves_nothing_for_anybody_is_worth_a_card() -> None:
    assert worths({810: 1.0})[810] == 1


def test_without_shares_only_a_whole_card_is_worth_something() -> None:
    found = worths({})
    assert found[WHOLE - 1] == 0
    assert found[WHOLE] == 1


@given(demands)
def test_worths_grow_with_the_length_and_pieces_are_never_worth_more_than_what_they_were_cut_from(
    demand: dict[int, float],
) -> None:
    found = worths(demand)
    assert len(found) == WHOLE + 1
    assert (found[1:] >= found[:-1] - 1e-9).all()
    assert found[WHOLE] == 1
    for size in demand:
        for length in range(size, WHOLE + 1, 37):
            assert found[size] + found[length - size] <= found[length] + 1e-6


@given(demands)
def test_the_prices_reach_what_the_cards_for_the_demand_cost(demand: dict[int, float]) -> None:
    """Duality: the demand is worth at least its length, and no more than one card for each piece."""
    found = worths(demand)
    worth = sum(often * found[size] for size, often in demand.items())
    least = sum(often * size / WHOLE for size, often in demand.items())
    assert least - 1e-6 <= worth <= sum(demand.values()) + 1e-6
