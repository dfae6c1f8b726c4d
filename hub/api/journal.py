"""Who changed what, in the log: one line per request that is not a mere look, without its body or its query."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("muster.hub.api")

_LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})


class Journal:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            level = logging.DEBUG if scope["method"] in _LOOKS else logging.INFO
            if log.isEnabledFor(level):
                took_ms = (time.perf_counter() - began) * 1000
                user = scope.get("state", {}).get("user", "-")
                log.log(level, "%s %s %d user=%s ms=%.0f", scope["method"], scope["path"], status, user, took_ms)
