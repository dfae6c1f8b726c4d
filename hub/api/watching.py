"""The events of jobs as they happen; their logs are `logs`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field

from hub.api import failures, present, streams
from hub.api.door import Caller, Served
from hub.api.schemas import ErrorBody

router = APIRouter(tags=["watching"])


class EventsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    job: str | None = Field(default=None, description="Id or name.")
    after: int | None = Field(
        default=None,
        ge=0,
        description="Events after this `seq`, else from the first one; the header Last-Event-ID wins.",
    )
    follow: bool = True


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
