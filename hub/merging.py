"""Several streams read as one, for as long as any of them goes on: those of a divided work's parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")
K = TypeVar("K")

WAITING = 64  # items of one source that nobody has read yet; beyond that it waits
LOOK_S = 1.0  # at whether there are new sources

# What there is to read now, and whether that is all for ever.
Found = tuple[Mapping[K, Callable[[], AsyncIterator[T]]], bool]


async def merged(find: Callable[[], Awaitable[Found[K, T]]], *, look_s: float = LOOK_S) -> AsyncGenerator[T, None]:
    """As items come, each source in its own order. Each key is opened once; `find` is asked again until it says that it
    has told all. Raises what a source raises."""
    reading: _Reading[T] = _Reading()
    opened: set[K] = set()
    try:
        while True:
            sources, complete = await find()
            for key, open_ in sources.items():
                if key not in opened:
                    opened.add(key)
                    reading.add(open_())
            if complete:
                async for one in reading.rest():
                    yield one
                return
            async for one in reading.for_some_time(look_s):
                yield one
    finally:
        await reading.close()


class _Reading(Generic[T]):
    def __init__(self) -> None:
        self._arrived: asyncio.Queue[T | None] = asyncio.Queue(WAITING)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: BaseException | None = None

    def add(self, source: AsyncIterator[T]) -> None:
        self._tasks.add(asyncio.create_task(self._read(source)))

    async def _read(self, source: AsyncIterator[T]) -> None:
        try:
            async for one in source:
                await self._arrived.put(one)
        except Exception as error:
            self._failed = error
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()
            self._tasks.discard(asyncio.current_task())
            with suppress(asyncio.QueueFull):
                self._arrived.put_nowait(None)  # somebody may wait for what does not come any more

    async def rest(self) -> AsyncIterator[T]:
        while self._tasks or not self._arrived.empty():
            one = await self._arrived.get()
            self._raise()
            if one is not None:
                yield one
        self._raise()

    async def for_some_time(self, seconds: float) -> AsyncIterator[T]:
        until = asyncio.get_running_loop().time() + seconds
        while (left := until - asyncio.get_running_loop().time()) > 0:
            try:
                one = await asyncio.wait_for(self._arrived.get(), left)
            except TimeoutError:
                break
            self._raise()
            if one is not None:
                yield one
        self._raise()

    def _raise(self) -> None:
        if self._failed is not None:
            raise self._failed

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
