"""How large a request body may be: counted as it arrives, so that a body without a length cannot fill the memory.

FastAPI's own limit answers in plain text once the declared length is over; the API has one error form.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.api import failures
from hub.api.model_schemas import CHUNKS_PATH, FILES_PATH, MAX_PUBLICATION_BYTES, MODELS_PATH
from hub.api.schemas import API_PREFIX, MAX_BULK_BYTES, MAX_MANIFEST_BYTES
from registry.chunk_lists import ENTRY_BYTES, MAX_CHUNKS
from registry.cutting import LARGEST

# Only jobs come in bulk; whether this body may be so large is decided once it is known to be a bulk one.
_LARGE = {(f"{API_PREFIX}/jobs", "POST"): MAX_BULK_BYTES}
_LARGE_BELOW = {
    (f"{API_PREFIX}{CHUNKS_PATH}/", "PUT"): LARGEST,
    (f"{API_PREFIX}{FILES_PATH}/", "PUT"): ENTRY_BYTES * MAX_CHUNKS,
    (f"{API_PREFIX}{MODELS_PATH}/", "POST"): MAX_PUBLICATION_BYTES,
}


class BodyLimit:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = _limit_of(scope["path"], scope["method"])
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit:
            refused = too_large(int(declared), limit)
            response = failures.answer(413, failures.describe(refused), {"Connection": "close"})
            await response(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > limit:
                    raise too_large(seen, limit)
            return message

        await self._app(scope, counted, send)


def _limit_of(path: str, method: str) -> int:
    for (begin, each), limit in _LARGE_BELOW.items():
        if method == each and path.startswith(begin):
            return limit
    return _LARGE.get((path, method), MAX_MANIFEST_BYTES)


def too_large(size: int, limit: int) -> HTTPException:
    return HTTPException(413, f"the body has {size} bytes or more; {limit} are taken here")
