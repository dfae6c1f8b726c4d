"""Wakes the streams of clusters that have new orders about what is distributed; the orders are in the store."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from hub.store.changes import Change, Distributed


class DistributionCalls:
    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._arrived: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def on_change(self, change: Change) -> None:
        if isinstance(change, Distributed):
            self._newest[change.cluster] = max(change.generation, self.newest(change.cluster))
            arrived = self._arrived.pop(change.cluster, None)
            if arrived is not None:
                arrived.set()

    def newest(self, cluster: str) -> int:
        """The largest generation that was committed since this process began; 0 for none."""
        return self._newest.get(cluster, 0)

    async def wait(self, cluster: str, after: int) -> None:
        """Blocks until there is a larger one."""
        while self.newest(cluster) <= after:
            await self._arrived[cluster].wait()
