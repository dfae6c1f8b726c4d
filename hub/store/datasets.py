"""Datasets: what people declared, and what was learned of clusters. A replica in a cluster has that cluster's region,
which is not kept here: the live fleet fills it in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Select, delete, insert, select, true
from sqlalchemy.orm import Session

from hub.records import Actor
from hub.store import codec, rows
from hub.store.changes import DatasetsSaved, announce
from hub.store.pieces import in_pieces
from placement.data import Dataset, Replica


def every(session: Session) -> tuple[Dataset, ...]:
    return _found(session, _SELECT)


def visible(session: Session, actor: Actor, *, learned: bool) -> tuple[Dataset, ...]:
    """Everybody's and the actor's own; every tenant's for those who see them. Learned ones only where asked for."""
    column = rows.datasets.c
    mine = true() if actor.sees_every_tenant else column.tenant.in_(("", actor.tenant))
    return _found(session, _SELECT.where(mine, true() if learned else column.learned.is_(False)))


def some(session: Session, keys: Iterable[str]) -> dict[str, Dataset]:
    return {
        one.key: one
        for piece in in_pieces(keys)
        for one in _found(session, _SELECT.where(rows.datasets.c.key.in_(piece)))
    }


def save(session: Session, datasets: Sequence[Dataset]) -> None:
    """Makes them, or puts them in the place of those of the same keys."""
    if not datasets:
        return
    _delete(session, [one.key for one in datasets])
    session.connection().execute(
        insert(rows.datasets),
        [
            {
                "key": one.key,
                "tenant": one.tenant,
                "name": one.name,
                "size_bytes": one.size_bytes,
                "residency_json": codec.dump(one.residency),
                "replicas_json": codec.dump(one.replicas),
                "secret": one.secret,
                "learned": one.learned,
            }
            for one in datasets
        ],
    )
    announce(session, DatasetsSaved(tuple(datasets), ()))


def forget(session: Session, keys: Sequence[str]) -> None:
    if keys:
        _delete(session, keys)
        announce(session, DatasetsSaved((), tuple(keys)))


def add_replica(session: Session, key: str, replica: Replica) -> None:
    """Nothing happens where the dataset is gone, or has it already."""
    known = some(session, [key]).get(key)
    if known is not None and (replica.cluster, replica.uri) not in {(one.cluster, one.uri) for one in known.replicas}:
        save(session, [replace(known, replicas=(*known.replicas, replica))])


def _delete(session: Session, keys: Sequence[str]) -> None:
    for piece in in_pieces(keys):
        session.connection().execute(delete(rows.datasets).where(rows.datasets.c.key.in_(piece)))


_SELECT = select(
    rows.datasets.c.name,
    rows.datasets.c.size_bytes,
    rows.datasets.c.replicas_json,
    rows.datasets.c.residency_json,
    rows.datasets.c.tenant,
    rows.datasets.c.learned,
    rows.datasets.c.secret,
).order_by(rows.datasets.c.key)


def _found(session: Session, query: Select[Any]) -> tuple[Dataset, ...]:
    return tuple(codec.dataset_of(*row) for row in session.connection().execute(query))
