"""One log on its way from a spoke to one reader, with bounded memory whatever the reader's pace.

The spoke may send a window's worth of a log; each part that the reader has taken is granted again. So a slow reader
(a person's terminal over a thin line, following for days) slows down that log alone, at its source, and the stream's
reader never waits. A spoke that sends beyond its window breaks the protocol and loses that log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable

from wire.lanes import log_cost
from wire.orders import LogLines


class LogBroken(Exception):
    """The log ended before its end: the job is not there, the connection was lost, the spoke gave up."""


class LogFlow:
    def __init__(self, window: int, grant: Callable[[int], None]) -> None:
        self._window = window
        self._grant = grant
        self._chunks: deque[LogLines] = deque()
        self._taken = 0  # not granted again yet
        self._outstanding = 0  # in `_chunks`, or taken and not granted again
        self._arrived = asyncio.Event()
        self._ended = False
        self._error = ""

    @property
    def ended(self) -> bool:
        return self._ended

    def feed(self, lines: LogLines) -> None:
        if self._ended:
            return
        self._outstanding += log_cost(lines.data)
        if self._outstanding > self._window:
            self.end("the cluster's spoke sent more than it was asked for")
            return
        self._chunks.append(lines)
        self._arrived.set()

    def end(self, error: str = "") -> None:
        """What has arrived is still handed out; then the end, or the error. The first `end` counts."""
        if not self._ended:
            self._ended, self._error = True, error
            self._arrived.set()

    async def lines(self) -> AsyncGenerator[LogLines, None]:
        """Raises LogBroken."""
        while True:
            while self._chunks:
                lines = self._chunks.popleft()
                yield lines
                self._took(log_cost(lines.data))
            if self._ended:
                break
            self._arrived.clear()
            await self._arrived.wait()
        if self._error:
            raise LogBroken(self._error)

    def _took(self, cost: int) -> None:
        self._taken += cost
        if self._taken >= self._window // 4 and not self._ended:
            granted, self._taken = self._taken, 0
            self._outstanding -= granted
            self._grant(granted)
