"""Into a job's pods from the hub: who may, to which cluster, and that it was noted before it is done.

A tunnel is opened by the job's own tenant, by nobody who may only look; whether the cluster lets it through is its
owner's to say, and the spoke's to refuse. What was run, and which port was reached, is in the audit; connections to one
port that follow each other within ten minutes are one entry, for a browser opens dozens.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Protocol

from hub.errors import ConflictError, Invalid
from hub.link.directory import NotConnected
from hub.link.tunnel_failed import TunnelFailed
from hub.link.tunnel_streams import LinkTunnel
from hub.records import Actor, Job
from hub.roles import no_viewers
from hub.store import audit
from hub.store.audit import Access
from hub.store.store import Store
from placement.lifecycle import TERMINAL, Phase
from wire.orders import JobRef
from wire.tunnels import Closed, Port, Process, TunnelQuery

log = logging.getLogger(__name__)

OPEN_TUNNELS = 128  # of one user at a time, over all clusters
COMMAND_BYTES = 32 * 1024
ONE_ENTRY = timedelta(minutes=10)
_DETAIL = 1000  # characters
_REMEMBERED = 10_000


class TunnelSource(Protocol):
    def can(self, cluster: str, capability: str) -> bool:
        """Raises NotConnected."""

    async def open_tunnel(self, cluster: str, query: TunnelQuery) -> LinkTunnel:
        """Returns once the pod's end is there. Raises NotConnected, TunnelFailed. Close it by `Tunnel.close`."""


class Shown(Protocol):
    async def reach(self, actor: Actor, ref: str) -> Job: ...


class Tunnels:
    def __init__(self, store: Store, jobs: Shown, source: TunnelSource, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._jobs = jobs
        self._source = source
        self._clock = clock
        self._open: Counter[str] = Counter()
        self._noted: dict[tuple[str, str, str], datetime] = {}

    @asynccontextmanager
    async def open(
        self,
        actor: Actor,
        ref: str,
        to: Process | Port,
        *,
        role: str = "",
        rank: int | None = None,
        container: str = "",
    ) -> AsyncIterator[LinkTunnel]:
        """Raises NotFound, Forbidden, Invalid, ConflictError (no such pod, not connected, too old, switched off)."""
        action = "exec" if isinstance(to, Process) else "port-forward"
        no_viewers(actor, "reach into the pods of jobs")
        _check(to)
        job = await self._jobs.reach(actor, ref)
        cluster = self._cluster(job, action)
        if self._open[actor.user] >= OPEN_TUNNELS:
            raise ConflictError(
                f"{actor.user} has {OPEN_TUNNELS} tunnels open already", code="too-many-tunnels", mend="close one"
            )
        self._open[actor.user] += 1
        try:
            await self._note(actor, job, cluster, action, to)
            query = TunnelQuery(JobRef(job.id, job.epoch), to, role, rank, container)
            tunnel = await self._opened(cluster, query)
            try:
                yield tunnel
            finally:
                tunnel.close(Closed("left", "whoever opened it has gone"))
        finally:
            self._open[actor.user] -= 1
            if not self._open[actor.user]:
                del self._open[actor.user]

    async def audit(self, actor: Actor, *, before: int | None = None, limit: int = 100) -> Sequence[Access]:
        """Of the actor's tenant, the newest first."""
        return await self._store.read(lambda session: audit.newest(session, actor, before=before, limit=limit))

    def _cluster(self, job: Job, action: str) -> str:
        if job.cluster is None or job.phase is Phase.QUEUED or job.phase in TERMINAL:
            raise ConflictError(
                f"{job.name} ({job.id}) is {job.phase} and has no pods to reach",
                code="not-running",
                mend=f"muster explain {job.id} says why",
            )
        try:
            able = self._source.can(job.cluster, action)
        except NotConnected as error:
            raise _away(job) from error
        if not able:
            raise ConflictError(
                f"the spoke of {job.cluster} is too old for {action}",
                code="spoke-too-old",
                mend=f"have the spoke of {job.cluster} updated",
            )
        return job.cluster

    async def _opened(self, cluster: str, query: TunnelQuery) -> LinkTunnel:
        try:
            return await self._source.open_tunnel(cluster, query)
        except NotConnected as error:
            raise ConflictError(
                f"cluster {cluster} is not connected now",
                code="cluster-not-connected",
                mend=f"try again when it is back (muster cluster show {cluster})",
            ) from error
        except TunnelFailed as error:
            mend = _MENDS.get(error.closed.code, "muster show says what its pods do")
            raise ConflictError(f"{cluster}: {error}", code=error.closed.code or "failed", mend=mend) from error

    async def _note(self, actor: Actor, job: Job, cluster: str, action: str, to: Process | Port) -> None:
        now, detail = self._clock(), _detail(to)
        if isinstance(to, Port):
            key = (actor.user, job.id, detail)
            if (before := self._noted.get(key)) is not None and now - before < ONE_ENTRY:
                return
            self._noted[key] = now
            while len(self._noted) > _REMEMBERED:
                del self._noted[next(iter(self._noted))]
        access = Access(0, now, actor.user, job.tenant, action, job.id, cluster, detail)
        await self._store.write(lambda session: audit.note(session, access))
        log.info("%s: %s to %s on %s", actor.user, action, job.id, cluster)


_MENDS = {
    "forbidden-here": "ask the owner of the cluster: its policy's `access` (docs/tenancy.md)",
    "no-pod": "muster show names the pods and their roles",
    "not-running": "wait until it runs",
    "too-many": "try again later",
}


def _away(job: Job) -> ConflictError:
    return ConflictError(
        f"{job.name} is on {job.cluster}, which is not connected now",
        code="cluster-not-connected",
        mend=f"try again when it is back (muster cluster show {job.cluster})",
    )


def _check(to: Process | Port) -> None:
    if isinstance(to, Process):
        if not to.command or not to.command[0]:
            raise Invalid("there is no command", code="no-command", mend="muster exec JOB -- COMMAND")
        if sum(len(word.encode()) + 1 for word in to.command) > COMMAND_BYTES:
            raise Invalid(f"the command is longer than {COMMAND_BYTES} bytes", code="long-command", mend="use a script")
        if any("\0" in word for word in to.command):
            raise Invalid("the command holds a NUL", code="bad-command", mend="leave it out")
    elif not 1 <= to.number <= 65_535:
        raise Invalid(f"{to.number} is no port", code="bad-port", mend="use 1 to 65535")


def _detail(to: Process | Port) -> str:
    if isinstance(to, Process):
        return " ".join(to.command)[:_DETAIL]
    return f"{to.service}:{to.number}" if to.service else str(to.number)
