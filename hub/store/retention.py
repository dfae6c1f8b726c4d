"""What is over for long enough is forgotten, a bounded piece at a time, so that the database does not grow for ever.

A job goes with everything that refers to it, and a client key with the last of its jobs. The rows with the largest
numbers stay (`numbers` gives out the next one above them), and so does a job that a cluster still owes an answer about.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from hub.store import codec, rows
from hub.store.pieces import in_pieces


def forget_jobs(session: Session, ended_before: datetime, at_most: int) -> int:
    """The jobs that ended longest ago; answers how many went."""
    job, command, event = rows.jobs.c, rows.commands.c, rows.job_events.c
    owed = select(command.job).where(command.job == job.id, command.acked_at.is_(None)).exists()
    newest = (
        select(event.job).where(event.seq == select(func.max(event.seq)).scalar_subquery()),
        select(command.job).where(command.id == select(func.max(command.id)).scalar_subquery()),
    )
    query = (
        select(job.id, job.tenant, job.client_key)
        .where(job.finished_at < ended_before, ~owed, *(job.id.not_in(one) for one in newest))
        .order_by(job.finished_at)
        .limit(at_most)
    )
    found = session.connection().execute(query).all()
    ids = [row.id for row in found]
    if not ids:
        return 0
    for column in (
        rows.placements.c.job,
        event.job,
        command.job,
        rows.cron_runs.c.job,
        rows.job_specs.c.job,
        job.id,
    ):
        for piece in in_pieces(ids):
            session.connection().execute(delete(column.table).where(column.in_(piece)))
    _forget_keys(session, {(row.tenant, row.client_key) for row in found if row.client_key is not None})
    return len(ids)


def _forget_keys(session: Session, keys: set[tuple[str, str]]) -> None:
    table = rows.submissions.c
    for tenant, key in sorted(keys):
        this = (table.tenant == tenant, table.client_key == key)
        text = session.connection().execute(select(table.jobs_json).where(*this)).scalar_one_or_none()
        if text is not None and not _any_left(session, codec.load(text)):
            session.connection().execute(delete(rows.submissions).where(*this))


def _any_left(session: Session, ids: Sequence[str]) -> bool:
    query = select(rows.jobs.c.id).limit(1)
    return any(
        session.connection().execute(query.where(rows.jobs.c.id.in_(piece))).first() is not None
        for piece in in_pieces(ids)
    )


def forget_commands(session: Session, acked_before: datetime, at_most: int) -> int:
    """The commands that were acknowledged longest ago; answers how many went."""
    command = rows.commands.c
    query = (
        select(command.id)
        .where(command.acked_at < acked_before, command.id < select(func.max(command.id)).scalar_subquery())
        .order_by(command.acked_at)
        .limit(at_most)
    )
    ids = session.connection().execute(query).scalars().all()
    for piece in in_pieces(ids):
        session.connection().execute(delete(rows.commands).where(command.id.in_(piece)))
    return len(ids)
