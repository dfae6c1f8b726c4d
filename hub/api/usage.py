"""/v1/top: what running jobs use of what they hold, at this moment."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from hub.api.door import Caller, Served
from hub.api.usage_schemas import JobUseOut, TopOut
from hub.records import Job
from hub.usage import Top
from wire.orders import JobRef
from wire.usage import JobUse

router = APIRouter(tags=["jobs"])


@router.get("/top")
async def top(
    served: Served,
    actor: Caller,
    job: Annotated[str | None, Query(description="One job, by id or name; else all that run.")] = None,
) -> TopOut:
    found = await served.usages.top(actor, job)
    return TopOut(jobs=[_job(one, found) for one in found.jobs], notes=list(found.notes))


def _job(one: Job, found: Top) -> JobUseOut:
    told = found.uses.get(one.id) or JobUse(JobRef(one.id, one.epoch), one.workload.total_gpus)
    return JobUseOut(
        job=one.id,
        name=one.name,
        tenant=one.tenant,
        user=one.owner,
        queue=one.queue,
        cluster=one.cluster or "",
        gpus=told.gpus,
        measured=told.measured,
        idle=told.idle,
        util_percent=told.util_percent,
        active_percent=told.active_percent,
        used_mib=told.used_mib,
        total_mib=told.total_mib,
        power_w=told.power_w,
        cpu_millicores=told.cpu_millicores,
        ram_mib=told.ram_mib,
    )
