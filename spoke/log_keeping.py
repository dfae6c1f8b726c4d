"""Writes the ends of logs down before their pods are gone, so that a job's logs outlive it (`kept_logs`).

A pod's log is read from where it ends, `TAIL_LINES` before, and followed to its last line, once the pod is over, is
being deleted, or its job is to stop: its cluster forgets the log with the pod. Not while it runs: that would cost each
API server the log of every pod there is. The job's deletion waits for a moment until the logs are open, so that a
cancelled job's last words are kept too.

Not promised: pods that go without their being deleted first, by a node that vanished or with no grace at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import aclosing
from typing import Any

from spoke import logs
from spoke.cluster.port import ClusterError, ClusterPort
from spoke.crew import Crew
from spoke.jobs import Job
from spoke.kept_logs import KeptLogs
from spoke.pods import PodFacts
from wire.orders import JobRef

log = logging.getLogger(__name__)

AT_ONCE = 32
TAIL_LINES = 50_000
OPEN_S = 0.5  # for the logs of a job to be opened before its pods are deleted
_GATHER_S = 0.2  # of changes to pods before their jobs are looked at
_FOLLOW_S = 600.0  # a pod that is deleted and does not go
_REMEMBERED = 100_000


class LogKeeper:
    def __init__(self, port: ClusterPort, kept: KeptLogs, crew: Crew) -> None:
        self._port = port
        self._kept = kept
        self._crew = crew
        self._room = asyncio.Semaphore(AT_ONCE)
        self._keeping: OrderedDict[tuple[JobRef, str], asyncio.Event] = OrderedDict()  # set once it is open, or done
        self._waited: OrderedDict[JobRef, None] = OrderedDict()
        self._changed: dict[JobRef, Job] = {}

    def poke(self, job: Job) -> None:
        """Something about its pods changed."""
        if not self._changed:
            asyncio.get_running_loop().call_later(_GATHER_S, self._look_at_changed)
        self._changed[job.ref] = job

    def _look_at_changed(self) -> None:
        changed, self._changed = self._changed, {}
        for job in changed.values():
            self.look(job)

    def look(self, job: Job) -> list[asyncio.Event]:
        """Begins with each pod that is about to go, once; answers what tells that each of them is being read."""
        ending = not job.runs and job.outcome is None
        return [
            self._begin(job, pod) for pod in job.pods.values() if pod.node and (pod.over or pod.terminating or ending)
        ]

    async def before_deletion(self, job: Job) -> None:
        """Waits once for each job, at the most."""
        opened = self.look(job)
        if job.ref in self._waited:
            return
        self._waited[job.ref] = None
        while len(self._waited) > _REMEMBERED:
            self._waited.popitem(last=False)
        if waiting := [asyncio.ensure_future(event.wait()) for event in opened if not event.is_set()]:
            _, late = await asyncio.wait(waiting, timeout=OPEN_S)
            for one in late:
                one.cancel()

    def _begin(self, job: Job, pod: PodFacts) -> asyncio.Event:
        key = (job.ref, pod.uid)
        known = self._keeping.get(key)
        if known is not None:
            return known
        opened = self._keeping[key] = asyncio.Event()
        while len(self._keeping) > _REMEMBERED:
            self._keeping.popitem(last=False)
        self._crew.spawn(self._keep(job, pod, opened), f"keeping the log of {pod.name}")
        return opened

    async def _keep(self, job: Job, pod: PodFacts, opened: asyncio.Event) -> None:
        try:
            async with self._room, asyncio.timeout(_FOLLOW_S):
                await self._write(job, pod, opened)
        except (ClusterError, OSError, TimeoutError) as error:
            log.warning("the end of the log of %s (%s) is not kept: %s", pod.name, job.ref, error)
        finally:
            opened.set()

    async def _write(self, job: Job, pod: PodFacts, opened: asyncio.Event) -> None:
        writer = self._kept.writer(job.ref, logs.kept_pod(job, pod))
        if writer is None:
            return
        try:
            source: Any = self._port.logs(pod.namespace, pod.name, follow=True, tail_lines=TAIL_LINES)
            async with aclosing(source) as parts:
                async for part in parts:
                    opened.set()
                    writer.add(part)
        finally:
            writer.close()
