"""That whoever reads a stream may still: looked at again while it lasts.

A token is checked when a request comes in, and a stream may last for days. A user that was removed, or moved to another
tenant or role, loses the streams that were opened before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from starlette.requests import HTTPConnection

from hub.api import streams
from hub.api.services import Services
from hub.errors import Unauthenticated
from hub.records import Actor
from hub.store.store import StoreUnavailable

T = TypeVar("T")

LOOK_S = 5.0


async def lost(served: Services, connection: HTTPConnection) -> Unauthenticated:
    """Returns, with what to say, once whoever called is not any more who they were."""
    _, _, token = connection.headers.get("authorization", "").partition(" ")
    known: Actor | None = None
    while True:
        try:
            present: Actor | None = await served.access.authenticate(token.strip())
        except Unauthenticated as error:
            return error
        except StoreUnavailable:  # that says nothing about the user
            present = known
        if known is not None and present is not None and present != known:
            return Unauthenticated(
                f"{known.user} has another role or tenant since this began",
                code="access-changed",
                mend="begin again",
            )
        known = present
        await asyncio.sleep(LOOK_S)


async def held(source: AsyncIterator[T], served: Services, connection: HTTPConnection) -> AsyncGenerator[T, None]:
    """The items of `source`. Raises Unauthenticated when its reader may not read it any more."""
    ended = asyncio.Event()
    verdict: list[Unauthenticated] = []

    async def watch() -> None:
        verdict.append(await lost(served, connection))
        ended.set()

    watching = asyncio.create_task(watch())
    try:
        async for item in streams.until_closed(source, ended):
            yield item
        if verdict:
            raise verdict[0]
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
