from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from placement.division.apportion import Bounds, apportion


def bounds(weight: int, least: int = 0, most: int = 100) -> Bounds:
    return Bounds(weight, least, most)


def test_the_largest_remainders_get_what_rounding_lost() -> None:
    assert apportion(6, {"a": bounds(2), "b": bounds(1)}) == {"a": 4, "b": 2}
    assert apportion(5, {"a": bounds(2), "b": bounds(1)}) == {"a": 3, "b": 2}
    assert apportion(10, {"a": bounds(5), "b": bounds(3), "c": bounds(1)}) == {"a": 6, "b": 3, "c": 1}


def test_of_equals_the_first_by_name_gets_more() -> None:
    assert apportion(5, {"b": bounds(1), "a": bounds(1)}) == {"a": 3, "b": 2}


def test_what_one_cannot_hold_goes_to_the_others_in_proportion() -> None:
    assert apportion(9, {"a": bounds(10, most=3), "b": bounds(2), "c": bounds(1)}) == {"a": 3, "b": 4, "c": 2}


def test_a_least_is_kept_though_another_is_at_its_most() -> None:
    """Fixing the one first would leave too little for the other."""
    assert apportion(5, {"a": bounds(10, most=4), "b": bounds(1, least=3)}) == {"a": 2, "b": 3}


def test_without_a_weight_there_is_the_least() -> None:
    assert apportion(5, {"a": bounds(0, least=1), "b": bounds(1)}) == {"a": 1, "b": 4}


part = st.builds(
    lambda weight, least, more: Bounds(weight, least, least + more),
    st.integers(0, 50),
    st.integers(0, 20),
    st.integers(0, 40),
)


@given(st.integers(0, 300), st.dictionaries(st.sampled_from("abcdefgh"), part, min_size=1))
def test_the_sum_is_right_and_the_bounds_hold(total: int, parts: dict[str, Bounds]) -> None:
    found = apportion(total, parts)
    for name, one in parts.items():
        assert one.least <= found[name] <= one.most
        if one.weight == 0:
            assert found[name] == one.least
    least = sum(one.least for one in parts.values())
    most = sum(one.most if one.weight else one.least for one in parts.values())
    assert sum(found.values()) == min(max(total, least), most)


@given(st.integers(0, 200), st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 50), min_size=1))
def test_within_loose_bounds_nobody_is_a_whole_one_away_from_proportion(total: int, weights: dict[str, int]) -> None:
    found = apportion(total, {name: Bounds(weight, 0, total) for name, weight in weights.items()})
    for name, weight in weights.items():
        assert abs(found[name] - total * weight / sum(weights.values())) < 1
