"""Where a job can be reached: asked of the clusters that it is in, at once, and told in one answer.

A cluster that is away, too slow, or whose spoke is too old is named in the notes; the others are told all the same.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from hub.federation import Federation
from hub.jobs import LogSource
from hub.link.directory import NotConnected
from hub.link.log_flow import LogBroken
from hub.records import Actor, Job
from placement.lifecycle import TERMINAL, Phase
from wire import capabilities
from wire.orders import ENDPOINTS, JobRef, LogLines, LogQuery

PATIENCE_S = 8.0
_TEXT = 1000
_MOST = 500  # of one cluster


@dataclass(frozen=True, slots=True)
class Endpoint:
    cluster: str
    region: str
    job: str
    kind: str
    name: str
    namespace: str
    type: str
    addresses: tuple[str, ...]
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reachable:
    endpoints: tuple[Endpoint, ...]
    notes: tuple[str, ...]


class KnownJobs(Protocol):
    async def show(self, actor: Actor, ref: str) -> Job: ...
    async def parts(self, actor: Actor, work: Job) -> Sequence[Job]: ...


class Endpoints:
    def __init__(
        self, jobs: KnownJobs, source: LogSource, federation: Federation, *, patience_s: float = PATIENCE_S
    ) -> None:
        self._jobs = jobs
        self._source = source
        self._federation = federation
        self._patience_s = patience_s

    async def of(self, actor: Actor, ref: str) -> Reachable:
        """By cluster; of a divided work of all its parts. Raises NotFound, ConflictError."""
        job = await self._jobs.show(actor, ref)
        parts = await self._jobs.parts(actor, job) if job.is_whole else [job]
        there = [part for part in parts if part.cluster and part.phase not in TERMINAL and part.phase != Phase.QUEUED]
        there.sort(key=lambda part: part.cluster or "")
        answers = await asyncio.gather(*(self._ask(part, part.cluster or "") for part in there))
        notes = [answer for answer in answers if isinstance(answer, str)]
        if not there:
            notes.append(f"{job.name} ({job.id}) is {job.phase}, and nothing of it is in a cluster")
        told = (one for answer in answers if not isinstance(answer, str) for one in answer)
        return Reachable(tuple(told), tuple(notes))

    async def _ask(self, part: Job, cluster: str) -> list[Endpoint] | str:
        """What it told, or why it did not."""
        query = LogQuery(JobRef(part.id, part.epoch), "", False, 0, of=ENDPOINTS)
        try:
            if not self._source.can(cluster, capabilities.ENDPOINTS):
                return f"the spoke of {cluster} is too old to tell endpoints; have it updated"
            async with asyncio.timeout(self._patience_s), aclosing(self._source.open_logs(cluster, query)) as found:
                return [self._endpoint(one, part, cluster) async for one in _told(found)][:_MOST]
        except NotConnected:
            return f"{cluster} is not connected now"
        except TimeoutError:
            return f"the spoke of {cluster} did not answer within {self._patience_s:g} s"
        except LogBroken as error:
            return f"{cluster} does not tell: {error}"

    def _endpoint(self, told: Mapping[str, Any], part: Job, cluster: str) -> Endpoint:
        return Endpoint(
            cluster=cluster,
            region=self._federation.members.get(cluster, ""),
            job=part.id,
            kind=str(told.get("kind", ""))[:_TEXT],
            name=str(told.get("name", ""))[:_TEXT],
            namespace=str(told.get("namespace", ""))[:_TEXT],
            type=str(told.get("type", ""))[:_TEXT],
            addresses=_texts(told.get("addresses")),
            ports=_texts(told.get("ports")),
        )


async def _told(parts: AsyncIterator[LogLines]) -> AsyncIterator[Mapping[str, Any]]:
    async for part in parts:
        for line in part.data.splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(one)[:_TEXT] for one in value[:_MOST]) if isinstance(value, list) else ()
