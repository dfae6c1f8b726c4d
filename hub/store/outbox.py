"""The unacknowledged commands of every cluster, in memory: what a stream sends without asking the database.

In step with the `commands` table once subscribed to a store; built from it at start.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from hub.store.changes import Change, Closed, Ordered
from wire.orders import Command


class Outbox:
    def __init__(self) -> None:
        self._open: dict[str, dict[int, Command]] = defaultdict(dict)
        self._arrived: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def load(self, commands: Iterable[tuple[str, Command]]) -> None:
        for cluster, command in commands:
            self._open[cluster][command.id] = command

    def on_change(self, change: Change) -> None:
        if isinstance(change, Ordered):
            self._open[change.cluster][change.command.id] = change.command
            arrived = self._arrived.pop(change.cluster, None)
            if arrived is not None:
                arrived.set()
        elif isinstance(change, Closed):
            self._open[change.cluster].pop(change.command, None)

    def pending(self, cluster: str, after_id: int = 0) -> tuple[Command, ...]:
        """By id: commands are committed in the order of their ids, and a dict keeps the order."""
        return tuple(command for id_, command in self._open[cluster].items() if id_ > after_id)

    async def wait(self, cluster: str, after_id: int) -> tuple[Command, ...]:
        """Blocks until there are some with a larger id."""
        while True:
            arrived = self._arrived[cluster]
            found = self.pending(cluster, after_id)
            if found:
                return found
            await arrived.wait()
