"""The agent's background tasks: started in one place, ended together, and a failure is never silent.

A task that fails is logged, and the others go on: one bad object must not stop a cluster. Two failures end the agent: a
ledger that cannot be written, because what is done after that would be forgotten; and a vital loop's, because an agent
that stays connected and no longer schedules or reports is worse than one that is started again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from spoke.ledger import LedgerUnusable

log = logging.getLogger(__name__)


class Crew:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._vital: set[asyncio.Task[Any]] = set()
        self._broken: asyncio.Future[None] | None = None

    def spawn(self, work: Coroutine[Any, Any, Any], what: str, *, vital: bool = False) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=what)
        self._tasks.add(task)
        if vital:
            self._vital.add(task)
        task.add_done_callback(self._done)
        return task

    async def broken(self) -> None:
        """Waits for a failure that ends the agent, and raises it."""
        if self._broken is None:
            self._broken = asyncio.get_running_loop().create_future()
        await self._broken

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        vital = task in self._vital
        self._vital.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, LedgerUnusable) or (vital and error is not None):
            if self._broken is None:
                self._broken = task.get_loop().create_future()
            if not self._broken.done():
                self._broken.set_exception(error)
        elif error is not None:
            log.error("%s failed", task.get_name(), exc_info=error)
