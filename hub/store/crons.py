"""CronJobs and their runs. Reads for people take the actor, and are narrowed to its tenant in the query itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from hub.records import Actor, Object
from hub.store import codec, rows
from hub.store.changes import CronSaved, announce
from hub.store.pieces import in_pieces
from placement.lifecycle import TERMINAL, Phase

MAX_NAMESAKES = 20


@dataclass(frozen=True, slots=True)
class CronRecord:
    id: str
    tenant: str
    owner: str
    namespace: str
    name: str
    revision: int  # grows with each change of the manifest
    suspended: bool
    manifest: Object
    objects: tuple[Object, ...]  # what travels along with each run
    if_too_large: str | None
    kept_succeeded: int
    kept_failed: int
    created_at: datetime
    since: datetime  # runs for moments after this are not started yet
    look_at: datetime | None
    note: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    job: str
    name: str
    scheduled_at: datetime | None  # None: started by hand
    started_at: datetime
    phase: Phase
    cluster: str | None
    finished_at: datetime | None

    @property
    def is_over(self) -> bool:
        return self.phase in TERMINAL


def page(session: Session, actor: Actor) -> tuple[CronRecord, ...]:
    column = rows.crons.c
    query = _visible(_SELECT, actor).order_by(column.tenant, column.namespace, column.name)
    return tuple(_record(row) for row in session.connection().execute(query))


def by_ref(session: Session, actor: Actor, ref: str) -> tuple[CronRecord, ...]:
    """That of the id, or those of the name."""
    column = rows.crons.c
    query = _visible(_SELECT, actor).where(or_(column.id == ref, column.name == ref)).limit(MAX_NAMESAKES)
    found = tuple(_record(row) for row in session.connection().execute(query))
    return tuple(one for one in found if one.id == ref) or found


def named(session: Session, tenant: str, namespace: str, name: str) -> CronRecord | None:
    column = rows.crons.c
    query = _SELECT.where(column.tenant == tenant, column.namespace == namespace, column.name == name)
    row = session.connection().execute(query).first()
    return None if row is None else _record(row)


def record(session: Session, id_: str) -> CronRecord | None:
    row = session.connection().execute(_SELECT.where(rows.crons.c.id == id_)).first()
    return None if row is None else _record(row)


def count(session: Session, tenant: str) -> int:
    query = select(func.count()).select_from(rows.crons).where(rows.crons.c.tenant == tenant)
    return session.connection().execute(query).scalar_one()


def add(session: Session, one: CronRecord) -> None:
    session.connection().execute(insert(rows.crons), {"id": one.id, **_row(one)})
    announce(session, CronSaved(one.id))


def change(session: Session, one: CronRecord) -> None:
    session.connection().execute(update(rows.crons).where(rows.crons.c.id == one.id).values(**_row(one)))
    announce(session, CronSaved(one.id))


def remove(session: Session, id_: str) -> None:
    """The jobs stay, and are nobody's runs any more."""
    session.connection().execute(delete(rows.cron_runs).where(rows.cron_runs.c.cron == id_))
    session.connection().execute(delete(rows.crons).where(rows.crons.c.id == id_))


# ---- the calendar ----


def every_id(session: Session) -> tuple[str, ...]:
    """Of those that are not suspended."""
    query = select(rows.crons.c.id).where(rows.crons.c.suspended.is_(False)).order_by(rows.crons.c.id)
    return tuple(session.connection().execute(query).scalars())


def due_ids(session: Session, now: datetime) -> tuple[str, ...]:
    """Those that are to be looked at by now, the longest overdue first."""
    column = rows.crons.c
    query = select(column.id).where(column.suspended.is_(False), column.look_at <= now).order_by(column.look_at)
    return tuple(session.connection().execute(query).scalars())


def any_there(session: Session) -> bool:
    return session.connection().execute(select(rows.crons.c.id).limit(1)).first() is not None


def ids_of_runs(session: Session, jobs: Collection[str]) -> tuple[str, ...]:
    column = rows.cron_runs.c
    found: dict[str, None] = {}
    for piece in in_pieces(sorted(jobs)):
        query = select(column.cron).where(column.job.in_(piece)).distinct()
        found |= dict.fromkeys(session.connection().execute(query).scalars())
    return tuple(found)


def next_look(session: Session) -> datetime | None:
    query = select(func.min(rows.crons.c.look_at)).where(rows.crons.c.suspended.is_(False))
    found: datetime | None = session.connection().execute(query).scalar_one()
    return found


def looked(session: Session, id_: str, look_at: datetime | None, note: str, since: datetime | None = None) -> None:
    """Not announced: the calendar itself says it. `since`: a run was started, or cannot be."""
    values: dict[str, Any] = {"look_at": look_at, "note": note}
    if since is not None:
        values["since"] = since
    session.connection().execute(update(rows.crons).where(rows.crons.c.id == id_).values(**values))


def add_run(session: Session, cron: str, job: str, scheduled_at: datetime | None, now: datetime) -> None:
    """Raises IntegrityError where there is a run for that moment."""
    row = {"job": job, "cron": cron, "scheduled_at": scheduled_at, "started_at": now}
    session.connection().execute(insert(rows.cron_runs), row)


def runs(session: Session, cron: str) -> tuple[RunRecord, ...]:
    """The newest first."""
    run, job = rows.cron_runs.c, rows.jobs.c
    query = (
        select(run.job, job.name, run.scheduled_at, run.started_at, job.phase, job.cluster, job.finished_at)
        .join(rows.jobs, job.id == run.job)
        .where(run.cron == cron)
        .order_by(run.started_at.desc(), run.job)
    )
    found = session.connection().execute(query)
    return tuple(RunRecord(*row[:4], Phase(row[4]), *row[5:]) for row in found)


def forget_runs(session: Session, one: CronRecord) -> int:
    """Those that ended, beyond what is kept; the jobs stay as long as any do."""
    over = [run for run in runs(session, one.id) if run.is_over]
    succeeded = [run.job for run in over if run.phase is Phase.SUCCEEDED]
    failed = [run.job for run in over if run.phase is not Phase.SUCCEEDED]
    gone = [*succeeded[one.kept_succeeded :], *failed[one.kept_failed :]]
    for piece in in_pieces(gone):
        session.connection().execute(delete(rows.cron_runs).where(rows.cron_runs.c.job.in_(piece)))
    return len(gone)


def _visible(query: Select[Any], actor: Actor) -> Select[Any]:
    return query if actor.sees_every_tenant else query.where(rows.crons.c.tenant == actor.tenant)


_PLAIN = tuple(field.name for field in fields(CronRecord) if field.name not in ("id", "manifest", "objects"))


def _row(one: CronRecord) -> dict[str, Any]:
    texts = {"manifest_json": codec.dump(dict(one.manifest)), "objects_json": codec.dump(list(one.objects))}
    return {name: getattr(one, name) for name in _PLAIN} | texts


def _record(row: Any) -> CronRecord:
    known = {name: getattr(row, name) for name in _PLAIN}
    return CronRecord(
        id=row.id, manifest=codec.load(row.manifest_json), objects=codec.objects_of(row.objects_json), **known
    )


_SELECT = select(*rows.crons.c)
