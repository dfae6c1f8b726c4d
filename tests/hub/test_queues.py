from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from hub.errors import ConflictError, Forbidden, Invalid, NotFound
from placement.lifecycle import Event, Phase
from placement.money import PriceBook
from placement.queues.tree import Budget, Preemption, Queue, Quota, Reach
from tests.hub.loops.rig import ADMIN, ANN, Clock, FakeSpoke, Hub, a_hub, manifest

GPUS = {"*": Quota(4.0)}


async def member(hub: Hub) -> FakeSpoke:
    spoke = FakeSpoke("east", nodes=2)
    await spoke.join(hub)
    await spoke.connect(hub)
    return spoke


async def reason(hub: Hub, name: str) -> str:
    return (await hub.jobs.show(ANN, name)).reason


async def test_queues_are_kept_over_a_restart(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        await hub.queues.keep_initial()
        team = Queue(
            "team-a",
            "org",
            {"A100": Quota(8, 4, 2)},
            2.0,
            Budget(usd_per_day=5),
            preemption=Preemption(reclaim=Reach.NEVER),
        )
        await hub.queues.put(ADMIN, [Queue("org"), team])
        await hub.queues.delete(ADMIN, "research")
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        await hub.queues.keep_initial()
        assert [one.queue.name for one in await hub.queues.list(ANN)] == ["default", "org", "team-a"]
        assert (await hub.queues.show(ANN, "team-a")).queue == team
        assert (await hub.queues.show(ANN, "org")).parts == ("team-a",)


async def test_a_queue_holds_its_jobs_to_its_quota_and_lets_them_in_when_others_end(hub: Hub) -> None:
    spoke = await member(hub)
    await hub.queues.create(ADMIN, Queue("team-a", quotas=GPUS))
    await hub.jobs.submit_many(ANN, [manifest(f"a{i}", gpus=2, queue="team-a") for i in range(3)])
    await hub.placing.settle()
    assert await reason(hub, "a2") == (
        "queue team-a may use 4 other GPUs (nominal 4, borrowed at most 0), uses 4, asks 2"
    )
    state = await hub.queues.show(ANN, "team-a")
    assert (state.waiting, state.running) == (1, 2)
    assert [(use.used, use.may_use, use.left) for use in state.uses] == [(4.0, 4.0, 0.0)]
    await spoke.obey(hub)
    first = (await hub.jobs.show(ANN, "a0")).id
    ref = next(one for one in spoke.live if one.job == first)
    for event in (Event.STARTING, Event.RUNNING, Event.SUCCEED):
        spoke.advance(ref, event)
    await spoke.send_reports(hub)
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, "a2")).phase is Phase.PLACED


async def test_what_attempts_took_is_spent_and_still_is_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    async with a_hub(tmp_path / "hub.sqlite", clock) as hub:
        spoke = await member(hub)
        await hub.queues.create(ADMIN, Queue("team-a", budget=Budget(gpu_hours_per_month=20)))
        await hub.jobs.submit(ANN, manifest("a0", gpus=8, queue="team-a", expected_hours=1.0))
        await hub.placing.settle()
        clock.advance(7200)
        assert (await hub.queues.show(ANN, "team-a")).gpu_hours_month == pytest.approx(16.0)
        # Whatever becomes of it.
        await spoke.obey(hub)
        await hub.jobs.cancel(ANN, "a0")
        await spoke.obey(hub)
        await spoke.send_reports(hub)
        assert hub.federation.fleet().reservations == ()
    async with a_hub(tmp_path / "hub.sqlite", clock, seed=1) as hub:
        assert (await hub.queues.show(ANN, "team-a")).gpu_hours_month == pytest.approx(16.0)
        spoke.revision += 1
        await spoke.connect(hub)
        await hub.jobs.submit(ANN, manifest("a1", gpus=8, queue="team-a", expected_hours=1.0))
        await hub.placing.settle()
        assert "may spend 20.0 GPU-hours a month: 16.0 is spent" in await reason(hub, "a1")


async def test_a_job_goes_to_a_public_cluster_after_its_queues_wait(tmp_path: Path) -> None:
    clock = Clock()
    async with a_hub(tmp_path / "hub.sqlite", clock) as hub:
        await member(hub)
        await hub.prices.replace(ADMIN, PriceBook(public=frozenset({"east"})))
        await hub.queues.create(ADMIN, Queue("team-a", burst_after_hours=2.0))
        await hub.jobs.submit(ANN, manifest("a0", queue="team-a"))
        await hub.jobs.submit(ANN, manifest("d0"))
        await hub.placing.settle()
        assert (await hub.jobs.show(ANN, "d0")).phase is Phase.PLACED
        assert "queue team-a bursts after 2 h of waiting, this job has waited 0 h" in await reason(hub, "a0")
        assert hub.copies.backlog.next_timer == clock() + timedelta(hours=2)
        clock.advance(7200)
        hub.copies.backlog.ring(clock())
        await hub.placing.settle()
        assert (await hub.jobs.show(ANN, "a0")).phase is Phase.PLACED
    async with a_hub(tmp_path / "hub.sqlite", clock, seed=1) as hub:
        assert (await hub.queues.show(ANN, "team-a")).queue.burst_after_hours == 2.0


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        (Queue("a", burst_after_hours=-1.0), "burst_after_hours: -1 is no amount"),
        (Queue("a", "nowhere"), "there is no queue 'nowhere'"),
        (Queue("a", "a"), "its cohorts lead back to itself"),
        (Queue("a", quotas={"T4": Quota(-1)}), "quotas[T4].nominal: -1 is no amount"),
    ],
)
async def test_what_cannot_be_changes_nothing(hub: Hub, queue: Queue, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        await hub.queues.create(ADMIN, queue)
    assert said in refused.value.message
    assert [one.queue.name for one in await hub.queues.list(ANN)] == ["default", "research"]


async def test_queues_in_use_and_quota_below_use(hub: Hub) -> None:
    await member(hub)
    await hub.queues.create(ADMIN, Queue("team-a", quotas=GPUS))
    await hub.jobs.submit(ANN, manifest("a0", gpus=4, queue="team-a"))
    await hub.placing.settle()
    with pytest.raises(ConflictError, match="jobs wait or run in team-a"):
        await hub.queues.delete(ADMIN, "team-a")
    with pytest.raises(ConflictError, match="jobs wait or run in team-a"):
        await hub.queues.create(ADMIN, Queue("part", "team-a"))
    with pytest.raises(ConflictError, match="queue team-a uses 4 \\* and could use 3: quota below use"):
        await hub.queues.put(ADMIN, [Queue("team-a", quotas={"*": Quota(3)})])
    await hub.queues.put(ADMIN, [Queue("team-a", quotas={"*": Quota(3)})], force=True)
    with pytest.raises(ConflictError, match="already"):
        await hub.queues.create(ADMIN, Queue("team-a"))


async def test_only_admins_change_them_and_unknown_ones_are_named(hub: Hub) -> None:
    with pytest.raises(Forbidden):
        await hub.queues.create(ANN, Queue("a"))
    with pytest.raises(Forbidden):
        await hub.queues.delete(ANN, "research")
    with pytest.raises(NotFound) as missing:
        await hub.queues.show(ANN, "reserach")
    assert "research" in missing.value.mend
    with pytest.raises(NotFound):
        await hub.queues.delete(ADMIN, "gone")


async def test_a_cohort_takes_no_jobs(hub: Hub) -> None:
    await hub.queues.put(ADMIN, [Queue("org"), Queue("team-a", "org")])
    with pytest.raises(Invalid, match="no job waits in cohort 'org'"):
        await hub.jobs.submit(ANN, manifest("a0", queue="org"))


async def test_a_job_that_waited_as_long_as_it_wished_is_rejected(tmp_path: Path) -> None:
    clock = Clock()
    async with a_hub(tmp_path / "hub.sqlite", clock) as hub:
        await hub.jobs.submit(ANN, manifest("a0", gpus=1, give_up_hours=2.0))
        await hub.placing.settle()
        assert (await hub.jobs.show(ANN, "a0")).phase is Phase.QUEUED
        clock.advance(7200)
        hub.copies.backlog.ring(clock())
        await hub.placing.settle()
        job = await hub.jobs.show(ANN, "a0")
        assert job.phase is Phase.FAILED
        assert "given up after waiting 2.00 h" in job.reason
