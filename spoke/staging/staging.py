"""The step before a job's objects are made: its data is brought into the cluster, one dataset after the other.

Nothing of it is remembered over a restart: each copy is asked for again, and the stager finds what is there. Two jobs
that need one dataset do not copy it twice: copies into one claim wait for each other, and the second finds it done.
Progress is told seldom and more seldom the longer it takes: each time is a report, and a line in the job's history.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random

from placement import sizes
from placement.data import DataMove
from placement.lifecycle import Event
from spoke.cluster.backoff import Backoff
from spoke.cluster.port import Unavailable
from spoke.crew import Crew
from spoke.jobs import Assessment, Job
from spoke.staging.port import CannotStage, Stager, copy_of
from spoke.status import Reporter
from wire.orders import JobRef
from wire.orders import Staging as Progress

log = logging.getLogger(__name__)

TELL_S = 3.0  # at most so often
_TELL_SHARE = 0.05  # of what it has taken so far
TRIES = 5  # of a stager that fails for reasons of its own; a cluster that is away for a while is none


class Staging:
    """`staged` is told the id of a job whose data is there, `failed` of one whose data will not come, and why."""

    def __init__(self, stager: Stager, reporter: Reporter, crew: Crew, rng: Random) -> None:
        self._stager = stager
        self._reporter = reporter
        self._crew = crew
        self._rng = rng
        self._tasks: dict[JobRef, asyncio.Task[None]] = {}
        self._done: set[JobRef] = set()
        self._places: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.staged: Callable[[str], None] = lambda job: None
        self.failed: Callable[[Job, str], None] = lambda job, reason: None

    def is_done(self, job: Job, moves: Sequence[DataMove]) -> bool:
        """Whether the job can start; otherwise its data is on the way from here on."""
        if not moves or job.ref in self._done:
            return True
        if job.ref not in self._tasks:
            self._tasks[job.ref] = self._crew.spawn(self._bring(job, moves), f"bringing the data of {job.ref}")
        return False

    async def stop(self, job: Job) -> None:
        """Once it returns nothing is copied for the job any more."""
        task = self._tasks.pop(job.ref, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._done.discard(job.ref)
        job.staging = None
        await self._stager.forget(job.ref)

    def replaced(self, job: Job) -> None:
        """By a newer attempt: what looks after a job knows its newest only, so nobody else stops this one."""
        self._crew.spawn(self._stop_surely(job), f"bringing no more data of {job.ref}")

    async def _stop_surely(self, job: Job) -> None:
        backoff = Backoff(self._rng)
        while True:
            try:
                await self.stop(job)
                return
            except Unavailable:
                await backoff.wait()

    async def _bring(self, job: Job, moves: Sequence[DataMove]) -> None:
        told = _Telling(job, moves, self._reporter)
        try:
            for move in moves:
                await self._one(job, move, told)
                progress = told.arrived(move)
                # Not left to the reporter: what comes next must not overtake it.
                await self._reporter.tell(job, Assessment(Event.STAGING, f"copied {move.name}", staging=progress))
        except CannotStage as error:
            log.warning("%s: %s", job.ref, error)
            self._over(job)
            self.failed(job, str(error))
            return
        self._over(job)
        self._done.add(job.ref)
        self.staged(job.ref.job)

    def _over(self, job: Job) -> None:
        self._tasks.pop(job.ref, None)
        job.staging = None

    async def _one(self, job: Job, move: DataMove, told: _Telling) -> None:
        wanted = copy_of(job.ref, move)
        if job.workload is None or wanted.namespace != job.workload.namespace:
            raise CannotStage(f"{wanted.place} is in another namespace than the job")
        backoff = Backoff(self._rng)
        if self._places[wanted.place].locked():
            told.waits(move)
        async with self._places[wanted.place]:
            left = TRIES
            while True:
                told.begins(move)
                try:
                    await self._stager.copy(wanted, told)
                    return
                except CannotStage:
                    raise
                except Unavailable as error:
                    log.info("%s: copying %s goes on later: %s", job.ref, move.name, error)
                except Exception as error:
                    left -= 1
                    if not left:
                        raise CannotStage(f"{move.name} cannot be copied: {error}") from error
                    log.warning("%s: copying %s failed, and is tried again: %s", job.ref, move.name, error)
                await backoff.wait()


class _Telling:
    """Makes of each dataset's progress the job's."""

    def __init__(self, job: Job, moves: Sequence[DataMove], reporter: Reporter) -> None:
        self._job = job
        self._reporter = reporter
        self._sizes = {move.dataset: move.size_bytes for move in moves}
        self._there: dict[str, int] = {}
        self._staged: tuple[str, ...] = ()
        self._name = ""
        self._dataset = ""
        self._began = self._told_at = 0.0
        self._first: int | None = None  # what was there when it began

    def waits(self, move: DataMove) -> None:
        self._say(f"waiting for another job's copy of {move.name}")

    def begins(self, move: DataMove) -> None:
        self._name, self._dataset = move.name, move.dataset
        self._began, self._told_at, self._first = asyncio.get_running_loop().time(), 0.0, None
        self._say(f"copying {move.name}")

    def __call__(self, done: int, total: int) -> None:
        now = asyncio.get_running_loop().time()
        self._sizes[self._dataset], self._there[self._dataset] = total, done
        if self._first is None:
            self._first = done
        elif now - self._told_at < max(TELL_S, _TELL_SHARE * (now - self._began)):
            return
        self._told_at = now
        self._say(in_words(self._name, done, total, done - self._first, now - self._began))

    def arrived(self, move: DataMove) -> Progress:
        self._there[move.dataset] = self._sizes[move.dataset]
        self._staged = (*self._staged, move.dataset)
        return self._say(f"copied {move.name}")

    def _say(self, words: str) -> Progress:
        progress = Progress(sum(self._there.values()), sum(self._sizes.values()), self._staged)
        self._job.staging, self._job.staging_words = progress, words
        self._reporter.poke(self._job.ref.job)
        return progress


def in_words(name: str, done: int, total: int, copied: int, took_s: float) -> str:
    """`copying imagenet: 40 of 120 GB, 3 min left`; the time once something can be said of it."""
    words = f"copying {name}: {sizes.words_of(done, total)}"
    if copied <= 0 or took_s < 1 or done >= total:
        return words
    left_s = (total - done) / copied * took_s
    return f"{words}, {sizes.duration(left_s)} left"
