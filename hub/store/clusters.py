"""Member clusters and the tokens they join with, as they are on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from hub.store import codec, rows
from hub.store.changes import ClusterRecord, ClusterSaved, announce
from placement.inventory import Summary

MAX_VERSION = 64


@dataclass(frozen=True, slots=True)
class JoinToken:
    id: str
    secret_hash: bytes
    cluster: str
    expires_at: datetime
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is kept of a live cluster from time to time, so that a restarted hub knows it again."""

    cluster: str
    last_seen: datetime | None
    summary: Summary | None


def record(session: Session, name: str) -> ClusterRecord | None:
    row = session.connection().execute(_SELECT.where(rows.clusters.c.name == name)).first()
    return None if row is None else _record(row)


def records(session: Session) -> tuple[ClusterRecord, ...]:
    """Removed ones too."""
    return tuple(_record(row) for row in session.connection().execute(_SELECT.order_by(rows.clusters.c.name)))


def open_names(session: Session) -> frozenset[str]:
    """Those that take new jobs."""
    cluster = rows.clusters.c
    query = select(cluster.name).where(cluster.removed_at.is_(None), cluster.cordoned.is_(False))
    return frozenset(session.connection().execute(query).scalars())


def summaries(session: Session) -> dict[str, Summary]:
    """The last summary kept of each cluster that is not removed."""
    cluster = rows.clusters.c
    query = select(cluster.name, cluster.summary_json).where(
        cluster.removed_at.is_(None), cluster.summary_json.is_not(None)
    )
    return {name: codec.summary_of(text) for name, text in session.connection().execute(query)}


def create(session: Session, name: str, region: str, labels: Mapping[str, str], at: datetime) -> None:
    session.connection().execute(
        insert(rows.clusters),
        {
            "name": name,
            "region": region,
            "labels_json": codec.dump(dict(labels)),
            "cordoned": False,
            "created_at": at,
            "agent_version": "",
        },
    )
    _saved(session, name)


def describe(session: Session, name: str, region: str, labels: Mapping[str, str]) -> None:
    change(session, name, region=region, labels_json=codec.dump(dict(labels)))


def cordon(session: Session, name: str, on: bool) -> None:
    change(session, name, cordoned=on)


def certify(session: Session, name: str, serial: str, expires_at: datetime, previous: str | None) -> None:
    """The certificate that counts from now on; `previous` stays welcome until the new one is seen."""
    change(session, name, serial=serial, previous_serial=previous, certificate_expires_at=expires_at, removed_at=None)


def seen(session: Session, name: str, agent_version: str, at: datetime, *, forget_previous: bool) -> None:
    """Its spoke connected; with the new certificate, where `forget_previous`."""
    # PostgreSQL refuses what is longer than its column; what a spoke says of itself is not worth a refusal.
    values: dict[str, object] = {"agent_version": agent_version[:MAX_VERSION], "last_seen": at}
    if forget_previous:
        values["previous_serial"] = None
    change(session, name, **values)


def remove(session: Session, name: str, at: datetime) -> None:
    """Its certificates are welcome no more; its row stays, since its jobs name it."""
    change(session, name, removed_at=at, serial=None, previous_serial=None, summary_json=None, cordoned=False)


def change(session: Session, name: str, **values: object) -> None:
    session.connection().execute(update(rows.clusters).where(rows.clusters.c.name == name).values(**values))
    _saved(session, name)


def keep(session: Session, sightings: Sequence[Sighting]) -> None:
    """Not announced: memory, where these come from, knows better."""
    cluster = rows.clusters.c
    seen_only = [
        {"_name": one.cluster, "_seen": one.last_seen} for one in sightings if one.last_seen and one.summary is None
    ]
    whole = [
        {"_name": one.cluster, "_seen": one.last_seen, "_summary": codec.dump(one.summary)}
        for one in sightings
        if one.summary is not None
    ]
    here = update(rows.clusters).where(cluster.name == bindparam("_name"), cluster.removed_at.is_(None))
    if seen_only:
        session.connection().execute(here.values(last_seen=bindparam("_seen")), seen_only)
    if whole:
        session.connection().execute(
            here.values(last_seen=bindparam("_seen"), summary_json=bindparam("_summary")), whole
        )


# ---- join tokens ----


def add_token(session: Session, token: JoinToken) -> None:
    session.connection().execute(
        insert(rows.join_tokens),
        {
            "id": token.id,
            "secret_hash": token.secret_hash,
            "cluster": token.cluster,
            "expires_at": token.expires_at,
        },
    )


def token(session: Session, id_: str) -> JoinToken | None:
    table = rows.join_tokens.c
    row = (
        session.connection()
        .execute(
            select(table.id, table.secret_hash, table.cluster, table.expires_at, table.used_at).where(table.id == id_)
        )
        .first()
    )
    return None if row is None else JoinToken(*row)


def use_token(session: Session, id_: str, at: datetime) -> None:
    session.connection().execute(update(rows.join_tokens).where(rows.join_tokens.c.id == id_).values(used_at=at))


def void_tokens(session: Session, cluster: str) -> None:
    """Those not used yet, of a cluster that was removed."""
    table = rows.join_tokens
    session.connection().execute(delete(table).where(table.c.cluster == cluster, table.c.used_at.is_(None)))


def forget_tokens(session: Session, expired_before: datetime) -> int:
    found = session.connection().execute(delete(rows.join_tokens).where(rows.join_tokens.c.expires_at < expired_before))
    return found.rowcount


def _saved(session: Session, name: str) -> None:
    found = record(session, name)
    if found is not None:
        announce(session, ClusterSaved(found))


_SELECT = select(
    rows.clusters.c.name,
    rows.clusters.c.region,
    rows.clusters.c.labels_json,
    rows.clusters.c.cordoned,
    rows.clusters.c.removed_at,
    rows.clusters.c.serial,
    rows.clusters.c.previous_serial,
    rows.clusters.c.certificate_expires_at,
    rows.clusters.c.agent_version,
    rows.clusters.c.last_seen,
)


def _record(row: Sequence[Any]) -> ClusterRecord:
    name, region, labels, *rest = row
    return ClusterRecord(name, region, codec.labels_of(labels), *rest)
