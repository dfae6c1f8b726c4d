"""What ended attempts took: written once when a reservation is released, kept for longer than a month's budget.

What they cost is added to the sums by day in the same transaction, which are kept for longer still (`cost_days`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.orm import Session

from hub.store import codec, cost_days, rows
from hub.store.changes import Spent, announce
from placement.costs import LOST, Attempt, Outcome


def record(session: Session, ended: Sequence[Attempt]) -> None:
    """Of an attempt with several sizes, the last one takes along how those before it are to be counted."""
    if not ended:
        return
    lost = [part for one in ended for part in _lost_before(session, one)]
    session.connection().execute(insert(rows.attempts), [_row(one) for one in ended])
    cost_days.add(session, ended)
    cost_days.add_lost(session, lost)
    for one in ended:
        announce(session, Spent(one.queue, tuple(one.uses), one.usd_per_hour, one.since, one.until))


def _lost_before(session: Session, last: Attempt) -> Sequence[Attempt]:
    """The earlier sizes of an attempt that has ended with nothing to show, marked as lost too."""
    if last.part or last.outcome is None:
        return ()
    attempt = rows.attempts.c
    mine = and_(attempt.job == last.job, attempt.epoch == last.epoch, attempt.part > 0)
    changed = session.connection().execute(update(rows.attempts).where(mine).values(outcome=last.outcome.value))
    if not changed.rowcount or last.outcome not in LOST:
        return ()
    return [attempt_of(row) for row in session.connection().execute(select(rows.attempts).where(mine))]


def attempt_of(row: Any, *, until: datetime | None = None) -> Attempt:
    """Of a row of attempts; with `until`, of a reservation (joined with its job) that is held until then."""
    return Attempt(
        job=row.job,
        epoch=row.epoch,
        name=row.name,
        queue=row.queue,
        tenant=row.tenant,
        owner=row.owner,
        cluster=row.cluster,
        uses=codec.uses_of(row.uses_json),
        usd_per_hour=row.usd_per_hour,
        cpu_usd_per_hour=row.cpu_usd_per_hour,
        egress_usd=row.egress_usd,
        foreseen_usd=row.foreseen_usd,
        since=row.since,
        until=row.until if until is None else until,
        outcome=Outcome(row.outcome) if until is None and row.outcome else None,
        runs=until is not None,
        part=row.part if until is None else 0,
        whole=row.whole,
    )


def as_part(attempt: Attempt, part: int) -> Attempt:
    """Of one that goes on with another size: what it was until now."""
    return replace(attempt, part=part, runs=False, foreseen_usd=None)


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


def _row(one: Attempt) -> dict[str, object]:
    return {
        "job": one.job,
        "epoch": one.epoch,
        "part": one.part,
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
        "cpu_usd_per_hour": one.cpu_usd_per_hour,
        "foreseen_usd": one.foreseen_usd,
        "egress_usd": one.egress_usd,
        "whole": one.whole,
    }
