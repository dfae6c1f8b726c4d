"""The vocabulary of a division: what is wished, what each cluster could hold, how the replicas lie, and why so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from placement.verdict import Reason
from placement.workload import DivideBy

UNLIMITED = 1_000_000  # replicas: a room this large is not told from a larger one


@dataclass(frozen=True, slots=True)
class Wish:
    replicas: int
    by: DivideBy
    weights: Mapping[str, int] = field(default_factory=dict)  # by cluster; empty: all alike
    min_per_region: int = 0
    max_clusters: int | None = None

    def weight_of(self, cluster: str) -> int:
        return self.weights.get(cluster, 0) if self.weights else 1


@dataclass(frozen=True, slots=True)
class Place:
    """One cluster as a division sees it.

    `room` counts all replicas that it could hold, those that it has included; `keeps` is what stays there whatever is
    decided (nobody hears of the cluster, and it is not lost yet).
    """

    cluster: str
    region: str = ""
    room: int = 0
    keeps: int = 0
    usd_per_hour: float = 0.0  # of one replica
    why: Reason | None = None  # why there is no more room


@dataclass(frozen=True, slots=True)
class Present:
    """How the replicas lie now; what lies on a lost cluster is not in it."""

    shares: Mapping[str, int] = field(default_factory=dict)
    changed_at: datetime | None = None  # when they were last moved; None: never yet


@dataclass(frozen=True, slots=True)
class TooFewPlaces(Reason):
    code: ClassVar[str] = "division-short"
    wanted: int
    found: int
    rooms: tuple[tuple[str, int], ...]  # of the clusters that take some
    left_out: tuple[str, ...]  # why others take none

    @property
    def message(self) -> str:
        rooms = ", ".join(f"{cluster} has room for {room}" for cluster, room in self.rooms) or "no cluster has room"
        rest = f"; {'; '.join(self.left_out)}" if self.left_out else ""
        return f"{self.found} of {self.wanted} replicas have a place: {rooms}{rest}"


@dataclass(frozen=True, slots=True)
class RegionShort(Reason):
    code: ClassVar[str] = "region-short"
    region: str
    wanted: int
    found: int
    because: str

    @property
    def message(self) -> str:
        return f"region {self.region} was to have {self.wanted} and has {self.found}: {self.because}"


@dataclass(frozen=True, slots=True)
class NoSuchCluster(Reason):
    code: ClassVar[str] = "no-such-cluster"
    clusters: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"weights name {', '.join(self.clusters)}, which is no cluster here now"


@dataclass(frozen=True, slots=True)
class Division:
    shares: Mapping[str, int]  # those above 0
    wanted: int  # what the shares were to sum up to
    reasons: tuple[Reason, ...] = ()  # what the wish could not have
    # A better way to lie is put off, so that replicas do not move to and fro: then it is looked at again.
    look_again: datetime | None = None

    @property
    def total(self) -> int:
        return sum(self.shares.values())
