"""Where named data lies, where it may go, and what has to be copied before a job can start in a cluster.

A replica lies in a cluster's own storage (a volume that only its pods can mount), or in an object store of a region,
which every cluster of that region reads in place. What a cluster cannot read is copied into it from the replica that
costs least to copy from. Residency is a filter that no score can outbid: a dataset that must stay in some regions is
never read from a cluster elsewhere, not even in part.

Not promised: that a replica is what it was declared to be; nothing here looks at bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from placement.transfers import NO_MOVE, Move, Transfers
from placement.workload import DataUse, Workload


@dataclass(frozen=True, slots=True)
class Replica:
    """A copy. `cluster` is "" where it lies in an object store; `uri` says where, "" where only the cluster knows."""

    region: str  # "" where nobody knows it: it is near nothing then
    cluster: str = ""
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """`residency`: the regions that it must not leave; () where it may go anywhere."""

    name: str
    size_bytes: int
    replicas: tuple[Replica, ...]
    residency: tuple[str, ...] = ()
    tenant: str = ""  # "" for everybody's
    learned: bool = False  # read off what clusters have, not declared by a person


@dataclass(frozen=True, slots=True)
class DataMove:
    """One dataset copied into a cluster before a job starts there."""

    dataset: str
    size_bytes: int
    source: Replica
    target: str  # cluster
    usd: float
    hours: float


@dataclass(frozen=True, slots=True)
class DataCatalog:
    """Datasets by name. A URI is found by the longest dataset whose replica it lies in."""

    datasets: Mapping[str, Dataset] = field(default_factory=dict)

    def find(self, use: DataUse) -> Dataset | None:
        """None where nothing is known of it."""
        known = self.datasets.get(use.name)
        if known is not None or not use.is_place:
            return known
        holding = (
            (len(replica.uri), dataset.name)
            for dataset in self.datasets.values()
            for replica in dataset.replicas
            if replica.uri and _lies_in(use.name, replica.uri)
        )
        best = max(holding, default=None)
        return None if best is None else self.datasets[best[1]]

    def used_by(self, workload: Workload) -> tuple[Dataset, ...]:
        """Each known dataset once, in the workload's order."""
        found = (self.find(use) for use in workload.data)
        return tuple(dict.fromkeys(dataset for dataset in found if dataset is not None))


def is_local(dataset: Dataset, cluster: str, region: str) -> bool:
    """Whether pods of that cluster can read it as it is."""
    return any(
        replica.cluster == cluster if replica.cluster else bool(region) and replica.region == region
        for replica in dataset.replicas
    )


def may_be_in(dataset: Dataset, region: str) -> bool:
    return not dataset.residency or region in dataset.residency


def needed_moves(datasets: Iterable[Dataset], cluster: str, region: str, transfers: Transfers) -> tuple[DataMove, ...]:
    """What must be copied into the cluster. Every dataset has a replica; `hours` are each move's own."""
    found = []
    for dataset in datasets:
        if not is_local(dataset, cluster, region):
            source, move = _cheapest(dataset, region, transfers)
            found.append(DataMove(dataset.name, dataset.size_bytes, source, cluster, move.usd, move.hours))
    return tuple(found)


def total(moves: Iterable[DataMove]) -> Move:
    """One after the other: they share the way into the cluster."""
    usd = hours = 0.0
    for move in moves:
        usd += move.usd
        hours += move.hours
    return Move(usd, hours) if usd or hours else NO_MOVE


def _cheapest(dataset: Dataset, region: str, transfers: Transfers) -> tuple[Replica, Move]:
    priced = [(replica, transfers.move(dataset.size_bytes, replica.region, region)) for replica in dataset.replicas]
    return min(priced, key=lambda each: (each[1].usd, each[1].hours, each[0].region, each[0].cluster, each[0].uri))


def _lies_in(place: str, holder: str) -> bool:
    """`s3://bucket/a/b` lies in `s3://bucket/a`, and `s3://bucket/ab` does not."""
    inner, outer = place.rstrip("/"), holder.rstrip("/")
    return inner == outer or inner.startswith(outer + "/")
