"""The kind files that admins added, by name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from hub.store import codec, rows


@dataclass(frozen=True, slots=True)
class KindFileRecord:
    name: str
    text: str
    added_by: str
    added_at: datetime


def every(session: Session) -> tuple[KindFileRecord, ...]:
    row = rows.kind_files.c
    query = select(row.name, row.text, row.added_by, row.added_at).order_by(row.name)
    return tuple(KindFileRecord(*each) for each in session.connection().execute(query))


def save(session: Session, one: KindFileRecord) -> None:
    forget(session, one.name)
    values = {"name": one.name, "text": one.text, "added_by": one.added_by, "added_at": one.added_at}
    session.connection().execute(insert(rows.kind_files), values)


def forget(session: Session, name: str) -> None:
    session.connection().execute(delete(rows.kind_files).where(rows.kind_files.c.name == name))


def live_jobs(session: Session, kind: str, resource_kinds: Collection[str]) -> tuple[str, ...]:
    """Ids of jobs of these kinds ("example.com/v1/Sweep") that have not ended; `kind` is the name they share."""
    jobs, specs = rows.jobs.c, rows.job_specs.c
    query = select(jobs.id, specs.workload_json).join(rows.job_specs, specs.job == jobs.id)
    found = session.connection().execute(query.where(jobs.finished_at.is_(None), jobs.kind == kind).order_by(jobs.id))
    return tuple(id_ for id_, text in found if codec.workload_of(text).resource_kind in resource_kinds)
