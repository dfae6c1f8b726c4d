"""Elastic jobs as the hub carries them through: started with fewer pods, grown into idle room, shrunk for who waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hub.records import CostBy, CostQuery, Job
from hub.store import commands, rows
from placement.fleet import Reservation
from placement.lifecycle import Event, Phase
from placement.queues.tree import Queue, QueueTree, Quota
from tests.hub.loops.rig import ADMIN, ANN, Clock, FakeSpoke, Hub, a_hub, manifest
from wire.orders import JobRef, Scale, Stop

HOUR_S = 3600.0


async def a_spoke(hub: Hub, nodes: int = 1) -> FakeSpoke:
    spoke = FakeSpoke("east", nodes)
    await spoke.join(hub)
    await spoke.connect(hub)
    return spoke


async def submit(hub: Hub, spoke: FakeSpoke, text: bytes) -> Job:
    """And whatever follows from it at once, until it runs or waits."""
    (one,) = await hub.jobs.submit(ANN, text)
    await hub.placing.settle()
    await work(hub, spoke)
    return await hub.jobs.show(ANN, one.job.id)


async def work(hub: Hub, spoke: FakeSpoke) -> None:
    await spoke.obey(hub)
    for ref, job in list(spoke.live.items()):
        if job.event is Event.STARTING:
            spoke.advance(ref, Event.RUNNING)
    await spoke.send_reports(hub)
    await spoke.send_summary(hub)


def held(hub: Hub, job: Job) -> Reservation:
    (found,) = (one for one in hub.federation.fleet().reservations if one.job == job.id)
    return found


def pods(hub: Hub, job: Job) -> int:
    return held(hub, job).workload.pods


async def orders(hub: Hub) -> list[Scale]:
    return [one.order for one in await hub.uplink.pending_commands("east") if isinstance(one.order, Scale)]


async def test_it_starts_with_as_many_pods_as_there_is_room_for(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    await submit(hub, spoke, manifest("other", gpus=3))
    job = await submit(hub, spoke, manifest("train", pods=8, sizes=(2, 8)))
    assert (job.phase, pods(hub, job), held(hub, job).uses) == (Phase.RUNNING, 5, (("A100", 5.0),))
    assert len(spoke.live[JobRef(job.id, 1)].nodes) == 5
    assert job.workload.pods == 8, "what was submitted is kept"


async def test_below_its_least_it_waits(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    await submit(hub, spoke, manifest("other", gpus=7))
    job = await submit(hub, spoke, manifest("train", pods=8, sizes=(2, 8)))
    assert job.phase is Phase.QUEUED


async def test_it_grows_into_room_that_nobody_waits_for(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    other = await submit(hub, spoke, manifest("other", gpus=4))
    job = await submit(hub, spoke, manifest("train", pods=2, sizes=(1, 6)))
    assert (pods(hub, job), await hub.placing.grow()) == (2, 0), "it has only just begun"
    hub.clock.advance(301)
    assert await hub.placing.grow() == 1
    assert (pods(hub, job), held(hub, job).settles) == (4, True)
    (scale,) = await orders(hub)
    assert (scale.revision, scale.pods) == (1, {"worker": 4})
    assert "grows from 2 to 4 pods" in scale.reason
    hub.clock.advance(301)
    assert await hub.placing.grow() == 0, "one change at a time"
    await work(hub, spoke)
    assert not held(hub, job).settles
    assert held(hub, job).uses == (("A100", 4.0),)
    spoke.advance(JobRef(other.id, 1), Event.SUCCEED)
    await work(hub, spoke)
    assert await hub.placing.grow() == 1
    assert pods(hub, job) == 6, "its most"
    history = (await hub.jobs.explain(ANN, job.id)).history
    assert [one.event for one in history].count("resize") == 2


async def test_what_grew_is_reserved_before_the_cluster_counts_it(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    await submit(hub, spoke, manifest("train", pods=2, sizes=(1, 6)))
    hub.clock.advance(301)
    await hub.placing.grow()
    await spoke.send_summary(hub)  # of before
    small = await submit_only(hub, manifest("small", gpus=2))
    large = await submit_only(hub, manifest("large", gpus=1))
    assert (small.phase, large.phase) == (Phase.PLACED, Phase.QUEUED), "6 of 8 are promised"
    await work(hub, spoke)
    assert (await hub.jobs.show(ANN, "small")).phase is Phase.RUNNING


async def submit_only(hub: Hub, text: bytes) -> Job:
    (one,) = await hub.jobs.submit(ANN, text)
    await hub.placing.settle()
    return await hub.jobs.show(ANN, one.job.id)


async def test_it_does_not_grow_where_somebody_waits(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    job = await submit(hub, spoke, manifest("train", pods=2, sizes=(2, 8), priority=5))
    assert (await submit(hub, spoke, manifest("waits", gpus=7))).phase is Phase.QUEUED
    hub.clock.advance(301)
    assert await hub.placing.grow() == 0
    assert pods(hub, job) == 2


async def test_it_grows_within_its_quota(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    hub.federation.queues = QueueTree.of([Queue("default", "", {"A100": Quota(3)}), Queue("research")])
    job = await submit(hub, spoke, manifest("train", pods=2, sizes=(1, 8)))
    hub.clock.advance(301)
    await hub.placing.grow()
    assert pods(hub, job) == 3


async def test_one_that_says_never_does_not_grow(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    job = await submit(hub, spoke, manifest("train", pods=2, sizes=(1, 8), grow_after_s=None))
    hub.clock.advance(HOUR_S)
    assert await hub.placing.grow() == 0
    assert pods(hub, job) == 2


async def test_a_growth_that_the_cluster_refuses_is_taken_back(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    job = await submit(hub, spoke, manifest("train", pods=2, sizes=(1, 8)))
    hub.clock.advance(301)
    await hub.placing.grow()
    spoke.taken_elsewhere = 4
    await work(hub, spoke)
    assert (pods(hub, job), held(hub, job).settles, held(hub, job).uses) == (2, False, (("A100", 2.0),))
    assert "0 of 6 pods fit" in (await hub.jobs.explain(ANN, job.id)).history[-1].message
    assert await hub.placing.grow() == 0, "not at once"
    hub.clock.advance(301)
    assert await hub.placing.grow() == 1, "with what is there now"
    assert pods(hub, job) == 4


async def test_a_size_that_the_cluster_does_not_take_is_taken_back(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    job = await submit(hub, spoke, manifest("train", pods=2, sizes=(1, 8)))
    hub.clock.advance(301)
    await hub.placing.grow()
    ref = JobRef(job.id, 1)
    await spoke.obey(hub)
    spoke.live[ref].nodes = spoke.live[ref].nodes[:2]
    spoke.unacked[-1] = replace(spoke.unacked[-1], size_refused="pytorchjobs is forbidden")
    await work(hub, spoke)
    assert (pods(hub, job), held(hub, job).settles, held(hub, job).uses) == (2, False, (("A100", 2.0),))
    last = (await hub.jobs.explain(ANN, job.id)).history[-1]
    assert last.message == "its size stays as it is: pytorchjobs is forbidden"


async def test_it_becomes_smaller_before_anybody_is_evicted(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    train = await submit(hub, spoke, manifest("train", pods=4, sizes=(1, 8)))
    whole = await submit(hub, spoke, manifest("whole", gpus=4))
    vip = await submit(hub, spoke, manifest("vip", gpus=3, priority=10))
    assert (vip.phase, (await hub.jobs.show(ANN, "whole")).phase) == (Phase.QUEUED, Phase.RUNNING)
    assert vip.reason.startswith(f"waits for 1 job to become smaller on east ({train.id}); ")
    assert len(spoke.live[JobRef(train.id, 1)].nodes) == 1
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, "vip")).phase is Phase.PLACED
    assert (pods(hub, train), held(hub, train).uses, held(hub, train).settles) == (1, (("A100", 1.0),), False)
    assert (await hub.jobs.show(ANN, "train")).epoch == 1
    assert held(hub, whole).epoch == 1


async def test_no_more_is_asked_back_than_is_needed_and_an_equal_may_ask(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    train = await submit(hub, spoke, manifest("train", pods=8, sizes=(1, 8)))
    await submit(hub, spoke, manifest("next", gpus=2))
    assert len(spoke.live[JobRef(train.id, 1)].nodes) == 6
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, "next")).phase is Phase.PLACED


async def test_nobody_gives_way_to_a_lower_priority(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    train = await submit(hub, spoke, manifest("train", pods=8, sizes=(1, 8), priority=1))
    assert (await submit(hub, spoke, manifest("low", gpus=2))).phase is Phase.QUEUED
    assert pods(hub, train) == 8
    assert not await orders(hub)


async def test_until_the_pods_are_gone_their_room_is_held(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    train = await submit(hub, spoke, manifest("train", pods=8, sizes=(1, 8)))
    await submit_only(hub, manifest("next", gpus=2))
    await spoke.send_summary(hub)
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, "next")).phase is Phase.QUEUED
    assert (pods(hub, train), held(hub, train).settles) == (8, True)


async def test_a_summary_from_before_the_growth_promises_nothing_while_it_shrinks(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    train = await submit(hub, spoke, manifest("train", pods=6, sizes=(1, 8)))
    before = spoke.summary()
    hub.clock.advance(301)
    await hub.placing.grow()
    await work(hub, spoke)
    await submit_only(hub, manifest("next", gpus=2))
    assert held(hub, train).shrinks_to is not None
    await hub.uplink.summary("east", before)  # as a hub has it that begins anew
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, "next")).phase is Phase.QUEUED


async def test_a_cancelled_one_that_shrinks_is_gone(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    train = await submit(hub, spoke, manifest("train", pods=8, sizes=(1, 8)))
    await submit_only(hub, manifest("next", gpus=2))
    await hub.jobs.cancel(ANN, train.id)
    assert [type(one.order) for one in await hub.uplink.pending_commands("east")] == [Scale, Stop]
    await work(hub, spoke)
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, "next")).phase is Phase.PLACED


async def test_each_size_is_charged_for_itself(hub: Hub) -> None:
    spoke = await a_spoke(hub)
    job = await submit(hub, spoke, manifest("train", pods=2, sizes=(1, 4)))
    hub.clock.advance(HOUR_S)
    await hub.placing.grow()
    await work(hub, spoke)
    hub.clock.advance(HOUR_S)

    async def cost(by: CostBy) -> tuple[float, int]:
        today = hub.clock().date()
        report = await hub.costs.report(ADMIN, CostQuery(by, today - timedelta(days=1), today))
        return round(report.total.gpu_hours, 6), report.total.attempts

    assert await cost(CostBy.QUEUE) == await cost(CostBy.JOB) == (6.0, 0), "2 for an hour, 4 for the next"
    spoke.advance(JobRef(job.id, 1), Event.FAIL)
    await work(hub, spoke)
    assert await cost(CostBy.QUEUE) == await cost(CostBy.JOB) == (6.0, 1)
    today = hub.clock().date()
    report = await hub.costs.report(ADMIN, CostQuery(CostBy.QUEUE, today, today))
    by_job = await hub.costs.report(ADMIN, CostQuery(CostBy.JOB, today, today))
    assert report.total.lost_usd == by_job.total.lost_usd == report.total.usd > 0, "all of a failed attempt is lost"


async def test_killed_at_each_step_of_a_growth_and_a_shrink(tmp_path: Path) -> None:
    clock = Clock()
    async with a_hub(tmp_path / "db", clock) as hub:
        spoke = await a_spoke(hub)
        job = await submit(hub, spoke, manifest("train", pods=2, sizes=(1, 8)))
        clock.advance(301)
        await hub.placing.grow()
        assert await spoke.obey(hub, acknowledge=False) == 1
    async with a_hub(tmp_path / "db", clock, seed=1) as hub:
        assert (pods(hub, job), held(hub, job).settles) == (8, True)
        await spoke.connect(hub)
        await work(hub, spoke)
        assert (pods(hub, job), held(hub, job).settles) == (8, False)
        assert held(hub, job).expected_end == held(hub, job).began + timedelta(hours=1)  # type: ignore[operator]
        await submit_only(hub, manifest("next", gpus=3))
        assert held(hub, job).shrinks_to is not None
    async with a_hub(tmp_path / "db", clock, seed=2) as hub:
        shrinking = held(hub, job)
        assert shrinking.shrinks_to is not None
        assert (shrinking.workload.pods, shrinking.shrinks_to.pods) == (8, 5)
        await spoke.connect(hub)
        assert await spoke.obey(hub) == 1
    async with a_hub(tmp_path / "db", clock, seed=3) as hub:
        await spoke.connect(hub)
        await hub.placing.settle()
        assert pods(hub, job) == 5
        assert (await hub.jobs.show(ANN, "next")).phase is Phase.PLACED
        opened = await hub.store.read(commands.open_commands)
        assert not [one for _, one in opened if isinstance(one.order, Scale)]
        parts = await hub.store.read(lambda session: session.connection().execute(rows.attempts.select()).all())
        assert sorted(row.part for row in parts) == [1, 4], "before the growth, and before the shrink"
