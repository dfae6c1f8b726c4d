"""Jobs that get another size while they run: the reservation, its order and its event, in one transaction.

A job that grows holds the room from the moment it is told to; one that shrinks holds what it has until its cluster has
said that the pods are gone. There is one change of a job at a time: the next one waits until the cluster has said that
it is done (`settled`), or that it cannot do it (`refused`). What the job was at each size is charged for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from hub.records import JobEvent, Object
from hub.store import attempts, codec, commands, moves, rows
from hub.store.changes import Reserved, announce
from hub.store.commands import NewCommand
from placement.elastic import sizes
from placement.elastic.uses import Uses, scaled
from placement.fleet import Reservation
from placement.lifecycle import Phase
from wire.orders import JobRef, Scale, replaced

EVENT = "resize"
_MAY = frozenset({Phase.STARTING, Phase.RUNNING})


@dataclass(frozen=True, slots=True)
class Resize:
    """So many pods of each role that is named. Fenced: of another epoch, or elsewhere, it changes nothing."""

    job: str
    epoch: int
    cluster: str
    pods: Mapping[str, int]
    reason: str
    grows: Uses | None = None  # what the pods beyond the present ones use and cost; None: as the present ones do
    for_job: str = ""  # that gets the room
    objects: tuple[Object, ...] = ()  # of what travels with it, what says another number then


def begin(session: Session, wanted: Sequence[Resize], now: datetime) -> tuple[str, ...]:
    """Answers the jobs that are told to. The others have moved on, or are being changed already."""
    begun: list[str] = []
    orders: list[NewCommand] = []
    events: list[JobEvent] = []
    for one in wanted:
        row = _row(session, one.job)
        if row is None or (row.epoch, row.cluster) != (one.epoch, one.cluster):
            continue
        if Phase(row.phase) not in _MAY or row.wanted_json:
            continue
        held = codec.reservation_of(row)
        target = sizes.with_pods(held.workload, one.pods)
        if target == held.workload and not one.objects:
            continue
        revision, pods = held.revision + 1, sizes.pods_of(target)
        changed: dict[str, Any] = {
            "revision": revision,
            "was_json": codec.dump(sizes.pods_of(held.workload)),
            "wanted_json": codec.dump(pods),
            "shrinks_for": one.for_job,
        }
        if target.pods > held.workload.pods:
            changed |= _charged(session, row, held, 2 * held.revision + 1, now)
            changed |= _paid(_uses(row) + one.grows if one.grows else scaled(_uses(row), held.workload, target))
            changed["pods_json"] = codec.dump(pods)
        _save(session, row, changed)
        order = Scale(revision, pods, one.reason, one.objects)
        orders.append(NewCommand(one.cluster, JobRef(one.job, one.epoch), order, now))
        events.append(_event(session, row, one.reason, now))
        begun.append(one.job)
    commands.append(session, orders)
    moves.write_events(session, events)
    return tuple(begun)


def settled(session: Session, ref: JobRef, cluster: str, revision: int, now: datetime) -> None:
    """The cluster has made it so. Said again it changes nothing."""
    row = _row(session, ref.job)
    if row is None or (row.epoch, row.cluster, row.revision) != (ref.epoch, cluster, revision) or not row.wanted_json:
        return
    held = codec.reservation_of(row)
    changed: dict[str, Any] = {"wanted_json": "", "shrinks_for": ""}
    if held.shrinks_to is not None:
        changed |= _charged(session, row, held, 2 * held.revision, now)
        changed |= _paid(scaled(_uses(row), held.workload, held.shrinks_to))
        changed["pods_json"] = row.wanted_json
    _save(session, row, changed)


def refused(
    session: Session, ref: JobRef, cluster: str, message: str, now: datetime, revision: int | None = None
) -> None:
    """The cluster cannot: it stays, or is again, as it was. Without a revision: the one that it was told last."""
    row = _row(session, ref.job)
    if row is None or (row.epoch, row.cluster) != (ref.epoch, cluster) or not row.wanted_json:
        return
    if revision is not None and row.revision != revision:
        return
    held = codec.reservation_of(row)
    changed: dict[str, Any] = {"wanted_json": "", "was_json": "", "shrinks_for": ""}
    if held.shrinks_to is None and held.was is not None:
        changed |= _paid(scaled(_uses(row), held.workload, held.was))
        changed["pods_json"] = row.was_json
    _save(session, row, changed)
    moves.write_events(session, [_event(session, row, f"its size stays as it is: {message}", now)])


def resize(
    session: Session,
    job: str,
    pods: Mapping[str, int],
    *,
    reason: str,
    now: datetime,
    objects: tuple[Object, ...] = (),
) -> bool:
    """What the job asks for from now on, in this attempt and in those to come, elastic or not. `objects` take the place
    of those of their names that travel with it.

    False where it cannot be done now: it is being placed, changed or stopped, or has ended.
    """
    spec = rows.job_specs.c
    state = (
        session.connection()
        .execute(
            select(rows.jobs.c.phase, spec.workload_json, spec.objects_json)
            .join_from(rows.jobs, rows.job_specs, spec.job == rows.jobs.c.id)
            .where(rows.jobs.c.id == job)
        )
        .one_or_none()
    )
    if state is None or Phase(state.phase) not in _MAY | {Phase.QUEUED}:
        return False
    row = _row(session, job)
    wanted = sizes.with_pods(codec.workload_of(state.workload_json), pods)
    if row is not None:
        held = codec.reservation_of(row).workload
        differs = bool(objects) or sizes.with_pods(held, pods) != held
        asked = Resize(job, row.epoch, row.cluster, pods, reason, objects=objects)
        if differs and not begin(session, [asked], now):
            return False
    changed = {"workload_json": codec.dump(wanted)}
    if objects:
        changed["objects_json"] = codec.dump(list(replaced(codec.objects_of(state.objects_json), objects)))
    session.connection().execute(update(rows.job_specs).where(spec.job == job).values(**changed))
    if row is None:
        moves.requeue(session, [job])
    return True


def _row(session: Session, job: str) -> Row[Any] | None:
    """The reservation with what belongs to it."""
    one, spec = rows.jobs.c, rows.job_specs.c
    query = (
        select(rows.reservations, one.phase, one.name, one.queue, one.tenant, one.owner, one.whole, spec.workload_json)
        .join_from(rows.reservations, rows.jobs, one.id == rows.reservations.c.job)
        .join(rows.job_specs, spec.job == one.id)
        .where(rows.reservations.c.job == job)
    )
    return session.connection().execute(query).one_or_none()


def _uses(row: Row[Any]) -> Uses:
    return Uses(codec.uses_of(row.uses_json), row.usd_per_hour, row.cpu_usd_per_hour)


def _paid(uses: Uses) -> dict[str, Any]:
    return {
        "uses_json": codec.dump(uses.products),
        "usd_per_hour": uses.usd_per_hour,
        "cpu_usd_per_hour": uses.cpu_usd_per_hour,
    }


def _charged(session: Session, row: Row[Any], held: Reservation, part: int, now: datetime) -> dict[str, Any]:
    """Writes down what the size that it had until now has cost; answers where the next one begins.

    `part` numbers it: odd before a growth, even after a shrink, so that one revision may have both.
    """
    if held.since is None:
        return {}
    until = max(now, held.since)
    before = attempts.attempt_of(row, until=until)
    attempts.record(session, [attempts.as_part(before, part)])
    # What was moved for it is charged with the first; how much was foreseen was for the size that it began with.
    return {"since": until, "placed_at": held.began, "egress_usd": 0.0, "foreseen_usd": None}


def _save(session: Session, row: Row[Any], changed: Mapping[str, Any]) -> None:
    session.connection().execute(update(rows.reservations).where(rows.reservations.c.job == row.job).values(**changed))
    if "usd_per_hour" in changed:
        session.connection().execute(
            update(rows.jobs)
            .where(rows.jobs.c.id == row.job, rows.jobs.c.usd_per_hour.is_not(None))
            .values(usd_per_hour=changed["usd_per_hour"])
        )
    after = _row(session, row.job)
    assert after is not None  # noqa: S101  it was there a moment ago, in this transaction
    announce(session, Reserved(codec.reservation_of(after)))


def _event(session: Session, row: Row[Any], message: str, now: datetime) -> JobEvent:
    number = moves.event_number(session)
    return JobEvent(number, row.job, row.tenant, row.epoch, Phase(row.phase), EVENT, message, now)
