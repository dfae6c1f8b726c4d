"""What attempts cost, from the moves that end them to the reports, on both databases."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from hub.errors import Invalid
from hub.records import Actor, CostBy, CostQuery, CostReport
from hub.store import attempts, cost_days, rows
from hub.store.cost_days import SUMS
from placement.data import Dataset, Replica
from placement.lifecycle import Event, Phase
from placement.money import Price, PriceBook
from placement.queues.tree import Queue
from tests.hub.loops.rig import ADMIN, ANN, BOB, EVE, START_OF_TIME, Clock, FakeSpoke, Hub, manifest
from wire.orders import JobRef, Report, Staging

DAY = START_OF_TIME.date()  # 2026-01-01
HOUR_S = 3600.0


async def member(hub: Hub) -> FakeSpoke:
    spoke = FakeSpoke("east", nodes=2)
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.prices.replace(ADMIN, PriceBook({("east", "A100"): Price(2.0)}))
    await hub.queues.create(ADMIN, Queue("team-a"))
    return spoke


async def runs(hub: Hub, spoke: FakeSpoke, name: str, actor: Actor = ANN, **asked: Any) -> None:
    await hub.jobs.submit(actor, manifest(name, **asked))
    await hub.placing.settle()
    await spoke.obey(hub)
    ref = await ref_of(hub, spoke, name)
    spoke.advance(ref, Event.RUNNING)
    await spoke.send_reports(hub)


async def ref_of(hub: Hub, spoke: FakeSpoke, name: str) -> Any:
    job = await hub.jobs.show(ADMIN, name)
    return next(ref for ref in spoke.live if ref.job == job.id)


async def ends(hub: Hub, spoke: FakeSpoke, name: str, event: Event = Event.SUCCEED) -> None:
    spoke.advance(await ref_of(hub, spoke, name), event)
    await spoke.send_reports(hub)


async def asked(
    hub: Hub, by: CostBy, actor: Actor = ADMIN, since: date = DAY, days: int = 400, **narrowed: Any
) -> CostReport:
    return await hub.costs.report(actor, CostQuery(by, since, since + timedelta(days=days), **narrowed))


async def three(hub: Hub, clock: Clock) -> FakeSpoke:
    """ann's succeeds after 30 hours of 8 GPUs, bob's fails after 1 of 4, ann's other runs, 2 hours of 2 so far."""
    spoke = await member(hub)
    await runs(hub, spoke, "long", gpus=8, queue="team-a", expected_hours=20.0)
    await runs(hub, spoke, "bobs", BOB, gpus=4)
    clock.advance(1 * HOUR_S)
    await ends(hub, spoke, "bobs", Event.FAIL)
    clock.advance(29 * HOUR_S)
    await ends(hub, spoke, "long")
    await runs(hub, spoke, "now", gpus=2)
    clock.advance(2 * HOUR_S)
    return spoke


async def test_by_queue_with_what_was_lost_what_runs_and_what_was_foreseen(hub: Hub, clock: Clock) -> None:
    await three(hub, clock)
    found = await asked(hub, CostBy.QUEUE)
    assert [line.key for line in found.lines] == ["team-a", "default"]
    team, default = (line.cost for line in found.lines)
    assert (team.gpu_hours, team.gpu_usd) == (pytest.approx(240), pytest.approx(480))
    assert (team.foreseen_usd, team.foreseen_real_usd, team.attempts) == (pytest.approx(320), pytest.approx(480), 1)
    assert (default.gpu_hours, default.usd, default.lost_usd) == tuple(map(pytest.approx, (8, 16, 8)))
    assert (default.attempts, default.running) == (1, 1)
    assert found.total.usd == pytest.approx(496)


async def test_by_day_cluster_user_and_job_they_are_the_same_money(hub: Hub, clock: Clock) -> None:
    await three(hub, clock)
    days = await asked(hub, CostBy.DAY)
    assert [(line.key, line.cost.gpu_hours) for line in days.lines] == [
        ("2026-01-01", pytest.approx(24 * 8 + 4)),
        ("2026-01-02", pytest.approx(6 * 8 + 2 * 2)),
    ]
    jobs = await asked(hub, CostBy.JOB)
    assert jobs.lines[0].name == "long"
    assert {line.name: round(line.cost.usd, 6) for line in jobs.lines} == {"long": 480, "bobs": 8, "now": 8}
    for by in (CostBy.CLUSTER, CostBy.USER):
        assert (await asked(hub, by)).total.usd == pytest.approx(496)
    assert days.total.usd == pytest.approx(496)
    assert jobs.total.usd == pytest.approx(496)
    assert jobs.forgotten.attempts == 0


async def test_a_part_of_the_time_and_of_the_jobs(hub: Hub, clock: Clock) -> None:
    await three(hub, clock)
    second = await asked(hub, CostBy.JOB, since=DAY + timedelta(days=1), days=0)
    assert {line.name: round(line.cost.gpu_hours, 6) for line in second.lines} == {"long": 48, "now": 4}
    assert (await asked(hub, CostBy.QUEUE, queue="team-a")).total.usd == pytest.approx(480)
    assert (await asked(hub, CostBy.JOB, user="bob")).total.usd == pytest.approx(8)
    assert (await asked(hub, CostBy.DAY, cluster="west")).lines == ()
    cut = await asked(hub, CostBy.JOB, limit=1)
    assert (len(cut.lines), cut.more, cut.more_cost.usd) == (1, 2, pytest.approx(16))
    assert cut.total.usd == pytest.approx(496)


async def test_nobody_but_an_admin_sees_another_tenants_money(hub: Hub, clock: Clock) -> None:
    await three(hub, clock)
    for by in CostBy:
        assert (await asked(hub, by, BOB)).total.usd == pytest.approx(8)
        assert (await asked(hub, by, EVE)).total.usd == pytest.approx(488)
        assert (await asked(hub, by, BOB, user="ann")).lines == ()


STAGED = Staging(10, 10, ("imagenet",))


async def brings(hub: Hub, spoke: FakeSpoke, name: str) -> JobRef:
    """A job of one GPU for which a terabyte is to be copied, at the default of 9 cents a gigabyte."""
    if "imagenet" not in hub.federation.data.datasets:
        far = Replica("us-east", uri="s3://bucket/imagenet")
        await hub.datasets.create(ADMIN, Dataset("imagenet", 10**12, (far,)), force=True)
    (job,) = await hub.jobs.submit(ANN, manifest(name, data=["imagenet"]))
    await hub.placing.settle()
    now = await hub.jobs.show(ANN, job.job.id)
    return JobRef(now.id, now.epoch)


async def egress(hub: Hub) -> dict[str, float]:
    """By each way to ask the same."""
    return {by.value: round((await asked(hub, by)).total.egress_usd, 6) for by in CostBy}


def everywhere(usd: float) -> dict[str, float]:
    return {by.value: usd for by in CostBy}


async def test_what_is_moved_for_an_attempt_is_charged_once(hub: Hub, clock: Clock) -> None:
    spoke = await member(hub)
    ref = await brings(hub, spoke, "train")
    assert await egress(hub) == everywhere(90)
    await spoke.obey(hub)
    spoke.advance(ref, Event.STAGING)
    await spoke.send_reports(hub)
    assert await egress(hub) == everywhere(90)
    clock.advance(HOUR_S)
    spoke.unacked.append(copied(spoke, ref))
    await spoke.send_reports(hub)
    spoke.advance(ref, Event.RUNNING)
    await spoke.send_reports(hub)
    await ends(hub, spoke, "train", Event.FAIL)
    total = (await asked(hub, CostBy.QUEUE)).total
    assert (total.egress_usd, total.usd, total.lost_usd) == tuple(map(pytest.approx, (90, 92, 92)))
    # It is there now.
    await brings(hub, spoke, "again")
    assert await egress(hub) == everywhere(90)


def copied(spoke: FakeSpoke, ref: JobRef) -> Report:
    spoke.seqs[ref] += 1
    return Report(ref, spoke.seqs[ref], Event.STAGING, "copied", spoke.clock(), staging=STAGED)


async def test_nothing_is_charged_for_data_that_a_refusal_left_where_it_was(hub: Hub, clock: Clock) -> None:
    spoke = await member(hub)
    spoke.taken_elsewhere = 8
    await brings(hub, spoke, "train")
    await spoke.obey(hub)
    assert (await hub.jobs.show(ANN, "train")).phase is Phase.QUEUED
    assert await egress(hub) == everywhere(0)


async def test_an_attempt_that_is_evicted_while_its_data_comes_is_charged_for_it(hub: Hub, clock: Clock) -> None:
    spoke = await member(hub)
    ref = await brings(hub, spoke, "train")
    await spoke.obey(hub)
    spoke.advance(ref, Event.STAGING)
    await spoke.send_reports(hub)
    await hub.clusters.drain(ADMIN, "east")
    await spoke.obey(hub)
    await spoke.send_reports(hub)
    assert (await hub.jobs.show(ANN, "train")).phase is Phase.QUEUED
    assert await egress(hub) == everywhere(90)
    assert (await asked(hub, CostBy.QUEUE)).total.lost_usd == pytest.approx(90)


async def test_what_is_taken_from_where_it_ran_is_lost_and_placed_anew_is_another_attempt(
    hub: Hub, clock: Clock
) -> None:
    spoke = await member(hub)
    await runs(hub, spoke, "train", gpus=1)
    clock.advance(HOUR_S)
    await hub.clusters.drain(ADMIN, "east")
    await spoke.obey(hub)
    await spoke.send_reports(hub)
    assert (await hub.jobs.show(ANN, "train")).phase is Phase.QUEUED
    (line,) = (await asked(hub, CostBy.JOB)).lines
    assert (line.cost.usd, line.cost.lost_usd) == (pytest.approx(2), pytest.approx(2))
    await hub.clusters.cordon(ADMIN, "east", False)
    await hub.placing.settle()
    await spoke.obey(hub)
    clock.advance(HOUR_S)
    await ends(hub, spoke, "train")
    (line,) = (await asked(hub, CostBy.JOB)).lines
    assert (line.cost.usd, line.cost.lost_usd, line.cost.attempts) == (pytest.approx(4), pytest.approx(2), 2)


async def test_sums_outlive_jobs_and_attempts_and_end_after_thirteen_months(hub: Hub, clock: Clock) -> None:
    await three(hub, clock)
    clock.advance(40 * 86_400)
    await hub.health.tick()
    assert (await asked(hub, CostBy.QUEUE, days=1)).lines[0].cost.usd == pytest.approx(480)
    jobs = await asked(hub, CostBy.JOB, days=1)
    assert [line.name for line in jobs.lines] == ["now"]
    assert (jobs.forgotten.usd, jobs.forgotten.attempts) == (pytest.approx(488), 2)
    clock.advance(355 * 86_400)  # 395 days after
    await hub.health.tick()
    assert (await asked(hub, CostBy.QUEUE, days=1)).lines[0].cost.usd == pytest.approx(480)
    clock.advance(10 * 86_400)
    await hub.health.tick()
    assert [line.key for line in (await asked(hub, CostBy.QUEUE, days=1)).lines] == ["default"]  # what still runs


async def test_the_days_are_the_sum_of_the_attempts(hub: Hub, clock: Clock) -> None:
    await three(hub, clock)

    def both(session: Any) -> tuple[dict[str, float], dict[str, float]]:
        ended = attempts.ended_after(session, START_OF_TIME)
        hours = sum(a.uses[0][1] * (a.until - a.since).total_seconds() / HOUR_S for a in ended)
        sums = session.connection().execute(select(*(func.sum(rows.cost_days.c[name]) for name in SUMS))).one()
        return {"gpu_hours": hours}, dict(zip(SUMS, sums, strict=True))

    expected, found = await hub.store.read(both)
    assert found["gpu_hours"] == pytest.approx(expected["gpu_hours"])
    assert (found["attempts"], cost_days.day_name(DAY)) == (2, "2026-01-01")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (CostQuery(CostBy.DAY, DAY, DAY - timedelta(days=1)), "there is no day between them"),
        (CostQuery(CostBy.DAY, DAY, DAY + timedelta(days=1000)), "more than 1000 days"),
        (CostQuery(CostBy.JOB, DAY, DAY, limit=0), "limit is 0"),
    ],
)
async def test_a_report_that_cannot_be_is_refused(hub: Hub, query: CostQuery, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        await hub.costs.report(ANN, query)
