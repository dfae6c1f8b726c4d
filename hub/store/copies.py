"""What was copied into clusters before jobs started there. The spoke says which datasets, and the hub knows where to: a
report counts for what that attempt's own placement was to bring, and for nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.store import codec, datasets, rows
from placement.data import DataMove, Replica
from wire.orders import JobRef


def arrived(session: Session, ref: JobRef, cluster: str, names: Sequence[str]) -> None:
    """From now on they lie in that cluster too."""
    for move in _moves(session, ref, cluster):
        if move.place and move.dataset in names:
            datasets.add_replica(session, move.dataset, Replica("", cluster, move.place, copied=True))


def _moves(session: Session, ref: JobRef, cluster: str) -> tuple[DataMove, ...]:
    placement = rows.placements.c
    query = select(placement.decision_json).where(
        placement.job == ref.job, placement.epoch == ref.epoch, placement.cluster == cluster
    )
    text = session.connection().execute(query).scalar()
    return codec.moves_of(codec.load(text)["verdict"]) if text else ()
