"""What came into clusters with jobs: what was copied before they started, and the checkpoints that they left.

The spoke says which datasets it has copied, and the hub knows where to: a report counts for what that attempt's own
placement was to bring, and for nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from hub.store import codec, datasets, rows
from placement.data import CLAIM, DataMove, Dataset, Replica, claim_of
from wire.orders import JobRef


def arrived(session: Session, ref: JobRef, cluster: str, names: Sequence[str]) -> None:
    """From now on they lie in that cluster too. One that was declared with another size meanwhile is other data."""
    brought = [move for move in _moves(session, ref, cluster) if move.place and move.dataset in names]
    known = datasets.some(session, [move.dataset for move in brought])
    for move in brought:
        if move.dataset in known and known[move.dataset].size_bytes == move.size_bytes:
            datasets.add_replica(session, move.dataset, Replica("", cluster, move.place, copied=True))


def gone(session: Session, cluster: str, lost: Mapping[str, Collection[str]]) -> None:
    """Copies that the cluster no longer has: places by dataset."""
    changed = []
    for key, dataset in datasets.some(session, lost).items():
        left = tuple(
            one for one in dataset.replicas if not (one.copied and one.cluster == cluster and one.uri in lost[key])
        )
        changed.append(replace(dataset, replicas=left))
    datasets.save(session, changed)


def checkpointed(session: Session, job: str, cluster: str) -> None:
    """The job has told of a checkpoint: where it writes them to a claim, that claim's data is in that cluster."""
    spec = rows.job_specs.c
    query = select(spec.workload_json).where(spec.job == job, spec.workload_json.contains(CLAIM))
    text = session.connection().execute(query).scalar()
    for use in codec.workload_of(text).data if text else ():
        if use.checkpoint and use.name.startswith(CLAIM):
            place = claim_of(use)
            if place not in datasets.some(session, [place]):
                datasets.save(session, [Dataset(place, 0, (Replica("", cluster, place),), learned=True)])
            else:
                datasets.add_replica(session, place, Replica("", cluster, place))


def _moves(session: Session, ref: JobRef, cluster: str) -> tuple[DataMove, ...]:
    placement = rows.placements.c
    query = select(placement.decision_json).where(
        placement.job == ref.job, placement.epoch == ref.epoch, placement.cluster == cluster
    )
    text = session.connection().execute(query).scalar()
    return codec.moves_of(codec.load(text)["verdict"]) if text else ()
