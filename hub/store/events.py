"""What happened to jobs, in order; and who may read it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from hub.records import Actor, JobEvent
from hub.store import rows
from placement.lifecycle import Phase


def after(session: Session, actor: Actor, seq: int, *, job: str | None = None, limit: int = 500) -> list[JobEvent]:
    """The next events that the actor may see, oldest first."""
    event = rows.job_events.c
    query = _visible(_SELECT, actor).where(event.seq > seq).order_by(event.seq).limit(limit)
    if job is not None:
        query = query.where(event.job == job)
    return [_event(row) for row in session.connection().execute(query)]


def history(session: Session, actor: Actor, job: str, limit: int = 500) -> list[JobEvent]:
    """A job's newest events, oldest first."""
    event = rows.job_events.c
    query = _visible(_SELECT, actor).where(event.job == job).order_by(event.seq.desc()).limit(limit)
    return [_event(row) for row in session.connection().execute(query)][::-1]


def latest(session: Session, limit: int) -> list[JobEvent]:
    """The newest events of every tenant, oldest first: what a restarted feed begins with."""
    query = _SELECT.order_by(rows.job_events.c.seq.desc()).limit(limit)
    return [_event(row) for row in session.connection().execute(query)][::-1]


def _visible(query: Select[Any], actor: Actor) -> Select[Any]:
    return query if actor.sees_every_tenant else query.where(rows.job_events.c.tenant == actor.tenant)


_SELECT = select(
    rows.job_events.c.seq,
    rows.job_events.c.job,
    rows.job_events.c.tenant,
    rows.job_events.c.epoch,
    rows.job_events.c.phase,
    rows.job_events.c.event,
    rows.job_events.c.message,
    rows.job_events.c.at,
)


def _event(row: Sequence[Any]) -> JobEvent:
    seq, job, tenant, epoch, phase, event, message, at = row
    moment: datetime = at
    return JobEvent(seq, job, tenant, epoch, Phase(phase), event, message, moment)
