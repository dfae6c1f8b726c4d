"""Sums of what ended attempts cost, by UTC day, queue, owner and cluster: reports read these, however many jobs there
were, and they outlive the attempts. The one writer adds to them when an attempt ends."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from hub.store import rows
from placement import costs
from placement.costs import Attempt, Cost

KEY = ("day", "queue", "tenant", "owner", "cluster")
# `running` is no sum of what has ended.
SUMS = (
    "gpu_hours",
    "cpu_hours",
    "gpu_usd",
    "cpu_usd",
    "egress_usd",
    "lost_usd",
    "foreseen_usd",
    "foreseen_real_usd",
    "attempts",
)


def add(session: Session, ended: Iterable[Attempt]) -> None:
    _add(session, ((attempt, day, cost) for attempt in ended for day, cost in costs.by_day(attempt)))


def add_lost(session: Session, ended: Iterable[Attempt]) -> None:
    """That what they cost, which is added already, was lost."""
    parts = ((attempt, day, cost) for attempt in ended for day, cost in costs.by_day(attempt))
    _add(session, ((attempt, day, Cost(lost_usd=cost.lost_usd)) for attempt, day, cost in parts))


def _add(session: Session, parts: Iterable[tuple[Attempt, datetime, Cost]]) -> None:
    found: dict[tuple[str, ...], Cost] = {}
    for attempt, day, part in parts:
        key = (day_name(day), attempt.queue, attempt.tenant, attempt.owner, attempt.cluster)
        found[key] = found.get(key, Cost()) + part
    if found:
        values = [
            {**dict(zip(KEY, key, strict=True)), **{name: getattr(part, name) for name in SUMS}}
            for key, part in sorted(found.items(), key=lambda one: one[0])
        ]
        session.connection().execute(_upsert(session), values)


def forget(session: Session, before: datetime) -> None:
    session.connection().execute(delete(rows.cost_days).where(rows.cost_days.c.day < day_name(before)))


def day_name(day: date) -> str:
    return f"{day:%Y-%m-%d}"


def _upsert(session: Session) -> Any:
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(rows.cost_days)
    table, new = rows.cost_days.c, statement.excluded
    return statement.on_conflict_do_update(
        index_elements=list(KEY), set_={name: table[name] + new[name] for name in SUMS}
    )
