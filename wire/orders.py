"""What hub and spoke say to each other about jobs, as values: commands down, acknowledgements and reports up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from placement.data import DataMove
from placement.lifecycle import Event
from placement.tally import Tally
from placement.workload import Workload

Object = Mapping[str, Any]  # a Kubernetes object as JSON

EVENTS = "events"  # LogQuery.of: the cluster's events of a job's objects, as lines of JSON
ENDPOINTS = "endpoints"  # LogQuery.of: where what travels with the job can be reached, as lines of JSON


@dataclass(frozen=True, slots=True, order=True)
class JobRef:
    """One placement attempt of one job."""

    job: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Start:
    objects: Sequence[Object]  # rendered: dependencies first, the workload last
    workload: Workload
    spot: bool = False
    moves: tuple[DataMove, ...] = ()  # copied into the cluster before anything is started
    varied: bool = False  # the workload is what overrides of the cluster made of it; the hub's alone


@dataclass(frozen=True, slots=True)
class Stop:
    grace_s: float
    reason: str


def replaced(objects: Sequence[Object], by: Sequence[Object]) -> tuple[Object, ...]:
    """Each in the place of the one that it has the name of; one that has no namesake is none of them."""
    new = {_named(one): one for one in by}
    return tuple(new.get(_named(one), one) for one in objects)


def _named(obj: Object) -> tuple[object, ...]:
    metadata = obj.get("metadata") or {}
    return obj.get("apiVersion"), obj.get("kind"), metadata.get("namespace"), metadata.get("name")


@dataclass(frozen=True, slots=True)
class Scale:
    """Another number of pods, while it runs."""

    revision: int  # of its size, from 1: an older one changes nothing
    pods: Mapping[str, int]  # of each role
    reason: str
    objects: tuple[Object, ...] = ()  # of what travels with it, what says another number now: an autoscaler's range


Order = Start | Stop | Scale


@dataclass(frozen=True, slots=True)
class Command:
    id: int  # the hub's outbox row
    ref: JobRef
    order: Order


@dataclass(frozen=True, slots=True)
class CommandAck:
    id: int
    ref: JobRef
    refused_code: str = ""  # "" accepted; "older-epoch" | "no-room" | "invalid" | "policy" | "no-such-object"
    refused_message: str = ""


@dataclass(frozen=True, slots=True)
class RoleCount:
    role: str
    ready: int
    succeeded: int
    failed: int
    total: int


@dataclass(frozen=True, slots=True)
class PodPlace:
    pod: str
    role: str
    node: str
    gpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Staging:
    """How far the copies are that a job needs before it starts."""

    done_bytes: int
    total_bytes: int
    staged: tuple[str, ...] = ()  # datasets that are there now


@dataclass(frozen=True, slots=True)
class DataFound:
    """What a cluster holds by its own account."""

    uri: str  # pvc://namespace/claim
    size_bytes: int  # 0 where nothing is known


@dataclass(frozen=True, slots=True)
class Report:
    ref: JobRef
    seq: int  # from 1, by one, per (job, epoch)
    event: Event
    reason: str
    at: datetime
    roles: tuple[RoleCount, ...] = ()
    pods: tuple[PodPlace, ...] = ()
    checkpoint_at: datetime | None = None  # the job's last checkpoint, if it told of one
    staging: Staging | None = None
    stalled_since: datetime | None = None  # while it shows no progress for the time that it named
    progress: Tally | None = None  # as the job's kind tells it
    retries: Tally | None = None
    size: int = 0  # the revision of the size that it has by now; 0: the one it was started with
    size_refused: str = ""  # why it cannot have that size, and stays as it was


@dataclass(frozen=True, slots=True)
class ReportAck:
    ref: JobRef
    seq: int  # this one and every earlier one are committed at the hub


@dataclass(frozen=True, slots=True)
class LogQuery:
    ref: JobRef
    role: str  # "" means every role
    follow: bool
    tail_lines: int  # 0 means from the beginning
    rank: int | None = None  # within the role; without one over all roles, in the workload's order
    since: datetime | None = None
    previous: bool = False
    timestamps: bool = False
    container: str = ""  # "" means each pod's main one
    after: tuple[tuple[str, str], ...] = ()  # (pod, position of what was read last)
    of: str = ""  # "" the pods' logs; EVENTS; ENDPOINTS

    @property
    def is_plain(self) -> bool:
        """It asks for no more than every spoke can."""
        return self == LogQuery(self.ref, self.role, self.follow, self.tail_lines)


@dataclass(frozen=True, slots=True)
class LogLines:
    pod: str
    data: bytes  # whole lines
    position: str = ""  # to resume after them
