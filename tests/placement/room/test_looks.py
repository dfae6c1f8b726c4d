from itertools import pairwise
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from placement.bins import Bin, Spec, fit_key, held
from placement.resources import Resources
from placement.room.looks import Looks, is_beside, packed

ONE = Spec(Resources({"gpu": 1, "pods": 1}), 0, frozenset({0}))
looks_alike = st.builds(
    lambda node_class, gpu, nic, cpu: Bin(
        node_class, Resources({"gpu": gpu, "nic": nic, "cpu": cpu * 500, "memory": cpu * 700, "pods": 9})
    ),
    st.integers(0, 1),
    st.integers(0, 8),
    st.integers(0, 2),
    st.integers(0, 200),
)


@given(st.lists(looks_alike, unique=True, max_size=150), st.integers(0, 150))
def test_numbers_order_looks_as_their_keys_do(bins: list[Bin], known_before: int) -> None:
    """Whether a look or the order was there first."""
    looks = Looks()
    for look in bins[:known_before]:
        looks.appears(looks.row(look))
    spec, _ = looks.number(ONE)
    for look in bins[known_before:]:
        looks.appears(looks.row(look))
    order = looks.orders[looks.order_of[spec]]
    numbers = [float(order.present[looks.row(look)]) for look in bins]
    keys = [fit_key(look, ONE) for look in bins]
    assert sorted(range(len(bins)), key=lambda i: (numbers[i], i)) == sorted(
        range(len(bins)), key=lambda i: (keys[i], i)
    )
    assert len(set(numbers)) == len(set(keys))
    for look, number in zip(bins, numbers, strict=True):
        assert bins.index(look) in [bins.index(looks.bins[row]) for row in order.alike[number]]
        assert looks.pods[spec][looks.row(look)] == held(look, ONE)


def test_there_is_always_a_number_between_two() -> None:
    looks = Looks()
    spec, _ = looks.number(ONE)
    order = looks.orders[looks.order_of[spec]]
    # Each lies between the two before it: halving alone comes to an end after some fifty.
    low, high = 0, 1 << 61
    rows = []
    for turn in range(61):
        middle = (low + high) // 2
        rows.append((middle, looks.row(Bin(0, Resources({"gpu": middle, "pods": 9})))))
        looks.appears(rows[-1][1])
        low, high = (middle, high) if turn % 2 else (low, middle)
    for (amount, row), (other, other_row) in pairwise(rows):
        if amount != other:
            assert (order.present[row] < order.present[other_row]) == (amount < other)
    looks.vanishes(rows[0][1])
    assert order.present[rows[0][1]] == inf


@given(looks_alike, looks_alike)
def test_a_packed_key_is_in_the_same_order(one: Bin, other: Bin) -> None:
    mine, yours = fit_key(one, ONE), fit_key(other, ONE)
    assert (packed(mine) < packed(yours)) == (mine < yours)
    assert is_beside(packed(mine)) == (mine[0] > 0)
