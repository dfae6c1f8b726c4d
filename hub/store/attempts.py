"""What ended attempts took: written once when a reservation is released, kept for longer than a month's budget.

What they cost is added to the sums by day in the same transaction, which are kept for longer still (`cost_days`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from hub.store import codec, cost_days, rows
from hub.store.changes import Spent, announce
from placement.costs import Attempt
from wire.orders import JobRef


def record(session: Session, ended: Sequence[tuple[JobRef, Attempt, bool]]) -> None:
    """Each with whether it was on spot capacity."""
    if not ended:
        return
    session.connection().execute(insert(rows.attempts), [_row(*one) for one in ended])
    cost_days.add(session, [attempt for _, attempt, _ in ended])
    for _, one, _ in ended:
        announce(session, Spent(one.queue, tuple(one.uses), one.usd_per_hour, one.since, one.until))


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


def _row(ref: JobRef, one: Attempt, spot: bool) -> dict[str, object]:
    return {
        "job": ref.job,
        "epoch": ref.epoch,
        "queue": one.queue,
        "tenant": one.tenant,
        "cluster": one.cluster,
        "uses_json": codec.dump(one.uses),
        "usd_per_hour": one.usd_per_hour,
        "since": one.since,
        "until": one.until,
        "owner": one.owner,
        "name": one.name,
        "outcome": one.outcome.value if one.outcome is not None else "",
        "hours": one.hours,
        "gpus": one.gpus,
        "cores": one.cores,
        "spot": spot,
        "cpu_usd_per_hour": one.cpu_usd_per_hour,
        "foreseen_usd": one.foreseen_usd,
        "egress_usd": one.egress_usd,
        "whole": one.whole,
    }
