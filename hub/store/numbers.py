"""Numbers that only grow: of events, which streams resume after, and of commands, which spokes acknowledge.

Given out inside the one writer's transaction, one above the largest there is, so that whoever has seen number n has
seen or can read every smaller one. Rows with the largest number must therefore never be deleted.
"""

from __future__ import annotations

from sqlalchemy import Column, Table, func, select
from sqlalchemy.orm import Session


def next_number(session: Session, table: Table) -> int:
    """The next value of the table's integer primary key."""
    given: dict[str, int] = session.info.setdefault("numbers", {})
    if table.name not in given:
        (key,) = table.primary_key.columns
        given[table.name] = _largest(session, key)
    given[table.name] += 1
    return given[table.name]


def _largest(session: Session, key: Column[int]) -> int:
    return session.connection().execute(select(func.coalesce(func.max(key), 0))).scalar_one()
