"""Reports of what was spent, read from the sums by day, and, by job, from the attempts; running ones up to now.

Every read takes the actor and is narrowed to its tenant in the query itself. What is grouped by anything but jobs costs
as much as there are days, queues, owners and clusters, however many jobs there were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from hub.records import Actor, CostBy, CostLine, CostQuery, CostReport
from hub.store import attempts, rows
from hub.store.cost_days import SUMS, day_name
from hub.store.job_costs import job_costs
from placement import costs
from placement.costs import Attempt, Cost

_COLUMN = {CostBy.QUEUE: "queue", CostBy.USER: "owner", CostBy.CLUSTER: "cluster", CostBy.DAY: "day"}
_DAY = timedelta(days=1)
_SAME = 1e-6  # the same hours summed in another order


def report(session: Session, actor: Actor, query: CostQuery, now: datetime) -> CostReport:
    begin, end = _moment(query.since), _moment(query.until) + _DAY
    running = tuple(_running(session, actor, query, now, end))
    if query.by is CostBy.JOB:
        return _by_job(session, actor, query, now, begin, end, running)
    found = _by_days(session, actor, query, _COLUMN[query.by])
    for attempt in running:
        for key, cost in _shares(attempt, query.by, begin, end):
            found[key] = found.get(key, Cost()) + cost
    if query.by is CostBy.DAY:
        days = tuple(CostLine(day, "", found[day]) for day in sorted(found))
        return CostReport(query, now, days, costs.total(found.values()), 0, Cost(), Cost())
    lines = [CostLine(key, "", cost) for key, cost in found.items()]
    lines.sort(key=lambda line: (-line.cost.usd, -line.cost.gpu_hours, line.key))
    shown, rest = lines[: query.limit], lines[query.limit :]
    more = costs.total(line.cost for line in rest)
    return CostReport(query, now, tuple(shown), costs.total(found.values()), len(rest), more, Cost())


def _by_job(
    session: Session,
    actor: Actor,
    query: CostQuery,
    now: datetime,
    begin: datetime,
    end: datetime,
    running: Sequence[Attempt],
) -> CostReport:
    table = rows.attempts.c
    narrow = _conditions(actor, query, table.tenant, table.queue, table.owner, table.cluster)
    found = job_costs(session, narrow, running, begin, end, query.limit)
    forgotten = _rest(costs.total(_by_days(session, actor, query, "day").values()), found.ended)
    lines = tuple(CostLine(*job, cost) for job, cost in found.dearest)
    more = found.jobs - len(lines)
    more_cost = found.total - costs.total(line.cost for line in lines) if more else Cost()
    return CostReport(query, now, lines, found.total + forgotten, more, more_cost, forgotten)


def _rest(whole: Cost, known: Cost) -> Cost:
    """Of attempts that only the sums by day still tell of."""
    rest = whole - known
    is_some = rest.attempts or rest.gpu_hours + rest.cpu_hours > _SAME * (1 + whole.gpu_hours + whole.cpu_hours)
    return rest if is_some else Cost()


def _by_days(session: Session, actor: Actor, query: CostQuery, column: str) -> dict[str, Cost]:
    """Of attempts that have ended."""
    table = rows.cost_days.c
    wanted = (
        select(table[column], *(func.sum(table[name]).label(name) for name in SUMS))
        .where(table.day >= day_name(query.since), table.day <= day_name(query.until))
        .group_by(table[column])
    )
    found = session.connection().execute(_narrowed(wanted, actor, query, table))
    return {row[0]: Cost(**{name: getattr(row, name) for name in SUMS}) for row in found}


def _running(session: Session, actor: Actor, query: CostQuery, now: datetime, end: datetime) -> Iterator[Attempt]:
    held, job = rows.reservations.c, rows.jobs.c
    wanted: Select[Any] = (
        select(rows.reservations, job.name, job.queue, job.tenant, job.owner, job.whole)
        .join_from(rows.reservations, rows.jobs, job.id == held.job)
        .where(held.since <= now, held.since < end)
        .order_by(held.job)
    )
    for narrow in _conditions(actor, query, job.tenant, job.queue, job.owner, held.cluster):
        wanted = wanted.where(narrow)
    for row in session.connection().execute(wanted):
        yield attempts.attempt_of(row, until=now)


def _narrowed(wanted: Select[Any], actor: Actor, query: CostQuery, table: Any) -> Select[Any]:
    for narrow in _conditions(actor, query, table.tenant, table.queue, table.owner, table.cluster):
        wanted = wanted.where(narrow)
    return wanted


def _conditions(
    actor: Actor, query: CostQuery, tenant: Any, queue: Any, owner: Any, cluster: Any
) -> Iterator[ColumnElement[bool]]:
    if not actor.sees_every_tenant:
        yield tenant == actor.tenant
    for column, wanted in ((queue, query.queue), (owner, query.user), (cluster, query.cluster)):
        if wanted is not None:
            yield column == wanted


def _shares(attempt: Attempt, by: CostBy, begin: datetime, end: datetime) -> Iterator[tuple[str, Cost]]:
    if by is CostBy.DAY:
        for day, cost in costs.by_day(attempt):
            if begin <= day < end:
                yield day_name(day), cost
        return
    key = {CostBy.QUEUE: attempt.queue, CostBy.USER: attempt.owner, CostBy.CLUSTER: attempt.cluster}[by]
    yield key, costs.cost(attempt, begin, end)


def _moment(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
