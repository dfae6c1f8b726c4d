from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.capacity import Capacity, Fit
from placement.fleet import Reservation
from placement.inventory import DEFAULT_LEVELS, DomainGroup, Node, Summary
from placement.resources import Resources
from placement.verdict import LevelUnknown, ResourcesShort, TopologyShort
from placement.workload import Workload
from tests.placement.worlds import (
    A100,
    GPU,
    H100,
    MEM_SHARE,
    gpu_node,
    node_lists,
    role,
    shared_node,
    summary_of,
    workload,
    workloads,
)


def capacity(*nodes: Node) -> Capacity:
    return Capacity.of("c", summary_of(nodes))


def reserved(asked: Workload) -> Reservation:
    return Reservation("j-0", 1, "c", asked)


def free(left: Capacity, name: str = GPU) -> int:
    return left.root.totals[name]


def racks(count: int, nodes: int, *, zone: str = "z") -> list[Node]:
    return [gpu_node(f"{zone}{r}n{n}", f"r{r}", zone=zone) for r in range(count) for n in range(nodes)]


def gang(pods: int, level: str = "", gpus: int = 8) -> Workload:
    return workload(role(replicas=pods, gpus=gpus), required=level)


def test_decisions_of_one_cycle_see_what_the_earlier_ones_took_at_every_level() -> None:
    left = capacity(*racks(2, 4))
    for expected in ("a rack like r0", "a rack like r0"):
        fit = left.fit(gang(3, "rack"))
        assert isinstance(fit, Fit)
        assert (fit.level, fit.domain) == ("rack", expected)
        left = left.take(fit)
    assert isinstance(left.fit(gang(2, "rack")), TopologyShort)
    assert isinstance(left.fit(gang(2, "zone")), Fit)
    assert isinstance(left.fit(gang(3, "zone")), ResourcesShort)


def test_the_nesting_is_exact_room_in_two_zones_is_no_room_in_one() -> None:
    nodes = [*racks(2, 2, zone="a"), *racks(2, 2, zone="b")]
    left = capacity(*nodes)
    # One rack of each zone goes: three in one rack of either zone are no longer there, nor four in a zone.
    for _ in range(2):
        fit = left.fit(gang(3, "zone"))
        assert isinstance(fit, Fit)
        left = left.take(fit)
    assert isinstance(left.fit(gang(2)), Fit)
    assert isinstance(left.fit(gang(2, "zone")), TopologyShort)


@given(node_lists(), workloads())
@settings(max_examples=100, deadline=None)
def test_taking_leaves_exactly_what_is_not_taken(nodes: list[Node], asked: Workload) -> None:
    before = capacity(*nodes)
    fit = before.fit(asked)
    if not isinstance(fit, Fit):
        assert isinstance(fit, ResourcesShort | TopologyShort)
        return
    after = before.take(fit)
    for name in {name for one in asked.roles for name in one.requests}:
        taken = sum(one.replicas * one.requests[name] for one in asked.roles)
        assert free(before, name) - free(after, name) == taken
    assert all(amount >= 0 for found in after.root.bins() for amount in found.free.values())


@given(node_lists(max_nodes=8), st.lists(workloads(), max_size=6))
@settings(max_examples=100, deadline=None)
def test_deducting_never_goes_below_zero_and_takes_all_there_is_of_what_is_reserved(
    nodes: list[Node], held: list[Workload]
) -> None:
    before = left = capacity(*nodes)
    for asked in held:
        left = left.deduct(reserved(asked))
    assert all(amount >= 0 for found in left.root.bins() for amount in found.free.values())
    assert sum(left.root.bins().values()) == len(nodes)
    for name in (GPU, "cpu", MEM_SHARE):
        wanted = sum(one.replicas * one.requests[name] for asked in held for one in asked.roles)
        assert free(left, name) == max(0, free(before, name) - wanted)


def test_a_reservation_that_no_longer_packs_is_taken_out_amount_by_amount() -> None:
    left = capacity(gpu_node("a", free=6), gpu_node("b", free=2)).deduct(reserved(gang(2, gpus=4)))
    assert free(left) == 0


def test_it_is_taken_from_the_nodes_it_may_use_first() -> None:
    asked = workload(role(replicas=2, gpus=4, product=A100))
    left = capacity(gpu_node("a", free=6), gpu_node("h", free=2, product=H100)).deduct(reserved(asked))
    assert free(left) == 0
    left = capacity(gpu_node("a", free=8, cards=9), gpu_node("h", free=2, product=H100)).deduct(reserved(asked))
    assert isinstance(left.fit(workload(role(gpus=2, product=H100))), Fit)


def test_a_fit_is_for_one_capacity_only() -> None:
    left = capacity(gpu_node("a"))
    fit = left.fit(gang(1))
    assert isinstance(fit, Fit)
    with pytest.raises(ValueError, match="another capacity"):
        left.take(fit).take(fit)


def test_where_it_would_go_is_said_as_far_as_it_is_known() -> None:
    def domain(*nodes: Node, pods: int = 1) -> str:
        fit = capacity(*nodes).fit(gang(pods))
        assert isinstance(fit, Fit)
        return fit.domain

    assert domain(gpu_node("a", "r1"), gpu_node("b", "r1"), pods=2) == "rack r1"
    assert domain(gpu_node("a", "r1")) == "a node of rack r1"
    assert domain(gpu_node("a", "r1"), gpu_node("b", "r2")) == "a node of a rack like r1"
    assert domain(gpu_node("a")) == ""


def test_an_unknown_level_is_said() -> None:
    assert capacity(gpu_node("a")).fit(gang(1, "row")) == LevelUnknown("c", "row", ("zone", "block", "rack", "host"))


def test_whether_it_would_ever_fit_is_judged_on_the_cluster_when_empty() -> None:
    full = capacity(gpu_node("a", free=0), gpu_node("b", free=0))
    short = full.fit(gang(2))
    assert isinstance(short, ResourcesShort)
    assert (short.resource, short.need, short.free, short.ever) == (GPU, 16, 0, True)
    assert full.ever_fits(gang(2))
    assert not full.ever_fits(gang(3))
    assert not full.ever_fits(gang(1, "row"))
    assert capacity(replace(gpu_node("away"), ready=False)).ever_fits(gang(1))


def test_an_empty_card_holds_what_its_node_says_of_it() -> None:
    full = capacity(shared_node("s", [0, 0]))
    assert full.ever_fits(workload(role(replicas=2, share=16)))
    assert not full.ever_fits(workload(role(share=17)))


# ---- summaries that tell less ----


def flat(*groups: DomainGroup, nodes: int = 8) -> Summary:
    whole = summary_of([gpu_node(f"n{i}") for i in range(nodes)])
    return replace(whole, domains=groups, levels=DEFAULT_LEVELS)


def test_racks_alone_need_no_nesting() -> None:
    left = Capacity.of("c", flat(DomainGroup("rack", 2, ((0, 4),), "r1")))
    assert isinstance(left.fit(gang(4, "rack")), Fit)
    assert isinstance(left.fit(gang(5, "rack")), TopologyShort)
    assert isinstance(left.fit(gang(8)), Fit)


def test_without_nesting_only_the_finest_level_is_kept() -> None:
    zone, rack = DomainGroup("zone", 1, ((0, 8),), "z"), DomainGroup("rack", 2, ((0, 4),), "r1")
    left = Capacity.of("c", flat(zone, rack))
    assert isinstance(left.fit(gang(4, "rack")), Fit)
    assert isinstance(left.fit(gang(4, "zone")), TopologyShort)


@pytest.mark.parametrize(
    "groups",
    [
        (DomainGroup("rack", 3, ((0, 4),)),),
        (DomainGroup("zone", 1, ((0, 4),), children=((1, 2),)), DomainGroup("rack", 2, ((0, 4),))),
        (DomainGroup("zone", 1, ((0, 8),), children=((0, 1),)),),
        (DomainGroup("row", 1, ((0, 8),)),),
    ],
)
def test_a_summary_that_contradicts_itself_promises_no_domain_it_does_not_prove(
    groups: tuple[DomainGroup, ...],
) -> None:
    left = Capacity.of("c", flat(*groups))
    assert isinstance(left.fit(gang(8)), Fit)
    assert not isinstance(left.fit(gang(5, "rack")), Fit)
    assert not isinstance(left.fit(gang(9)), Fit)
    assert left.root.totals == Resources({**left.root.totals, GPU: 64})
