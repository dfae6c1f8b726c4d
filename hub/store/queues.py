"""The queues, replaced as a whole: they are few, and only together are they right or wrong."""

from __future__ import annotations

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from hub.store import codec, rows
from hub.store.changes import QueuesSaved, announce
from placement.queues.tree import QueueTree


def tree(session: Session) -> QueueTree | None:
    """None where there never were any."""
    row = rows.queues.c
    query = select(
        row.name,
        row.cohort,
        row.weight,
        row.quotas_json,
        row.budget_json,
        row.burst_after_hours,
        row.preemption_json,
    ).order_by(row.name)
    found = [codec.queue_of(*each) for each in session.connection().execute(query)]
    return QueueTree.of(found) if found else None


def save(session: Session, new: QueueTree) -> None:
    session.connection().execute(delete(rows.queues))
    session.connection().execute(
        insert(rows.queues),
        [
            {
                "name": queue.name,
                "cohort": queue.cohort,
                "weight": queue.weight,
                "quotas_json": codec.dump(queue.quotas),
                "budget_json": codec.dump(queue.budget),
                "burst_after_hours": queue.burst_after_hours,
                "preemption_json": codec.dump(queue.preemption),
            }
            for queue in new.queues.values()
        ],
    )
    announce(session, QueuesSaved(new))
