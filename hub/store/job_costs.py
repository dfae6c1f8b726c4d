"""What single jobs cost, from their attempts: summed up where the rows lie, so that only the dearest are read.

Attempts that lie wholly in the time asked for are the database's to sum. Those that its edges cut, and those that run,
are few, and are cut up here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.orm import Session

from hub.store import attempts, rows
from hub.store.pieces import in_pieces
from placement import costs
from placement.costs import LOST, Attempt, Cost, Outcome

Job = tuple[str, str]  # id and name of what people submitted: of parts, the divided work
_WORK = func.coalesce(rows.attempts.c.whole, rows.attempts.c.job)
_CHUNK = 10_000  # attempts in memory at once


@dataclass(frozen=True, slots=True)
class JobCosts:
    dearest: tuple[tuple[Job, Cost], ...]
    jobs: int  # how many there are
    ended: Cost  # of all of them, what has ended
    total: Cost


def job_costs(
    session: Session,
    conditions: Iterable[ColumnElement[bool]],
    running: Iterable[Attempt],
    begin: datetime,
    end: datetime,
    at_most: int,
) -> JobCosts:
    """`conditions` narrow the attempts; `running` are narrowed already."""
    attempt, narrow = rows.attempts.c, tuple(conditions)
    inside = and_(attempt.since >= begin, attempt.until < end, *narrow)
    across = and_(
        attempt.until >= begin, attempt.since < end, or_(attempt.since < begin, attempt.until >= end), *narrow
    )
    cut: dict[Job, Cost] = {}
    for one in _attempts(session, across):
        _add(cut, one, begin, end)
    cut_ended = costs.total(cut.values())
    for one in running:
        _add(cut, one, begin, end)
    found = dict(_grouped(session, _by_job(inside).order_by(_usd().desc(), _WORK).limit(at_most + len(cut))))
    for piece in in_pieces(job for job, _ in cut):
        found |= dict(_grouped(session, _by_job(and_(inside, _WORK.in_(piece)))))
    alone = sum(job not in found for job in cut)
    for job, cost in cut.items():
        found[job] = found.get(job, Cost()) + cost
    whole = session.connection().execute(select(func.count(_WORK.distinct()), *_sums()).where(inside)).one()
    ended = _cost(whole[1:]) + cut_ended
    dearest = sorted(found.items(), key=lambda one: (-one[1].usd, -one[1].gpu_hours, one[0]))[:at_most]
    return JobCosts(tuple(dearest), whole[0] + alone, ended, _cost(whole[1:]) + costs.total(cut.values()))


def _by_job(condition: ColumnElement[bool]) -> Select[Any]:
    attempt = rows.attempts.c
    return select(_WORK, func.max(attempt.name), *_sums()).where(condition).group_by(_WORK)


def _grouped(session: Session, query: Select[Any]) -> Iterator[tuple[Job, Cost]]:
    for job, name, *sums in session.connection().execute(query):
        yield (job, name), _cost(sums)


def _sums() -> tuple[Any, ...]:
    """In the order of Cost's fields, without `running`."""
    attempt = rows.attempts.c
    paid = attempt.usd_per_hour * attempt.hours
    succeeded = and_(attempt.outcome == Outcome.SUCCEEDED.value, attempt.foreseen_usd.is_not(None))
    lost = attempt.outcome.in_([outcome.value for outcome in LOST])
    return (
        func.sum(attempt.gpus * attempt.hours),
        func.sum(attempt.cores * attempt.hours),
        func.sum((attempt.usd_per_hour - attempt.cpu_usd_per_hour) * attempt.hours),
        func.sum(attempt.cpu_usd_per_hour * attempt.hours),
        func.sum(attempt.egress_usd),
        func.sum(case((lost, paid + attempt.egress_usd), else_=0.0)),
        func.sum(case((succeeded, attempt.foreseen_usd), else_=0.0)),
        func.sum(case((succeeded, paid), else_=0.0)),
        func.sum(case((attempt.part == 0, 1), else_=0)),
    )


def _usd() -> Any:
    attempt = rows.attempts.c
    return func.sum(attempt.usd_per_hour * attempt.hours + attempt.egress_usd)


def _cost(sums: Iterable[Any]) -> Cost:
    return Cost(*(each or 0 for each in sums))


def _attempts(session: Session, condition: ColumnElement[bool]) -> Iterator[Attempt]:
    query = select(rows.attempts).where(condition).execution_options(yield_per=_CHUNK)
    yield from map(attempts.attempt_of, session.connection().execute(query))


def _add(found: dict[Job, Cost], attempt: Attempt, begin: datetime, end: datetime) -> None:
    job = attempt.work, attempt.name
    found[job] = found.get(job, Cost()) + costs.cost(attempt, begin, end)
