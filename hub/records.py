"""The hub's nouns as plain values: what `hub.store` answers and everything above it passes around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from placement.costs import Cost
from placement.division.values import Division, Place
from placement.lifecycle import Phase
from placement.outlook.outlook import Outlook
from placement.tally import Tally
from placement.verdict import Decision
from placement.workload import Workload
from wire.orders import PodPlace, RoleCount

Object = Mapping[str, Any]  # a Kubernetes object as JSON


class UserRole(StrEnum):
    ADMIN = "admin"  # everything, every tenant
    SUBMITTER = "submitter"  # its tenant: submit, cancel, read
    VIEWER = "viewer"  # its tenant: read


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is calling. Every read and write below the API takes one and is filtered by its tenant."""

    user: str
    tenant: str
    role: UserRole

    @property
    def sees_every_tenant(self) -> bool:
        return self.role is UserRole.ADMIN


class CostBy(StrEnum):
    QUEUE = "queue"
    USER = "user"
    CLUSTER = "cluster"
    JOB = "job"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class CostQuery:
    """What to sum up, over which UTC days, both included."""

    by: CostBy
    since: date
    until: date
    queue: str | None = None
    user: str | None = None
    cluster: str | None = None
    limit: int = 100  # lines; what is beyond them is summed up in one


@dataclass(frozen=True, slots=True)
class CostLine:
    key: str  # of what was asked for: a queue, a user, a job's id, "2026-03-01" …
    name: str  # of a job; else ""
    cost: Cost


@dataclass(frozen=True, slots=True)
class CostReport:
    query: CostQuery
    as_of: datetime  # up to when running attempts are counted
    lines: tuple[CostLine, ...]  # days in order; else the dearest first
    total: Cost
    more: int  # lines that are left out
    more_cost: Cost
    forgotten: Cost  # by job: of jobs that are no longer known one by one


@dataclass(frozen=True, slots=True)
class Shunned:
    """A cluster that takes no part of a divided work for now, or (`until` None) for good."""

    why: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DivisionRecord:
    """How a work's replicas are divided over clusters, as it was decided last."""

    replicas: int  # what is asked for
    scaled: bool  # an autoscaler in each cluster says how many there are
    shares: Mapping[str, int] = field(default_factory=dict)  # by cluster
    wanted: int = 0  # what the shares were to sum up to
    reasons: tuple[tuple[str, str], ...] = ()  # (code, message): what the wish could not have
    changed_at: datetime | None = None  # when the shares were changed last
    shunned: Mapping[str, Shunned] = field(default_factory=dict)
    resizes: bool = True  # a part gets another size where it is; else it is stopped, and another takes its place


@dataclass(frozen=True, slots=True)
class Job:
    id: str  # "j-" and ten characters of [0-9a-v]
    tenant: str
    owner: str
    name: str
    namespace: str
    kind: str  # "PyTorchJob"
    queue: str
    priority: int
    phase: Phase
    epoch: int  # of the present attempt; 1 from the submit on
    cluster: str | None  # where the present attempt is; None while it waits
    reason: str  # for people: why it is in this phase
    workload: Workload
    roles: tuple[RoleCount, ...]
    pods: tuple[PodPlace, ...]
    submitted_at: datetime
    placed_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    usd_per_hour: float | None  # of the present placement
    spot: bool
    client_key: str | None
    checkpoint_at: datetime | None = None  # of the present attempt, as it told
    stalled_since: datetime | None = None  # while it shows no progress for the time that it named
    progress: Tally | None = None  # of the present attempt, where its kind tells it
    retries: Tally | None = None
    whole: str | None = None  # of a part: the divided work that it is of; of that work: its own id
    division: DivisionRecord | None = None  # of a divided work

    @property
    def is_whole(self) -> bool:
        """It is divided: what runs are its parts, jobs of their own."""
        return self.whole == self.id

    @property
    def is_part(self) -> bool:
        return self.whole is not None and self.whole != self.id


@dataclass(frozen=True, slots=True)
class JobEvent:
    seq: int  # grows over all jobs of the hub; the event stream resumes after it
    job: str
    tenant: str
    epoch: int
    phase: Phase
    event: str  # placement.lifecycle.Event, or "submit"
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    jobs: tuple[Job, ...]
    next_cursor: str | None
    total: int


@dataclass(frozen=True, slots=True)
class JobFilter:
    phases: frozenset[Phase] = frozenset()
    cluster: str | None = None
    queue: str | None = None
    name: str | None = None  # substring
    tenant: str | None = None  # admins only; others are held to their own
    parts: bool = False  # of divided works, too
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class PartState:
    """A part of a divided work as people see it."""

    job: Job
    cluster: str  # the one that it may run in
    region: str
    away: bool  # that cluster is lost: its replicas do not count


@dataclass(frozen=True, slots=True)
class PlannedDivision:
    made: Division
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Planned:
    """A workload of a planned file and what would become of it now."""

    workload: Workload
    decision: Decision
    outlook: Outlook | None = None
    division: PlannedDivision | None = None  # of one that is to be divided, instead of a place


@dataclass(frozen=True, slots=True)
class Manifest:
    """What would be applied on a cluster if a planned workload went there."""

    planned: Planned
    cluster: str
    overrides: tuple[str, ...]  # those that were applied
    objects: Sequence[Object]


@dataclass(frozen=True, slots=True)
class Explanation:
    job: Job
    decision: Decision | None  # of the last cycle while waiting; of the placement after it
    history: tuple[JobEvent, ...]
    outlook: Outlook | None = None  # while it waits


@dataclass(frozen=True, slots=True)
class ClusterState:
    """A member cluster as the hub sees it, for people and for the API."""

    name: str
    region: str
    labels: Mapping[str, str]
    health: str  # placement.fleet.Health
    cordoned: bool
    last_seen: datetime | None
    agent_version: str
    gpus_total: int
    gpus_free: int
    nodes: int
    products: Mapping[str, int]  # product -> cards or slices
    jobs: int  # that hold capacity there
    certificate_expires_at: datetime | None
    gpus_unusable: int = 0  # unfit or missing: in neither of the two above
    why_unusable: tuple[str, ...] = ()
