"""Every pair of the lifecycle's table, and every pair that is not in it, against the tables of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hub.records import Job
from hub.store import clusters, commands, events, jobs, moves, rows
from hub.store.moves import Move, Outcome, Placing
from placement.fleet import Reservation
from placement.lifecycle import HOLDING, TERMINAL, TRANSITIONS, Event, Phase
from placement.verdict import Decision, Placed, Score
from tests.hub.loops.rig import ADMIN, ANN, START_OF_TIME, Hub, workload
from wire.orders import JobRef, PodPlace, RoleCount, Start, Stop

NOW = START_OF_TIME + timedelta(minutes=1)
COUNTS = (RoleCount("worker", 1, 0, 0, 1),)
PODS = (PodPlace("p-0", "worker", "n0", (3,)),)


def placing(job: str, epoch: int = 1, cluster: str = "east") -> Placing:
    held = Reservation(job, epoch, cluster, workload(), spot=True)
    decision = Decision(job, epoch, Placed(held, Score({"gpu": 2.0})), ())
    return Placing(held, Start(({"kind": "Job"},), workload(), True), decision, 2.0)


def seed(session: Session, phase: Phase) -> None:
    """A job that came to `phase` on its own, with whatever belongs to that phase."""
    clusters.create(session, "east", "", {}, START_OF_TIME)
    jobs.insert_many(session, [(ANN, None, jobs.new_job("j-1", workload(), ({"kind": "Job"},), START_OF_TIME))])
    if phase is Phase.QUEUED:
        return
    assert moves.apply(session, [Move("j-1", Event.PLACE, "there", NOW, placing=placing("j-1"))]) == (Outcome.APPLIED,)
    if phase is not Phase.PLACED:
        session.connection().execute(update(rows.jobs).values(phase=phase.value))
        if phase in TERMINAL:
            session.connection().execute(rows.reservations.delete())
            session.connection().execute(update(rows.jobs).values(finished_at=NOW))


async def apply(hub: Hub, *wanted: Move) -> tuple[Outcome, ...]:
    return await hub.store.write(lambda session: moves.apply(session, wanted))


async def job(hub: Hub) -> Job:
    return await hub.jobs.show(ADMIN, "j-1")


async def reserved(hub: Hub) -> Sequence[tuple[str, int, str]]:
    table = rows.reservations.c
    query = select(table.job, table.epoch, table.cluster)
    return [tuple(row) for row in await hub.store.read(lambda session: session.connection().execute(query).all())]


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", Event)
async def test_the_tables_follow_the_lifecycle(hub: Hub, phase: Phase, event: Event) -> None:
    await hub.store.write(lambda session: seed(session, phase))
    before, numbers = await job(hub), hub.copies.feed.last
    brought = placing("j-1") if event is Event.PLACE else None
    (outcome,) = await apply(hub, Move("j-1", event, "because", NOW, placing=brought, stop=Stop(5, "because")))
    after = await job(hub)
    if (phase, event) not in TRANSITIONS:
        assert (outcome, after, hub.copies.feed.last) == (Outcome.ILLEGAL, before, numbers)
        return
    assert outcome is Outcome.APPLIED
    assert after.phase is TRANSITIONS[phase, event]
    assert after.epoch == (2 if after.phase is Phase.QUEUED else 1)
    assert await reserved(hub) == ([("j-1", 1, "east")] if after.phase in HOLDING else [])
    assert (after.finished_at is not None) == (after.phase in TERMINAL)
    history = await hub.store.read(lambda session: events.history(session, ADMIN, "j-1"))
    if after.phase is not phase:
        assert (history[-1].phase, history[-1].event, history[-1].epoch) == (after.phase, event.value, 1)
    opened = await hub.store.read(commands.open_commands)
    stops = [one for _, one in opened if isinstance(one.order, Stop)]
    stopping = (Phase.EVICTING, Phase.CANCELLING)
    assert len(stops) == (1 if after.phase in stopping and phase not in stopping else 0)


async def test_reports_are_applied_once_and_in_order(hub: Hub) -> None:
    await hub.store.write(lambda session: seed(session, Phase.PLACED))

    def said(seq: int, event: Event) -> Move:
        return Move("j-1", event, event.value, NOW, epoch=1, cluster="east", seq=seq, roles=COUNTS, pods=PODS)

    assert await apply(hub, said(1, Event.STARTING), said(2, Event.RUNNING)) == (Outcome.APPLIED,) * 2
    assert await apply(hub, said(2, Event.FAIL), said(1, Event.STARTING)) == (Outcome.STALE,) * 2
    found = await job(hub)
    assert (found.phase, found.roles, found.pods, found.started_at) == (Phase.RUNNING, COUNTS, PODS, NOW)


async def test_trouble_is_shown_while_it_is_reported(hub: Hub) -> None:
    await hub.store.write(lambda session: seed(session, Phase.PLACED))

    def said(seq: int, event: Event, reason: str) -> Move:
        return Move("j-1", event, reason, NOW, epoch=1, cluster="east", seq=seq)

    await apply(hub, Move("j-1", Event.ACCEPT, "accepted by east", NOW, epoch=1), said(1, Event.STARTING, ""))
    assert (await job(hub)).reason == "accepted by east"  # nothing was wrong before
    for seq, event, reason in (
        (2, Event.STARTING, "ImagePullBackOff"),
        (3, Event.STARTING, ""),
        (4, Event.RUNNING, ""),
        (5, Event.RUNNING, "CrashLoopBackOff"),
        (6, Event.RUNNING, ""),
    ):
        await apply(hub, said(seq, event, reason))
        assert (await job(hub)).reason == reason
    history = await hub.store.read(lambda session: events.history(session, ADMIN, "j-1"))
    told = [(one.event, one.message) for one in history]
    assert told[-2:] == [("running", "CrashLoopBackOff"), ("running", "")]
    await apply(hub, Move("j-1", Event.CANCEL, "by ann", NOW), said(7, Event.RUNNING, ""))
    assert (await job(hub)).reason == "by ann"


async def test_an_interrupted_job_is_queued_again_with_the_reason(hub: Hub) -> None:
    await hub.store.write(lambda session: seed(session, Phase.RUNNING))
    lost = Move("j-1", Event.INTERRUPTED, "node n1 is lost", NOW, epoch=1, cluster="east", seq=9)
    assert await apply(hub, lost, lost) == (Outcome.APPLIED, Outcome.STALE)
    found = await job(hub)
    assert (found.phase, found.epoch, found.reason, found.cluster) == (Phase.QUEUED, 2, "node n1 is lost", None)
    assert await reserved(hub) == []


@pytest.mark.parametrize(("epoch", "cluster"), [(2, "east"), (0, "east"), (1, "west")])
async def test_what_speaks_of_another_epoch_or_cluster_changes_nothing(hub: Hub, epoch: int, cluster: str) -> None:
    await hub.store.write(lambda session: seed(session, Phase.RUNNING))
    before = await job(hub)
    assert await apply(hub, Move("j-1", Event.FAIL, "no", NOW, epoch=epoch, cluster=cluster, seq=9)) == (Outcome.STALE,)
    assert await job(hub) == before


async def test_an_unknown_job_is_no_error(hub: Hub) -> None:
    assert await apply(hub, Move("j-none", Event.FAIL, "no", NOW)) == (Outcome.UNKNOWN,)


async def test_a_job_that_is_queued_again_starts_afresh(hub: Hub) -> None:
    await hub.store.write(lambda session: seed(session, Phase.PLACED))
    running = Move("j-1", Event.RUNNING, "runs", NOW, seq=7, roles=COUNTS, pods=PODS)
    await apply(hub, running, Move("j-1", Event.EVICT, "drain", NOW), Move("j-1", Event.STOPPED, "gone", NOW, seq=8))
    found = await job(hub)
    assert (found.phase, found.epoch, found.cluster, found.spot) == (Phase.QUEUED, 2, None, False)
    assert (found.roles, found.pods, found.placed_at, found.started_at, found.usd_per_hour) == (
        (),
        (),
        None,
        None,
        None,
    )
    again = Move("j-1", Event.PLACE, "again", NOW, epoch=2, placing=placing("j-1", 2))
    first = Move("j-1", Event.STARTING, "first of the new epoch", NOW, epoch=2, seq=1)
    assert await apply(hub, again, first) == (Outcome.APPLIED,) * 2
    assert await reserved(hub) == [("j-1", 2, "east")]


async def test_reports_of_an_attempt_that_is_not_placed_yet_do_not_shut_out_its_real_ones(hub: Hub) -> None:
    await hub.store.write(lambda session: seed(session, Phase.PLACED))
    await hub.store.write(lambda session: clusters.create(session, "west", "", {}, START_OF_TIME))
    await apply(hub, Move("j-1", Event.REFUSE, "full", NOW, epoch=1, cluster="east", seq=1))
    assert (await job(hub)).cluster is None
    assert hub.federation.holding("east") == ()
    early = Move("j-1", Event.RUNNING, "early", NOW, epoch=2, cluster="east", seq=10**9)
    assert await apply(hub, early) == (Outcome.STALE,)
    # Nor where the fence of the cluster does not apply.
    assert await apply(hub, replace(early, cluster=None)) == (Outcome.ILLEGAL,)
    again = Move("j-1", Event.PLACE, "again", NOW, epoch=2, placing=placing("j-1", 2, "west"))
    first = Move("j-1", Event.RUNNING, "runs", NOW, epoch=2, cluster="west", seq=1)
    assert await apply(hub, again, first) == (Outcome.APPLIED,) * 2
    found = await job(hub)
    assert (found.phase, found.cluster) == (Phase.RUNNING, "west")
    assert await reserved(hub) == [("j-1", 2, "west")]


async def test_an_illegal_report_of_a_placed_job_is_not_judged_again(hub: Hub) -> None:
    await hub.store.write(lambda session: seed(session, Phase.PLACED))
    stopped = Move("j-1", Event.STOPPED, "gone", NOW, epoch=1, cluster="east", seq=3)
    cancel = Move("j-1", Event.CANCEL, "by ann", NOW, stop=Stop(5, "by ann"))
    assert await apply(hub, stopped, cancel, stopped) == (Outcome.ILLEGAL, Outcome.APPLIED, Outcome.STALE)


async def test_requeued_and_placed_again_in_one_batch_holds_once(hub: Hub) -> None:
    await hub.store.write(lambda session: seed(session, Phase.PLACED))
    refused = Move("j-1", Event.REFUSE, "full", NOW)
    again = Move("j-1", Event.PLACE, "again", NOW, placing=placing("j-1", 2))
    assert await apply(hub, refused, again) == (Outcome.APPLIED,) * 2
    assert await reserved(hub) == [("j-1", 2, "east")]
    assert hub.federation.holding("east") == (JobRef("j-1", 2),)


async def test_a_clock_behind_does_not_make_a_job_run_before_it_was_placed(hub: Hub) -> None:
    await hub.store.write(lambda session: seed(session, Phase.PLACED))
    await apply(hub, Move("j-1", Event.RUNNING, "runs", NOW - timedelta(hours=1)))
    assert (await job(hub)).started_at == NOW


async def test_the_reason_for_stopping_outlives_what_the_job_still_says(hub: Hub) -> None:
    await hub.store.write(lambda session: seed(session, Phase.RUNNING))
    await apply(hub, Move("j-1", Event.CANCEL, "cancelled by ann", NOW), Move("j-1", Event.FAIL, "exit 137", NOW))
    assert (await job(hub)).reason == "cancelled by ann"


async def test_a_placement_is_explained_by_its_decision(hub: Hub) -> None:
    await hub.store.write(lambda session: seed(session, Phase.PLACED))
    assert (await hub.jobs.explain(ADMIN, "j-1")).decision == placing("j-1").decision
