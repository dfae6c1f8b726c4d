"""What a committed transaction changed, told to whoever keeps a copy in memory: in commit order, only after the commit.

A write function announces changes on its session; they are dropped when its savepoint is rolled back. That is how the
live fleet, the queue, the outbox and the event feed stay in step with the tables without reading them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from hub.records import JobEvent
from placement.data import Dataset
from placement.fleet import Leaving, PendingJob, Progress, Reservation
from placement.money import PriceBook
from placement.overrides.override import Override
from placement.queues.tree import QueueTree
from placement.safety.tenants import Tenants
from wire.orders import Command, JobRef


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """A cluster as it is on record; its health and its summary are live and not in here."""

    name: str
    region: str
    labels: Mapping[str, str]
    cordoned: bool
    removed_at: datetime | None
    serial: str | None
    previous_serial: str | None
    certificate_expires_at: datetime | None
    agent_version: str
    last_seen: datetime | None


@dataclass(frozen=True, slots=True)
class Happened:
    event: JobEvent


@dataclass(frozen=True, slots=True)
class Queued:
    pending: PendingJob


@dataclass(frozen=True, slots=True)
class Unqueued:
    job: str


@dataclass(frozen=True, slots=True)
class Divided:
    """Of a divided work something is new: it was submitted (`part` is its own id), or a part was made, moved or told
    how it stands."""

    whole: str
    part: str


@dataclass(frozen=True, slots=True)
class Reserved:
    reservation: Reservation


@dataclass(frozen=True, slots=True)
class Released:
    ref: JobRef
    cluster: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """A live attempt began to run, or saved what it needs to go on."""

    job: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Leaves:
    """A live attempt is being stopped."""

    job: str
    leaving: Leaving


@dataclass(frozen=True, slots=True)
class Ordered:
    cluster: str
    command: Command


@dataclass(frozen=True, slots=True)
class Closed:
    cluster: str
    command: int


@dataclass(frozen=True, slots=True)
class ClusterSaved:
    cluster: ClusterRecord


@dataclass(frozen=True, slots=True)
class PricesReplaced:
    book: PriceBook


@dataclass(frozen=True, slots=True)
class QueuesSaved:
    """All of them, as they are now."""

    tree: QueueTree


@dataclass(frozen=True, slots=True)
class TenantsSaved:
    """All of them, as they are now."""

    tenants: Tenants


@dataclass(frozen=True, slots=True)
class OverridesSaved:
    """All of them, as they are now."""

    overrides: tuple[Override, ...]


@dataclass(frozen=True, slots=True)
class DatasetsSaved:
    """New or changed ones, and the keys of those that are no more."""

    datasets: tuple[Dataset, ...]
    gone: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spent:
    """An attempt is over, and this is what it took."""

    queue: str
    uses: tuple[tuple[str, float], ...]
    usd_per_hour: float
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Distributed:
    """There is an order about a distribution to this cluster."""

    cluster: str
    generation: int


@dataclass(frozen=True, slots=True)
class CronSaved:
    """Made, changed, suspended or resumed."""

    cron: str


Change = (
    Happened
    | Queued
    | Unqueued
    | Divided
    | Reserved
    | Released
    | Progressed
    | Leaves
    | Ordered
    | Closed
    | ClusterSaved
    | PricesReplaced
    | QueuesSaved
    | OverridesSaved
    | TenantsSaved
    | DatasetsSaved
    | Spent
    | Distributed
    | CronSaved
)


def announce(session: Session, change: Change) -> None:
    session.info.setdefault("changes", []).append(change)


def announced(session: Session) -> list[Change]:
    """What this transaction announced so far; the store cuts it back when a savepoint is undone."""
    found: list[Change] = session.info.setdefault("changes", [])
    return found
