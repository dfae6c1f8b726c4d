"""The logs of a job's pods as one stream: pods interleaved, lines whole, each with the position to resume after it.

Without `follow`, what the pods have written by now. With it, until all of them have ended: pods that have not started
yet are waited for, pods that come later are joined, a log that breaks off is taken up again where the pod still runs,
and the runs of a container that restarts follow each other. Of pods that are gone, what was kept of their logs.

A position is the pod's and, within it, the cluster's: of another pod of the same name it says nothing, and that one is
read from its beginning.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from random import Random
from typing import Any

from spoke import ranks
from spoke.cluster import log_positions
from spoke.cluster.backoff import Backoff
from spoke.cluster.port import ClusterPort, LogPart, NotFound, Refused, Unavailable
from spoke.jobs import Job
from spoke.kept_logs import KeptLogs, KeptPod
from spoke.pods import PodFacts
from wire.orders import LogLines, LogQuery

_LOOK_S = 0.5  # for pods that came, and for whether all have ended
_WAITING = 16  # parts read and not yet taken, of up to some 64 KiB


async def of_job(
    port: ClusterPort, find: Callable[[], Job | None], kept: KeptLogs | None, query: LogQuery, rng: Random
) -> AsyncIterator[LogLines]:
    """`find` answers the job as long as it is here."""
    reading = _Reading(port, find, kept, query, rng)
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

    def __init__(
        self, port: ClusterPort, find: Callable[[], Job | None], kept: KeptLogs | None, query: LogQuery, rng: Random
    ) -> None:
        self._port = port
        self._find = find
        self._kept = kept
        self._query = query
        self._after = dict(query.after)
        self._rng = rng
        self.lines: asyncio.Queue[LogLines | None] = asyncio.Queue(_WAITING)

    async def run(self) -> None:
        readers: dict[str, asyncio.Task[None]] = {}
        try:
            await self._read_pods(readers)
            await self._read_gone(readers)
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

    async def _read_gone(self, readers: dict[str, asyncio.Task[None]]) -> None:
        """What was kept of pods that were gone before anybody read them."""
        if self._query.previous or self._kept is None:
            return
        for pod in self._kept.pods(self._query.ref):
            rank = pod.role_rank if self._query.role else pod.rank
            wanted = self._query.role in ("", pod.role) and self._query.rank in (None, rank)
            if wanted and pod.uid not in readers and self._query.container in ("", pod.container):
                await self._read_kept(pod.name, pod.uid, self._position(pod.name, pod.uid), begun=False)

    async def _read(self, pod: PodFacts) -> None:
        backoff = Backoff(self._rng, first_s=0.2, most_s=3.0)
        position, begun = self._position(pod.name, pod.uid), False
        while True:
            # Asked before reading: what a pod wrote before it ended is there by then.
            over = _is_over(self._find(), pod)
            try:
                source: Any = self._port.logs(pod.namespace, pod.name, **self._asked(position))
                async with aclosing(source) as parts:
                    async for part in parts:
                        position, begun = part.position, True
                        backoff.reset()
                        await self._hand_on(pod.name, pod.uid, part)
                if not self._query.follow or self._query.previous or over:
                    return
            except (NotFound, Refused):
                await self._read_kept(pod.name, pod.uid, position, begun=begun)
                return
            except Unavailable:
                # Not started yet, or its node does not answer.
                if not self._query.follow or over:
                    await self._read_kept(pod.name, pod.uid, position, begun=begun)
                    return
            await backoff.wait()

    def _asked(self, position: str) -> dict[str, Any]:
        query = self._query
        if position:
            return {"follow": query.follow, "container": query.container, "after": position}
        return {
            "follow": query.follow,
            "container": query.container,
            "tail_lines": query.tail_lines,
            "since": query.since,
            "previous": query.previous,
        }

    async def _read_kept(self, name: str, uid: str, position: str, *, begun: bool) -> None:
        """From `position` on; from where the query says where nothing of the pod was read yet."""
        if self._kept is None:
            return
        try:
            parts = log_positions.after(self._kept.read(self._query.ref, uid), position)
            if not position and not begun:
                parts = _from(parts, self._query)
            for part in parts:
                await self._hand_on(name, uid, part)
        except Refused:
            return

    async def _hand_on(self, name: str, uid: str, part: LogPart) -> None:
        data = part.stamped if self._query.timestamps else part.plain
        await self.lines.put(LogLines(name, data, f"{uid}/{part.position}"))

    def _position(self, name: str, uid: str) -> str:
        owner, _, position = self._after.get(name, "").rpartition("/")
        return position if owner == uid else ""


def _from(parts: Any, query: LogQuery) -> Any:
    """As much of what was kept as `since` and `tail_lines` ask for. The ring of one pod fits into memory."""
    since = query.since.strftime("%Y-%m-%dT%H:%M:%S").encode() if query.since else b""
    found = []
    for part in parts:
        lines = [line for line in part.stamped.splitlines(keepends=True) if not since or line[:19] >= since]
        if lines:
            found.append(LogPart(b"".join(lines), part.position))
    if not query.tail_lines:
        return found
    wanted, tail = query.tail_lines, []
    for part in reversed(found):
        if wanted <= 0:
            break
        lines = part.stamped.splitlines(keepends=True)[-wanted:]
        tail.append(LogPart(b"".join(lines), part.position))
        wanted -= len(lines)
    return tail[::-1]


def _chosen(job: Job | None, query: LogQuery) -> list[PodFacts]:
    return ranks.chosen(job, query.role, query.rank) if job is not None else []


def kept_pod(job: Job, pod: PodFacts) -> KeptPod:
    """What is told of a pod beside its log once it is gone."""
    return KeptPod(
        pod.name,
        pod.uid,
        ranks.role_name(job, pod),
        ranks.ranks(job, within_role=False).get(pod.uid, 0),
        ranks.ranks(job, within_role=True).get(pod.uid, 0),
    )


def _has_ended(job: Job | None, query: LogQuery) -> bool:
    if job is None or job.outcome is not None or job.stopped:
        return True
    return not job.runs and not _chosen(job, query)


def _is_over(job: Job | None, pod: PodFacts) -> bool:
    now = job.pods.get(pod.uid) if job is not None else None
    return now is None or now.over
