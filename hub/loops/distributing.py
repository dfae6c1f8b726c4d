"""Gives distributions to clusters that join or get a label, and takes them from those that lose it.

Level-triggered: whatever is said of a cluster begins a look at all of it, and so does the start of the hub.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from hub.store import distributions
from hub.store.changes import Change, ClusterSaved
from hub.store.store import Store, StoreClosed

log = logging.getLogger(__name__)

AGAIN_S = 5.0  # after a failure


class DistributingLoop:
    def __init__(self, store: Store, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._changed = asyncio.Event()
        self._changed.set()
        self._known: dict[str, object] = {}
        store.subscribe(self.on_change)

    def on_change(self, change: Change) -> None:
        if isinstance(change, ClusterSaved):
            cluster = change.cluster
            selected_by = (cluster.region, dict(cluster.labels), cluster.removed_at)
            if self._known.get(cluster.name) != selected_by:  # that it was seen again says nothing here
                self._known[cluster.name] = selected_by
                self._changed.set()

    async def run(self) -> None:
        """For ever; ends when cancelled or when the store is closed."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.tick()
            except StoreClosed:
                return
            except Exception:
                log.exception("what is distributed could not be looked at")
                await asyncio.sleep(AGAIN_S)
                self._changed.set()

    async def tick(self) -> int:
        """How many orders it gave."""
        now = self._clock()
        given = await self._store.write(lambda session: distributions.reconcile(session, now))
        if given:
            log.info("%d orders to have or to remove what is distributed", given)
        return given
