"""What ended attempts took: written once when a reservation is released, kept for longer than a month's budget."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from hub.store import codec, rows
from hub.store.changes import Spent, announce
from wire.orders import JobRef


def record(session: Session, ref: JobRef, ended: Spent, *, tenant: str, cluster: str) -> None:
    session.connection().execute(
        insert(rows.attempts),
        [
            {
                "job": ref.job,
                "epoch": ref.epoch,
                "queue": ended.queue,
                "tenant": tenant,
                "cluster": cluster,
                "uses_json": codec.dump(ended.uses),
                "usd_per_hour": ended.usd_per_hour,
                "since": ended.since,
                "until": ended.until,
            }
        ],
    )
    announce(session, ended)


def ended_after(session: Session, moment: datetime) -> tuple[Spent, ...]:
    attempt = rows.attempts.c
    query = (
        select(attempt.queue, attempt.uses_json, attempt.usd_per_hour, attempt.since, attempt.until)
        .where(attempt.until > moment)
        .order_by(attempt.until, attempt.job)
    )
    return tuple(
        Spent(queue, codec.uses_of(uses), usd, since, until)
        for queue, uses, usd, since, until in session.connection().execute(query)
    )


def forget(session: Session, ended_before: datetime) -> None:
    session.connection().execute(delete(rows.attempts).where(rows.attempts.c.until < ended_before))
