"""/v1/jobs and /v1/plan: submit one or many, look, cancel, explain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from hub.api import crons, manifests, present
from hub.api.door import Caller, Served
from hub.api.schemas import (
    CronMadeOut,
    ExplanationOut,
    JobDetailOut,
    JobOut,
    JobPageOut,
    ManifestListOut,
    Namespace,
    PlanOut,
    SubmitOut,
)
from hub.api.services import JobsPort, MadeCron, Services
from hub.records import Actor, Job, JobFilter, PartState
from placement.calendar import splitting
from placement.lifecycle import Phase

router = APIRouter(tags=["jobs"])


class SubmitQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    namespace: Namespace | None = Field(
        default=None, description="For manifests that name none; else the tenant's first."
    )
    if_too_large: Literal["wait", "reject"] | None = Field(
        default=None, description="A gang larger than any cluster; the manifest's own hint where this is not given."
    )
    dry: bool = Field(default=False, description="Check and plan; store nothing.")


class PlanQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    namespace: Namespace | None = None


class ManifestQuery(PlanQuery):
    cluster: str
    show_secrets: bool = Field(default=False, description="With what is in the file's Secrets.")


class ListQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    phase: list[Phase] = []
    cluster: str | None = None
    queue: str | None = None
    name: str | None = Field(default=None, description="Part of the name.")
    tenant: str | None = Field(default=None, description="Admins only.")
    parts: bool = Field(default=False, description="Of divided works, too.")
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=253, description="A submit with a key seen before answers the earlier one's jobs."),
]


@router.post(
    "/jobs",
    status_code=201,
    openapi_extra=manifests.BODY,
    responses={
        200: {"model": SubmitOut, "description": "Nothing new: a dry run, or every job was submitted before."},
    },
)
async def submit(
    request: Request,
    response: Response,
    served: Served,
    actor: Caller,
    query: Annotated[SubmitQuery, Query()],
    idempotency_key: IdempotencyKey = None,
) -> SubmitOut:
    """All of it or nothing: every document of every file is queued in one transaction, or none is."""
    texts = await manifests.read(request)
    if query.dry:
        response.status_code = 200
        plans = [plan for text in texts for plan in await _plans(served, actor, text, query.namespace)]
        return SubmitOut(jobs=[], plan=plans)
    asked = {"namespace": query.namespace, "client_key": idempotency_key, "if_too_large": query.if_too_large}
    made: Sequence[MadeCron] = ()
    if any(map(splitting.holds_any, texts)):
        taken = await served.crons.submit(actor, texts, **asked)
        found, made = taken.jobs, taken.crons
    else:
        found = await served.jobs.submit_many(actor, texts, **asked)
    if not any((*(one.created for one in found), *(one.created for one in made))):
        response.status_code = 200
    return SubmitOut(
        jobs=[present.submitted(one) for one in found],
        crons=[CronMadeOut(cron=crons.shown(one.cron), created=one.created) for one in made],
    )


@router.post("/plan", openapi_extra=manifests.BODY)
async def plan(
    request: Request, served: Served, actor: Caller, query: Annotated[PlanQuery, Query()]
) -> PlanOut | list[PlanOut]:
    """What would become of the file now: one plan where it holds one workload, else a list of them."""
    plans = await _plans(served, actor, await manifests.read_one(request), query.namespace)
    return plans[0] if len(plans) == 1 else plans


@router.post("/plan/manifest", openapi_extra=manifests.BODY)
async def manifest(
    request: Request, served: Served, actor: Caller, query: Annotated[ManifestQuery, Query()]
) -> ManifestListOut:
    """What would be applied on a cluster if the file's workloads went there, with its overrides."""
    text = await manifests.read_one(request)
    found = await served.jobs.manifest(
        actor, text, query.cluster, namespace=query.namespace, show_secrets=query.show_secrets
    )
    return ManifestListOut(manifests=[present.manifest(one) for one in found])


@router.get("/jobs")
async def list_jobs(served: Served, actor: Caller, query: Annotated[ListQuery, Query()]) -> JobPageOut:
    wanted = JobFilter(
        phases=frozenset(query.phase),
        cluster=query.cluster,
        queue=query.queue,
        name=query.name,
        tenant=query.tenant,
        parts=query.parts,
        limit=query.limit,
        cursor=query.cursor,
    )
    as_of = served.last_event()  # before the list is read: what happens meanwhile is heard of twice, not never
    return present.page(await served.jobs.list(actor, wanted), as_of)


@router.get("/jobs/{ref}")
async def show(ref: str, served: Served, actor: Caller) -> JobDetailOut:
    job = await served.jobs.show(actor, ref)
    return present.job_detail(job, await _parts(served.jobs, actor, job))


@router.post("/jobs/{ref}/cancel")
async def cancel(ref: str, served: Served, actor: Caller) -> JobOut:
    """Cancelling what has ended or is being cancelled changes nothing."""
    return present.job(await served.jobs.cancel(actor, ref))


@router.get("/jobs/{ref}/explain")
async def explain(ref: str, served: Served, actor: Caller) -> ExplanationOut:
    found = await served.jobs.explain(actor, ref)
    return present.explanation(found, await _parts(served.jobs, actor, found.job))


async def _parts(jobs: JobsPort, actor: Actor, job: Job) -> Sequence[PartState]:
    return await jobs.part_states(actor, job) if job.is_whole else ()


async def _plans(served: Services, actor: Actor, text: bytes, namespace: str | None) -> list[PlanOut]:
    port = served.crons if splitting.holds_any(text) else served.jobs
    return [present.plan(one) for one in await port.plan(actor, text, namespace=namespace)]
