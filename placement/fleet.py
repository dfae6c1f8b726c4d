"""The immutable snapshot that one decision reads: clusters, what is reserved on them, prices, known queues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from placement.inventory import Summary
from placement.money import PriceBook
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
    """Capacity of one cluster held for one epoch of a job: enough to deduct it again from any later summary."""

    job: str
    epoch: int
    cluster: str
    workload: Workload
    spot: bool = False


@dataclass(frozen=True, slots=True)
class PendingJob:
    job: str
    epoch: int
    workload: Workload
    tenant: str
    submitted_at: datetime
    # Clusters whose spoke refused this job, and why; tried again once their summary's revision has moved on.
    refused_by: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fleet:
    clusters: Mapping[str, Cluster]
    reservations: tuple[Reservation, ...] = ()
    prices: PriceBook = PriceBook()
    queues: frozenset[str] = frozenset({"default"})
