"""What must never be, and comes all the same: it is refused at the door, and what slips past stops nobody else.

At the door (the services) and behind it (values straight into a round of deciding, as a row edited by hand would).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from hub.errors import ConflictError, Invalid
from hub.loops import attempt
from hub.loops.attempt import Round
from hub.store import queues as stored
from placement import invariants, planner
from placement.data import DataCatalog, Dataset, Replica
from placement.fleet import Fleet, PendingJob, Progress, Reservation
from placement.lifecycle import Phase
from placement.money import Price, PriceBook
from placement.queues.tree import Budget, Preemption, Queue, QueueTree, Quota, Reach
from placement.verdict import DatasetNowhere, DatasetUnknown, MustNotLeave, NotAllowed, Placed, Reason, Waiting
from placement.workload import DataUse, Hints, Workload
from tests.hub.loops.rig import ADMIN, ANN, FakeSpoke, Hub, manifest
from tests.placement.worlds import A100, NOW, cluster, fleet, gpu_node, role, workload

CYCLE = QueueTree.of([Queue("default"), Queue("a", "b", {"*": Quota(4.0)}), Queue("b", "a"), Queue("c", "a")])


def asks(**hints: object) -> Workload:
    return workload(role(gpus=1), hints=Hints(**hints))  # type: ignore[arg-type]


def world(**changes: object) -> Fleet:
    made = fleet(cluster("east", [gpu_node("n1"), gpu_node("n2")]), cluster("west", [gpu_node("n3")], region="us"))
    return replace(made, **changes)  # type: ignore[arg-type]  # names are Fleet's own


def decide(on: Fleet, **asked: Workload) -> Round:
    jobs = [PendingJob(name, 1, one, "t", NOW + timedelta(seconds=i)) for i, (name, one) in enumerate(asked.items())]
    return attempt.decide(planner.Planner().plan, invariants.check, on, jobs, NOW)


def reasons(found: Round, job: str) -> set[type[Reason]]:
    (verdict,) = (one.verdict for one in found.decisions if one.job == job)
    assert isinstance(verdict, Waiting)
    return {type(reason) for reason in verdict.reasons}


def assert_placed(found: Round, *names: str) -> None:
    verdicts = {one.job: one.verdict for one in found.decisions}
    assert found.failures == ()
    assert found.dropped == ()
    for name in names:
        assert isinstance(verdicts[name], Placed), name


# ---- queues ----


async def test_a_cycle_of_cohorts_is_refused_and_changes_nothing(hub: Hub) -> None:
    before = hub.federation.queues
    with pytest.raises(Invalid, match="its cohorts lead back to itself"):
        await hub.queues.put(ADMIN, [Queue("a", "b"), Queue("b", "a")])
    assert hub.federation.queues is before


def test_a_cycle_that_is_there_all_the_same_stops_no_other_queue() -> None:
    found = decide(world(queues=CYCLE), good=asks(), inside=asks(queue="c"), cohort=asks(queue="a"))
    assert_placed(found, "good")
    assert reasons(found, "cohort")


async def test_a_hub_whose_store_has_a_cycle_goes_on(hub: Hub) -> None:
    await hub.store.write(lambda session: stored.save(session, CYCLE))
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.jobs.submit(ANN, manifest("good"))
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, "good")).phase is Phase.PLACED
    assert {state.queue.name for state in await hub.queues.list(ADMIN)} == {"default", "a", "b", "c"}


async def test_quota_below_use_is_refused_and_forced_it_stops_nobody(hub: Hub) -> None:
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.jobs.submit(ANN, manifest("runs", gpus=8))
    await hub.placing.settle()
    small = Queue("default", quotas={"*": Quota(4.0)})
    with pytest.raises(ConflictError, match="quota below use"):
        await hub.queues.put(ADMIN, [small])
    await hub.queues.put(ADMIN, [small], force=True)
    await hub.jobs.submit_many(ANN, [manifest("waits"), manifest("other", queue="research")])
    await hub.placing.settle()
    phases = {name: (await hub.jobs.show(ANN, name)).phase for name in ("runs", "waits", "other")}
    assert phases == {"runs": Phase.PLACED, "waits": Phase.QUEUED, "other": Phase.PLACED}
    assert "may use 4 other GPUs" in (await hub.jobs.show(ANN, "waits")).reason


async def test_rights_that_have_no_end_are_refused(hub: Hub) -> None:
    with pytest.raises(Invalid, match="equals would evict each other for ever"):
        await hub.queues.put(ADMIN, [Queue("a", preemption=Preemption(within_queue=Reach.ANY))])


@pytest.mark.parametrize(
    "tree",
    [
        QueueTree.of([Queue("default", "nowhere", {"*": Quota(-4.0, -1.0, -1.0)})]),
        QueueTree.of([Queue("default", weight=-1.0), Queue("x", weight=0.0)]),
        QueueTree.of([Queue("default", quotas={"*": Quota(float("nan"))}), Queue("x")]),
        QueueTree.of([Queue("default", budget=Budget(usd_per_day=-5.0)), Queue("x")]),
        QueueTree.of([]),
    ],
    ids=["lost cohort, negative quota", "negative weight", "no number", "negative budget", "none at all"],
)
def test_no_tree_however_wrong_makes_a_round_fail(tree: QueueTree) -> None:
    found = decide(world(queues=tree), one=asks(), two=asks(queue="x", priority=9), three=asks(queue="gone"))
    assert found.failures == ()
    assert {one.job for one in found.decisions} == {"one", "two", "three"}


# ---- prices ----


@pytest.mark.parametrize(
    "prices",
    [
        PriceBook({("east", "*"): Price(-2.0, -1.0, -0.5)}),
        PriceBook({("east", A100): Price(float("inf"))}),
        PriceBook({("elsewhere", A100): Price(1.0)}),
        PriceBook({("east", ""): Price(0.0)}, usd_per_cpu_hour=-1.0, default=Price(0.0)),
    ],
    ids=["negative", "infinite", "of a cluster that is not there", "nothing"],
)
def test_jobs_are_placed_whatever_the_prices(prices: PriceBook) -> None:
    assert_placed(decide(world(prices=prices), one=asks(), two=asks(tolerates_spot=True)), "one", "two")


# ---- data and regions ----

SETS = {
    "nowhere": Dataset("nowhere", 10**12, ()),
    "at-home": Dataset("at-home", 10**12, (Replica("mars"),), residency=("mars",)),
    "unplaced": Dataset("unplaced", 10**9, (Replica("", "gone"),)),
    "good": Dataset("good", 10**9, (Replica("eu", "east"),)),
}


def reads(name: str) -> Workload:
    return replace(asks(), data=(DataUse(name),))


def test_data_that_cannot_be_read_makes_its_job_wait_with_the_reason_and_no_other() -> None:
    names: Mapping[str, type[Reason]] = {
        "nowhere": DatasetNowhere,
        "unheard-of": DatasetUnknown,
        "at-home": MustNotLeave,
    }
    found = decide(
        world(data=DataCatalog(SETS)), **{name: reads(name) for name in names}, good=reads("good"), plain=asks()
    )
    assert_placed(found, "good", "plain")
    for name, reason in names.items():
        assert reasons(found, name) == {reason}


def test_a_replica_in_a_place_that_nobody_knows_is_far_from_everything() -> None:
    assert_placed(decide(world(data=DataCatalog(SETS)), one=reads("unplaced")), "one")


def test_regions_and_clusters_that_there_are_none_of() -> None:
    found = decide(world(), lost=asks(regions=("atlantis",)), gone=asks(clusters=("north",)), good=asks())
    assert_placed(found, "good")
    assert reasons(found, "lost") == reasons(found, "gone") == {NotAllowed}


# ---- jobs ----


def test_a_job_that_cannot_be_planned_fails_alone() -> None:
    """An hour that is no hour: what it costs an hour cannot be said."""
    found = decide(world(), bad=asks(expected_hours=0.0), good=asks())
    assert [one.job for one in found.failures] == ["bad"]
    assert [one.job for one in found.decisions if isinstance(one.verdict, Placed)] == ["good"]


def test_what_runs_may_be_as_odd_as_it_likes() -> None:
    """Of queues that are gone, on clusters that are gone, with a future that has passed, and progress of nobody."""
    odd = (
        Reservation("x", 1, "gone", asks(queue="gone")),
        Reservation("y", 1, "east", asks(queue="gone", min_runtime_hours=-3.0), since=NOW + timedelta(days=9)),
        Reservation("z", 7, "east", workload(role(gpus=99)), uses=(("", -4.0),), usd_per_hour=-1.0, since=NOW),
    )
    progress = {"nobody": Progress(3, NOW), "y": Progress(1, NOW + timedelta(days=1), NOW + timedelta(days=2))}
    full = workload(role(replicas=4, gpus=8), hints=Hints(priority=5))
    found = decide(world(reservations=odd, progress=progress), one=full, two=asks())
    assert found.failures == ()
    assert {one.job for one in found.decisions} == {"one", "two"}
