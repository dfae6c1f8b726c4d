"""/v1/top, and muster top's tables."""

from __future__ import annotations

from rich.console import Console

from hub.api.usage_schemas import JobUseOut, TopOut
from hub.cli import top
from tests.hub.api.conftest import As
from tests.hub.api.fakes import FakeHub
from wire.orders import JobRef
from wire.usage import JobUse, Usage


async def test_what_running_jobs_of_the_tenant_use(as_: As, hub: FakeHub) -> None:
    [running] = [job for job in hub.jobs.jobs.values() if job.tenant == "red" and job.cluster == "onprem-a"]
    use = JobUse(JobRef(running.id, running.epoch), 8, 8, 27.0, idle=2, power_w=900.0)
    foreign = JobUse(JobRef("j-other00001", 1), 8, 8, 99.0)
    hub.usages.answers["onprem-a"] = Usage((use, foreign), ("gpu-1: no DCGM exporter runs there",))
    body = TopOut.model_validate((await as_("alice-token").get("/top")).json())
    assert [(one.job, one.util_percent, one.idle, one.ram_mib) for one in body.jobs] == [(running.id, 27.0, 2, None)]
    assert body.notes == ["onprem-a: gpu-1: no DCGM exporter runs there"]
    assert hub.usages.asked == [("onprem-a", [JobRef(running.id, running.epoch)])]


async def test_a_cluster_that_is_away_is_named(as_: As) -> None:
    body = TopOut.model_validate((await as_("alice-token").get("/top")).json())
    assert [one.measured for one in body.jobs] == [0]
    assert body.notes == ["cluster onprem-a is not connected"]


async def test_of_one_job(as_: As, hub: FakeHub) -> None:
    waiting = next(job for job in hub.jobs.jobs.values() if job.name == "mistral")
    answer = await as_("alice-token").get("/top", params={"job": waiting.id})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "not-running")
    foreign = next(job for job in hub.jobs.jobs.values() if job.name == "gemma")
    assert (await as_("alice-token").get("/top", params={"job": foreign.id})).status_code == 404


def a_use(job: str, gpus: int, util: float | None, *, queue: str = "q", idle: int = 0) -> JobUseOut:
    return JobUseOut(
        job=job,
        name=f"name-of-{job}",
        tenant="red",
        user="alice",
        queue=queue,
        cluster="onprem-a",
        gpus=gpus,
        measured=gpus if util is not None else 0,
        idle=idle,
        util_percent=util,
        active_percent=None,
        used_mib=1024.0 * gpus if util is not None else None,
        total_mib=81_920.0 * gpus if util is not None else None,
        power_w=300.0 * gpus if util is not None else None,
        cpu_millicores=None,
        ram_mib=None,
    )


def drawn(rows: list[top.Row], by: top.By, width: int = 140) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as captured:
        console.print(top.table(rows, by, width))
    return captured.get()


def test_tables() -> None:
    jobs = [a_use("j-a", 8, 25.0, idle=3), a_use("j-b", 2, 75.0), a_use("j-c", 4, None, queue="other")]
    by_job = drawn([top.Row(job.job, [job]) for job in jobs], top.By.JOB)
    lines = by_job.splitlines()
    assert "25 %" in lines[1] and "8/640 GiB" in lines[1] and "2,400 W" in lines[1]  # noqa: PT018
    assert lines[3].split()[-6:] == ["–"] * 6
    [first, _] = sorted(top._rows(jobs, top.By.QUEUE), key=lambda row: row.label, reverse=True)
    assert (first.label, first.gpus, first.util, first.idle) == ("q", 10, 35.0, 3)
    assert "35 %" in drawn([first], top.By.QUEUE, 80)
