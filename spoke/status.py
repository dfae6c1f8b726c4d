"""Tells the hub how each job fares: only what changed, from the workload's own status refined by facts of its pods.

An outcome, and the gang beginning to run, are told at once. That a job is still starting, and how many of its pods are
ready, is held back for a while: mostly something better follows, and a gang of a thousand pods is one report instead
of a thousand. Progress as expected has no words: the counts and places say it.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from placement.lifecycle import Event
from spoke.entry import Desired
from spoke.jobs import OVER, Assessment, Job, Jobs
from spoke.ledger import Ledger
from wire.orders import Report, ReportAck

GATHER_S = 0.1
HOLD_BACK_S = 1.0
# A failure may be what follows from a node's end or a drain, and its controller is quicker to say so than they are.
FAIL_HOLD_BACK_S = 0.5
FAIL_DOUBT_S = 60.0  # at most so long for nodes that have not shown that they live
_LOOK_AGAIN_S = 1.0
COUNTS_HOLD_BACK_S = 3.0  # where nothing but the counts of pods, or the last checkpoint, changed


def assess(job: Job) -> Assessment | None:
    """What is to be told of the job now; None where there is nothing to tell."""
    if job.silent or job.workload is None or job.outcome is not None:
        return None
    if (job.desired is not Desired.START or job.hand_back is not None) and job.event is not Event.SUCCEED:
        return None  # being stopped: only that it had won before matters
    if job.staging is not None:
        return Assessment(Event.STAGING, job.staging_words, staging=job.staging)
    if not job.created:
        return Assessment(Event.STARTING, job.problem) if job.problem else None
    event, reason = _event(job)
    tells_places = job.whole or event is not Event.STARTING
    places = job.places() if tells_places else ()
    checkpoint_at = job.checkpoint_at if event not in OVER else None
    stall = job.stall if event is Event.RUNNING else None
    return Assessment(
        event,
        "; ".join(filter(None, (stall.words if stall is not None else "", reason))),
        job.role_counts(),
        places,
        checkpoint_at=checkpoint_at,
        stalled_since=stall.since if stall is not None else None,
        progress=job.progress,
        retries=job.retries,
        size=_size(job),
        size_refused=job.size_refused if job.has_its_size else "",
    )


def _size(job: Job) -> int:
    """The one it has: while it is being changed, the one before."""
    if job.has_its_size:
        return job.size
    return job.told.size if job.told is not None else min(job.size_written, job.size - 1)


def _without_counts(found: Assessment) -> Assessment:
    return replace(found, roles=(), checkpoint_at=None, progress=None, retries=None)


def _event(job: Job) -> tuple[Event, str]:
    match job.event:
        case Event.SUCCEED:
            return Event.SUCCEED, ""
        case Event.FAIL:
            return Event.FAIL, "; ".join(filter(None, (job.event_reason, _troubles(job))))
        case Event.RUNNING:
            return Event.RUNNING, "; ".join(filter(None, (job.not_understood, _troubles(job) or job.problem)))
    return Event.STARTING, _why_not_running(job)


def _why_not_running(job: Job) -> str:
    if job.problem:
        return job.problem
    if job.not_understood:
        return job.not_understood
    if job.shortfall:
        return f"waiting for room: {job.shortfall}"
    return _troubles(job) or job.stuck or job.event_reason


def _troubles(job: Job) -> str:
    troubled = sorted((pod for pod in job.pods.values() if pod.trouble), key=lambda pod: pod.name)
    if not troubled:
        return ""
    more = f" (and {len(troubled) - 1} more pods)" if len(troubled) > 1 else ""
    return f"pod {troubled[0].name}: {troubled[0].trouble}{more}"


class Reporter:
    """`ended` is told of jobs whose outcome was reported. `in_doubt` tells whether a failure that was first seen at
    a moment (the loop's time) may yet turn out to be that of a node."""

    def __init__(self, jobs: Jobs, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self._jobs = jobs
        self._ledger = ledger
        self._clock = clock
        self._fresh: set[str] = set()
        self._held: dict[str, float] = {}  # since when, in the loop's time
        self._failing: dict[str, float] = {}  # likewise
        self._timers: list[tuple[float, str]] = []  # when to look at what is held back: a heap
        self._wake = asyncio.Event()
        self._outbox: list[Report] = []
        self._filled = asyncio.Event()
        self.ended: Callable[[Job], None] = lambda job: None
        self.in_doubt: Callable[[Job, float], bool] = lambda job, since: False

    def poke(self, job: str) -> None:
        self._fresh.add(job)
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._sleep()
            await self.round(asyncio.get_running_loop().time())
            # The first change is told at once; those on its heels go together: one transaction here, one at the hub.
            await asyncio.sleep(GATHER_S)

    async def round(self, now: float) -> None:
        """Reports what is due at `now` (the loop's time)."""
        telling = []
        for name in self._names_due(now):
            job = self._jobs.get(name)
            found = assess(job) if job is not None else None
            if job is None or found is None or found == job.told:
                self._held.pop(name, None)
                self._failing.pop(name, None)
            elif self._is_due(job, found, now):
                telling.append(self.tell(job, found))
        # Together: the ledger writes them in one transaction.
        await asyncio.gather(*telling)

    async def tell(self, job: Job, found: Assessment) -> None:
        """Records a report and queues it for the hub; nothing happens where the last one said the same."""
        if found.event is Event.FAIL and job.hand_back is not None:
            return  # interrupted since that was decided: then it did not fail by itself
        job.told = found
        self._held.pop(job.ref.job, None)
        self._failing.pop(job.ref.job, None)
        if found.event in OVER:
            job.outcome = found.event
        report = await self._ledger.record_report(
            job.ref,
            found.event,
            found.reason,
            found.roles,
            found.pods,
            self._clock(),
            staging=found.staging,
            checkpoint_at=found.checkpoint_at,
            stalled_since=found.stalled_since,
            progress=found.progress,
            retries=found.retries,
            size=found.size,
            size_refused=found.size_refused,
        )
        if report is not None:
            self._outbox.append(report)
            self._filled.set()
        if found.event in OVER:
            self.ended(job)

    # ---- for the link ----

    async def unacked(self) -> Sequence[Report]:
        """A stream begins: everything the hub has not acknowledged, and nothing of it a second time later."""
        self._outbox.clear()
        self._filled.clear()
        return await self._ledger.unacked()

    async def wait(self) -> Sequence[Report]:
        await self._filled.wait()
        self._filled.clear()
        reports, self._outbox = self._outbox, []
        return reports

    async def acknowledged(self, acks: Sequence[ReportAck]) -> None:
        await self._ledger.reports_acked(acks)

    # ---- inside ----

    async def _sleep(self) -> None:
        """Until something is fresh, or something held back is to be looked at."""
        delay_s = self._timers[0][0] - asyncio.get_running_loop().time() if self._timers else None
        if delay_s is None or delay_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._wake.wait()
        self._wake.clear()

    def _names_due(self, now: float) -> set[str]:
        names, self._fresh = self._fresh, set()
        while self._timers and self._timers[0][0] <= now:
            names.add(heapq.heappop(self._timers)[1])
        return names

    def _is_due(self, job: Job, found: Assessment, now: float) -> bool:
        """Otherwise it is held back, and looked at again when its time has come."""
        told, name = job.told, job.ref.job
        if found.event is Event.FAIL:
            return self._has_surely_failed(job, now)
        self._failing.pop(name, None)
        if found.event is not Event.STARTING and (told is None or told.event is not found.event):
            return True
        if told is not None and found.size != told.size:
            return True  # the hub waits for it
        since = self._held.setdefault(name, now)
        only_counts = told is not None and _without_counts(told) == _without_counts(found)
        due_at = since + (COUNTS_HOLD_BACK_S if only_counts else HOLD_BACK_S)
        if due_at > now:
            heapq.heappush(self._timers, (due_at, name))
        return due_at <= now

    def _has_surely_failed(self, job: Job, now: float) -> bool:
        """When a node dies, the ranks on the others fail at once, and their Job with them; that a node is dead is known
        half a minute later. So a failure counts once every node with a pod of it that runs has shown that it lives."""
        since = self._failing.setdefault(job.ref.job, now)
        due_at = since + FAIL_HOLD_BACK_S
        if due_at <= now and self.in_doubt(job, since):
            due_at = min(now + _LOOK_AGAIN_S, since + FAIL_DOUBT_S)
        if due_at > now:
            heapq.heappush(self._timers, (due_at, job.ref.job))
        return due_at <= now
