"""What admins distribute to clusters, and per cluster the last order with what its spoke said of it.

A generation is given out for each order: larger than every one before, and at least the time in milliseconds, so that a
hub restored from a backup begins beyond what spokes have seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, func, insert, select, update
from sqlalchemy.orm import Session

from hub.records import Object
from hub.store import clusters, codec, rows
from hub.store.changes import Distributed, announce
from placement.distribution import lifecycle
from placement.distribution.lifecycle import Distribution, Member, Standing, Step
from placement.distribution.reading import key_of
from placement.distribution.states import ObjectState, State
from placement.objects import ObjectKey
from wire.distribution import (
    INVALID,
    Distribute,
    DistributionAck,
    DistributionOrder,
    DistributionRef,
    DistributionReport,
    Withdraw,
)

AT_A_TIME = 16  # orders read for a stream, with their files


@dataclass(frozen=True, slots=True)
class DistributionRecord:
    name: str
    revision: int  # grows with each change of what is distributed
    selector: str
    objects: tuple[Object, ...]
    adopt: bool
    deleting: bool
    changed_by: str
    changed_at: datetime

    @property
    def keys(self) -> tuple[ObjectKey, ...]:
        return tuple(map(key_of, self.objects))


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """The last order to one cluster."""

    distribution: str
    cluster: str
    generation: int
    revision: int
    present: bool  # to have it; else to be rid of it
    acked: bool
    gone: bool
    problem: str  # why the spoke does not take it
    states: tuple[ObjectState, ...] | None  # as it said last of this order


def every(session: Session) -> tuple[DistributionRecord, ...]:
    found = session.connection().execute(_SELECT.order_by(rows.distributions.c.name))
    return tuple(_record(row) for row in found)


def record(session: Session, name: str) -> DistributionRecord | None:
    row = session.connection().execute(_SELECT.where(rows.distributions.c.name == name)).first()
    return None if row is None else _record(row)


def order_records(session: Session, name: str = "") -> tuple[OrderRecord, ...]:
    """Of one distribution, or of all, by cluster."""
    column = rows.distribution_orders.c
    query = _SELECT_ORDERS.order_by(column.distribution, column.cluster)
    found = session.connection().execute(query.where(column.distribution == name) if name else query)
    return tuple(_order_record(row) for row in found)


def save(
    session: Session, name: str, selector: str, objects: Sequence[Object], adopt: bool, by: str, now: datetime
) -> DistributionRecord:
    """Also one that is being deleted: it is there again. Call `reconcile` after it."""
    known = record(session, name)
    same = known is not None and (known.objects, known.adopt) == (tuple(objects), adopt)
    revision = (known.revision if known else 0) + (0 if same else 1)
    values = {
        "revision": revision,
        "selector": selector,
        "objects_json": codec.dump(list(objects)),
        "adopt": adopt,
        "deleting": False,
        "changed_by": by,
        "changed_at": now,
    }
    if known is None:
        session.connection().execute(insert(rows.distributions), {"name": name, **values})
    else:
        session.connection().execute(
            update(rows.distributions).where(rows.distributions.c.name == name).values(**values)
        )
    return DistributionRecord(name, revision, selector, tuple(objects), adopt, False, by, now)


def mark_deleting(session: Session, name: str) -> None:
    """It goes once no cluster has it any more. Call `reconcile` after it."""
    session.connection().execute(
        update(rows.distributions).where(rows.distributions.c.name == name).values(deleting=True)
    )


def reconcile(session: Session, now: datetime) -> int:
    """Orders what the table asks for; answers how many orders that were."""
    column = rows.distributions.c
    query = select(column.name, column.revision, column.selector, column.deleting)
    known = [Distribution(*row) for row in session.connection().execute(query)]
    if not known:
        return 0
    members = [Member(one.name, one.region, one.labels) for one in clusters.records(session) if one.removed_at is None]
    standing = [
        Standing(one.distribution, one.cluster, one.revision, one.present, one.gone) for one in order_records(session)
    ]
    orders = list(lifecycle.orders(known, members, standing))
    revisions = {one.name: one.revision for one in known}
    generation = _last_generation(session, now)
    for order in orders:
        _forget(session, order.distribution, order.cluster)
        if order.step is not Step.FORGET:
            generation += 1
            row = {
                "distribution": order.distribution,
                "cluster": order.cluster,
                "generation": generation,
                "revision": revisions[order.distribution],
                "present": order.step is Step.DISTRIBUTE,
                "acked": False,
                "gone": False,
                "problem": "",
                "states_json": None,
            }
            session.connection().execute(insert(rows.distribution_orders), row)
            announce(session, Distributed(order.cluster, generation))
    _finish(session)
    return len(orders)


# ---- what spokes are told ----


def standing_at(session: Session, cluster: str) -> tuple[DistributionRef, ...]:
    """Of every order to it, acknowledged or not."""
    column = rows.distribution_orders.c
    query = select(column.distribution, column.generation).where(column.cluster == cluster).order_by(column.generation)
    return tuple(DistributionRef(*row) for row in session.connection().execute(query))


def pending(session: Session, cluster: str, after: int = 0) -> tuple[DistributionOrder, ...]:
    """What it has not acknowledged, of a larger generation, by generation: a few at a time, for files may be large."""
    column, of = rows.distribution_orders.c, rows.distributions.c
    query = (
        select(column.distribution, column.generation, column.present, of.objects_json, of.adopt)
        .join(rows.distributions, of.name == column.distribution)
        .where(column.cluster == cluster, column.acked.is_(False), column.generation > after)
        .order_by(column.generation)
        .limit(AT_A_TIME)
    )
    found = []
    for name, generation, present, text, adopt in session.connection().execute(query):
        objects = codec.objects_of(text)
        order = Distribute(objects, adopt) if present else Withdraw(tuple(map(key_of, objects)))
        found.append(DistributionOrder(DistributionRef(name, generation), order))
    return tuple(found)


# ---- what spokes say ----


def told(
    session: Session,
    cluster: str,
    acks: Sequence[DistributionAck],
    reports: Sequence[DistributionReport],
    now: datetime,
) -> None:
    """What is about an older order changes nothing."""
    for ack in acks:
        if not ack.refused_code:
            _set(session, cluster, ack.ref, acked=True, problem="")
        elif ack.refused_code == INVALID:
            _set(session, cluster, ack.ref, acked=True, problem=ack.refused_message or "its spoke cannot read it")
        else:  # it knows a later generation, or has lost this one: it is told again, with one that it takes
            generation = max(_last_generation(session, now), ack.known_generation) + 1
            if _set(session, cluster, ack.ref, generation=generation, acked=False, states_json=None):
                announce(session, Distributed(cluster, generation))
    for report in reports:
        states = codec.dump([_state_row(one) for one in report.objects])
        _set(session, cluster, report.ref, acked=True, states_json=states)
        if report.gone:
            column = rows.distribution_orders.c
            statement = update(rows.distribution_orders).where(*_is(cluster, report.ref), column.present.is_(False))
            session.connection().execute(statement.values(gone=True))
    if any(report.gone for report in reports):
        reconcile(session, now)


def _set(session: Session, cluster: str, ref: DistributionRef, **values: Any) -> bool:
    statement = update(rows.distribution_orders).where(*_is(cluster, ref)).values(**values)
    return session.connection().execute(statement).rowcount > 0


def _is(cluster: str, ref: DistributionRef) -> tuple[Any, ...]:
    column = rows.distribution_orders.c
    return column.cluster == cluster, column.distribution == ref.name, column.generation == ref.generation


def _forget(session: Session, distribution: str, cluster: str) -> None:
    column = rows.distribution_orders.c
    session.connection().execute(
        delete(rows.distribution_orders).where(column.distribution == distribution, column.cluster == cluster)
    )


def _finish(session: Session) -> None:
    """Those that were deleted, and that no cluster has any more."""
    column = rows.distributions.c
    left = select(rows.distribution_orders.c.distribution)
    session.connection().execute(
        delete(rows.distributions).where(and_(column.deleting.is_(True), column.name.not_in(left)))
    )


def _last_generation(session: Session, now: datetime) -> int:
    column = rows.distribution_orders.c.generation
    largest: int = session.connection().execute(select(func.coalesce(func.max(column), 0))).scalar_one()
    return max(largest, int(now.timestamp() * 1000))


def _record(row: Sequence[Any]) -> DistributionRecord:
    name, revision, selector, objects, *rest = row
    return DistributionRecord(name, revision, selector, codec.objects_of(objects), *rest)


def _order_record(row: Sequence[Any]) -> OrderRecord:
    *known, text = row
    states = None if text is None else tuple(_state_of(one) for one in codec.load(text))
    fields: tuple[Any, ...] = (*known, states)
    return OrderRecord(*fields)


def _state_row(one: ObjectState) -> Mapping[str, str]:
    key = one.key
    return {
        "api_version": key.api_version,
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "state": one.state,
        "reason": one.reason,
    }


def _state_of(row: Mapping[str, str]) -> ObjectState:
    key = ObjectKey(row["api_version"], row["kind"], row["namespace"], row["name"])
    return ObjectState(key, State(row["state"]), row["reason"])


_SELECT = select(
    rows.distributions.c.name,
    rows.distributions.c.revision,
    rows.distributions.c.selector,
    rows.distributions.c.objects_json,
    rows.distributions.c.adopt,
    rows.distributions.c.deleting,
    rows.distributions.c.changed_by,
    rows.distributions.c.changed_at,
)
_SELECT_ORDERS = select(
    rows.distribution_orders.c.distribution,
    rows.distribution_orders.c.cluster,
    rows.distribution_orders.c.generation,
    rows.distribution_orders.c.revision,
    rows.distribution_orders.c.present,
    rows.distribution_orders.c.acked,
    rows.distribution_orders.c.gone,
    rows.distribution_orders.c.problem,
    rows.distribution_orders.c.states_json,
)
