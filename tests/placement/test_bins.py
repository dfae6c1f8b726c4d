from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.bins import Bin, Domain, Spec, canon, fit_key, held, is_scarce, take_shares
from placement.resources import Resources


def node(node_class: int = 0, shares: tuple[int, ...] = (), **free: int) -> Bin:
    return Bin(node_class, Resources(free), shares)


def spec(share: int = 0, **need: int) -> Spec:
    return Spec(Resources(need), share, frozenset({0}))


def test_equal_nodes_are_one_unit_with_a_count() -> None:
    tree = Domain(1, Counter([node(gpu=8), node(gpu=8), node(gpu=4)]))
    assert dict(tree.units) == {node(gpu=8): 2, node(gpu=4): 1}
    assert tree.totals == Resources({"gpu": 20})
    assert tree == Domain(1, {node(gpu=4): 1, node(gpu=8): 2}, "another name")


def test_a_node_holds_what_its_scarcest_amount_allows_if_its_class_is_admitted() -> None:
    assert held(node(gpu=8, cpu=5_000), spec(gpu=1, cpu=2_000)) == 2
    assert held(node(1, gpu=8), spec(gpu=1)) == 0
    assert held(node(mem=20, shares=(5, 15)), spec(share=6, mem=6)) == 2


def test_what_was_taken_is_missing_and_the_totals_know() -> None:
    one, tree = spec(gpu=2), Domain(1, {node(gpu=8): 3})
    after = tree.swapped([(node(gpu=8), node(gpu=8).less(one, 3), 2)], Resources({"gpu": 12}))
    assert dict(after.units) == {node(gpu=8): 1, node(gpu=2): 2}
    assert after.totals == Domain(1, after.units).totals


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.integers(1, 9))
def test_shares_go_one_to_a_card_and_the_least_that_suffices_first(shares: list[int], share: int) -> None:
    pods = sum(units // share for units in shares)
    left = take_shares(tuple(shares), share, pods)
    assert sum(shares) - sum(left) == pods * share
    assert all(0 <= units < share for units in left)
    if pods:
        (changed,) = (Counter(shares) - Counter(take_shares(tuple(shares), share, 1))).elements()
        assert changed == min(units for units in shares if units >= share)


def test_the_better_fit_leaves_less_of_what_is_scarce() -> None:
    one = spec(gpu=1)
    assert fit_key(node(gpu=1), one) < fit_key(node(gpu=8), one)
    assert fit_key(node(gpu=8), one) < fit_key(node(gpu=1, rdma=1), one)
    cpu_only = spec(cpu=1_000)
    assert fit_key(node(cpu=64_000), cpu_only) < fit_key(node(cpu=4_000, gpu=1), cpu_only)


def test_the_order_by_value_looks_at_whole_cores_and_gib_before_the_rest() -> None:
    ordered = sorted([node(cpu=2_100, gpu=1), node(cpu=2_900), node(cpu=2_100)], key=canon)
    assert ordered == [node(cpu=2_100), node(cpu=2_900), node(cpu=2_100, gpu=1)]
    inner, outer = Domain(1, {node(gpu=1): 1}), node(gpu=9)
    assert canon(outer) < canon(inner)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_domains_have_the_same_place_in_the_order_exactly_when_they_are_equal(one: list[int], other: list[int]) -> None:
    a, b = (Domain(1, Counter(node(gpu=gpus) for gpus in side)) for side in (one, other))
    assert (canon(a) == canon(b)) == (a == b)


@pytest.mark.parametrize(
    ("name", "scarce"),
    [("nvidia.com/gpu", True), ("rdma/hca", True), ("cpu", False), ("pods", False), ("hugepages-2Mi", False)],
)
def test_what_counts_as_scarce(name: str, scarce: bool) -> None:
    assert is_scarce(name) is scarce
