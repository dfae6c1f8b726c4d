"""What happened to one job: Muster's own events and its cluster's, in one stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from hub.api import failures, standing, streams
from hub.api.door import Caller, Served
from hub.api.schemas import ErrorBody, HappeningOut
from hub.api.services import KnownHappening

router = APIRouter(tags=["watching"])

_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/x-ndjson": {"schema": HappeningOut.model_json_schema()}}}
}


@router.get("/jobs/{ref}/events", response_class=StreamingResponse, responses=_ANSWER)
async def events(
    ref: str,
    request: Request,
    served: Served,
    actor: Caller,
    resources: streams.Resources,
    follow: Annotated[bool, Query(description="Go on until the job has ended.")] = False,
) -> StreamingResponse:
    """NDJSON, in the order of time: what Muster did with the job, and what its cluster says of its objects and pods.
    With `follow` an event that is seen again comes again, with its new count. A stream that breaks ends with an object
    that holds `error`; one that came to its end, with `end`."""
    source = served.happenings.of(actor, ref, follow=follow)
    found = await streams.opened(
        streams.until_closed(standing.held(source, served, request), served.closing), resources
    )
    return StreamingResponse(
        _ndjson(found, served.closing.is_set),
        media_type="application/x-ndjson",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _ndjson(found: AsyncIterator[KnownHappening], stops: Callable[[], bool]) -> AsyncIterator[bytes]:
    names = HappeningOut.model_fields.keys() - {"end"}
    try:
        async for one in found:
            out = HappeningOut(**{name: getattr(one, name) for name in names})
            yield out.model_dump_json(exclude={"end"}).encode() + b"\n"
        if not stops():
            yield b'{"end":true}\n'
    except Exception as error:
        yield ErrorBody(error=failures.describe(error)).model_dump_json().encode() + b"\n"
