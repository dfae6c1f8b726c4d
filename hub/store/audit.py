"""Who reached into which job's pods, and how: written before it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from hub.records import Actor
from hub.store import rows
from hub.store.numbers import next_number


@dataclass(frozen=True, slots=True)
class Access:
    seq: int
    at: datetime
    user: str
    tenant: str  # of the job
    action: str  # "exec" | "port-forward"
    job: str
    cluster: str
    detail: str  # the command, or the port


def note(session: Session, access: Access) -> None:
    """Its number is given here."""
    values = {
        "seq": next_number(session, rows.audit),
        "at": access.at,
        "user": access.user,
        "tenant": access.tenant,
        "action": access.action,
        "job": access.job,
        "cluster": access.cluster,
        "detail": access.detail,
    }
    session.connection().execute(insert(rows.audit), values)


def newest(session: Session, actor: Actor, *, before: int | None = None, limit: int = 100) -> Sequence[Access]:
    """Of the actor's tenant, the newest first."""
    row = rows.audit.c
    query = select(row.seq, row.at, row.user, row.tenant, row.action, row.job, row.cluster, row.detail)
    if not actor.sees_every_tenant:
        query = query.where(row.tenant == actor.tenant)
    if before is not None:
        query = query.where(row.seq < before)
    return [Access(*found) for found in session.connection().execute(query.order_by(row.seq.desc()).limit(limit))]


def forget(session: Session, before: datetime, at_most: int) -> None:
    row = rows.audit.c
    last = select(func.max(row.seq)).scalar_subquery()
    old = select(row.seq).where(row.at < before, row.seq < last).order_by(row.seq).limit(at_most)
    session.connection().execute(delete(rows.audit).where(row.seq.in_(old)))
