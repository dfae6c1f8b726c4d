"""What was spent: /v1/cost."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from hub.api import present
from hub.api.door import Caller, Served
from hub.api.schemas import CostReportOut
from hub.records import CostBy, CostQuery

router = APIRouter()

DEFAULT_DAYS = 30


class CostParameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: CostBy = CostBy.QUEUE
    since: date | None = Field(default=None, description="The first UTC day; else the thirtieth before the last.")
    until: date | None = Field(default=None, description="The last UTC day, which is in it; else today.")
    queue: str | None = None
    user: str | None = None
    cluster: str | None = None
    limit: int = Field(default=100, description="Lines, the dearest first; what is beyond them is summed up.")


@router.get("/cost", tags=["costs"])
async def report_cost(served: Served, actor: Caller, parameters: Annotated[CostParameters, Query()]) -> CostReportOut:
    """By queue, user, cluster, job or day; of one's own tenant, for admins of all."""
    until = parameters.until or served.costs.today()
    since = parameters.since or until - timedelta(days=DEFAULT_DAYS - 1)
    query = CostQuery(
        parameters.by, since, until, parameters.queue, parameters.user, parameters.cluster, parameters.limit
    )
    return present.cost_report(await served.costs.report(actor, query))
