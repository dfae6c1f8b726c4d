from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.bins import Bin, Domain, Spec, Unit, held
from placement.packing import Fill, bin_fills, most, place, place_what_fits, spread
from placement.resources import Resources

GPU = "gpu"
RACK, BLOCK, CLUSTER = 1, 2, 3


def spec(gpus: int, cpu: int = 0) -> Spec:
    return Spec(Resources({GPU: gpus, "cpu": cpu, "pods": 1}), 0, frozenset({0}))


def node(gpus: int, cpu: int = 64_000) -> Bin:
    return Bin(0, Resources({GPU: gpus, "cpu": cpu, "pods": 100}))


def domain(rank: int, *units: Unit) -> Domain:
    return Domain(rank, Counter(units))


def rack(*gpus: int) -> Domain:
    return domain(RACK, *map(node, gpus))


trees = st.recursive(
    st.lists(st.integers(0, 8), min_size=1, max_size=4).map(lambda gpus: rack(*gpus)),
    lambda inner: st.lists(inner, min_size=1, max_size=4).map(
        lambda units: domain(max(unit.rank for unit in units) + 1, *units)
    ),
    max_leaves=12,
)


def free_gpus(unit: Unit) -> int:
    return unit.totals[GPU]


@given(trees, st.integers(1, 8), st.integers(1, 20))
@settings(max_examples=200, deadline=None)
def test_identical_pods_fit_exactly_when_the_nodes_hold_so_many(tree: Domain, gpus: int, pods: int) -> None:
    one = spec(gpus)
    room = sum((found.free[GPU] // gpus) * count for found, count in tree.bins().items())
    assert held(tree, one) == room == most(tree, [(one, room + 5)])
    assert (place(tree, [(one, pods)]) is not None) == (pods <= room)


@given(trees, st.integers(1, 8), st.integers(1, 20), st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_they_fit_below_a_level_exactly_when_one_domain_of_it_holds_them(
    tree: Domain, gpus: int, pods: int, ceiling: int
) -> None:
    one = spec(gpus)
    placement = place(tree, [(one, pods)], ceiling)
    if ceiling >= tree.rank:
        assert (placement is not None) == (held(tree, one) >= pods)
        return
    largest = max((held(unit, one) for unit in units_of(tree, ceiling)), default=0)
    assert (placement is not None) == (largest >= pods)
    if placement is not None:
        assert placement.chosen.rank <= ceiling


def units_of(unit: Unit, rank: int) -> list[Unit]:
    if unit.rank == rank:
        return [unit]
    return [found for inner in unit.units for found in units_of(inner, rank)] if isinstance(unit, Domain) else []


@given(trees, st.lists(st.tuples(st.integers(1, 8), st.integers(1, 6)), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_what_is_placed_is_what_is_missing_after(tree: Domain, asked: list[tuple[int, int]]) -> None:
    demand = [(spec(gpus), pods) for gpus, pods in asked]
    placement = place(tree, demand)
    if placement is None:
        return
    assert isinstance(placement.after, Domain)
    assert free_gpus(tree) - free_gpus(placement.after) == sum(gpus * pods for gpus, pods in asked)
    assert placement.after.totals == Domain(tree.rank, placement.after.units).totals
    assert all(amount >= 0 for found in placement.after.bins() for amount in found.free.values())
    assert sum(tree.bins().values()) == sum(placement.after.bins().values())
    for one, pods in demand:
        filled = [filled for owner, filled in placement.fills if owner is one]
        assert sum(fill.pods * count for fill, count in bin_fills(filled[0])) == pods


@given(trees, trees, st.integers(1, 8), st.integers(1, 3))
@settings(max_examples=300, deadline=None)
def test_in_which_order_units_are_met_does_not_matter(one: Domain, other: Domain, gpus: int, pods: int) -> None:
    """Also where some nodes lie deeper than others."""
    rank = max(one.rank, other.rank) + 1
    tree, turned = domain(rank, one, other), domain(rank, turned_round(other), turned_round(one))
    asked = spec(gpus)
    mine, yours = place(tree, [(asked, pods)]), place(turned, [(asked, pods)])
    assert (mine and mine.after) == (yours and yours.after)


def turned_round(unit: Unit) -> Unit:
    if isinstance(unit, Bin):
        return unit
    return Domain(unit.rank, {turned_round(inner): count for inner, count in reversed(unit.units.items())})


def test_the_tightest_level_first_then_the_smallest_domain() -> None:
    small, large, broken = rack(8, 8), rack(8, 8, 8), rack(4, 4, 4, 4)
    tree = domain(CLUSTER, domain(BLOCK, small, broken), domain(BLOCK, large))
    assert chosen(tree, spec(8), 1) == node(8)
    assert chosen(tree, spec(8), 2) == small
    assert chosen(tree, spec(8), 3) == large
    assert chosen(tree, spec(4), 2) == node(8)
    assert chosen(tree, spec(1), 16) == small  # as many GPUs as the broken rack, on less else
    assert chosen(tree, spec(8), 5) == tree


def chosen(tree: Domain, one: Spec, pods: int) -> Unit:
    placement = place(tree, [(one, pods)])
    assert placement is not None
    return placement.chosen


def test_among_equal_racks_the_one_in_the_fuller_block() -> None:
    full, empty = domain(BLOCK, rack(8, 8), rack(1)), domain(BLOCK, rack(8, 8), rack(8, 8))
    placement = place(domain(CLUSTER, full, empty), [(spec(8), 2)])
    assert placement is not None
    assert placement.within[-1] == full


def test_a_gang_that_no_rack_holds_spreads_over_as_few_as_it_can() -> None:
    tree = domain(BLOCK, rack(8), rack(8, 8, 8), rack(8, 8), rack(8, 8, 8))
    fill = spread(tree, spec(8), 5)
    assert isinstance(fill, Fill)
    assert sorted(part.pods for part, count in fill.parts for _ in range(count)) == [2, 3]


def test_equal_domains_are_filled_together() -> None:
    tree = Domain(CLUSTER, {Domain(RACK, {node(8): 4}): 1_000})
    fill = spread(tree, spec(8), 3_999)
    assert isinstance(fill, Fill)
    assert [(part.pods, count) for part, count in fill.parts] == [(4, 999), (3, 1)]


def test_pods_without_gpus_leave_gpu_nodes_alone_where_they_can() -> None:
    idle, busy, plain = node(8, 128_000), node(0, 16_000), node(0, 8_000)
    tree = domain(CLUSTER, idle, busy, plain)
    small = Spec(Resources({"cpu": 8_000, "pods": 1}), 0, frozenset({0}))
    assert chosen(tree, small, 1) == plain
    taken = {fill.before: fill.pods for fill, _ in bin_fills(spread(tree, small, 18))}
    assert taken == {busy: 2, idle: 16}


def test_a_mixed_gang_stays_in_one_domain() -> None:
    tree = domain(CLUSTER, rack(8, 8), rack(8, 8, 2), rack(1, 1, 1, 1))
    demand = [(spec(8), 2), (spec(1), 2)]
    placement = place(tree, demand)
    assert placement is not None
    assert placement.chosen == rack(8, 8, 2)


def test_a_choosy_spec_gets_its_nodes_before_another_takes_them() -> None:
    special, plain = Bin(0, Resources({GPU: 8, "pods": 9})), Bin(1, Resources({GPU: 8, "rdma": 4, "pods": 9}))
    tree = domain(CLUSTER, special, plain)
    anywhere = Spec(Resources({GPU: 8, "pods": 1}), 0, frozenset({0, 1}))
    only_special = Spec(Resources({GPU: 4, "pods": 1}), 0, frozenset({0}))
    assert place(tree, [(anywhere, 1), (only_special, 1)]) is not None


def test_what_does_not_fit_is_left() -> None:
    one, two = spec(8), spec(4)
    root, rest = place_what_fits(rack(8, 6), [(one, 3), (two, 2)])
    assert rest == [(one, 2), (two, 1)]
    assert free_gpus(root) == 2


def test_an_empty_gang_is_placed_at_once() -> None:
    tree = rack(1)
    placement = place(tree, [(spec(1), 0)])
    assert placement is not None
    assert placement.after is tree


@pytest.mark.parametrize("share", [3, 5, 16])
def test_a_share_lies_on_one_card(share: int) -> None:
    cards = Bin(0, Resources({"mem": 40, "pods": 100}), (4, 6, 14, 16))
    one = Spec(Resources({"mem": share, "pods": 1}), share, frozenset({0}))
    expected = sum(units // share for units in (4, 6, 14, 16))
    assert held(cards, one) == min(expected, 40 // share)
