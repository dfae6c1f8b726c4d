"""What a place is worth to those who would have to go elsewhere, and that choosing by it leaves it to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement import displacement
from placement.fleet import Fleet, PendingJob
from placement.inventory import Taint
from placement.money import Price, PriceBook
from placement.planner import plan, plan_fully
from placement.verdict import Placed
from placement.workload import Hints, NodeConstraint, Toleration, Workload
from tests.placement.worlds import NOW, cluster, fleet, fleets, gpu_node, pending, queues, role, workload

SPOT = Taint("spot", "true", "NoSchedule")
TOLERANT = NodeConstraint(tolerations=(Toleration("spot", "Equal", "true", "NoSchedule"),))
PRICES = PriceBook(
    {
        ("own", "*"): Price(1.0),
        ("spot", "*"): Price(3.0, 1.2, 0.05),
        ("cloud", "*"): Price(3.0),
    }
)


def job(gpus: int, *, spot: bool = False) -> Workload:
    constraint = TOLERANT if spot else NodeConstraint()
    return workload(role(gpus=gpus, constraint=constraint), hints=Hints(expected_hours=2, tolerates_spot=spot))


def three(*, own_free: int = 8) -> Fleet:
    """Eight GPUs each: own ones, spot, and on demand."""
    spot = replace(gpu_node("s0"), taints=(SPOT,))
    return fleet(
        cluster("own", [gpu_node("o0", free=own_free)]),
        cluster("spot", [spot]),
        cluster("cloud", [gpu_node("c0")]),
        prices=PRICES,
    )


def placed(there: Fleet, *jobs: PendingJob) -> dict[str, str]:
    decisions = plan(there, jobs, NOW).decisions
    return {each.job: each.verdict.cluster for each in decisions if isinstance(each.verdict, Placed)}


def test_the_tolerant_leave_owned_gpus_to_those_who_have_nothing_else() -> None:
    jobs = pending("tolerant", job(8, spot=True), minutes=1), pending("other", job(8), minutes=2)
    there = three()
    greedy = placed(there, *jobs)
    assert greedy == {"tolerant": "own", "other": "cloud"}
    usd = displacement.usd_per_gpu_hour(there, jobs)
    assert placed(replace(there, prices=replace(PRICES, displacement=usd)), *jobs) == {
        "tolerant": "spot",
        "other": "own",
    }


def test_it_is_the_chance_of_no_room_times_what_others_pay_more() -> None:
    """Half of own is taken; of what waits, half has only the cloud beside it, at 2 dollars more."""
    there = three(own_free=4)
    usd = displacement.usd_per_gpu_hour(there, [pending("a", job(3)), pending("b", job(3, spot=True))])
    waiting = 6 / 24
    dear = 3.0 - 1.0
    spot = 1.2 / (1 - 0.05 * 0.5)
    tolerant = (1 - waiting) * spot + waiting * 3.0 - 1.0
    assert usd["own"] == pytest.approx((0.5 + waiting) * (dear + tolerant) / 2)
    assert usd["own"] > usd["spot"] > usd["cloud"] >= 0.0


def test_nobody_is_displaced_where_nobody_is() -> None:
    assert displacement.usd_per_gpu_hour(three()) == {"own": 0.0, "spot": 0.0, "cloud": 0.0}
    assert displacement.usd_per_gpu_hour(fleet()) == {}


def test_prices_stay_while_little_changes() -> None:
    waiting = [pending("a", job(3))]
    before = displacement.usd_per_gpu_hour(three(own_free=4), waiting)
    assert displacement.usd_per_gpu_hour(three(own_free=4), waiting, before) is before
    assert displacement.usd_per_gpu_hour(three(own_free=0), waiting, before)["own"] > before["own"] + 0.2


@settings(max_examples=40, deadline=None)
@given(there=fleets(), jobs=queues())
def test_it_is_never_below_nothing_and_changes_no_promise(there: Fleet, jobs: Sequence[PendingJob]) -> None:
    """Only the order of clusters may change: what fits still fits."""
    usd = displacement.usd_per_gpu_hour(there, jobs)
    assert usd.keys() == there.clusters.keys()
    assert all(value >= 0 for value in usd.values())
    priced = replace(there, prices=replace(there.prices, displacement=usd))
    for each in jobs:
        assert bool(placed(there, each)) == bool(placed(priced, each))


@settings(max_examples=40, deadline=None)
@given(there=fleets(), jobs=queues(), usd=st.floats(0.1, 5))
def test_what_is_not_asked_for_room_is_never_cheaper(there: Fleet, jobs: Sequence[PendingJob], usd: float) -> None:
    """The term is in the least that a cluster costs, too: asking every cluster finds the same."""
    displaced = {name: usd * (index % 3) for index, name in enumerate(sorted(there.clusters))}
    priced = replace(there, prices=replace(there.prices, displacement=displaced))
    for each in jobs:
        quick, full = (
            plan(priced, [each], NOW).decisions[0].verdict,
            plan_fully(priced, [each], NOW).decisions[0].verdict,
        )
        if isinstance(quick, Placed):
            assert isinstance(full, Placed)
            assert quick.score.total_usd == pytest.approx(full.score.total_usd)
