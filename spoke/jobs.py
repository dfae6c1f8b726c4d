"""What the agent knows of each job at this moment: the order from the ledger, its pods and its status from watches.

All of it can be found out again after a restart. Nothing here does anything; the loops (`schedule`, `apply`, `status`)
read it and act, each woken by the job's id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from placement.lifecycle import Event
from placement.tally import Tally
from placement.workload import Role, Workload
from spoke import checkpoints, stalls
from spoke.cluster.port import Object, ObjectKey
from spoke.entry import Desired, Entry
from spoke.pods import PodFacts
from spoke.stalls import Stall, Wish
from wire.orders import JobRef, PodPlace, RoleCount, Staging

OVER = frozenset({Event.SUCCEED, Event.FAIL})
_GOING = frozenset({Event.STARTING, Event.RUNNING})


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is told of a job at one moment."""

    event: Event
    reason: str
    roles: tuple[RoleCount, ...] = ()  # counted from the moment the workload object exists
    pods: tuple[PodPlace, ...] = ()  # once the gang is bound
    staging: Staging | None = None  # while data is copied
    checkpoint_at: datetime | None = None
    stalled_since: datetime | None = None
    progress: Tally | None = None
    retries: Tally | None = None
    size: int = 0  # the revision of the size that it has
    size_refused: str = ""


@dataclass(slots=True)
class Job:
    """One epoch of one job. Older epochs are not known here: what is left of them is stray."""

    ref: JobRef
    arrival: int
    workload: Workload | None  # None where the epoch was stopped before it ever started
    desired: Desired
    silent: bool = False  # the hub does not know it any more: no reports
    created: bool = False  # its workload object was made (by us, at some time)
    hand_back: Event | None = None  # taken away by the cluster: said with this once nothing of it is left
    hand_back_reason: str = ""
    stopped: bool = False  # nothing of it is left, and that was reported
    dependencies: frozenset[ObjectKey] = frozenset()  # what travels along with the workload
    whole: bool = False  # its gang was bound whole at some time: of several, one
    whole_parts: set[tuple[int, int]] = field(
        default_factory=set
    )  # which of them, where it is several: `gangs.part_of`
    outcome: Event | None = None  # SUCCEED or FAIL once that was reported
    object_uid: str = ""  # of the workload object while it is there
    event: Event | None = None  # what the workload's own status says
    event_reason: str = ""
    not_understood: str = ""  # the status, where no rule is for it: then the job is what it was before
    progress: Tally | None = None  # as the workload object says, the last time that it did
    object_retries: Tally | None = None
    restarts_count: bool = False  # as retries, beside those that the object tells
    object_checkpoint_at: datetime | None = None  # as the workload object says
    told: Assessment | None = None  # what was last reported, as far as this run of the agent knows
    last_reported: Event | None = None  # by an earlier run of the agent: STARTING or RUNNING
    shortfall: str = ""  # why its pods are not bound
    stuck: str = ""  # why it has not begun to run for some time, as far as the cluster's events tell
    stall_wish: Wish | None = None  # for how long it may stand still, where it says so
    stall: Stall | None = None  # while it does
    staging: Staging | None = None  # while its data is brought here, and nothing of it was made yet
    staging_words: str = ""
    problem: str = ""  # what the API server said when objects were last applied or deleted
    pods: dict[str, PodFacts] = field(default_factory=dict)  # by uid
    size: int = 0  # the revision of the size that it is to have, which `workload` shows
    size_written: int = 0  # the one that its workload object has
    size_refused: str = ""  # why the cluster does not take it: then it has the size before
    was: Workload | None = None  # before the last change of its size, as far as this run of the agent knows

    @property
    def key(self) -> ObjectKey | None:
        w = self.workload
        return ObjectKey(w.api_version, w.kind, w.namespace, w.name) if w is not None else None

    @property
    def runs(self) -> bool:
        """Its pods are to be placed."""
        return self.desired is Desired.START and not self.silent and self.outcome is None and self.hand_back is None

    @property
    def checkpoint_at(self) -> datetime | None:
        return checkpoints.latest(self.object_checkpoint_at, *(pod.checkpoint_at for pod in self.pods.values()))

    @property
    def retries(self) -> Tally | None:
        told = self.object_retries
        if told is None or not self.restarts_count:
            return told
        return Tally(told.done + sum(pod.restarts for pod in self.pods.values() if not pod.over), told.of)

    @property
    def uses_dependencies(self) -> bool:
        return not self.stopped and not self.silent

    def role_of(self, pod: PodFacts) -> Role | None:
        """By label; a workload of a single role owns every pod it has."""
        roles = self.workload.roles if self.workload is not None else ()
        if len(roles) == 1:
            return roles[0]
        return next((role for role in roles if role.name == pod.role), None)

    def index_of(self, pod: PodFacts) -> int | None:
        """Its number within its role, where its controller says it. Groups follow one another, each with its part."""
        role = self.role_of(pod)
        if pod.index is None or pod.group is None or role is None or self.workload is None:
            return pod.index
        groups, before = pod.groups or self.workload.groups, 0
        for earlier in self.workload.roles if pod.groups is None else ():
            if earlier.name == role.name:
                break
            before += earlier.replicas // groups
        each, within = role.replicas // groups, pod.index - before
        return pod.group * each + within if 0 <= within < each and pod.group < groups else None

    def bound(self) -> bool:
        """Every pod it is to have is on a node, or has been: the inventory's free capacity tells the rest."""
        return self.workload is not None and self._has_bound(self.workload)

    def _has_bound(self, workload: Workload) -> bool:
        counts: dict[str, int] = {}
        for pod in self.pods.values():
            role = self.role_of(pod)
            if role is not None and (pod.alive or (pod.over and pod.node)):
                counts[role.name] = counts.get(role.name, 0) + 1
        return all(counts.get(role.name, 0) >= role.replicas for role in workload.roles)

    @property
    def has_its_size(self) -> bool:
        """Its object says so, and no pod that is too many holds anything any more."""
        if self.size_written != self.size or self.workload is None:
            return False
        holding = counts_by_role(self, (pod for pod in self.pods.values() if pod.node and not pod.over))
        return all(holding.get(role.name, 0) <= role.replicas for role in self.workload.roles)

    def counted_size(self) -> int | None:
        """The revision of the size of which all pods have taken their part of what is free; None where none has."""
        if self.outcome is not None:
            return None
        if self.bound():
            return self.size
        if self.was is not None and self._has_bound(self.was):
            return self.size - 1
        return None

    def role_counts(self) -> tuple[RoleCount, ...]:
        if self.workload is None:
            return ()
        by_role: dict[str, list[PodFacts]] = {role.name: [] for role in self.workload.roles}
        for pod in self.pods.values():
            role = self.role_of(pod)
            if role is not None:
                by_role[role.name].append(pod)
        return tuple(
            RoleCount(
                role=role.name,
                ready=sum(pod.ready and not pod.over for pod in by_role[role.name]),
                succeeded=sum(pod.life.value == "Succeeded" for pod in by_role[role.name]),
                failed=sum(pod.life.value == "Failed" for pod in by_role[role.name]),
                total=role.replicas,
            )
            for role in self.workload.roles
        )

    def places(self) -> tuple[PodPlace, ...]:
        found = []
        for pod in self.pods.values():
            role = self.role_of(pod)
            if pod.node and role is not None:
                found.append(PodPlace(pod.name, role.name, pod.node, pod.gpus))
        return tuple(sorted(found, key=lambda place: place.pod))


class Jobs:
    """All jobs by id, and by the name of their workload object."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._arrivals = 0
        self._empty = asyncio.Event()

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, job: str) -> Job | None:
        return self._jobs.get(job)

    def of(self, ref: JobRef | None) -> Job | None:
        """Only where it is the epoch that counts."""
        job = self._jobs.get(ref.job) if ref is not None else None
        return job if job is not None and job.ref == ref else None

    def put(self, entry: Entry) -> Job:
        """As the ledger has it: a new job, a new epoch of one, or a known one that is to stop now."""
        known = self.of(entry.ref)
        if known is not None:
            known.desired, known.hand_back = entry.desired, entry.hand_back or known.hand_back
            if known.size != entry.size:
                known.was, known.workload, known.size = known.workload, entry.workload, entry.size
                known.size_refused = ""
            return known
        if (earlier := self._jobs.get(entry.ref.job)) is not None:
            earlier.desired, earlier.silent = Desired.STOP, True  # whoever still works on it must stop
        self._arrivals += 1
        last = entry.report
        job = self._jobs[entry.ref.job] = Job(
            ref=entry.ref,
            arrival=self._arrivals,
            workload=entry.workload,
            desired=entry.desired,
            created=was_created(entry),
            hand_back=entry.hand_back,
            hand_back_reason=entry.stop_reason if entry.hand_back is not None else "",
            dependencies=frozenset(key_of(obj) for obj in entry.objects[:-1]),
            whole=entry.bound,
            stall_wish=stalls.wish_of(entry.objects[-1]["metadata"]) if entry.objects else None,
            outcome=last.event if last is not None and last.event in OVER else None,
            last_reported=last.event if last is not None and last.event in _GOING else None,
            size=entry.size,
            size_written=last.size if last is not None else 0,
            size_refused=last.size_refused if last is not None else "",
        )
        return job

    def drop(self, ref: JobRef) -> None:
        if self.of(ref) is not None:
            del self._jobs[ref.job]
        if not self._jobs:
            self._empty.set()

    async def until_empty(self) -> None:
        if self._jobs:
            self._empty.clear()
            await self._empty.wait()

    def counted(self) -> Iterable[tuple[str, int, int]]:
        """The epochs whose pods all have taken their part of what is free, with the revision of their size."""
        for job in self:
            if (size := job.counted_size()) is not None:
                yield job.ref.job, job.ref.epoch, size


def key_of(obj: Object) -> ObjectKey:
    metadata = obj["metadata"]
    return ObjectKey(obj["apiVersion"], obj["kind"], metadata.get("namespace", "default"), metadata["name"])


def was_created(entry: Entry) -> bool:
    """Whether the workload object existed once, as far as the ledger tells.

    An object that is missing then was removed by somebody and must not be made again: what it ran would run twice.
    The mark is on disk before the first pod is bound, and the reports that carry counts of roles come after it too.
    """
    return entry.created or any(report.roles for report in entry.reports) or bool(entry.assignment)


def counts_by_role(job: Job, pods: Iterable[PodFacts]) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for pod in pods:
        role = job.role_of(pod)
        if role is not None:
            counts[role.name] = counts.get(role.name, 0) + 1
    return counts
