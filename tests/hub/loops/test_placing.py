from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from hub.loops.placing import DROPPED, PlacingLoop, Planning
from hub.records import JobFilter
from hub.store import codec, jobs
from placement import invariants, planner
from placement.fleet import Fleet, PendingJob
from placement.lifecycle import Phase
from placement.verdict import Decision, Plan
from placement.workload import TopologyMode, TopologyRequest
from tests.hub.loops.rig import ADMIN, ANN, BOB, Clock, FakeSpoke, Hub, a_hub, manifest, render
from wire.orders import Start


async def member(hub: Hub, name: str = "east", nodes: int = 2) -> FakeSpoke:
    spoke = FakeSpoke(name, nodes=nodes)
    await spoke.join(hub)
    await spoke.connect(hub)
    return spoke


async def phases(hub: Hub) -> dict[str, Phase]:
    return {job.name: job.phase for job in (await hub.jobs.list(ADMIN, JobFilter(limit=1000))).jobs}


async def until(hub: Hub, name: str, event: str) -> None:
    job = await hub.jobs.show(ANN, name)
    async for one in hub.jobs.events(ANN, after=None, job=job.id, follow=True):
        if one.event == event:
            return


async def test_a_batch_is_placed_with_its_reservations_and_commands(hub: Hub) -> None:
    await member(hub)
    found = await hub.jobs.submit_many(ANN, [manifest(f"a{number}") for number in range(20)])
    await hub.placing.settle()
    assert list((await phases(hub)).values()).count(Phase.PLACED) == 16
    commands = await hub.uplink.pending_commands("east")
    assert len(commands) == len(hub.federation.fleet().reservations) == 16
    assert all(isinstance(one.order, Start) for one in commands)
    assert [one.ref.job for one in commands] == [one.job.id for one in found[:16]]  # the oldest first


async def test_nothing_is_decided_while_nothing_changes(hub: Hub) -> None:
    await member(hub)
    await hub.jobs.submit_many(ANN, [manifest(f"a{number}", gpus=8) for number in range(5)])
    assert await hub.placing.settle() == 5
    assert await hub.placing.settle() == 0
    assert await hub.placing.cycle() == 0


async def test_waiting_jobs_tell_why_in_their_row_and_no_event_is_made_of_it(hub: Hub) -> None:
    await member(hub)
    await hub.jobs.submit(ANN, manifest("big", gpus=8, pods=3))
    await hub.placing.settle()
    job = await hub.jobs.show(ANN, "big")
    assert "room for 2 of 3 pods" in job.reason
    assert [event.event for event in (await hub.jobs.explain(ANN, "big")).history] == ["submit"]


async def test_a_gang_that_never_fits_is_rejected_where_that_was_asked(hub: Hub) -> None:
    await member(hub)
    await hub.jobs.submit(ANN, manifest("big", gpus=8, pods=3, if_too_large="reject"))
    await hub.placing.settle()
    job = await hub.jobs.show(ANN, "big")
    assert job.phase is Phase.FAILED
    assert "even empty" in job.reason
    assert hub.federation.fleet().reservations == ()


async def test_locality_is_waited_for_and_its_end_wants_a_decision(hub: Hub) -> None:
    await member(hub)
    await hub.jobs.submit(ANN, manifest("near", gpus=1, pods=2, prefers="host", wait_for_locality_hours=0.5))
    await hub.jobs.submit(ANN, manifest("wide", gpus=4, pods=3, prefers="host", wait_for_locality_hours=0.5))
    await hub.placing.settle()
    assert await phases(hub) == {"near": Phase.PLACED, "wide": Phase.QUEUED}
    reason = (await hub.jobs.show(ANN, "wide")).reason
    assert reason.startswith("host wanted until ")
    assert "largest host of east fits 2 of 3 pods" in reason
    hub.clock.advance(1801)
    hub.copies.backlog.ring(hub.clock())
    await hub.placing.settle()
    assert (await phases(hub))["wide"] is Phase.PLACED
    starts = [one.order for one in await hub.uplink.pending_commands("east")]
    modes = {one.workload.name: one.workload.topology for one in starts if isinstance(one, Start)}
    assert modes == {
        "near": TopologyRequest("host", TopologyMode.REQUIRED),
        "wide": TopologyRequest("host", TopologyMode.PREFERRED),
    }


async def test_a_job_that_cannot_be_rendered_fails_and_the_others_go_on(hub: Hub) -> None:
    await member(hub)
    await hub.jobs.submit_many(ANN, [manifest("a"), manifest("unrenderable"), manifest("b")])
    await hub.placing.settle()
    assert await phases(hub) == {"a": Phase.PLACED, "unrenderable": Phase.FAILED, "b": Phase.PLACED}
    assert "no pod template" in (await hub.jobs.show(ANN, "unrenderable")).reason
    assert len(hub.federation.fleet().reservations) == 2


async def test_two_tenants_objects_of_one_name_never_meet_in_one_cluster(hub: Hub) -> None:
    """Applying the second would overwrite the first."""
    await member(hub, "east")
    for actor in (ANN, BOB):
        await hub.jobs.submit(actor, manifest("train"))
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, "train")).phase is Phase.PLACED
    waiting = await hub.jobs.show(BOB, "train")
    assert waiting.phase is Phase.QUEUED
    assert "of another job is there" in waiting.reason
    await member(hub, "west")
    await hub.placing.settle()
    assert (await hub.jobs.show(BOB, "train")).cluster != (await hub.jobs.show(ANN, "train")).cluster


async def test_a_plan_that_breaks_an_invariant_is_not_carried_out(hub: Hub) -> None:
    await member(hub)
    planning = Planning(planner.plan, lambda plan, fleet: ("overbooked",), render, hub.overriding, hub.presence)
    loop = PlacingLoop(hub.store, hub.federation, hub.copies.backlog, planning, clock=hub.clock)
    await hub.jobs.submit(ANN, manifest("a"))
    await loop.settle()
    job = await hub.jobs.show(ANN, "a")
    assert (job.phase, job.reason) == (Phase.QUEUED, DROPPED)


async def test_what_changes_between_deciding_and_applying_is_noticed(hub: Hub) -> None:
    """The cluster is drained, and one of the jobs cancelled, while the planner thinks."""
    await member(hub)
    loop = asyncio.get_running_loop()
    first = True

    def slow(fleet: Fleet, pending: Sequence[PendingJob], now: datetime) -> Plan:
        nonlocal first
        if first:
            first = False
            for step in (hub.clusters.drain(ADMIN, "east"), hub.jobs.cancel(ANN, "b")):
                asyncio.run_coroutine_threadsafe(step, loop).result(10)
        return planner.plan(fleet, pending, now)

    placing = PlacingLoop(
        hub.store,
        hub.federation,
        hub.copies.backlog,
        Planning(slow, invariants.check, render, hub.overriding, hub.presence),
        clock=hub.clock,
    )
    await hub.jobs.submit_many(ANN, [manifest("a"), manifest("b")])
    await placing.settle()
    assert await phases(hub) == {"a": Phase.QUEUED, "b": Phase.CANCELLED}
    assert hub.federation.fleet().reservations == ()
    assert await hub.uplink.pending_commands("east") == ()


async def test_jobs_of_a_failed_cycle_are_decided_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    await member(hub)
    await hub.jobs.submit(ANN, manifest("a"))
    real = jobs.note_reasons

    def full(session: Session, reasons: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(jobs, "note_reasons", full)
    with pytest.raises(OSError, match="disk full"):
        await hub.placing.settle()
    assert await phases(hub) == {"a": Phase.QUEUED}
    assert hub.federation.fleet().reservations == ()
    monkeypatch.setattr(jobs, "note_reasons", real)
    await hub.placing.settle()
    assert await phases(hub) == {"a": Phase.PLACED}


async def test_a_placement_that_cannot_be_stored_stops_no_other(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    await member(hub)
    found = await hub.jobs.submit_many(ANN, [manifest(name) for name in "abc"])
    real = codec.dump_decision

    def spoilt(decision: Decision) -> str:
        if decision.job == found[1].job.id:
            raise TypeError("Integer exceeds 64-bit range")
        return real(decision)

    monkeypatch.setattr(codec, "dump_decision", spoilt)
    await hub.placing.settle()
    assert await phases(hub) == {"a": Phase.PLACED, "b": Phase.QUEUED, "c": Phase.PLACED}
    assert len(hub.federation.fleet().reservations) == 2
    monkeypatch.undo()
    hub.copies.backlog.reconsider_all()
    await hub.placing.settle()
    assert (await phases(hub))["b"] is Phase.PLACED


async def test_what_cannot_be_said_of_one_that_waits_stops_no_other(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    await member(hub)
    found = await hub.jobs.submit_many(ANN, [manifest("a"), *(manifest(name, gpus=64) for name in "bc")])
    real = jobs.note_reasons

    def spoilt(session: Session, reasons: Sequence[jobs.WaitingReason]) -> None:
        if found[1].job.id in {one.job for one in reasons}:
            raise TypeError("no text")
        real(session, reasons)

    monkeypatch.setattr(jobs, "note_reasons", spoilt)
    await hub.placing.settle()
    assert await phases(hub) == {"a": Phase.PLACED, "b": Phase.QUEUED, "c": Phase.QUEUED}
    assert [bool((await hub.jobs.show(ANN, name)).reason) for name in "bc"] == [False, True]


async def test_a_long_queue_is_passed_to_its_end_while_the_fleet_keeps_changing(hub: Hub) -> None:
    """Something improves during each cycle; the small job behind the large ones is placed all the same."""
    await member(hub)

    def plan(fleet: Fleet, pending: Sequence[PendingJob], now: datetime) -> Plan:
        hub.federation.improvements += 1
        return planner.plan(fleet, pending, now)

    await hub.jobs.submit_many(ANN, [manifest(f"large{number}", gpus=8, pods=3) for number in range(12)])
    hub.clock.advance(1)
    await hub.jobs.submit(ANN, manifest("small"))
    planning = Planning(plan, invariants.check, render, hub.overriding, hub.presence)
    placing = PlacingLoop(
        hub.store, hub.federation, hub.copies.backlog, planning, clock=hub.clock, batch=3, pause_s=0, reconsider_s=0
    )
    running = asyncio.ensure_future(placing.run())
    await asyncio.wait_for(until(hub, "small", "place"), 10)
    running.cancel()


async def test_the_running_loop_is_woken_by_submits_and_by_capacity(hub: Hub) -> None:
    running = asyncio.ensure_future(hub.placing.run())
    await hub.jobs.submit(ANN, manifest("a", gpus=8, pods=2))
    spoke = await member(hub)
    await asyncio.wait_for(until(hub, "a", "place"), 10)
    await hub.jobs.submit(ANN, manifest("b", gpus=8))
    await spoke.obey(hub)
    await hub.jobs.cancel(ANN, "a")
    await spoke.obey(hub)
    await spoke.send_reports(hub)
    await asyncio.wait_for(until(hub, "b", "place"), 10)
    running.cancel()


async def test_the_loop_ends_with_the_store(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.sqlite", Clock()) as hub:
        await member(hub)
        running = asyncio.ensure_future(hub.placing.run())
        await hub.jobs.submit(ANN, manifest("a"))
    await asyncio.wait_for(running, 10)
