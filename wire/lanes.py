"""What both ends of the stream need to work on it with several tasks and bounded memory.

A gRPC stream takes one writer, and its messages queue behind each other. So each end has one writer task fed by an
`Outbox`: what is urgent and small goes first, then control messages, then bulk (log chunks), each lane bounded. What
comes in is sorted by a reader that never works itself: it drops things into a `Mailbox` per concern, and the worker of
that concern takes all that has gathered while it was busy, which is what turns single messages into large transactions.

No deadlock: a full mailbox stops the reader, so an end must not be able to fill one of the other. Reports are held to
REPORT_WINDOW unacknowledged ones, logs to the window in their request; commands may stop the spoke's reader, because
nothing that the hub's reader does waits for the spoke.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

REPORT_WINDOW = 4096  # reports that a spoke has under way on one stream, at most
REPORTS_PER_MESSAGE = 512
COMMANDS_PER_MESSAGE = 256
ACKS_PER_MESSAGE = 1024
LOG_CHUNK_BYTES = 64 * 1024
LOG_PART_BYTES = 512 * 1024  # what can be resumed after only at its end; a longer line is cut
LOG_WINDOW = 1024 * 1024

# Both ends: a summary of a large cluster, or 256 commands with large manifests, in one message.
MESSAGE_LIMIT = 64 * 1024 * 1024
# Commands of one message, by size: stays far below MESSAGE_LIMIT, for a manifest is 1 MiB at most.
COMMANDS_BYTES_PER_MESSAGE = 8 * 1024 * 1024


def log_cost(data: bytes) -> int:
    """What a chunk takes of its log's window: its bytes, and what keeping the chunk itself costs."""
    return len(data) + 128


class Mailbox(Generic[T]):
    """Gathers items until they are taken together. `put` waits while there are `limit` or more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._items)

    async def put(self, items: Iterable[T]) -> None:
        while len(self._items) >= self._limit:
            self._room.clear()
            await self._room.wait()
        self._items.extend(items)
        if self._items:
            self._filled.set()

    def replace(self, item: T) -> None:
        """Only the newest counts: what nobody has taken yet makes way."""
        self._items.clear()
        self._items.append(item)
        self._filled.set()

    async def take(self, at_most: int | None = None) -> list[T]:
        """Everything that has gathered, once there is something."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        count = len(self._items) if at_most is None else min(at_most, len(self._items))
        taken = [self._items.popleft() for _ in range(count)]
        if len(self._items) < self._limit:
            self._room.set()
        return taken


class Outbox(Generic[T]):
    """What waits to be written, in three lanes: urgent, then control, then bulk."""

    def __init__(self, control_limit: int = 16, bulk_limit: int = 4) -> None:
        self._urgent: deque[T] = deque()
        self._control: asyncio.Queue[T] = asyncio.Queue(control_limit)
        self._bulk: asyncio.Queue[T] = asyncio.Queue(bulk_limit)
        self._filled = asyncio.Event()
        self._last: T | None = None

    def push(self, message: T) -> None:
        """At once and before everything else: for small messages whose number something else bounds."""
        self._urgent.append(message)
        self._filled.set()

    async def send(self, message: T) -> None:
        await self._control.put(message)
        self._filled.set()

    async def send_bulk(self, message: T) -> None:
        await self._bulk.put(message)
        self._filled.set()

    def finish(self, message: T) -> None:
        """The last message: whatever else waits is not sent any more. The first `finish` counts."""
        if self._last is None:
            self._last = message
            self._filled.set()

    async def next(self) -> tuple[T, bool]:
        """The next message and whether it is the last one."""
        while True:
            if self._last is not None:
                return self._last, True
            if self._urgent:
                return self._urgent.popleft(), False
            for lane in (self._control, self._bulk):
                if not lane.empty():
                    return lane.get_nowait(), False
            self._filled.clear()
            await self._filled.wait()


async def until_one_ends(*work: Coroutine[Any, Any, None]) -> None:
    """Runs them side by side; when one returns or raises, cancels and awaits the others, and raises what it did."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()
