"""The REST door of a hub that does not lead, or is still starting: it lives, it is not ready, and says why.

`Door` is what the server serves for its whole life; what is behind it changes once, when the hub leads. Everything but
/livez is answered 503 with the reason in the API's form of errors, so that clients and load balancers go elsewhere.
"""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.api import failures
from hub.api.probes import VERSION
from hub.api.schemas import NOT_LEADING, ErrorOut, HealthOut

RETRY_AFTER_S = 2


class Door:
    def __init__(self) -> None:
        self.waits_for = "the hub is starting"
        self._api: ASGIApp | None = None

    def open(self, api: ASGIApp) -> None:
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._api is not None:
            await self._api(scope, receive, send)
        elif scope["type"] in ("http", "websocket"):
            await self._answer(str(scope["path"]))(scope, receive, send)

    def _answer(self, path: str) -> JSONResponse:
        if path in ("/livez", "/v1/healthz"):
            return JSONResponse(HealthOut(status="ok", version=VERSION).model_dump(mode="json"))
        error = ErrorOut(code=NOT_LEADING, message=self.waits_for, mend="try again in a few seconds")
        return failures.answer(503, error, {"Retry-After": str(RETRY_AFTER_S)})
