"""What happened to one job, in one order: the hub's own events of it and what its cluster says about its objects.

The cluster's events are read where they lie, through the spoke, when somebody asks. Where they cannot be had (it is
away, or its spoke too old) the hub's own are shown with a line that says so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from hub.jobs import LogSource
from hub.link.directory import NotConnected
from hub.link.log_flow import LogBroken
from hub.merging import Found, merged
from hub.records import Actor, Job, JobEvent
from placement.lifecycle import TERMINAL, Phase
from wire import capabilities
from wire.orders import EVENTS, JobRef, LogLines, LogQuery

AT_MOST = 4096  # waiting for a reader, of one source; beyond that it waits
_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Happening:
    at: datetime  # when it was last seen
    first_at: datetime
    count: int
    source: str  # "muster", or the cluster's component: "kubelet"
    warning: bool
    reason: str
    message: str
    object: str  # "Pod train-0"; of Muster's own the phase that the job is in then
    id: str  # the same for what is said again with another count


class JobEvents(Protocol):
    async def show(self, actor: Actor, ref: str) -> Job: ...
    async def parts(self, actor: Actor, work: Job) -> Sequence[Job]: ...
    def events(self, actor: Actor, *, after: int | None, job: str | None, follow: bool) -> AsyncIterator[JobEvent]: ...


class Happenings:
    def __init__(self, jobs: JobEvents, source: LogSource, *, clock: Callable[[], datetime]) -> None:
        self._jobs = jobs
        self._source = source
        self._clock = clock

    async def of(self, actor: Actor, ref: str, *, follow: bool) -> AsyncGenerator[Happening, None]:
        """In the order of time; with `follow` then as they come, until the job has ended. Of a divided work its own
        and those of its parts, each with its cluster. Raises NotFound."""
        job = await self._jobs.show(actor, ref)
        source = self._of_whole(actor, job, follow=follow) if job.is_whole else self._of_job(actor, job, follow=follow)
        async with aclosing(source) as found:
            async for one in found:
                yield one

    async def _of_whole(self, actor: Actor, whole: Job, *, follow: bool) -> AsyncGenerator[Happening, None]:
        told: set[str] = set()
        past = [one async for one in self._of_job(actor, whole, follow=False)]
        for part in await self._jobs.parts(actor, whole):
            past += [_in_cluster(one, part) async for one in self._of_job(actor, part, follow=False)]
        for one in sorted(past, key=_order):
            told.add(f"{one.id} {one.count}")
            yield one
        if not follow or whole.phase in TERMINAL:
            return

        async def find() -> Found[str, Happening]:
            work = await self._jobs.show(actor, whole.id)
            parts = await self._jobs.parts(actor, work)
            sources = {part.id: partial(self._of_part, actor, part) for part in parts}
            sources[work.id] = partial(self._of_job, actor, work, follow=True)
            return sources, work.phase in TERMINAL

        async with aclosing(merged(find, look_s=_LOOK_S)) as found:
            async for one in found:
                if f"{one.id} {one.count}" not in told:
                    yield one

    async def _of_part(self, actor: Actor, part: Job) -> AsyncGenerator[Happening, None]:
        async with aclosing(self._of_job(actor, part, follow=True)) as found:
            async for one in found:
                yield _in_cluster(one, part)

    async def _of_job(self, actor: Actor, job: Job, *, follow: bool) -> AsyncGenerator[Happening, None]:
        own = [_own(event) async for event in self._jobs.events(actor, after=None, job=job.id, follow=False)]
        last = max((int(one.id.rpartition("-")[2]) for one in own), default=0)
        said = [one async for one in self._of_cluster(job, follow=False)]
        for one in sorted([*own, *said], key=_order):
            yield one
        if follow and job.phase not in TERMINAL:
            seen = {(one.id, one.count) for one in said}
            async for one in self._from_now_on(actor, job, last):
                if (one.id, one.count) not in seen:
                    yield one

    async def _from_now_on(self, actor: Actor, job: Job, after: int) -> AsyncIterator[Happening]:
        arrived: asyncio.Queue[Happening | None] = asyncio.Queue(AT_MOST)

        async def follow_own() -> None:
            async for event in self._jobs.events(actor, after=after, job=job.id, follow=True):
                await arrived.put(_own(event))
                if event.phase in TERMINAL:
                    break
            await asyncio.sleep(_LINGER_S)
            await arrived.put(None)

        async def follow_cluster() -> None:
            present, epoch = job, 0
            while True:  # each attempt has a cluster of its own
                if present.cluster is not None and present.epoch != epoch and present.phase is not Phase.QUEUED:
                    epoch = present.epoch
                    async for one in self._of_cluster(present, follow=True):
                        await arrived.put(one)
                await asyncio.sleep(_LOOK_S)
                present = await self._jobs.show(actor, job.id)

        tasks = [asyncio.create_task(follow_own()), asyncio.create_task(follow_cluster())]
        try:
            while (one := await _next(arrived, tasks)) is not None:
                yield one
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _of_cluster(self, job: Job, *, follow: bool) -> AsyncIterator[Happening]:
        if job.cluster is None or job.phase is Phase.QUEUED:
            return
        query = LogQuery(JobRef(job.id, job.epoch), "", follow, 0, of=EVENTS)
        try:
            if not self._source.can(job.cluster, capabilities.EVENTS):
                yield self._missing(f"the spoke of {job.cluster} is too old to tell the cluster's events")
                return
            async with aclosing(self._source.open_logs(job.cluster, query)) as parts:
                async for one in _read(parts):
                    yield one
        except NotConnected:
            yield self._missing(f"{job.cluster} is not connected now, so its events are not shown")
        except LogBroken as error:
            yield self._missing(f"the events of {job.cluster} cannot be read (on): {error}")

    def _missing(self, words: str) -> Happening:
        now = self._clock()
        return Happening(now, now, 1, "muster", True, "incomplete", words, "", "muster-incomplete-0")


_LINGER_S = 2.0  # for what the cluster says of the end
_LOOK_S = 1.0  # at whether the job is on another cluster


def _order(one: Happening) -> tuple[datetime, bool, datetime]:
    """Clusters tell whole seconds. Within one Muster's own comes first: it is the cause more often than not."""
    return one.at.replace(microsecond=0), one.source != "muster", one.at


async def _next(arrived: asyncio.Queue[Happening | None], tasks: list[asyncio.Task[None]]) -> Happening | None:
    """Raises what a task failed with."""
    getting = asyncio.ensure_future(arrived.get())
    try:
        await asyncio.wait({getting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        while not getting.done():
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.wait({getting, *(task for task in tasks if not task.done())}, return_when="FIRST_COMPLETED")
        return getting.result()
    finally:
        getting.cancel()


async def _read(parts: AsyncIterator[LogLines]) -> AsyncIterator[Happening]:
    async for part in parts:
        for line in part.data.splitlines():
            if (one := _told(line)) is not None:
                yield one


def _told(line: bytes) -> Happening | None:
    """None for what cannot be read: one event of a cluster does not hide the others."""
    try:
        found: dict[str, Any] = json.loads(line)
        at = _time(found["at"])
        return Happening(
            at,
            _time(found.get("first_at") or found["at"]),
            max(int(found.get("count", 1)), 1),
            str(found.get("source") or "cluster")[:253],
            found.get("type") == "Warning",
            str(found.get("reason", ""))[:253],
            str(found.get("message", ""))[:_TEXT],
            str(found.get("object", ""))[:600],
            str(found.get("id", ""))[:100],
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _in_cluster(one: Happening, part: Job) -> Happening:
    cluster = part.workload.hints.clusters[0]
    return replace(one, object=f"{one.object} in {cluster}" if one.object else cluster)


def _own(event: JobEvent) -> Happening:
    warning = event.phase is Phase.FAILED
    return Happening(
        event.at, event.at, 1, "muster", warning, event.event, event.message, event.phase.value, f"muster-{event.seq}"
    )
