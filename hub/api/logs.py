"""What a job's pods write, as it is written; taken up again where a connection broke.

Each object names the position in its pod's log after its lines. A reader that comes back gives the last one of each pod
in `after` (a POST: with thousands of pods they fit no URL) and gets what comes next, no line lost or twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from hub.api import failures, present, standing, streams
from hub.api.door import Caller, Served
from hub.api.schemas import ErrorBody, LogLineOut
from hub.api.services import PodLines
from hub.errors import HubError
from hub.records import Actor

router = APIRouter(tags=["watching"])

_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/x-ndjson": {"schema": LogLineOut.model_json_schema()}, "text/plain": {}}}
}
MOST_PODS = 100_000


class LogsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: str = Field(default="", description="Only the pods of this role.")
    rank: int | None = Field(
        default=None, ge=0, le=2**31, description="Only the pod of this rank: of the role, else over all roles."
    )
    container: str = Field(default="", description="Else each pod's main one.")
    follow: bool = False
    tail: int = Field(default=0, ge=0, le=2**31, description="Lines of each pod to begin with; 0: from the first line.")
    since_s: float | None = Field(default=None, gt=0, le=3e9, description="Only lines of the last so many seconds.")
    previous: bool = Field(default=False, description="Of each container the run before its present one.")
    timestamps: bool = Field(default=False, description="Before each line, when it was written.")


class LogsBody(LogsQuery):
    since: datetime | None = Field(default=None, description="Only lines from then on; instead of since_s.")
    after: dict[str, str] = Field(
        default_factory=dict, max_length=MOST_PODS, description="By pod, the position that was read last."
    )


@router.get("/jobs/{ref}/logs", response_class=StreamingResponse, responses=_ANSWER)
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
    lines = await streams.opened(_source(served, actor, ref, LogsBody(**query.model_dump()), request), resources)
    plain = request.headers.get("accept", "").startswith("text/plain")
    return _streamed(_plain(lines) if plain else _ndjson(lines), plain)


@router.post("/jobs/{ref}/logs", response_class=StreamingResponse, responses=_ANSWER)
async def resumed_logs(
    ref: str, request: Request, served: Served, actor: Caller, body: LogsBody, resources: streams.Resources
) -> StreamingResponse:
    """As GET, from where another reading ended. The last object has `end`; without it the stream was cut off."""
    lines = await streams.opened(_source(served, actor, ref, body, request), resources)
    return _streamed(_ndjson(lines, served_until=served.closing.is_set), plain=False)


def _source(
    served: Served, actor: Actor, ref: str, asked: LogsBody, request: Request
) -> AsyncGenerator[PodLines, None]:
    since = asked.since if asked.since is None or asked.since.tzinfo else asked.since.replace(tzinfo=UTC)
    if since is None and asked.since_s is not None:
        since = datetime.now(UTC) - timedelta(seconds=asked.since_s)
    source = served.jobs.logs(
        actor,
        ref,
        role=asked.role,
        follow=asked.follow,
        tail_lines=asked.tail,
        rank=asked.rank,
        since=since,
        previous=asked.previous,
        timestamps=asked.timestamps,
        container=asked.container,
        after=asked.after,
    )
    return streams.until_closed(standing.held(source, served, request), served.closing)


def _streamed(lines: AsyncIterator[bytes], plain: bool) -> StreamingResponse:
    return StreamingResponse(
        lines,
        media_type="text/plain; charset=utf-8" if plain else "application/x-ndjson",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _ndjson(
    lines: AsyncIterator[PodLines], served_until: Callable[[], bool] | None = None
) -> AsyncIterator[bytes]:
    """`served_until`: whether the hub stops, which ends streams early without a word; else the end is said."""
    try:
        async for one in lines:
            yield present.log_line(one).model_dump_json(exclude_defaults=True).encode() + b"\n"
        if served_until is not None and not served_until():
            yield LogLineOut(pod="", data="", end=True).model_dump_json(exclude_defaults=True).encode() + b"\n"
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
