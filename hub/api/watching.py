"""What is read as it happens: the logs of a job, and the events of all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field

from hub.api import failures, present, streams
from hub.api.door import Caller, Served
from hub.api.schemas import ErrorBody, LogLineOut
from hub.api.services import PodLines
from hub.errors import HubError

router = APIRouter(tags=["watching"])


class LogsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: str = Field(default="", description="Only the pods of this role.")
    follow: bool = False
    tail: int = Field(default=0, ge=0, description="Lines of each pod to begin with; 0: from the first line.")


class EventsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    job: str | None = Field(default=None, description="Id or name.")
    after: int | None = Field(
        default=None,
        ge=0,
        description="Events after this `seq`, else from the first one; the header Last-Event-ID wins.",
    )
    follow: bool = True


@router.get(
    "/jobs/{ref}/logs",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/x-ndjson": {"schema": LogLineOut.model_json_schema()}, "text/plain": {}}}
    },
)
async def logs(
    ref: str,
    request: Request,
    served: Served,
    actor: Caller,
    query: Annotated[LogsQuery, Query()],
    resources: streams.Resources,
) -> StreamingResponse:
    """NDJSON, one object for whole lines of a pod; `Accept: text/plain` for `[pod] line`. A stream that breaks ends
    with an object (a line) that holds `error`."""
    source = served.jobs.logs(actor, ref, role=query.role, follow=query.follow, tail_lines=query.tail)
    lines = await streams.opened(streams.until_closed(source, served.closing), resources)
    plain = request.headers.get("accept", "").startswith("text/plain")
    return StreamingResponse(
        _plain(lines) if plain else _ndjson(lines),
        media_type="text/plain; charset=utf-8" if plain else "application/x-ndjson",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _wanted_job(served: Served, actor: Caller, query: Annotated[EventsQuery, Query()]) -> str | None:
    """Looked up before the stream begins: an unknown job is a 404, not an empty stream."""
    return None if query.job is None else (await served.jobs.show(actor, query.job)).id


@router.get("/events", response_class=EventSourceResponse)
async def events(
    served: Served,
    actor: Caller,
    query: Annotated[EventsQuery, Query()],
    job: Annotated[str | None, Depends(_wanted_job)],
    last_event_id: Annotated[int | None, Header(ge=0)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Events named `job`, whose id is their `seq`: a reader that comes back with Last-Event-ID misses none."""
    after = query.after if last_event_id is None else last_event_id
    source = served.jobs.events(actor, after=after, job=job, follow=query.follow)
    try:
        async for one in streams.until_closed(source, served.closing):
            yield ServerSentEvent(data=present.event(one), event="job", id=str(one.seq))
    except Exception as error:
        yield ServerSentEvent(data=ErrorBody(error=failures.describe(error)), event="error")


async def _ndjson(lines: AsyncIterator[PodLines]) -> AsyncIterator[bytes]:
    try:
        async for one in lines:
            yield present.log_line(one).model_dump_json().encode() + b"\n"
    except Exception as error:
        yield ErrorBody(error=failures.describe(error)).model_dump_json().encode() + b"\n"


async def _plain(lines: AsyncIterator[PodLines]) -> AsyncIterator[bytes]:
    try:
        async for one in lines:
            prefix = f"[{one.pod}] ".encode()
            yield b"".join(prefix + line + b"\n" for line in one.data.splitlines())
    except Exception as error:
        message = error.message if isinstance(error, HubError) else failures.describe(error).message
        yield f"[muster] error: {message}\n".encode()
