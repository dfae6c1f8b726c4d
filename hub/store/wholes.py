"""Divided works in the store: how one and its parts stand, and the one transaction that changes its shares.

A part is an ordinary job with its own epochs, reservation and command; it moves by `moves` alone. The work itself holds
nothing, and what is written of it here is only what its parts add up to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hub.records import Actor, DivisionRecord, Job, JobEvent, Object, UserRole
from hub.store import codec, jobs, moves, resizing, rows, secrets
from hub.store.jobs import NewJob
from hub.store.moves import Move
from placement.lifecycle import TERMINAL, Event, Phase
from wire.orders import RoleCount, Stop


@dataclass(frozen=True, slots=True)
class Whole:
    job: Job
    parts: tuple[Job, ...]  # oldest first; also those that ended, but for those that were stopped

    @property
    def live(self) -> tuple[Job, ...]:
        return tuple(part for part in self.parts if part.phase not in TERMINAL)

    @property
    def fingerprint(self) -> object:
        """While it is the same, what was decided of the work is still right."""
        return self.job.phase, tuple((part.id, part.epoch, part.phase, part.workload.pods) for part in self.parts)


def cluster_of(part: Job) -> str:
    """The one that it may run in."""
    return part.workload.hints.clusters[0]


@dataclass(frozen=True, slots=True)
class Size:
    """What a part is to have from now on, where it is."""

    pods: Mapping[str, int]  # of its role
    objects: tuple[Object, ...] = ()  # of what travels with it, what says another number then


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a work. `said`: of its shares, where they change."""

    phase: Phase
    reason: str
    record: DivisionRecord
    made: tuple[NewJob, ...] = ()
    stopped: tuple[str, ...] = ()
    resized: Mapping[str, Size] = field(default_factory=dict)  # by part
    said: str = ""


def live_ids(session: Session) -> tuple[str, ...]:
    """The divided works that have not ended."""
    job = rows.jobs.c
    query = select(job.id).where(job.whole == job.id, job.finished_at.is_(None))
    return tuple(session.connection().execute(query).scalars())


def load(session: Session, ids: Sequence[str]) -> tuple[Whole, ...]:
    of: dict[str, list[Job]] = {id_: [] for id_ in ids}
    works: dict[str, Job] = {}
    for one in jobs.of_wholes(session, ids):
        if one.is_whole:
            works[one.id] = one
        elif one.whole is not None:
            of[one.whole].append(one)
    return tuple(Whole(work, tuple(of[id_])) for id_, work in works.items())


def apply(session: Session, seen: Whole, change: Change, *, now: datetime, grace_s: float) -> tuple[str, ...] | None:
    """The parts that could not be given their size now, since they are being changed or stopped.

    None where the work or a part has moved since it was read: then nothing was done."""
    (present,) = load(session, [seen.job.id]) or (None,)
    if present is None or present.fingerprint != seen.fingerprint or present.job.phase in TERMINAL:
        return None
    work = present.job
    by = Actor(work.owner, work.tenant, UserRole.SUBMITTER)
    jobs.insert_many(session, [(by, None, one) for one in change.made])
    reason = f"its share of {work.name} ({work.id}) was moved" if change.said else change.reason
    _stop(session, change.stopped, reason, now, grace_s)
    busy = []
    for part, size in change.resized.items():
        reason = f"another share of {work.id}: {sum(size.pods.values())} replicas"
        if not resizing.resize(session, part, size.pods, reason=reason, now=now, objects=size.objects):
            busy.append(part)
    (after,) = load(session, [work.id])
    _write(session, after, change.phase, change.reason, change.record, change.said, now)
    return tuple(busy)


def is_news(whole: Whole, change: Change) -> bool:
    """Whether it would write anything that the work does not say already."""
    work = whole.job
    if change.made or change.stopped or change.resized or change.said:
        return True
    said = (work.phase, work.reason, work.division, work.roles, work.usd_per_hour)
    return said != (change.phase, change.reason, change.record, _summed(whole), _usd_per_hour(whole))


def stop(session: Session, ids: Sequence[str], reason: str, now: datetime, grace_s: float) -> None:
    """Jobs that people asked for, divided or not."""
    job = rows.jobs.c
    query = select(job.id).where(job.id.in_(list(ids)), job.whole == job.id)
    divided = frozenset(session.connection().execute(query).scalars())
    for id_ in sorted(divided):
        cancel(session, id_, reason, now, grace_s)
    _stop(session, [id_ for id_ in ids if id_ not in divided], reason, now, grace_s)


def cancel(session: Session, whole: str, reason: str, now: datetime, grace_s: float) -> None:
    """Every part is stopped. The work has ended once nothing of it is left anywhere."""
    (work,) = load(session, [whole])
    if work.job.phase in TERMINAL or work.job.phase is Phase.CANCELLING or work.job.division is None:
        return
    _stop(session, [part.id for part in work.live], reason, now, grace_s)
    (after,) = load(session, [whole])
    phase = Phase.CANCELLING if after.live else Phase.CANCELLED
    _write(session, after, phase, reason, work.job.division, "", now)


def _stop(session: Session, parts: Sequence[str], reason: str, now: datetime, grace_s: float) -> None:
    moves.apply(session, [Move(part, Event.CANCEL, reason, now, stop=Stop(grace_s, reason)) for part in parts])


# What leads to each phase, in the words of the lifecycle.
_EVENTS = {
    Phase.QUEUED: Event.REFUSE,
    Phase.STARTING: Event.STARTING,
    Phase.RUNNING: Event.RUNNING,
    Phase.CANCELLING: Event.CANCEL,
    Phase.CANCELLED: Event.STOPPED,
    Phase.SUCCEEDED: Event.SUCCEED,
    Phase.FAILED: Event.FAIL,
}
SHARES = "divide"  # the event of changed shares


def _write(
    session: Session, whole: Whole, phase: Phase, reason: str, record: DivisionRecord, said: str, now: datetime
) -> None:
    work, live = whole.job, [part for part in whole.live if part.placed_at is not None]
    started = work.started_at or (now if phase is Phase.RUNNING else None)
    session.connection().execute(
        update(rows.jobs)
        .where(rows.jobs.c.id == work.id)
        .values(
            phase=phase.value,
            reason=reason,
            division_json=codec.dump(record),
            roles_json=codec.dump(_summed(whole)),
            placed_at=min((part.placed_at for part in live if part.placed_at is not None), default=None),
            started_at=started,
            finished_at=now if phase in TERMINAL else None,
            usd_per_hour=_usd_per_hour(whole),
            spot=any(part.spot for part in live),
        )
    )
    if phase in TERMINAL:
        secrets.blank(session, [work.id])
    happened = []
    if said:
        happened.append((SHARES, said))
    if phase is not work.phase:
        happened.append((_EVENTS[phase].value, reason))
    moves.write_events(
        session,
        [
            JobEvent(moves.event_number(session), work.id, work.tenant, work.epoch, phase, event, message, now)
            for event, message in happened
        ],
    )


def _usd_per_hour(whole: Whole) -> float | None:
    prices = [part.usd_per_hour for part in whole.live if part.usd_per_hour is not None]
    return sum(prices) if prices else None


def _summed(whole: Whole) -> tuple[RoleCount, ...]:
    counted: dict[str, Counter[str]] = {}
    for part in whole.parts:
        if part.phase in TERMINAL and part.phase is not Phase.SUCCEEDED:
            continue
        for one in part.roles:
            counted.setdefault(one.role, Counter()).update(
                ready=one.ready, succeeded=one.succeeded, failed=one.failed, total=one.total
            )
    return tuple(
        RoleCount(role, one["ready"], one["succeeded"], one["failed"], one["total"]) for role, one in counted.items()
    )
