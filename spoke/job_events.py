"""What a cluster says about a job: the Kubernetes events of its workload object and its pods, as lines of JSON.

Read only when somebody asks, for events are many: one namespace's, narrowed here to what concerns the job. An event may
come before the pod that it is about is known; it is remembered for a while.

Not promised: events of pods that were gone before anybody asked, and of objects between the workload and its pods.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, suppress
from typing import Any

import orjson

from spoke.cluster.port import ClusterPort, Object, Selection, Snapshot, Upsert
from spoke.jobs import Job
from wire.orders import LogLines, LogQuery

AT_MOST = 2000  # of those that there are: the newest
_LOOK_S = 0.5  # at whether the job has ended, and whether pods came
_LINGER_S = 2.0  # for what is said of the end
_UNKNOWN = 500
_MESSAGE = 1000  # characters


async def of_job(port: ClusterPort, find: Callable[[], Job | None], query: LogQuery) -> AsyncIterator[LogLines]:
    """Raises ClusterError."""
    job = find()
    if job is None or job.key is None:
        return
    selection = Selection("v1", "Event", job.key.namespace)
    concern = _Concern(find)
    if not query.follow:
        yield _lines(concern.of(await port.list(selection)))
        return
    source: Any = port.watch(selection)
    async with aclosing(source) as changes:
        step: asyncio.Future[Any] = asyncio.ensure_future(anext(changes))
        ended_for = 0.0
        try:
            while ended_for < _LINGER_S:
                done, _ = await asyncio.wait({step}, timeout=_LOOK_S)
                found = concern.known_now()
                if done:
                    change = step.result()
                    if isinstance(change, Snapshot):
                        found += concern.of(change.objects)
                    elif isinstance(change, Upsert):
                        found += concern.of([change.object])
                    step = asyncio.ensure_future(anext(changes))
                else:
                    ended_for = ended_for + _LOOK_S if _has_ended(find()) else 0.0
                if found:
                    yield _lines(found)
        finally:
            step.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await step


class _Concern:
    def __init__(self, find: Callable[[], Job | None]) -> None:
        self._find = find
        self._uids: set[str] = set()  # of everything that was the job's while somebody read
        self._others: OrderedDict[str, Object] = OrderedDict()

    def of(self, events: Iterable[Object]) -> list[Object]:
        """Those that are about the job, by the time they were last seen."""
        self._look()
        found = []
        for event in events:
            if _about(event) in self._uids:
                found.append(event)
            else:
                self._others[event["metadata"]["uid"]] = event
        while len(self._others) > _UNKNOWN:
            self._others.popitem(last=False)
        return sorted(found, key=last_seen)[-AT_MOST:]

    def known_now(self) -> list[Object]:
        """Of those that were passed over, what is known by now to be about the job."""
        if not self._look():
            return []
        found = [event for event in self._others.values() if _about(event) in self._uids]
        for event in found:
            del self._others[event["metadata"]["uid"]]
        return sorted(found, key=last_seen)

    def _look(self) -> bool:
        before = len(self._uids)
        if (job := self._find()) is not None:
            self._uids.update(job.pods)
            if job.object_uid:
                self._uids.add(job.object_uid)
        return len(self._uids) > before


def last_seen(event: Object) -> str:
    """RFC 3339 in UTC sorts as text."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((str(time) for time in times if time), str(event["metadata"].get("creationTimestamp") or ""))


def _about(event: Object) -> str:
    return str((event.get("involvedObject") or {}).get("uid", ""))


def _lines(events: Iterable[Object]) -> LogLines:
    return LogLines("", b"".join(orjson.dumps(_told(event)) + b"\n" for event in events))


def _told(event: Object) -> dict[str, Any]:
    about, source = event.get("involvedObject") or {}, event.get("source") or {}
    series = event.get("series") or {}
    return {
        "id": str(event["metadata"].get("uid", "")),
        "at": last_seen(event),
        "first_at": str(event.get("firstTimestamp") or event.get("eventTime") or last_seen(event)),
        "count": int(series.get("count") or event.get("count") or 1),
        "type": str(event.get("type") or "Normal"),
        "reason": str(event.get("reason") or ""),
        "message": str(event.get("message") or "")[:_MESSAGE],
        "object": f"{about.get('kind', '')} {about.get('name', '')}".strip(),
        "source": str(event.get("reportingComponent") or source.get("component") or ""),
    }


def _has_ended(job: Job | None) -> bool:
    return job is None or job.outcome is not None or job.stopped
