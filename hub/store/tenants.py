"""Tenants that somebody described: their namespaces, and what they may submit."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from hub.store import codec, rows
from hub.store.changes import TenantsSaved, announce
from placement.safety.tenants import Tenant, Tenants


def all_of(session: Session) -> Tenants:
    row = rows.tenants.c
    query = select(row.name, row.namespaces_json, row.level, row.kinds_json, row.exemptions_json, row.queues_json)
    return Tenants({one[0]: codec.tenant_of(*one) for one in session.connection().execute(query.order_by(row.name))})


def save(session: Session, changed: Sequence[Tenant]) -> None:
    """Makes them, or puts them in the place of those of the same names."""
    for one in changed:
        session.connection().execute(delete(rows.tenants).where(rows.tenants.c.name == one.name))
        values = {
            "name": one.name,
            "namespaces_json": codec.dump(one.namespaces),
            "level": one.level.value,
            "kinds_json": codec.dump(one.kinds),
            "exemptions_json": codec.dump(one.exemptions),
            "queues_json": codec.dump(one.queues),
        }
        session.connection().execute(insert(rows.tenants), values)
    announce(session, TenantsSaved(all_of(session)))


def forget(session: Session, name: str) -> None:
    session.connection().execute(delete(rows.tenants).where(rows.tenants.c.name == name))
    announce(session, TenantsSaved(all_of(session)))
