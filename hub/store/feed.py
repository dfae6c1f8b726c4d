"""Events as they are committed, for whoever follows them: none is missed and none comes twice.

A follower holds no queue of its own. It knows the number it has read up to and asks what came after: the feed answers
from its tail in memory, or sends it to the table when it has fallen further behind than the tail reaches.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from hub.records import Actor, JobEvent
from hub.store import events
from hub.store.changes import Change, Happened
from hub.store.store import Store

TAIL = 8192
PAGE = 500


class Feed:
    """In step with `job_events` once subscribed to a store."""

    def __init__(self, *, tail: int = TAIL) -> None:
        self._tail: deque[JobEvent] = deque(maxlen=tail)
        self._last = 0
        self._arrived = asyncio.Event()

    def load(self, tail: Iterable[JobEvent]) -> None:
        for event in tail:
            self._append(event)

    def on_change(self, change: Change) -> None:
        if isinstance(change, Happened):
            self._append(change.event)

    def _append(self, event: JobEvent) -> None:
        self._tail.append(event)
        self._last = event.seq
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._last

    async def read(
        self, store: Store, actor: Actor, *, after: int | None, job: str | None, follow: bool
    ) -> AsyncIterator[JobEvent]:
        """Events with a number above `after` (None: from the first) that the actor may see; of one job, if given."""
        read_up_to = after or 0
        until = None if follow else self._last
        while until is None or read_up_to < until:
            arrived = self._arrived
            if read_up_to >= self._last:
                await arrived.wait()
                continue
            found, read_up_to = await self._next(store, actor, read_up_to, job)
            for event in found:
                if until is None or event.seq <= until:
                    yield event

    async def _next(self, store: Store, actor: Actor, after: int, job: str | None) -> tuple[list[JobEvent], int]:
        """The next events, and up to which number they are all that there are."""
        if self._tail and self._tail[0].seq <= after + 1:
            found = [event for event in self._since(after) if _wanted(event, actor, job)]
            return found, self._last
        # Everything up to the newest number known here is committed, hence readable.
        newest = self._last
        page = await store.read(lambda session: events.after(session, actor, after, job=job, limit=PAGE))
        return page, page[-1].seq if len(page) == PAGE else max(newest, page[-1].seq if page else 0)

    def _since(self, after: int) -> list[JobEvent]:
        newer: list[JobEvent] = []
        for event in reversed(self._tail):
            if event.seq <= after:
                break
            newer.append(event)
        return newer[::-1]


def _wanted(event: JobEvent, actor: Actor, job: str | None) -> bool:
    return (actor.sees_every_tenant or event.tenant == actor.tenant) and (job is None or event.job == job)
