"""Streams that end when they should: with their source, with their reader, or with the hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Any, TypeVar

from fastapi import Depends

T = TypeVar("T")
_END = object()

# A refusal (unknown job, nothing to show yet) comes at once: it still gets a status of its own.
FIRST_ITEM_S = 0.5


async def until_closed(source: AsyncIterator[T], closing: asyncio.Event) -> AsyncGenerator[T, None]:
    """The items of `source` until it ends or `closing` is set. Ends `source` too."""
    closed = asyncio.ensure_future(closing.wait())
    step: asyncio.Future[object] | None = None
    try:
        while True:
            step = asyncio.ensure_future(_next(source))
            await asyncio.wait({step, closed}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                return
            item = step.result()
            if item is _END:
                return
            yield item  # type: ignore[misc]  # _END aside, it is an item of `source`
    finally:
        await _cancelled(closed, step)
        if isinstance(source, AsyncGenerator):
            await source.aclose()


async def opened(stream: AsyncGenerator[T, None], resources: AsyncExitStack) -> AsyncIterator[T]:
    """Raises what `stream` raises first; else answers the whole of it, its first item included.

    `resources` outlives the response and closes the stream even where nobody ever reads from it.
    """
    first = asyncio.ensure_future(_next(stream))
    resources.push_async_callback(stream.aclose)
    resources.push_async_callback(_cancelled, first)
    await asyncio.wait({first}, timeout=FIRST_ITEM_S)
    if first.done():
        first.result()
    return _resumed(first, stream)


async def _resumed(first: asyncio.Future[object], stream: AsyncGenerator[T, None]) -> AsyncIterator[T]:
    item = await first
    if item is _END:
        return
    yield item  # type: ignore[misc]  # _END aside, it is an item of `stream`
    async for item in stream:
        yield item


async def _next(source: AsyncIterator[T]) -> object:
    return await anext(source, _END)


async def _cancelled(*tasks: asyncio.Future[Any] | None) -> None:
    for task in tasks:
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _resources() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


Resources = Annotated[AsyncExitStack, Depends(_resources)]
