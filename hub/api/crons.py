"""CronJobs: /v1/crons. They are made by a submit, as everything that is a manifest."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from hub.api import present
from hub.api.door import Caller, Served
from hub.api.schemas import CronDeletedOut, CronListOut, CronOut, CronRunOut, JobOut
from hub.api.services import KnownCron
from placement.calendar import reading

router = APIRouter(tags=["jobs"])

KeepRuns = Annotated[bool, Query(description="Let the runs that have not ended go on.")]


@router.get("/crons")
async def list_crons(served: Served, actor: Caller) -> CronListOut:
    return CronListOut(crons=[shown(one) for one in await served.crons.list(actor)])


@router.get("/crons/{ref}")
async def show_cron(ref: str, served: Served, actor: Caller) -> CronOut:
    """By id, or by name."""
    return shown(await served.crons.show(actor, ref))


@router.post("/crons/{ref}/suspend")
async def suspend_cron(ref: str, served: Served, actor: Caller) -> CronOut:
    """No run is started until it is resumed; what is running goes on."""
    return shown(await served.crons.suspend(actor, ref, True))


@router.post("/crons/{ref}/resume")
async def resume_cron(ref: str, served: Served, actor: Caller) -> CronOut:
    return shown(await served.crons.suspend(actor, ref, False))


@router.post("/crons/{ref}/run", status_code=201)
async def run_cron(ref: str, served: Served, actor: Caller) -> JobOut:
    """A run now, beside the calendar."""
    return present.job(await served.crons.run(actor, ref))


@router.delete("/crons/{ref}")
async def delete_cron(ref: str, served: Served, actor: Caller, keep_runs: KeepRuns = False) -> CronDeletedOut:
    """Its runs that have not ended are cancelled, unless they are kept."""
    return CronDeletedOut(cancelled=list(await served.crons.delete(actor, ref, keep_runs=keep_runs)))


def shown(one: KnownCron) -> CronOut:
    record = one.record
    rules = reading.rules_of(record.manifest, suspended=record.suspended)
    return CronOut(
        id=record.id,
        name=record.name,
        namespace=record.namespace,
        tenant=record.tenant,
        owner=record.owner,
        schedule=rules.schedule.expression,
        time_zone=rules.schedule.zone,
        concurrency=rules.concurrency,
        starting_deadline_s=None if rules.deadline is None else rules.deadline.total_seconds(),
        suspended=record.suspended,
        next_at=one.next_at,
        note=record.note,
        created_at=record.created_at,
        running=list(one.running),
        runs=[
            CronRunOut(
                job=run.job,
                name=run.name,
                scheduled_at=run.scheduled_at,
                started_at=run.started_at,
                phase=run.phase,
                cluster=run.cluster,
                finished_at=run.finished_at,
            )
            for run in one.runs
        ],
    )
