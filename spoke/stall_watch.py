"""Looks whether jobs that name a time for it stand still, and flags them or hands them back.

Only jobs that ask for it are looked at, once a minute: the last line of a few of their pods' logs, and how busy the
`meter` found their GPUs. What a job says itself comes by the watches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from placement.lifecycle import Event
from spoke import checkpoints, stalls
from spoke.cluster.port import ClusterError, ClusterPort
from spoke.jobs import Job, Jobs
from spoke.pods import PodFacts
from spoke.stalls import Progress, Stall
from wire.orders import JobRef

log = logging.getLogger(__name__)

PACE_S = 30.0
_PODS = 8  # of one job: where all wait for one, all are silent
_AT_ONCE = 4
BUSY_PERCENT = 5.0


@dataclass(slots=True)
class _Seen:
    began: datetime
    logged: datetime | None = None
    busy: datetime | None = None


class StallWatch:
    """`changed` is told the id of a job that begins or ceases to stand still, `restart` one that is to go back."""

    def __init__(
        self,
        port: ClusterPort,
        jobs: Jobs,
        busy: Callable[[Job], float | None],
        *,
        clock: Callable[[], datetime],
        pace_s: float = PACE_S,
    ) -> None:
        self._port = port
        self._jobs = jobs
        self._busy = busy
        self._clock = clock
        self._pace_s = pace_s
        self._seen: dict[JobRef, _Seen] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.changed: Callable[[str], None] = lambda job: None
        self.restart: Callable[[Job, Stall], None] = lambda job, stall: None

    async def run(self) -> None:
        while True:
            await self.round()
            await asyncio.sleep(self._pace_s)

    async def round(self) -> None:
        asking = [job for job in self._jobs if job.stall_wish is not None and job.runs and job.event is Event.RUNNING]
        self._seen = {job.ref: self._seen.get(job.ref) or _Seen(self._began(job)) for job in asking}
        await asyncio.gather(*(self._look(job) for job in asking))

    async def _look(self, job: Job) -> None:
        seen, now = self._seen[job.ref], self._clock()
        busy = self._busy(job)
        if busy is not None and busy >= BUSY_PERCENT:
            seen.busy = now
        if job.checkpoint_at is None:  # whose own word counts more
            seen.logged = checkpoints.latest(seen.logged, await self._last_line(job))
        if job.stall_wish is None or not job.runs:
            return
        progress = Progress(seen.began, job.checkpoint_at, seen.logged, seen.busy)
        stall = stalls.stalled(job.stall_wish, progress, now)
        if stall != job.stall:
            log.info("%s: %s", job.ref, stall.words if stall is not None else "goes on again")
            job.stall = stall
            self.changed(job.ref.job)
        if stall is not None and job.stall_wish.restart:
            self.restart(job, stall)

    async def _last_line(self, job: Job) -> datetime | None:
        pods = sorted((pod for pod in job.pods.values() if pod.alive), key=lambda pod: pod.name)[:_PODS]
        return checkpoints.latest(*await asyncio.gather(*map(self._last_line_of, pods)))

    async def _last_line_of(self, pod: PodFacts) -> datetime | None:
        try:
            async with self._slots:
                lines = [part async for part in self._port.logs(pod.namespace, pod.name, follow=False, tail_lines=1)]
        except ClusterError:
            return None
        if not lines:
            return None
        stamp = lines[-1].stamped.splitlines()[-1].partition(b" ")[0]
        return checkpoints.moment(stamp.decode("ascii", "replace"))

    def _began(self, job: Job) -> datetime:
        """An agent that was started anew knows the job's beginning no more, and counts from now."""
        return self._clock()
