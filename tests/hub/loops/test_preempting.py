"""Evictions as the hub carries them out: one transaction, fenced, and whatever is lost or cut off in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hub.records import Job
from hub.store import attempts
from placement.data import Dataset, Replica
from placement.lifecycle import Event, Phase
from placement.verdict import Waiting
from tests.hub.loops.rig import ADMIN, ANN, BOB, Clock, FakeSpoke, Hub, a_hub, manifest
from wire.orders import JobRef, Start, Stop

HOUR_S = 3600.0


async def busy(hub: Hub, *, checkpoints: dict[str, float] | None = None) -> FakeSpoke:
    """Of two nodes of 8 GPUs: `old` has run for two hours on one, `young` for one on the other. `checkpoints` are as
    many hours ago."""
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    for name in ("old", "young"):
        await submit(hub, spoke, name, grace_s=7.0)
        hub.clock.advance(HOUR_S)
    for name, hours in (checkpoints or {}).items():
        await tell_checkpoint(hub, spoke, name, hours)
    return spoke


async def submit(hub: Hub, spoke: FakeSpoke, name: str, **hints: object) -> Job:
    """And whatever follows from it at once, until it runs or waits."""
    (one,) = await hub.jobs.submit(ANN, manifest(name, gpus=8, **hints))
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


async def tell_checkpoint(hub: Hub, spoke: FakeSpoke, name: str, hours_ago: float) -> None:
    job = await hub.jobs.show(ANN, name)
    spoke.advance(JobRef(job.id, job.epoch), Event.RUNNING)
    at = hub.clock() - timedelta(hours=hours_ago)
    spoke.unacked[-1] = replace(spoke.unacked[-1], checkpoint_at=at)
    await spoke.send_reports(hub)


async def phase(hub: Hub, name: str) -> tuple[Phase, int]:
    job = await hub.jobs.show(ANN, name)
    return job.phase, job.epoch


async def room(hub: Hub, name: str) -> tuple[str, tuple[str, ...]] | None:
    decision = (await hub.jobs.explain(ANN, name)).decision
    verdict = decision.verdict if decision is not None else None
    return (verdict.room.cluster, verdict.room.victims) if isinstance(verdict, Waiting) and verdict.room else None


async def test_the_cheapest_victim_is_stopped_with_its_grace_and_queued_again(hub: Hub) -> None:
    spoke = await busy(hub)
    young = await hub.jobs.show(ANN, "young")
    (vip,) = await hub.jobs.submit(ANN, manifest("vip", gpus=8, priority=10))
    await hub.placing.settle()
    assert await phase(hub, "young") == (Phase.EVICTING, 1)
    assert await phase(hub, "old") == (Phase.RUNNING, 1)
    (command,) = await hub.uplink.pending_commands("east")
    assert command.ref == JobRef(young.id, 1)
    assert isinstance(command.order, Stop)
    assert command.order.grace_s == 7.0
    assert f"evicted for {vip.job.id}: priority 0 is below 10" in command.order.reason
    assert await room(hub, "vip") == ("east", (young.id,))
    waiting = await hub.jobs.show(ANN, "vip")
    assert waiting.reason.startswith(f"waits for 1 job to be evicted from east ({young.id}); ")

    await work(hub, spoke)
    assert await phase(hub, "young") == (Phase.QUEUED, 2)
    await hub.placing.settle()
    assert await phase(hub, "vip") == (Phase.PLACED, 1)
    await work(hub, spoke)
    assert await phase(hub, "vip") == (Phase.RUNNING, 1)
    assert await phase(hub, "young") == (Phase.QUEUED, 2)
    spoke.advance(JobRef(vip.job.id, 1), Event.SUCCEED)
    await work(hub, spoke)
    await hub.placing.settle()
    await work(hub, spoke)
    assert await phase(hub, "young") == (Phase.RUNNING, 2)
    events = [(one.epoch, one.event) for one in (await hub.jobs.explain(ANN, "young")).history]
    assert (1, "evict") in events
    assert (2, "running") in events


async def test_a_job_that_waits_is_told_its_place_and_why_nobody_goes(hub: Hub) -> None:
    spoke = await busy(hub)
    first = await submit(hub, spoke, "first")
    await submit(hub, spoke, "second")
    seen = (await hub.jobs.explain(ANN, "second")).outlook
    assert seen is not None
    assert (seen.place, seen.ahead) == (2, (first.id,))
    assert [(use.cluster, use.total, use.free) for use in seen.gpus] == [("east", 16, 0)]
    assert seen.preemption.startswith("nobody is evicted for it: 2 jobs run where it could go; 2 of no lower priority")
    (planned,) = await hub.jobs.plan(ANN, manifest("third", gpus=8, priority=10))
    assert planned.outlook is not None
    verdict = planned.decision.verdict
    assert isinstance(verdict, Waiting)
    assert verdict.room is not None
    assert hub.federation.fleet().leaving == {}, "a plan evicts nobody"


async def test_the_lost_attempt_is_charged(hub: Hub) -> None:
    spoke = await busy(hub)
    young = await hub.jobs.show(ANN, "young")
    await submit(hub, spoke, "vip", priority=10)
    spent = await hub.store.read(lambda session: attempts.ended_after(session, hub.clock() - timedelta(days=1)))
    assert [(one.queue, round((one.until - one.since) / timedelta(hours=1), 3)) for one in spent] == [("default", 1.0)]
    assert young.usd_per_hour is not None


async def test_what_the_jobs_told_of_their_checkpoints_decides(hub: Hub) -> None:
    await busy(hub, checkpoints={"old": 0.25})
    fleet = hub.federation.fleet()
    old = await hub.jobs.show(ANN, "old")
    assert fleet.progress[old.id].checkpoint_at == hub.clock() - timedelta(hours=0.25)
    assert fleet.progress[old.id].running_since == old.started_at
    await hub.jobs.submit(ANN, manifest("vip", gpus=8, priority=10))
    await hub.placing.settle()
    assert await phase(hub, "old") == (Phase.EVICTING, 1)
    assert await phase(hub, "young") == (Phase.RUNNING, 1)


async def test_progress_survives_the_hub_and_is_forgotten_with_the_attempt(tmp_path: Path) -> None:
    clock = Clock()
    async with a_hub(tmp_path / "hub.sqlite", clock) as hub:
        spoke = await busy(hub, checkpoints={"old": 0.25})
        before = dict(hub.federation.fleet().progress)
        assert len(before) == 2
    async with a_hub(tmp_path / "hub.sqlite", clock, seed=1) as hub:
        assert dict(hub.federation.fleet().progress) == before
        await spoke.connect(hub)
        old = await hub.jobs.show(ANN, "old")
        spoke.advance(JobRef(old.id, 1), Event.SUCCEED)
        await spoke.send_reports(hub)
        assert old.id not in hub.federation.fleet().progress


async def test_nobody_takes_the_room_while_it_is_made(hub: Hub) -> None:
    """Nor in the moment in which the victim is gone and the cluster has not said so, nor by an earlier turn."""
    spoke = await busy(hub)
    (vip,) = await hub.jobs.submit(ANN, manifest("vip", gpus=8, priority=10))
    await hub.placing.settle()
    (other,) = await hub.jobs.submit(BOB, manifest("other", gpus=8, queue="research"))
    await hub.placing.settle()
    await spoke.obey(hub)
    await spoke.send_reports(hub)  # released; the summary still counts the victim
    await hub.placing.settle()
    assert await phase(hub, "vip") == (Phase.QUEUED, 1)
    assert await phase(hub, "old") == (Phase.RUNNING, 1), "nothing more is evicted for it"
    assert await room(hub, "vip") == ("east", ())
    await spoke.send_summary(hub)
    await hub.placing.settle()
    assert await phase(hub, "vip") == (Phase.PLACED, 1)
    assert (await hub.jobs.show(ADMIN, other.job.id)).phase is Phase.QUEUED
    assert vip.job.id in {one.job for one in hub.federation.fleet().reservations}


async def test_killed_at_each_step_of_an_eviction(tmp_path: Path) -> None:
    file, clock = tmp_path / "hub.sqlite", Clock()
    async with a_hub(file, clock) as hub:
        spoke = await busy(hub)
        young = await hub.jobs.show(ANN, "young")
        await hub.jobs.submit(ANN, manifest("vip", gpus=8, priority=10))
        await hub.placing.settle()
    async with a_hub(file, clock, seed=1) as hub:  # the Stop was committed and never sent
        await spoke.connect(hub)
        assert hub.federation.fleet().leaving[young.id].for_job == (await hub.jobs.show(ANN, "vip")).id
        await hub.placing.settle()
        assert await phase(hub, "old") == (Phase.RUNNING, 1), "it is not planned again"
        await hub.jobs.submit(BOB, manifest("other", gpus=8, queue="research"))
        await hub.placing.settle()
        await spoke.obey(hub, acknowledge=False)
    async with a_hub(file, clock, seed=2) as hub:  # the answer to it was lost
        await spoke.connect(hub)
        await spoke.obey(hub)
        await spoke.send_reports(hub, acknowledge=False)
    async with a_hub(file, clock, seed=3) as hub:  # and so was that of the report
        await spoke.connect(hub)
        assert await phase(hub, "young") == (Phase.QUEUED, 2)
        await hub.placing.settle()
        await work(hub, spoke)
        assert await phase(hub, "vip") == (Phase.RUNNING, 1)
        assert await phase(hub, "old") == (Phase.RUNNING, 1)
        assert [ref.epoch for ref in spoke.started if ref.job == young.id] == [1]


async def test_one_that_ends_before_it_is_stopped_has_ended(hub: Hub) -> None:
    spoke = await busy(hub)
    young = await hub.jobs.show(ANN, "young")
    await hub.jobs.submit(ANN, manifest("vip", gpus=8, priority=10))
    await hub.placing.settle()
    spoke.advance(JobRef(young.id, 1), Event.SUCCEED)
    await spoke.send_reports(hub)
    assert await phase(hub, "young") == (Phase.SUCCEEDED, 1)
    await work(hub, spoke)
    await hub.placing.settle()
    assert await phase(hub, "vip") == (Phase.PLACED, 1)
    assert await phase(hub, "old") == (Phase.RUNNING, 1)


async def test_where_the_job_is_cancelled_the_room_is_anybodys(hub: Hub) -> None:
    spoke = await busy(hub)
    (vip,) = await hub.jobs.submit(ANN, manifest("vip", gpus=8, priority=10))
    await hub.placing.settle()
    await hub.jobs.cancel(ANN, vip.job.id)
    await work(hub, spoke)
    await hub.placing.settle()
    assert await phase(hub, "young") == (Phase.PLACED, 2)


async def test_time_alone_lets_a_job_evict(hub: Hub) -> None:
    spoke = FakeSpoke("east", nodes=1)
    await spoke.join(hub)
    await spoke.connect(hub)
    await submit(hub, spoke, "young", min_runtime_hours=1.0)
    await submit(hub, spoke, "vip", priority=10)
    assert await phase(hub, "young") == (Phase.RUNNING, 1)
    hub.clock.advance(HOUR_S + 1)
    hub.copies.backlog.ring(hub.clock())
    await hub.placing.settle()
    assert await phase(hub, "young") == (Phase.EVICTING, 1)


async def test_a_disconnected_cluster_is_not_emptied(hub: Hub) -> None:
    spoke = await busy(hub)
    await hub.uplink.detach("east", f"session of {spoke.name}")
    await hub.jobs.submit(ANN, manifest("vip", gpus=8, priority=10))
    await hub.placing.settle()
    assert await phase(hub, "young") == (Phase.RUNNING, 1)


async def test_a_promise_outlives_a_hub_that_decides_before_its_spokes_are_back(tmp_path: Path) -> None:
    """The victim has left, and nobody else may have its room in the moment in which the cluster comes back."""
    file, clock = tmp_path / "hub.sqlite", Clock()
    async with a_hub(file, clock) as hub:
        spoke = await busy(hub)
        await hub.jobs.submit(ANN, manifest("vip", gpus=8, priority=10))
        await hub.placing.settle()
        await spoke.obey(hub)
        await spoke.send_reports(hub)  # released; the summary still counts the victim
        await hub.placing.settle()
        await hub.jobs.submit(BOB, manifest("other", gpus=8, queue="research"))
        await hub.health.tick()
    async with a_hub(file, clock, seed=1) as hub:
        await hub.placing.settle()  # east is not connected yet
        assert await phase(hub, "vip") == (Phase.QUEUED, 1)
    async with a_hub(file, clock, seed=2) as hub:
        await hub.placing.settle()
        spoke.unacked.clear()
        await hub.uplink.attach(spoke.name, spoke.serial, "1.0", "s")
        await hub.placing.settle()  # with the last summary of before
        assert await phase(hub, "old") == (Phase.RUNNING, 1)
        assert await room(hub, "vip") == ("east", ())
        await spoke.send_summary(hub)
        await hub.placing.settle()
        assert await phase(hub, "vip") == (Phase.PLACED, 1)
        assert await phase(hub, "old") == (Phase.RUNNING, 1)


async def test_a_promise_ends_with_its_cluster(hub: Hub) -> None:
    spoke = await busy(hub)
    await hub.jobs.submit(ANN, manifest("vip", gpus=8, priority=10))
    await hub.placing.settle()
    assert await room(hub, "vip") == ("east", ((await hub.jobs.show(ANN, "young")).id,))
    west = FakeSpoke("west", nodes=1)
    await west.join(hub)
    await hub.clusters.remove(ADMIN, spoke.name, force=True)
    await hub.placing.settle()
    assert await room(hub, "vip") is None
    await west.connect(hub)
    await hub.placing.settle()
    assert await phase(hub, "vip") == (Phase.PLACED, 1)


async def test_where_the_job_is_cancelled_the_next_one_evicts_nobody_else(hub: Hub) -> None:
    await busy(hub)
    (vip,) = await hub.jobs.submit(ANN, manifest("vip", gpus=8, priority=10))
    await hub.placing.settle()
    await hub.jobs.cancel(ANN, vip.job.id)
    await hub.jobs.submit(ANN, manifest("next", gpus=8, priority=10))
    await hub.placing.settle()
    assert await phase(hub, "young") == (Phase.EVICTING, 1)
    assert await phase(hub, "old") == (Phase.RUNNING, 1)


async def test_a_victim_whose_data_is_on_the_way_is_stopped_and_comes_back(hub: Hub) -> None:
    spoke = FakeSpoke("east", nodes=1)
    await spoke.join(hub)
    await spoke.connect(hub)
    far = Replica("us-east", uri="s3://bucket/imagenet")
    await hub.datasets.create(ADMIN, Dataset("imagenet", 10**9, (far,)), force=True)
    (job,) = await hub.jobs.submit(ANN, manifest("young", gpus=8, data=["imagenet"]))
    await hub.placing.settle()
    await spoke.obey(hub)
    spoke.advance(JobRef(job.job.id, 1), Event.STAGING)
    await spoke.send_reports(hub)
    assert await phase(hub, "young") == (Phase.STAGING, 1)
    await hub.jobs.submit(ANN, manifest("vip", gpus=8, priority=10))
    await hub.placing.settle()
    assert await phase(hub, "young") == (Phase.EVICTING, 1)
    await work(hub, spoke)
    await hub.placing.settle()
    await work(hub, spoke)
    assert await phase(hub, "vip") == (Phase.RUNNING, 1)
    vip = await hub.jobs.show(ANN, "vip")
    spoke.advance(JobRef(vip.id, 1), Event.SUCCEED)
    await work(hub, spoke)
    await hub.placing.settle()
    (command,) = await hub.uplink.pending_commands("east")
    assert isinstance(command.order, Start)
    assert [move.dataset for move in command.order.moves] == ["imagenet"]
