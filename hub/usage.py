"""What running jobs use of the GPUs that they hold: asked of their spokes when somebody wants to know, and not kept.

A cluster that does not answer in time, or whose spoke is too old to know the question, is named in the notes; the
others' jobs are told all the same. The tenant of the caller narrows the jobs that are asked about.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hub.errors import Invalid
from hub.link.directory import NotConnected
from hub.link.usage_flow import UsageBroken
from hub.records import Actor, Job, JobFilter, Page
from placement.lifecycle import Phase
from wire.orders import JobRef
from wire.usage import JobUse, Usage

PATIENCE_S = 8.0
MOST_JOBS = 10_000
_PAGE = 1000


class UsageSource(Protocol):
    async def usage(self, cluster: str, refs: Collection[JobRef]) -> Usage:
        """Raises NotConnected, UsageBroken."""


class KnownJobs(Protocol):
    async def list(self, actor: Actor, wanted: JobFilter) -> Page: ...
    async def show(self, actor: Actor, ref: str) -> Job: ...
    async def parts(self, actor: Actor, work: Job) -> Sequence[Job]: ...


@dataclass(frozen=True, slots=True)
class Top:
    """`uses` by job id; a job without one runs where nothing answered."""

    jobs: Sequence[Job]
    uses: Mapping[str, JobUse] = field(default_factory=dict)
    notes: Sequence[str] = ()


class Usages:
    def __init__(self, jobs: KnownJobs, source: UsageSource, *, patience_s: float = PATIENCE_S) -> None:
        self._jobs = jobs
        self._source = source
        self._patience_s = patience_s

    async def top(self, actor: Actor, ref: str | None = None) -> Top:
        """Of one job, or of all that run. Raises NotFound, and Invalid for a job that does not run."""
        jobs = await self._running(actor, ref) if ref is not None else await self._all(actor)
        by_cluster: dict[str, list[JobRef]] = defaultdict(list)
        for job in jobs:
            if job.cluster:
                by_cluster[job.cluster].append(JobRef(job.id, job.epoch))
        answers = await asyncio.gather(*(self._ask(cluster, refs) for cluster, refs in sorted(by_cluster.items())))
        asked = {(job.id, job.epoch) for job in jobs}
        uses = {use.ref.job: use for answer in answers for use in answer.jobs if (use.ref.job, use.ref.epoch) in asked}
        notes = [note for answer in answers for note in answer.notes]
        return Top(jobs, uses, notes)

    async def _ask(self, cluster: str, refs: Sequence[JobRef]) -> Usage:
        try:
            async with asyncio.timeout(self._patience_s):
                found = await self._source.usage(cluster, refs)
            return Usage(found.jobs, tuple(f"{cluster}: {note}" for note in found.notes))
        except TimeoutError:
            return Usage((), (f"{cluster}: its spoke did not answer within {self._patience_s:g} s",))
        except (NotConnected, UsageBroken) as error:
            return Usage((), (str(error),))

    async def _running(self, actor: Actor, ref: str) -> list[Job]:
        """Of a divided work its parts that run."""
        job = await self._jobs.show(actor, ref)
        found = await self._jobs.parts(actor, job) if job.is_whole else [job]
        running = [one for one in found if one.phase is Phase.RUNNING]
        if not running:
            raise Invalid(
                f"{ref} is {job.phase}, and only a job that runs uses anything",
                code="not-running",
                mend="muster show says what became of it",
            )
        return running

    async def _all(self, actor: Actor) -> list[Job]:
        found: list[Job] = []
        cursor: str | None = None
        while len(found) < MOST_JOBS:
            wanted = JobFilter(phases=frozenset({Phase.RUNNING}), parts=True, limit=_PAGE, cursor=cursor)
            page = await self._jobs.list(actor, wanted)
            found += [job for job in page.jobs if not job.is_whole]
            cursor = page.next_cursor
            if cursor is None:
                break
        return found
