"""The one place where a job moves: by the lifecycle's table, with its event, reservation and command, or not at all.

`apply` takes many moves at once, in order, and writes each table once: that is what lets thousands of reports a second
share a transaction. A move is fenced: by the epoch and cluster it speaks of and, for a report, by its sequence number;
what does not match changes nothing and is answered as such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from hub.records import JobEvent
from hub.store import attempts, codec, commands, rows, secrets
from hub.store.changes import Divided, Happened, Leaves, Progressed, Queued, Released, Reserved, Unqueued, announce
from hub.store.commands import NewCommand
from hub.store.numbers import next_number
from hub.store.pieces import in_pieces
from placement import costs, lifecycle
from placement.costs import Attempt
from placement.costs import Outcome as Ending
from placement.fleet import Leaving, PendingJob, Progress, Reservation
from placement.lifecycle import HOLDING, TERMINAL, Event, IllegalTransition, Phase
from placement.tally import Tally
from placement.verdict import Decision, Placed
from placement.workload import Workload
from wire.orders import JobRef, PodPlace, RoleCount, Start, Stop


@dataclass(frozen=True, slots=True)
class Placing:
    """What PLACE brings along: where, for how much, and the command that makes it so."""

    reservation: Reservation
    start: Start
    decision: Decision
    usd_per_hour: float | None


@dataclass(frozen=True, slots=True)
class Move:
    """One event for one job. Fences that are None do not apply."""

    job: str
    event: Event
    reason: str
    at: datetime
    epoch: int | None = None
    cluster: str | None = None
    seq: int | None = None  # of a report: applied once, in order
    roles: tuple[RoleCount, ...] = ()
    pods: tuple[PodPlace, ...] = ()
    placing: Placing | None = None  # with PLACE
    stages: bool = False  # with ACCEPT: its data is brought first
    stop: Stop | None = None  # with EVICT and CANCEL: sent to the cluster that holds the job, if one does
    checkpoint_at: datetime | None = None  # of a report
    stalled_since: datetime | None = None  # of a report
    progress: Tally | None = None  # of a report
    retries: Tally | None = None  # of a report
    evicted_for: str = ""  # with EVICT: the job that gets its room


class Outcome(StrEnum):
    APPLIED = "applied"
    UNKNOWN = "unknown"  # no such job
    STALE = "stale"  # another epoch, another cluster, or a report already applied
    ILLEGAL = "illegal"  # the lifecycle has no such row


@dataclass(slots=True)
class _Job:
    """A job's hot columns while moves are applied to it."""

    id: str
    tenant: str
    phase: Phase
    epoch: int
    report_seq: int
    cluster: str | None
    reason: str
    roles_json: str
    pods_json: str
    placed_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    usd_per_hour: float | None
    spot: bool
    held: JobRef | None  # the reservation on disk
    held_cluster: str
    was_queued: bool
    queue: str
    queued_at: datetime | None
    checkpoint_at: datetime | None
    stalled_since: datetime | None
    progress: Tally | None
    retries: Tally | None
    evicted_for: str | None
    promised: str | None
    owner: str = ""
    name: str = ""
    whole: str | None = None
    held_uses: tuple[tuple[str, float], ...] = ()
    held_usd_per_hour: float = 0.0
    held_cpu_usd_per_hour: float = 0.0
    held_foreseen_usd: float | None = None
    held_egress_usd: float = 0.0
    held_since: datetime | None = None
    released: tuple[datetime, Ending] | None = None  # when and how the reservation on disk ended
    placing: Placing | None = None
    touched: bool = False
    progressed: bool = False
    leaves: bool = False


@dataclass(slots=True)
class _Batch:
    """What the moves so far will write."""

    events: list[JobEvent] = field(default_factory=list)
    orders: list[NewCommand] = field(default_factory=list)
    placings: list[tuple[Placing, datetime]] = field(default_factory=list)


def apply(session: Session, moves: Sequence[Move]) -> tuple[Outcome, ...]:
    """Applies them in order; the answer has one outcome per move. All of it belongs to the caller's transaction."""
    found = _load(session, {move.job for move in moves})
    batch = _Batch()
    outcomes: list[Outcome] = []
    for move in moves:
        job = found.get(move.job)
        outcomes.append(Outcome.UNKNOWN if job is None else _step(session, job, move, batch))
    touched = [job for job in found.values() if job.touched]
    _write_jobs(session, touched)
    _write_reservations(session, touched)
    _write_placements(session, batch.placings)
    write_events(session, batch.events)
    commands.append(session, batch.orders)
    secrets.blank(session, [job.id for job in touched if job.phase in TERMINAL])
    for job in touched:
        if job.whole is not None:
            announce(session, Divided(job.whole, job.id))
    return tuple(outcomes)


def record_submits(session: Session, events: Sequence[JobEvent], workloads: Sequence[Workload]) -> None:
    """The one way into the lifecycle: jobs that were just inserted, queued. `workloads` go with `events`.

    A divided work is never placed itself; its parts are."""
    write_events(session, events)
    for event, workload in zip(events, workloads, strict=True):
        if workload.hints.divide is None:
            announce(session, Queued(PendingJob(event.job, event.epoch, workload, event.tenant, event.at)))


def event_number(session: Session) -> int:
    return next_number(session, rows.job_events)


_HOT = (
    rows.jobs.c.id,
    rows.jobs.c.tenant,
    rows.jobs.c.phase,
    rows.jobs.c.epoch,
    rows.jobs.c.report_seq,
    rows.jobs.c.cluster,
    rows.jobs.c.reason,
    rows.jobs.c.roles_json,
    rows.jobs.c.pods_json,
    rows.jobs.c.placed_at,
    rows.jobs.c.started_at,
    rows.jobs.c.finished_at,
    rows.jobs.c.usd_per_hour,
    rows.jobs.c.spot,
    rows.jobs.c.queued_at,
    rows.jobs.c.checkpoint_at,
    rows.jobs.c.stalled_since,
    rows.jobs.c.progress_done,
    rows.jobs.c.progress_of,
    rows.jobs.c.retries_done,
    rows.jobs.c.retries_of,
    rows.jobs.c.evicted_for,
    rows.jobs.c.promised,
)


def _load(session: Session, ids: Iterable[str]) -> dict[str, _Job]:
    held = rows.reservations
    query: Select[Any] = select(
        *_HOT,
        rows.jobs.c.queue,
        rows.jobs.c.owner,
        rows.jobs.c.whole,
        rows.jobs.c.name,
        held.c.epoch.label("held_epoch"),
        held.c.cluster.label("held_cluster"),
        held.c.uses_json.label("held_uses_json"),
        held.c.usd_per_hour.label("held_usd_per_hour"),
        held.c.cpu_usd_per_hour.label("held_cpu_usd_per_hour"),
        held.c.foreseen_usd.label("held_foreseen_usd"),
        held.c.egress_usd.label("held_egress_usd"),
        held.c.since.label("held_since"),
    ).select_from(rows.jobs.outerjoin(held, held.c.job == rows.jobs.c.id))
    return {
        row.id: _job(row)
        for piece in in_pieces(ids)
        for row in session.connection().execute(query.where(rows.jobs.c.id.in_(piece)))
    }


def _job(row: Row[Any]) -> _Job:
    phase = Phase(row.phase)
    return _Job(
        id=row.id,
        tenant=row.tenant,
        phase=phase,
        epoch=row.epoch,
        report_seq=row.report_seq,
        cluster=row.cluster,
        reason=row.reason,
        roles_json=row.roles_json,
        pods_json=row.pods_json,
        placed_at=row.placed_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        usd_per_hour=row.usd_per_hour,
        spot=row.spot,
        held=JobRef(row.id, row.held_epoch) if row.held_epoch is not None else None,
        held_cluster=row.held_cluster or "",
        was_queued=phase is Phase.QUEUED,
        queue=row.queue,
        queued_at=row.queued_at,
        owner=row.owner,
        name=row.name,
        whole=row.whole,
        checkpoint_at=row.checkpoint_at,
        stalled_since=row.stalled_since,
        progress=codec.tally_of(row.progress_done, row.progress_of),
        retries=codec.tally_of(row.retries_done, row.retries_of),
        evicted_for=row.evicted_for,
        promised=row.promised,
        held_uses=codec.uses_of(row.held_uses_json) if row.held_uses_json else (),
        held_usd_per_hour=row.held_usd_per_hour or 0.0,
        held_cpu_usd_per_hour=row.held_cpu_usd_per_hour or 0.0,
        held_foreseen_usd=row.held_foreseen_usd,
        held_egress_usd=row.held_egress_usd or 0.0,
        held_since=row.held_since,
    )


def _step(session: Session, job: _Job, move: Move, batch: _Batch) -> Outcome:
    if not _fits(job, move):
        return Outcome.STALE
    before, reason, epoch = job.phase, job.reason, job.epoch
    # A spoke's clock may be behind the hub's: nothing of an attempt happens before its placing.
    at = move.at if job.placed_at is None else max(move.at, job.placed_at)
    try:
        after = lifecycle.next_phase(before, _event(move, before))
    except IllegalTransition:
        if move.seq is not None and before in HOLDING:
            # It was received, and is acknowledged as such: it must not be judged again by a later phase. Without an
            # attempt under way there is nothing to count: the number would only shut out the next attempt's reports.
            job.report_seq = move.seq
            job.touched = True
        return Outcome.ILLEGAL
    _move(job, move, after, at)
    if after is not before or job.reason != reason:
        seq = event_number(session)
        batch.events.append(JobEvent(seq, job.id, job.tenant, epoch, after, move.event.value, move.reason, at))
    ref = JobRef(job.id, epoch)
    if move.placing is not None:
        batch.placings.append((move.placing, at))
        batch.orders.append(NewCommand(move.placing.reservation.cluster, ref, move.placing.start, at))
    # A job that was being evicted when it is cancelled has its Stop on the way already.
    if move.stop is not None and job.cluster is not None and after in _STOPPING and before not in _STOPPING:
        batch.orders.append(NewCommand(job.cluster, ref, move.stop, at))
    return Outcome.APPLIED


def _event(move: Move, before: Phase) -> Event:
    """A job whose data is on the way is not starting yet, unless a report has overtaken the acknowledgement."""
    brings = move.event is Event.ACCEPT and move.stages and before is Phase.PLACED
    return Event.STAGING if brings else move.event


_STOPPING = frozenset({Phase.EVICTING, Phase.CANCELLING})
_AS_WISHED = frozenset({Phase.RUNNING, Phase.SUCCEEDED})


def _fits(job: _Job, move: Move) -> bool:
    return (
        (move.epoch is None or move.epoch == job.epoch)
        and (move.cluster is None or move.cluster == job.cluster)
        and (move.seq is None or move.seq > job.report_seq)
    )


def _move(job: _Job, move: Move, after: Phase, at: datetime) -> None:
    before = job.phase
    job.touched = True
    job.phase = after
    if before in HOLDING and after not in HOLDING and job.released is None:
        job.released = at, costs.outcome_of(after, move.event)
        if before is Phase.PLACED and move.event is Event.REFUSE:
            job.held_egress_usd = 0.0  # nothing was moved for it
    job.epoch = lifecycle.next_epoch(job.epoch, before, after)
    # An acceptance that a report has overtaken is no news, and what a job that is being stopped still says of itself
    # does not replace the reason it is being stopped for.
    if move.reason and (after is not before or (before not in _STOPPING and move.event is not Event.ACCEPT)):
        job.reason = move.reason
    elif (
        (after is not before and after in _AS_WISHED)
        or (before is Phase.STAGING and after is Phase.STARTING)
        or _says_that_all_is_well(job, move, before, after)
    ):
        job.reason = ""  # what it was waiting for is over
    if move.seq is not None:
        job.report_seq = move.seq
    if move.roles:
        job.roles_json = codec.dump(move.roles)
    if move.pods and (pods := codec.dump(move.pods)) != job.pods_json:
        job.pods_json = pods
        job.progressed = True
    if move.placing is not None:
        _place(job, move.placing, at)
    if after is Phase.RUNNING and job.started_at is None:
        job.started_at = at
        job.progressed = True
    if move.checkpoint_at is not None and (job.checkpoint_at is None or move.checkpoint_at > job.checkpoint_at):
        job.checkpoint_at = move.checkpoint_at
        job.progressed = True
    if move.seq is not None or after is not before:
        job.stalled_since = move.stalled_since if after is Phase.RUNNING else None
    job.progress, job.retries = move.progress or job.progress, move.retries or job.retries
    if after in _STOPPING and before not in _STOPPING:
        job.evicted_for = move.evicted_for or None
        job.leaves = True
    if after in TERMINAL:
        job.finished_at = at
    if after is Phase.QUEUED:
        # Nowhere, so that what the last cluster still says fits nothing; its release goes by the reservation.
        job.cluster = None
        job.report_seq = 0
        job.roles_json = job.pods_json = "[]"
        job.placed_at = job.started_at = job.usd_per_hour = job.checkpoint_at = job.evicted_for = None
        job.progress = job.retries = None
        job.spot = False
        job.placing = None
        job.queued_at = at


def _says_that_all_is_well(job: _Job, move: Move, before: Phase, after: Phase) -> bool:
    """A report without a reason, where an earlier one of the same attempt may have given one."""
    is_progress = after is before and move.event in (Event.STARTING, Event.RUNNING) and before not in _STOPPING
    return is_progress and not move.reason and move.seq is not None and job.report_seq > 0


def _place(job: _Job, placing: Placing, at: datetime) -> None:
    job.placing = placing
    job.promised = None
    job.report_seq = 0  # each attempt's reports are numbered from 1
    job.cluster = placing.reservation.cluster
    job.spot = placing.reservation.spot
    job.usd_per_hour = placing.usd_per_hour
    job.placed_at = at


_UPDATE = (
    update(rows.jobs)
    .where(rows.jobs.c.id == bindparam("_id"))
    .values({column.name: bindparam(column.name) for column in _HOT if column.name not in ("id", "tenant")})
)


def _write_jobs(session: Session, jobs: Sequence[_Job]) -> None:
    if not jobs:
        return
    session.connection().execute(
        _UPDATE,
        [
            {
                "_id": job.id,
                "phase": job.phase.value,
                "epoch": job.epoch,
                "report_seq": job.report_seq,
                "cluster": job.cluster,
                "reason": job.reason,
                "roles_json": job.roles_json,
                "pods_json": job.pods_json,
                "placed_at": job.placed_at,
                "started_at": job.started_at,
                "finished_at": job.finished_at,
                "usd_per_hour": job.usd_per_hour,
                "spot": job.spot,
                "queued_at": job.queued_at,
                "checkpoint_at": job.checkpoint_at,
                "stalled_since": job.stalled_since,
                "progress_done": job.progress.done if job.progress is not None else None,
                "progress_of": job.progress.of if job.progress is not None else None,
                "retries_done": job.retries.done if job.retries is not None else None,
                "retries_of": job.retries.of if job.retries is not None else None,
                "evicted_for": job.evicted_for,
                "promised": job.promised,
            }
            for job in jobs
        ],
    )


def write_events(session: Session, events: Sequence[JobEvent]) -> None:
    if not events:
        return
    session.connection().execute(
        insert(rows.job_events),
        [
            {
                "seq": event.seq,
                "job": event.job,
                "tenant": event.tenant,
                "epoch": event.epoch,
                "phase": event.phase.value,
                "event": event.event,
                "message": event.message,
                "at": event.at,
            }
            for event in events
        ],
    )
    for event in events:
        announce(session, Happened(event))


def _write_reservations(session: Session, jobs: Sequence[_Job]) -> None:
    """Makes the reservations what the phases say: one per holding job, for its present epoch."""
    released = [job for job in jobs if job.held is not None and not _holds(job, job.held)]
    placings = [job.placing for job in jobs if job.placing is not None and job.phase in HOLDING]
    reserved = [placing.reservation for placing in placings]
    for piece in in_pieces(job.id for job in released):
        session.connection().execute(delete(rows.reservations).where(rows.reservations.c.job.in_(piece)))
    if reserved:
        session.connection().execute(
            insert(rows.reservations),
            [
                {
                    "job": one.job,
                    "epoch": one.epoch,
                    "cluster": one.cluster,
                    "spot": one.spot,
                    "uses_json": codec.dump(one.uses),
                    "pods_json": codec.pods_text(one.workload),
                    "usd_per_hour": one.usd_per_hour,
                    "since": one.since,
                    **_foreseen(placing),
                    "egress_usd": one.moves_usd,
                    "variant_json": codec.dump(variant) if variant is not None else None,
                }
                for placing in placings
                for one in (placing.reservation,)
                for variant in (one.workload.variants.get(one.cluster),)
            ],
        )
    _charge(session, released)
    for job in jobs:
        if job.was_queued and job.phase is not Phase.QUEUED:
            announce(session, Unqueued(job.id))
        if job.held is not None and not _holds(job, job.held):
            announce(session, Released(job.held, job.held_cluster))
    for one in reserved:
        announce(session, Reserved(one))
    for job in jobs:
        _tell_how_it_stands(session, job)
    requeue(session, [job.id for job in jobs if job.phase is Phase.QUEUED])


def _tell_how_it_stands(session: Session, job: _Job) -> None:
    if job.phase not in HOLDING:
        return
    if job.progressed:
        announce(session, Progressed(job.id, progress_of(job.epoch, job.started_at, job.checkpoint_at, job.pods_json)))
    if job.leaves and job.phase in _STOPPING:
        announce(session, Leaves(job.id, Leaving(job.epoch, job.evicted_for or "")))


def progress_of(epoch: int, started_at: datetime | None, checkpoint_at: datetime | None, pods_json: str) -> Progress:
    counts = Counter((pod.node, pod.role) for pod in codec.pod_places_of(pods_json))
    pods = tuple((node, role, count) for (node, role), count in sorted(counts.items()))
    return Progress(epoch, started_at, checkpoint_at, pods)


def _charge(session: Session, released: Sequence[_Job]) -> None:
    """What an attempt took is spent, however it ended. One of unknown beginning is not charged."""
    ended: list[Attempt] = []
    for job in released:
        if job.held is None or job.held_since is None or job.released is None:
            continue
        at, ending = job.released
        attempt = Attempt(
            job=job.id,
            epoch=job.held.epoch,
            name=job.name,
            queue=job.queue,
            tenant=job.tenant,
            owner=job.owner,
            cluster=job.held_cluster,
            uses=job.held_uses,
            usd_per_hour=job.held_usd_per_hour,
            cpu_usd_per_hour=job.held_cpu_usd_per_hour,
            egress_usd=job.held_egress_usd,
            foreseen_usd=job.held_foreseen_usd,
            since=job.held_since,
            until=max(at, job.held_since),
            outcome=ending,
            whole=job.whole,
        )
        ended.append(attempt)
    attempts.record(session, ended)


def _foreseen(placing: Placing) -> dict[str, float | None]:
    """Of its price, the part of pods without devices; and what all of the attempt is to cost, where it has an end."""
    held, verdict = placing.reservation, placing.decision.verdict
    terms, hours = (verdict.score.terms if isinstance(verdict, Placed) else {}), held.workload.hints.expected_hours
    return {
        "cpu_usd_per_hour": min(terms.get("cpu", 0.0) / hours, held.usd_per_hour),
        "foreseen_usd": None if held.workload.long_running else held.usd_per_hour * hours,
    }


def _holds(job: _Job, held: JobRef) -> bool:
    return job.phase in HOLDING and job.epoch == held.epoch


def _write_placements(session: Session, placed: Sequence[tuple[Placing, datetime]]) -> None:
    if not placed:
        return
    session.connection().execute(
        insert(rows.placements),
        [
            {
                "job": one.reservation.job,
                "epoch": one.reservation.epoch,
                "cluster": one.reservation.cluster,
                "at": at,
                "decision_json": codec.dump_decision(one.decision),
            }
            for one, at in placed
        ],
    )


def requeue(session: Session, ids: Sequence[str]) -> None:
    for piece in in_pieces(ids):
        for pending in pending_jobs(session, piece):
            announce(session, Queued(pending))


def pending_jobs(session: Session, ids: Sequence[str] | None = None) -> tuple[PendingJob, ...]:
    """The queued jobs among `ids` (None: all of them), oldest first."""
    job, spec = rows.jobs.c, rows.job_specs.c
    query = (
        select(job.id, job.epoch, job.tenant, job.submitted_at, job.queued_at, job.promised, spec.workload_json)
        .join_from(rows.jobs, rows.job_specs, spec.job == job.id)
        .where(job.phase == Phase.QUEUED.value, rows.is_placed_itself())
        .order_by(job.submitted_at, job.id)
    )
    if ids is not None:
        query = query.where(job.id.in_(list(ids)))
    return tuple(
        PendingJob(id_, epoch, codec.workload_of(workload), tenant, at, waits_since=queued_at, promised=promised or "")
        for id_, epoch, tenant, at, queued_at, promised, workload in session.connection().execute(query)
    )
