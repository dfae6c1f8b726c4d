"""Jobs as the services read and write them: bulk submits, pages, references. Moves between phases are in `moves`.

Every read takes the actor and is narrowed to its tenant in the query itself. The manifests may be megabytes and only a
placing needs them: a `Job` read or answered here has no `objects`, `objects_of` loads them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.orm import Session

from hub.records import Actor, DivisionRecord, Job, JobEvent, JobFilter, Object, Page
from hub.store import codec, moves, rows
from hub.store.changes import Divided, announce
from hub.store.pieces import in_pieces
from placement.fleet import Leaving, Progress, Reservation
from placement.lifecycle import HOLDING, Phase
from placement.verdict import Decision
from placement.workload import Workload

SUBMIT = "submit"


@dataclass(frozen=True, slots=True)
class NewJob:
    id: str
    workload: Workload
    objects: Sequence[Object]
    submitted_at: datetime  # grows within a submit, so that its jobs keep the order they were written in
    workload_json: str
    objects_json: str
    whole: str | None = None  # of a part: the divided work; of that work: its own id
    division: DivisionRecord | None = None
    said: str = ""  # of its first event; else who submitted it


def new_job(
    id_: str,
    workload: Workload,
    objects: Sequence[Object],
    submitted_at: datetime,
    *,
    whole: str | None = None,
    division: DivisionRecord | None = None,
    said: str = "",
) -> NewJob:
    """Encoded here and not in the transaction. Raises TypeError where a number has more than 64 bits."""
    encoded = codec.dump(workload), codec.dump(list(objects))
    return NewJob(id_, workload, objects, submitted_at, *encoded, whole, division, said)


@dataclass(frozen=True, slots=True)
class Name:
    """What a live job is unique by, within its tenant."""

    kind: str
    namespace: str
    name: str


def name_of(workload: Workload) -> Name:
    return Name(workload.kind, workload.namespace, workload.name)


# ---- submit ----


def insert_many(session: Session, new: Sequence[tuple[Actor, str | None, NewJob]]) -> None:
    """Queues (owner, client key, job), each with its event. The caller has checked the names."""
    if not new:
        return
    session.connection().execute(insert(rows.jobs), [_row(actor, one, key) for actor, key, one in new])
    session.connection().execute(
        insert(rows.job_specs),
        [
            {
                "job": one.id,
                "workload_json": one.workload_json,
                "objects_json": one.objects_json,
            }
            for _, _, one in new
        ],
    )
    events = [
        JobEvent(
            seq=moves.event_number(session),
            job=one.id,
            tenant=actor.tenant,
            epoch=1,
            phase=Phase.QUEUED,
            event=SUBMIT,
            message=one.said or f"by {actor.user}",
            at=one.submitted_at,
        )
        for actor, _, one in new
    ]
    moves.record_submits(session, events, [one.workload for _, _, one in new])
    for _, _, one in new:
        if one.whole is not None:
            announce(session, Divided(one.whole, one.id))


def _row(actor: Actor, one: NewJob, client_key: str | None) -> dict[str, object]:
    workload = one.workload
    return {
        "id": one.id,
        "tenant": actor.tenant,
        "owner": actor.user,
        "name": workload.name,
        "namespace": workload.namespace,
        "kind": workload.kind,
        "queue": workload.hints.queue,
        "priority": workload.hints.priority,
        "phase": Phase.QUEUED.value,
        "epoch": 1,
        "report_seq": 0,
        "reason": "",
        "roles_json": "[]",
        "pods_json": "[]",
        "submitted_at": one.submitted_at,
        "spot": False,
        "client_key": client_key,
        "whole": one.whole,
        "division_json": None if one.division is None else codec.dump(one.division),
    }


def fresh(actor: Actor, one: NewJob, client_key: str | None) -> Job:
    """The job as `insert_many` has just written it."""
    workload = one.workload
    return Job(
        id=one.id,
        tenant=actor.tenant,
        owner=actor.user,
        name=workload.name,
        namespace=workload.namespace,
        kind=workload.kind,
        queue=workload.hints.queue,
        priority=workload.hints.priority,
        phase=Phase.QUEUED,
        epoch=1,
        cluster=None,
        reason="",
        workload=workload,
        roles=(),
        pods=(),
        submitted_at=one.submitted_at,
        placed_at=None,
        started_at=None,
        finished_at=None,
        usd_per_hour=None,
        spot=False,
        client_key=client_key,
        whole=one.whole,
        division=one.division,
    )


def live_names(session: Session, names: Set[tuple[str, Name]]) -> dict[tuple[str, Name], str]:
    """The ids of live jobs that have one of these (tenant, name)s."""
    job = rows.jobs.c
    query = select(job.tenant, job.kind, job.namespace, job.name, job.id).where(
        job.finished_at.is_(None), rows.is_no_part(), job.tenant.in_(sorted({tenant for tenant, _ in names}))
    )
    found = {
        (row.tenant, Name(row.kind, row.namespace, row.name)): row.id
        for piece in in_pieces(sorted({name.name for _, name in names}))
        for row in session.connection().execute(query.where(job.name.in_(piece)))
    }
    return {name: id_ for name, id_ in found.items() if name in names}


@dataclass(frozen=True, slots=True)
class Known:
    """What a client key stands for."""

    content_hash: bytes
    jobs: tuple[str, ...]


def submissions(session: Session, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Known]:
    """Those that are known among (tenant, client key)s."""
    if not keys:
        return {}
    table = rows.submissions.c
    query = select(table.tenant, table.client_key, table.content_hash, table.jobs_json).where(
        table.tenant.in_(sorted({tenant for tenant, _ in keys})), table.client_key.in_(sorted({key for _, key in keys}))
    )
    found = {
        (tenant, key): Known(content, tuple(codec.load(ids)))
        for tenant, key, content, ids in session.connection().execute(query)
    }
    return {key: found[key] for key in keys if key in found}


def remember_submissions(session: Session, new: Sequence[tuple[str, str | None, Known, datetime]]) -> None:
    """(tenant, client key, what it stands for, when)"""
    if not new:
        return
    session.connection().execute(
        insert(rows.submissions),
        [
            {
                "tenant": tenant,
                "client_key": key,
                "content_hash": known.content_hash,
                "jobs_json": codec.dump(list(known.jobs)),
                "created_at": at,
            }
            for tenant, key, known, at in new
        ],
    )


# ---- read ----


def by_ids(session: Session, actor: Actor, ids: Sequence[str]) -> tuple[Job, ...]:
    """In the order of `ids`; those that are not there, or not the actor's, are left out."""
    query = _visible(_SELECT, actor)
    found = {
        row.id: _job(row)
        for piece in in_pieces(ids)
        for row in session.connection().execute(query.where(rows.jobs.c.id.in_(piece)))
    }
    return tuple(found[id_] for id_ in ids if id_ in found)


def by_ref(session: Session, actor: Actor, ref: str) -> tuple[Job, ...]:
    """The job of that id; else the live jobs of that name; else the one of that name that was submitted last."""
    found = by_ids(session, actor, [ref])
    if found:
        return found
    job = rows.jobs.c
    named = _visible(_SELECT, actor).where(job.name == ref, rows.is_no_part())
    named = named.order_by(job.submitted_at.desc(), job.id.desc())
    live = tuple(
        _job(row) for row in session.connection().execute(named.where(job.finished_at.is_(None)).limit(MAX_NAMESAKES))
    )
    if live:
        return live
    return tuple(_job(row) for row in session.connection().execute(named.limit(1)))


def of_wholes(session: Session, ids: Sequence[str]) -> tuple[Job, ...]:
    """These divided works and their parts, oldest first, but for parts that were stopped. For the hub itself: of every
    tenant."""
    job = rows.jobs.c
    told = or_(job.whole == job.id, job.phase != Phase.CANCELLED.value)
    query = _SELECT.where(told).order_by(job.submitted_at, job.id)
    return tuple(
        _job(row)
        for piece in in_pieces(ids)
        for row in session.connection().execute(query.where(rows.jobs.c.whole.in_(piece)))
    )


MAX_NAMESAKES = 20


class BadCursor(ValueError):
    """Not one that a page of this hub ended with."""


def page(session: Session, actor: Actor, wanted: JobFilter) -> Page:
    """Newest first. Raises BadCursor."""
    conditions = _conditions(actor, wanted)
    query = _SELECT.where(*conditions)
    if wanted.cursor is not None:
        query = query.where(_beyond(wanted.cursor))
    query = query.order_by(rows.jobs.c.submitted_at.desc(), rows.jobs.c.id.desc()).limit(wanted.limit + 1)
    found = [_job(row) for row in session.connection().execute(query)]
    count = select(func.count()).select_from(rows.jobs).where(*conditions)
    total = session.connection().execute(count).scalar_one()
    more = len(found) > wanted.limit
    found = found[: wanted.limit]
    return Page(tuple(found), _cursor(found[-1]) if more else None, total)


def _conditions(actor: Actor, wanted: JobFilter) -> list[Any]:
    job = rows.jobs.c
    conditions: list[Any] = []
    if not actor.sees_every_tenant:
        conditions.append(job.tenant == actor.tenant)
    if wanted.tenant is not None:
        conditions.append(job.tenant == wanted.tenant)
    if wanted.phases:
        conditions.append(job.phase.in_([phase.value for phase in wanted.phases]))
    if not wanted.parts:
        conditions.append(rows.is_no_part())
    if wanted.cluster is not None:
        conditions.append(_on(wanted.cluster))
    if wanted.queue is not None:
        conditions.append(job.queue == wanted.queue)
    if wanted.name is not None:
        conditions.append(job.name.contains(wanted.name, autoescape=True))
    return conditions


def _on(cluster: str) -> Any:
    """The jobs there, and the divided works that have a part there."""
    part = rows.jobs.alias("part").c
    there = select(part.whole).where(part.cluster == cluster, part.whole.is_not(None))
    return or_(rows.jobs.c.cluster == cluster, rows.jobs.c.id.in_(there))


_DAWN = datetime(1970, 1, 1, tzinfo=UTC)


def _cursor(job: Job) -> str:
    since = (job.submitted_at - _DAWN) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{since}:{job.id}".encode()).decode().rstrip("=")


def _beyond(cursor: str) -> Any:
    try:
        since, _, id_ = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(":")
        at = _DAWN + timedelta(microseconds=int(since))
    except (binascii.Error, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise BadCursor(f"{cursor!r} is not a cursor") from error
    job = rows.jobs.c
    return or_(job.submitted_at < at, and_(job.submitted_at == at, job.id < id_))


def decision(session: Session, job: str, epoch: int, workload: Workload) -> Decision | None:
    """Why that attempt was placed where it was; None where it was not placed."""
    table = rows.placements.c
    text = (
        session.connection()
        .execute(select(table.decision_json).where(table.job == job, table.epoch == epoch))
        .scalar_one_or_none()
    )
    return None if text is None else codec.decision_of(text, workload)


def objects_of(session: Session, ids: Sequence[str]) -> Mapping[str, tuple[Object, ...]]:
    spec = rows.job_specs.c
    query = select(spec.job, spec.objects_json).where(spec.job.in_(list(ids)))
    return {id_: codec.objects_of(text) for id_, text in session.connection().execute(query)}


def holding_on(session: Session, cluster: str) -> tuple[str, ...]:
    """Ids of the jobs that hold capacity there."""
    held = rows.reservations.c
    return tuple(session.connection().execute(select(held.job).where(held.cluster == cluster)).scalars())


def reservations(session: Session) -> tuple[Reservation, ...]:
    held, spec = rows.reservations.c, rows.job_specs.c
    query = select(rows.reservations, spec.workload_json).join_from(
        rows.reservations, rows.job_specs, spec.job == held.job
    )
    return tuple(codec.reservation_of(row) for row in session.connection().execute(query))


def standing(session: Session) -> tuple[dict[str, Progress], dict[str, Leaving]]:
    """Of live attempts: how far they have come, and which of them are being stopped."""
    job = rows.jobs.c
    query = select(
        job.id, job.epoch, job.phase, job.started_at, job.checkpoint_at, job.pods_json, job.evicted_for
    ).where(job.phase.in_([phase.value for phase in HOLDING]), rows.is_placed_itself())
    progress: dict[str, Progress] = {}
    leaving: dict[str, Leaving] = {}
    for id_, epoch, phase, started_at, checkpoint_at, pods, evicted_for in session.connection().execute(query):
        found = moves.progress_of(epoch, started_at, checkpoint_at, pods)
        if found != Progress(epoch):
            progress[id_] = found
        if Phase(phase) in (Phase.EVICTING, Phase.CANCELLING):
            leaving[id_] = Leaving(epoch, evicted_for or "")
    return progress, leaving


def queued_epochs(session: Session, ids: Iterable[str]) -> dict[str, int]:
    """Of those that are queued now."""
    job = rows.jobs.c
    return {
        id_: epoch
        for piece in in_pieces(ids)
        for id_, epoch in session.connection().execute(
            select(job.id, job.epoch).where(job.id.in_(piece), job.phase == Phase.QUEUED.value)
        )
    }


# ---- the waiting ----


@dataclass(frozen=True, slots=True)
class WaitingReason:
    job: str
    epoch: int
    reason: str
    promised: str = ""  # the cluster on which room is made for it


def note_reasons(session: Session, reasons: Sequence[WaitingReason]) -> None:
    """Why queued jobs wait, in words. One that has been placed or requeued meanwhile keeps what it has."""
    if not reasons:
        return
    job = rows.jobs.c
    session.connection().execute(
        update(rows.jobs)
        .where(job.id == bindparam("_id"), job.epoch == bindparam("_epoch"), job.phase == Phase.QUEUED.value)
        .values(reason=bindparam("_reason"), promised=bindparam("_promised")),
        [
            {"_id": one.job, "_epoch": one.epoch, "_reason": one.reason, "_promised": one.promised or None}
            for one in reasons
        ],
    )


_SELECT: Select[Any] = select(
    *(column for column in rows.jobs.c if column.name not in ("report_seq", "queued_at")),
    rows.job_specs.c.workload_json,
).join_from(rows.jobs, rows.job_specs, rows.job_specs.c.job == rows.jobs.c.id)


def _visible(query: Select[Any], actor: Actor) -> Select[Any]:
    return query if actor.sees_every_tenant else query.where(rows.jobs.c.tenant == actor.tenant)


def _job(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        tenant=row.tenant,
        owner=row.owner,
        name=row.name,
        namespace=row.namespace,
        kind=row.kind,
        queue=row.queue,
        priority=row.priority,
        phase=Phase(row.phase),
        epoch=row.epoch,
        cluster=row.cluster,
        reason=row.reason,
        workload=codec.workload_of(row.workload_json),
        roles=codec.role_counts_of(row.roles_json),
        pods=codec.pod_places_of(row.pods_json),
        submitted_at=row.submitted_at,
        placed_at=row.placed_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        usd_per_hour=row.usd_per_hour,
        spot=row.spot,
        client_key=row.client_key,
        checkpoint_at=row.checkpoint_at,
        stalled_since=row.stalled_since,
        whole=row.whole,
        division=codec.division_of(row.division_json),
        progress=codec.tally_of(row.progress_done, row.progress_of),
        retries=codec.tally_of(row.retries_done, row.retries_of),
    )
