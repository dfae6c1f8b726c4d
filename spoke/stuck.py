"""Finds out why a job that was made does not begin to run, so that none just stays "starting" without a word.

What containers say of themselves (an image that cannot be pulled, a crash loop) is in the pods' status, told at once.
The rest is in the cluster's events: a volume that cannot be mounted, pods that quota or Pod Security do not admit. They
are read for jobs that have waited for some time for their pods to be made or to run, a few jobs at a time and each
rarely: events are many, and an API server reads all of a namespace to find those of one object.

A job that was accepted and then finds its room taken, with none of its pods on a node, is not kept waiting for long:
another cluster may have room, so it is to be handed back.

Not promised: the true cause. The newest warning is what the cluster says last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from placement.kinds.catalogue import Catalogue
from placement.lifecycle import Event
from spoke.cluster.port import ClusterError, ClusterPort, Object, Refused, Selection
from spoke.jobs import Job, Jobs
from spoke.pods import Life, PodFacts
from wire.orders import JobRef

log = logging.getLogger(__name__)

AT_ONCE = 4
_PODS_ASKED_FOR = 2  # of one job: the others of a gang mostly wait for the same
_REASON_LIMIT = 400
# Said by schedulers about pods that are not theirs to place; why ours are not placed, this spoke knows itself.
_NOT_OURS = frozenset({"FailedScheduling"})


@dataclass(frozen=True, slots=True)
class Patience:
    after_s: float = 10.0  # of waiting for others: then events are read
    again_s: float = 10.0  # at most so often for one job
    no_pods_s: float = 30.0  # then a controller that makes none is said to be missing
    no_room_s: float = 10.0  # then a job of which nothing is bound goes back


PATIENCE = Patience()


@dataclass(slots=True)
class _Starting:
    since: float
    began: datetime
    asked_at: float = float("-inf")


class Stuck:
    """`changed` is told the id of a job for which another reason was found, `without_room` a job that is to go back."""

    def __init__(
        self,
        port: ClusterPort,
        jobs: Jobs,
        catalogue: Catalogue,
        *,
        clock: Callable[[], datetime],
        patience: Patience = PATIENCE,
    ) -> None:
        self._port = port
        self._jobs = jobs
        self._catalogue = catalogue
        self._clock = clock
        self._patience = patience
        self._starting: dict[JobRef, _Starting] = {}
        self._may_not_read = False
        self._without_room: dict[JobRef, float] = {}  # since when
        self.changed: Callable[[str], None] = lambda job: None
        self.without_room: Callable[[Job], None] = lambda job: None

    async def run(self) -> None:
        while True:
            await self.round(asyncio.get_running_loop().time())
            await asyncio.sleep(min(1.0, self._patience.again_s))

    async def round(self, now: float) -> None:
        """`now` is the loop's time."""
        self._look_at_room(filter(is_starting, self._jobs), now)
        # Of one whose pods wait to be bound this spoke knows why; the events are long to read, and say nothing of it.
        starting = {job.ref: job for job in self._jobs if is_starting(job) and _waits_for_others(job)}
        for job in self._jobs:
            if job.ref not in starting:
                self._note(job, "")
        self._starting = {ref: self._starting.get(ref) or _Starting(now, self._clock()) for ref in starting}
        due = [ref for ref, known in self._starting.items() if self._is_due(known, now)]
        due.sort(key=lambda ref: self._starting[ref].asked_at)
        await asyncio.gather(*(self._look(starting[ref], self._starting[ref], now) for ref in due[:AT_ONCE]))

    def _look_at_room(self, starting: Iterable[Job], now: float) -> None:
        waiting = [job for job in starting if job.shortfall and not any(pod.node for pod in job.pods.values())]
        self._without_room = {job.ref: self._without_room.get(job.ref, now) for job in waiting}
        for job in waiting:
            if now - self._without_room[job.ref] >= self._patience.no_room_s:
                self.without_room(job)

    def _is_due(self, known: _Starting, now: float) -> bool:
        return now - known.since >= self._patience.after_s and now - known.asked_at >= self._patience.again_s

    async def _look(self, job: Job, known: _Starting, now: float) -> None:
        known.asked_at = now
        try:
            warning = await self._warning(job)
        except ClusterError as error:
            log.info("%s: why it does not start cannot be read: %s", job.ref, error)
            warning = ""
        if is_starting(job):
            late = now - known.since >= self._patience.no_pods_s
            self._note(job, warning or self._by_its_pods(job, known.began, late=late))

    async def _warning(self, job: Job) -> str:
        """The newest that the cluster says of the pods that are bound and do not run, or of a workload without pods."""
        waiting = waiting_pods(job)[:_PODS_ASKED_FOR]
        asked = [(f"pod {pod.name}", pod.namespace, pod.uid) for pod in waiting]
        if _missing(job) and job.key is not None and job.object_uid:
            asked.append((f"{job.key.kind} {job.key.name}", job.key.namespace, job.object_uid))
        found = [(event, what) for what, namespace, uid in asked for event in await self._warnings(namespace, uid)]
        if not found:
            return ""
        event, what = max(found, key=lambda one: _last_seen(one[0]))
        return f"{what}: {event.get('reason')}: {event.get('message') or ''}"[:_REASON_LIMIT]

    async def _warnings(self, namespace: str, uid: str) -> Iterable[Object]:
        if self._may_not_read:
            return ()
        try:
            events = await self._port.list(
                Selection("v1", "Event", namespace, field_selector=f"involvedObject.uid={uid}")
            )
        except Refused as error:
            log.info("events are not read: %s", error)
            self._may_not_read = True
            return ()
        return [event for event in events if event.get("type") == "Warning" and event.get("reason") not in _NOT_OURS]

    def _by_its_pods(self, job: Job, began: datetime, *, late: bool) -> str:
        for pod in waiting_pods(job):
            if pod.waits:
                return f"pod {pod.name} on node {pod.node}: {pod.waits}"
            if pod.life is Life.PENDING:
                return f"pod {pod.name}: the kubelet of node {pod.node} has not begun with it"
            return f"pod {pod.name} on node {pod.node} runs and is not ready"
        missing = _missing(job)
        if missing and late and job.workload is not None and job.key is not None:
            kind = self._catalogue.find(job.key.api_version, job.key.kind)
            controller = kind.rules.controller if kind is not None else ""
            hint = f": does {controller} run in this cluster?" if controller else ""
            total = job.workload.pods
            return f"its controller has made {total - missing} of {total} pods since {began:%F %T} UTC{hint}"
        return ""

    def _note(self, job: Job, reason: str) -> None:
        if job.stuck != reason:
            job.stuck = reason
            self.changed(job.ref.job)


def is_starting(job: Job) -> bool:
    return job.runs and job.created and job.event in (None, Event.STARTING)


def _waits_for_others(job: Job) -> bool:
    """For its controller to make its pods, or for kubelets to run those that are bound."""
    return bool(_missing(job)) or any(pod.alive and not pod.ready for pod in job.pods.values())


def waiting_pods(job: Job) -> list[PodFacts]:
    """Bound, and neither ready nor ended."""
    found = [pod for pod in job.pods.values() if pod.alive and not pod.ready]
    return sorted(found, key=lambda pod: pod.name)


def _missing(job: Job) -> int:
    """How many of its pods do not exist."""
    there = sum(not pod.terminating for pod in job.pods.values())
    return max(job.workload.pods - there, 0) if job.workload is not None else 0


def _last_seen(event: Object) -> str:
    """RFC 3339 in UTC sorts as text."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((str(time) for time in times if time), str(event["metadata"].get("creationTimestamp") or ""))
