"""What admins override on clusters, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from hub.store import rows
from hub.store.changes import OverridesSaved, announce
from placement.overrides.override import Override

_OVERRIDE: TypeAdapter[Override] = TypeAdapter(Override)


@dataclass(frozen=True, slots=True)
class OverrideRecord:
    override: Override
    changed_by: str
    changed_at: datetime


def every(session: Session) -> tuple[OverrideRecord, ...]:
    row = rows.overrides.c
    query = select(row.spec_json, row.changed_by, row.changed_at).order_by(row.name)
    found = session.connection().execute(query)
    return tuple(OverrideRecord(_OVERRIDE.validate_json(spec), *rest) for spec, *rest in found)


def all_of(session: Session) -> tuple[Override, ...]:
    return tuple(one.override for one in every(session))


def save(session: Session, changed: Sequence[OverrideRecord]) -> None:
    """Makes them, or puts them in the place of those of the same names."""
    for one in changed:
        session.connection().execute(delete(rows.overrides).where(rows.overrides.c.name == one.override.name))
        values = {
            "name": one.override.name,
            "spec_json": written(one.override),
            "changed_by": one.changed_by,
            "changed_at": one.changed_at,
        }
        session.connection().execute(insert(rows.overrides), values)
    announce(session, OverridesSaved(all_of(session)))


def forget(session: Session, name: str) -> None:
    session.connection().execute(delete(rows.overrides).where(rows.overrides.c.name == name))
    announce(session, OverridesSaved(all_of(session)))


def written(override: Override) -> str:
    return _OVERRIDE.dump_json(override, by_alias=True).decode()
