"""The immutable snapshot that one decision reads: clusters, what is reserved on them, prices, queues and their past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from placement.data import DataCatalog
from placement.elastic.sizes import added, least
from placement.inventory import Summary
from placement.money import PriceBook
from placement.queues.spending import Past
from placement.queues.tree import QueueTree
from placement.workload import Workload


class Health(StrEnum):
    READY = "ready"  # its spoke is connected and has reported
    JOINING = "joining"  # a token was made or a certificate given; no summary yet
    DISCONNECTED = "disconnected"  # no heartbeat; its jobs are left alone
    LOST = "lost"  # no heartbeat for longer than its lease


@dataclass(frozen=True, slots=True)
class Cluster:
    name: str
    region: str
    labels: Mapping[str, str]
    health: Health
    cordoned: bool
    summary: Summary | None
    last_seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """Capacity of one cluster held for one epoch of a job: enough to deduct it again from any later summary.

    `uses` is what it takes of each product, in cards and parts of cards, and of `cpu` in cores of pods without devices;
    empty where that was not noted.
    """

    job: str
    epoch: int
    cluster: str
    workload: Workload
    spot: bool = False
    uses: tuple[tuple[str, float], ...] = ()
    usd_per_hour: float = 0.0
    since: datetime | None = None  # None: nobody noted it, and nobody can say when it ends
    moves_usd: float = 0.0  # what bringing its data costs, once
    # Of one whose size was changed since it was placed: `since` is when it got the present one.
    placed_at: datetime | None = None  # None: `since`
    revision: int = 0  # of its size; grows with each change
    was: Workload | None = None  # before the last change
    settles: bool = False  # it is being changed: the cluster has not said yet that it is done
    shrinks_to: Workload | None = None  # what it is being made smaller to; it holds what it has until it is
    shrinks_for: str = ""  # the job that gets the room

    @property
    def began(self) -> datetime | None:
        return self.placed_at or self.since

    @property
    def expected_end(self) -> datetime | None:
        """None where it has none: a service, or one of unknown beginning."""
        if self.began is None or self.workload.long_running:
            return None
        return self.began + timedelta(hours=self.workload.hints.expected_hours)

    def uncounted(self, summary: Summary) -> Reservation | None:
        """What of it the summary's free amounts do not leave out yet; None where they leave all of it out."""
        if (self.job, self.epoch) not in summary.counted:
            return self
        if self.was is None or (self.job, self.epoch, self.revision) in summary.resized:
            return None
        before = self.revision - 1
        is_last = before == 0 or (self.job, self.epoch, before) in summary.resized
        # A summary that is older still may count as few as it ever had.
        counted = self.was if is_last else least(self.was)
        grown = added(self.workload, counted)
        return None if grown is None else replace(self, workload=grown)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a live attempt has come, as its spoke reported. What it did since `checkpoint_at` is lost if it ends."""

    epoch: int
    running_since: datetime | None = None
    checkpoint_at: datetime | None = None
    pods: tuple[tuple[str, str, int], ...] = ()  # (node, role, how many), once they are bound


@dataclass(frozen=True, slots=True)
class Leaving:
    """A live attempt that is being stopped: its room comes free. `for_job`: evicted for that one, which it is kept for;
    "" where it was cancelled, or is moved for other reasons."""

    epoch: int
    for_job: str = ""


@dataclass(frozen=True, slots=True)
class PendingJob:
    job: str
    epoch: int
    workload: Workload
    tenant: str
    submitted_at: datetime
    # Clusters whose spoke refused this job, and why; tried again once their summary's revision has moved on.
    refused_by: Mapping[str, str] = field(default_factory=dict)
    # When it last began to wait: a job that ran and was put back starts anew. None: when it was submitted.
    waits_since: datetime | None = None
    # The cluster on which room was made for it by evictions, and is kept until it is placed; "": none.
    promised: str = ""
    # Clusters that do not have what it names and does not bring: "Secret team-a/token".
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def kept_out(self) -> bool:
        """Whether there are clusters that say no to it and might say yes to another like it."""
        return bool(self.refused_by or self.lacking)

    def is_kept_out_of(self, cluster: str) -> bool:
        return cluster in self.refused_by or cluster in self.lacking


@dataclass(frozen=True, slots=True)
class Fleet:
    clusters: Mapping[str, Cluster]
    reservations: tuple[Reservation, ...] = ()
    prices: PriceBook = PriceBook()
    queues: QueueTree = field(default_factory=QueueTree)
    past: Mapping[str, Past] = field(default_factory=dict)  # by queue, what its ended attempts used
    data: DataCatalog = field(default_factory=DataCatalog)
    progress: Mapping[str, Progress] = field(default_factory=dict)  # by job, of live attempts
    leaving: Mapping[str, Leaving] = field(default_factory=dict)  # by job, of live attempts
    emptied: Mapping[str, datetime] = field(default_factory=dict)  # by cluster, when an evicted job left it last
    half_life_h: float = 24.0  # what a queue used so long ago counts half as much for its share

    def leave_of(self, held: Reservation) -> Leaving | None:
        """None where it stays, as far as anybody said."""
        found = self.leaving.get(held.job)
        return found if found is not None and found.epoch == held.epoch else None
