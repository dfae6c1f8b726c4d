"""The logs of a job's pods as one stream: pods interleaved, lines whole.

Without `follow`, what the pods have written by now. With it, until all of them have ended: pods that have not started
yet are waited for, pods that come later are joined, a log that breaks off is taken up again where the pod still runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random

from spoke.cluster.backoff import Backoff
from spoke.cluster.port import ClusterPort, NotFound, Refused, Unavailable
from spoke.jobs import Job
from spoke.pods import PodFacts
from wire.orders import LogLines, LogQuery

_LOOK_S = 0.5  # for pods that came, and for whether all have ended
_WAITING = 64  # chunks read and not yet taken


async def of_job(
    port: ClusterPort, find: Callable[[], Job | None], query: LogQuery, rng: Random
) -> AsyncIterator[LogLines]:
    """`find` answers the job as long as it is here."""
    reading = _Reading(port, find, query, rng)
    task = asyncio.create_task(reading.run())
    try:
        while (line := await reading.lines.get()) is not None:
            yield line
        await task  # raises what it failed with
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Reading:
    """One request's readers: one task a pod, all into one queue that is as long as its reader is slow."""

    def __init__(self, port: ClusterPort, find: Callable[[], Job | None], query: LogQuery, rng: Random) -> None:
        self._port = port
        self._find = find
        self._query = query
        self._rng = rng
        self.lines: asyncio.Queue[LogLines | None] = asyncio.Queue(_WAITING)

    async def run(self) -> None:
        readers: dict[str, asyncio.Task[None]] = {}
        try:
            await self._read_pods(readers)
        finally:
            for reader in readers.values():
                reader.cancel()
            task = asyncio.current_task()
            if task is not None and not task.cancelling():  # otherwise nobody takes it
                await self.lines.put(None)

    async def _read_pods(self, readers: dict[str, asyncio.Task[None]]) -> None:
        follow = self._query.follow
        while True:
            job = self._find()
            ended = not follow or _has_ended(job, self._query)
            for pod in _chosen(job, self._query):
                if pod.uid not in readers and pod.node:
                    readers[pod.uid] = asyncio.create_task(self._read(pod))
            running = [reader for reader in readers.values() if not reader.done()]
            if running:
                await asyncio.wait(running, timeout=_LOOK_S if follow else None)
            elif ended:
                break
            else:
                await asyncio.sleep(_LOOK_S)
        for reader in readers.values():
            reader.result()

    async def _read(self, pod: PodFacts) -> None:
        backoff = Backoff(self._rng, first_s=0.2, most_s=3.0)
        seen = _Seen(self._query.tail_lines)
        while True:
            try:
                chunks = self._port.logs(
                    pod.namespace, pod.name, follow=self._query.follow, tail_lines=seen.ask_from_the_end()
                )
                async for data in chunks:
                    if fresh := seen.beyond(data):
                        await self.lines.put(LogLines(pod.name, fresh))
                return
            except (NotFound, Refused):
                return
            except Unavailable:
                # Not started yet, or its node does not answer.
                if not self._query.follow or _is_over(self._find(), pod):
                    return
                seen.broken_off()
                await backoff.wait()


class _Seen:
    """Which lines of a log were handed on, so that one that broke off goes on after them.

    Exact for a log read from its beginning. One that was read from its tail goes on with what is written from then on.
    """

    def __init__(self, tail_lines: int) -> None:
        self._tail_lines = tail_lines
        self._lines = 0
        self._skip = 0

    def ask_from_the_end(self) -> int:
        return 1 if self._tail_lines and self._lines else self._tail_lines

    def broken_off(self) -> None:
        self._skip = min(self._lines, 1) if self._tail_lines else self._lines

    def beyond(self, data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        fresh = lines[self._skip :]
        self._skip -= len(lines) - len(fresh)
        self._lines += len(fresh)
        return b"".join(fresh)


def _chosen(job: Job | None, query: LogQuery) -> list[PodFacts]:
    if job is None:
        return []
    pods = [pod for pod in job.pods.values() if query.role in ("", _role(job, pod))]
    return sorted(pods, key=lambda pod: pod.name)


def _role(job: Job, pod: PodFacts) -> str:
    role = job.role_of(pod)
    return role.name if role is not None else ""


def _has_ended(job: Job | None, query: LogQuery) -> bool:
    if job is None or job.outcome is not None or job.stopped:
        return True
    return not job.runs and not _chosen(job, query)


def _is_over(job: Job | None, pod: PodFacts) -> bool:
    now = job.pods.get(pod.uid) if job is not None else None
    return now is None or now.over
