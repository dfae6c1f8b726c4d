"""The outbox: orders to clusters, written in the transaction that makes them necessary, sent until acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from hub.store import codec, rows
from hub.store.changes import Closed, Ordered, announce
from hub.store.numbers import next_number
from hub.store.pieces import in_pieces
from placement.elastic import sizes
from wire.orders import Command, JobRef, Order, Scale, Start, Stop

START = "start"
STAGE = "stage"  # a Start that brings data first
STOP = "stop"
SCALE = "scale"


@dataclass(frozen=True, slots=True)
class NewCommand:
    cluster: str
    ref: JobRef
    order: Order
    at: datetime


def append(session: Session, orders: Sequence[NewCommand]) -> None:
    """Writes them in order; their numbers grow in that order."""
    if not orders:
        return
    numbered = [(one, Command(next_number(session, rows.commands), one.ref, one.order)) for one in orders]
    session.connection().execute(
        insert(rows.commands),
        [
            {
                "id": command.id,
                "cluster": one.cluster,
                "job": one.ref.job,
                "epoch": one.ref.epoch,
                "kind": _kind(one.order),
                "payload_json": _payload(one.order),
                "created_at": one.at,
            }
            for one, command in numbered
        ],
    )
    for one, command in numbered:
        announce(session, Ordered(one.cluster, command))


def open_commands(session: Session, cluster: str | None = None) -> tuple[tuple[str, Command], ...]:
    """Every unacknowledged command, of one cluster or of all, as (cluster, command), by id."""
    command, spec = rows.commands.c, rows.job_specs.c
    query = (
        select(
            command.cluster,
            command.id,
            command.job,
            command.epoch,
            command.kind,
            command.payload_json,
            spec.workload_json,
        )
        .join_from(rows.commands, rows.job_specs, spec.job == command.job)
        .where(command.acked_at.is_(None))
        .order_by(command.id)
    )
    if cluster is not None:
        query = query.where(command.cluster == cluster)
    return tuple(
        (name, Command(id_, JobRef(job, epoch), _order(kind, payload, workload)))
        for name, id_, job, epoch, kind, payload, workload in session.connection().execute(query)
    )


def close(session: Session, cluster: str, ids: Iterable[int], at: datetime) -> dict[int, tuple[JobRef, str]]:
    """Marks them acknowledged; answers what was open among them: id -> (ref, its kind)."""
    command = rows.commands.c
    query = select(command.id, command.job, command.epoch, command.kind).where(
        command.cluster == cluster, command.acked_at.is_(None)
    )
    found = {
        row.id: (JobRef(row.job, row.epoch), row.kind)
        for piece in in_pieces(ids)
        for row in session.connection().execute(query.where(command.id.in_(piece)))
    }
    _mark(session, cluster, tuple(found), at)
    return found


def close_all(session: Session, cluster: str, at: datetime) -> None:
    """Of a cluster that was removed: nobody will ever acknowledge them."""
    command = rows.commands.c
    query = select(command.id).where(command.cluster == cluster, command.acked_at.is_(None))
    _mark(session, cluster, tuple(session.connection().execute(query).scalars()), at)


def _mark(session: Session, cluster: str, ids: Sequence[int], at: datetime) -> None:
    for piece in in_pieces(ids):
        session.connection().execute(
            update(rows.commands).where(rows.commands.c.id.in_(piece)).values(acked_at=at, payload_json="")
        )
    for id_ in ids:
        announce(session, Closed(cluster, id_))


def _kind(order: Order) -> str:
    if isinstance(order, Stop):
        return STOP
    if isinstance(order, Scale):
        return SCALE
    return STAGE if order.moves else START


def _payload(order: Order) -> str:
    if isinstance(order, Start):
        said: dict[str, object] = {"objects": list(order.objects), "spot": order.spot, "moves": order.moves}
        return codec.dump(
            said | ({"workload": order.workload} if order.varied else {"pods": sizes.pods_of(order.workload)})
        )
    if isinstance(order, Scale):
        size = {"revision": order.revision, "pods": order.pods, "reason": order.reason}
        return codec.dump({**size, "objects": list(order.objects)} if order.objects else size)
    return codec.dump({"grace_s": order.grace_s, "reason": order.reason})


def _order(kind: str, payload: str, workload: str) -> Order:
    row = codec.load(payload)
    if kind == STOP:
        return Stop(row["grace_s"], row["reason"])
    if kind == SCALE:
        return Scale(row["revision"], row["pods"], row["reason"], tuple(row.get("objects", ())))
    varied = row.get("workload")
    submitted = codec.workload_of(workload) if varied is None else codec.workload_from(varied)
    placed = sizes.with_pods(submitted, row.get("pods", {}))
    return Start(tuple(row["objects"]), placed, row["spot"], codec.moves_of(row), varied is not None)
