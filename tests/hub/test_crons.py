"""CronJobs over a whole hub without doors: what a submit makes, runs when they are due and once, also over restarts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hub import admission
from hub.crons import Crons, Taken
from hub.errors import ConflictError, Forbidden, Invalid, NotFound
from hub.jobs import Jobs
from hub.loops.calendar import CalendarLoop
from hub.loops.placing import PlacingLoop, Planning
from hub.records import Actor, JobFilter, UserRole
from hub.store import rows
from hub.store.store import StoreClosed
from placement import invariants, planner
from placement.kinds import reader
from placement.lifecycle import Event, Phase
from tests.hub.loops.rig import (
    ADMIN,
    ANN,
    BOB,
    CATALOGUE,
    EVE,
    Clock,
    FakeSpoke,
    Hub,
    a_hub,
    open_hub,
    render_manifests,
)

THREE = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass
class Stand:
    hub: Hub
    crons: Crons
    loop: CalendarLoop
    placing: PlacingLoop
    spoke: FakeSpoke

    async def submit(self, *texts: bytes, actor: Actor = ANN, **more: Any) -> Taken:
        return await self.crons.submit(actor, texts, **more)

    async def at(self, moment: datetime) -> None:
        """Looks whenever the calendar says, until then."""
        while True:
            again = await self.loop.tick()
            if again is None or again > moment:
                break
            self.hub.clock.now = max(again, self.hub.clock.now)
        self.hub.clock.now = moment
        await self.loop.tick()

    async def runs(self, ref: str = "nightly", actor: Actor = ANN) -> list[tuple[datetime | None, Phase]]:
        return [(run.scheduled_at, run.phase) for run in (await self.crons.show(actor, ref)).runs]

    async def jobs(self) -> list[str]:
        return [job.name for job in (await self.hub.jobs.list(ADMIN, JobFilter())).jobs]

    async def note(self) -> str:
        return (await self.crons.show(ANN, "nightly")).record.note

    async def end(self, event: Event = Event.SUCCEED) -> None:
        """The one run that is going."""
        (job,) = (await self.crons.show(ANN, "nightly")).running
        await self.placing.settle()
        await self.spoke.obey(self.hub)
        (ref,) = [ref for ref in self.spoke.live if ref.job == job]
        self.spoke.advance(ref, event)
        await self.spoke.send_reports(self.hub)


def stand_on(hub: Hub, seed: int = 5) -> Stand:
    """With manifests read as the real hub reads them."""
    copies = hub.copies
    jobs = Jobs(
        hub.store,
        copies.federation,
        copies.backlog,
        copies.feed,
        lambda text, *, namespace: reader.read(text, CATALOGUE, namespace=namespace),
        lambda submission, actor: admission.admit(submission, actor, copies.federation.tenants, CATALOGUE),
        planner.plan_fully,
        hub.streams,
        hub.overriding,
        render_manifests,
        hub.presence,
        CATALOGUE,
        clock=hub.clock,
        rng=Random(seed),
    )
    crons = Crons(hub.store, jobs, CATALOGUE, clock=hub.clock, rng=Random(6))
    planning = Planning(planner.Planner().plan, invariants.check, render_manifests, hub.overriding, hub.presence)
    placing = PlacingLoop(hub.store, copies.federation, copies.backlog, planning, clock=hub.clock)
    return Stand(hub, crons, CalendarLoop(hub.store, crons, clock=hub.clock), placing, FakeSpoke("east"))


@pytest.fixture
async def stand(hub: Hub) -> Stand:
    made = stand_on(hub)
    await made.spoke.join(hub)
    await made.spoke.connect(hub)
    return made


def cron(name: str = "nightly", **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "resources": {"limits": {"nvidia.com/gpu": 1}}}
    pod = {"restartPolicy": "Never", "containers": [container], "volumes": [{"name": "v", "configMap": {"name": "c"}}]}
    template = {"spec": {"template": {"spec": pod}}}
    body = {"schedule": "0 3 * * *", "jobTemplate": template, **spec}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": body}


CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "other"},
    "spec": cron()["spec"]["jobTemplate"]["spec"],
}


def text(*objects: dict[str, Any]) -> bytes:
    return "\n---\n".join(map(json.dumps, objects)).encode()


async def test_a_run_is_an_ordinary_job_when_it_is_due(stand: Stand) -> None:
    taken = await stand.submit(text(CONFIG, cron()))
    (made,) = taken.crons
    assert (taken.jobs, made.created, made.cron.next_at) == ((), True, THREE)
    await stand.at(THREE - MINUTE)
    assert await stand.runs() == []
    await stand.at(THREE)
    assert await stand.runs() == [(THREE, Phase.QUEUED)]
    name = f"nightly-{int(THREE.timestamp()) // 60}"
    assert await stand.jobs() == [name]
    job = await stand.hub.jobs.show(ANN, name)
    assert (job.owner, job.tenant, job.kind, job.namespace) == ("ann", "red", "Job", "default")
    await stand.placing.settle()
    await stand.spoke.obey(stand.hub)
    ((ref, running),) = stand.spoke.live.items()
    assert [obj["kind"] for obj in running.start.objects] == ["ConfigMap", "Job"]
    await stand.end()
    assert await stand.runs() == [(THREE, Phase.SUCCEEDED)]
    await stand.at(THREE + DAY)
    assert [at for at, _ in await stand.runs()] == [THREE + DAY, THREE]
    assert ref.job != (await stand.crons.show(ANN, "nightly")).running[0]


async def test_nobody_starts_a_run_twice_whatever_becomes_of_the_hub(tmp_path: Path) -> None:
    clock = Clock()
    async with a_hub(tmp_path / "hub.sqlite", clock) as hub:
        await stand_on(hub).submit(text(cron()))
    clock.now = THREE
    async with a_hub(tmp_path / "hub.sqlite", clock, seed=1) as hub:
        first, second = stand_on(hub), stand_on(hub, 6)
        await asyncio.gather(first.loop.tick(), second.loop.tick())  # as two that lead would, each after its own read
        assert await first.runs() == [(THREE, Phase.QUEUED)]
        assert await first.note() == ""
    async with a_hub(tmp_path / "hub.sqlite", clock, seed=2) as hub:
        again = stand_on(hub, 7)
        await again.loop.tick()
        assert await again.runs() == [(THREE, Phase.QUEUED)]
    clock.now = THREE + 5 * DAY + HOUR
    async with a_hub(tmp_path / "hub.sqlite", clock, seed=3) as hub:
        late = stand_on(hub, 8)
        await late.loop.tick()
        assert [at for at, _ in await late.runs()] == [THREE + 5 * DAY, THREE]
        assert await late.note() == "4 runs before it were missed"


async def test_more_than_a_hundred_missed_are_said_and_one_is_started(stand: Stand) -> None:
    await stand.submit(text(cron(schedule="* * * * *")))
    stand.hub.clock.now = THREE
    await stand.loop.tick()
    assert await stand.runs() == [(THREE, Phase.QUEUED)]
    assert "more than 100 runs" in await stand.note()


async def test_what_is_too_late_is_missed(stand: Stand) -> None:
    await stand.submit(text(cron(startingDeadlineSeconds=60)))
    stand.hub.clock.now = THREE + HOUR
    await stand.loop.tick()
    assert await stand.runs() == []
    assert "3600 s late, 60 s are allowed" in await stand.note()
    await stand.at(THREE + DAY)
    assert await stand.runs() == [(THREE + DAY, Phase.QUEUED)]
    assert await stand.note() != ""  # that one before it was missed


async def test_forbid_keeps_the_next_back_until_the_one_before_has_ended(stand: Stand) -> None:
    await stand.submit(text(cron(schedule="0 * * * *", concurrencyPolicy="Forbid")))
    await stand.at(THREE)
    assert [at for at, _ in await stand.runs()] == [THREE - 2 * HOUR]
    assert "the one before has not ended" in await stand.note()
    stand.hub.clock.now = THREE + 5 * MINUTE
    await stand.end()
    await stand.loop.tick()  # woken by that end
    assert [at for at, _ in await stand.runs()] == [THREE, THREE - 2 * HOUR]


async def test_replace_stops_the_one_before(stand: Stand) -> None:
    await stand.submit(text(cron(schedule="0 * * * *", concurrencyPolicy="Replace")))
    await stand.at(THREE)
    phases = [phase for _, phase in await stand.runs()]
    assert phases[0] is Phase.QUEUED
    assert set(phases[1:]) <= {Phase.CANCELLED, Phase.CANCELLING}


async def test_allow_lets_them_run_beside_each_other(stand: Stand) -> None:
    await stand.submit(text(cron(schedule="0 * * * *")))
    await stand.at(THREE)
    assert [phase for _, phase in await stand.runs()] == [Phase.QUEUED] * 3


async def test_suspended_it_waits_and_resumed_it_starts_the_last_that_was_missed(stand: Stand) -> None:
    await stand.submit(text(cron()))
    assert (await stand.crons.suspend(ANN, "nightly", True)).next_at is None
    await stand.at(THREE + 2 * DAY)
    assert await stand.runs() == []
    assert await stand.note() == "suspended"
    assert (await stand.crons.suspend(ANN, "nightly", False)).next_at == THREE + 3 * DAY
    await stand.loop.tick()
    assert await stand.runs() == [(THREE + 2 * DAY, Phase.QUEUED)]
    as_given = await stand.submit(text(cron("other", suspend=True)))
    assert as_given.crons[0].cron.record.suspended


async def test_a_run_by_hand_is_beside_the_calendar(stand: Stand) -> None:
    await stand.submit(text(cron(suspend=True)))
    job = await stand.crons.run(ANN, "nightly")
    assert job.name.startswith("nightly-run-")
    assert await stand.runs() == [(None, Phase.QUEUED)]
    await stand.crons.suspend(ANN, "nightly", False)
    await stand.at(THREE)
    assert [at for at, _ in await stand.runs()] == [THREE, None]


async def test_the_same_name_again_changes_it_and_another_calendar_begins_anew(stand: Stand) -> None:
    await stand.submit(text(cron()))
    await stand.at(THREE + HOUR)
    changed = await stand.submit(text(cron(schedule="30 2 * * *")))
    assert (changed.crons[0].created, changed.crons[0].cron.record.revision) == (False, 2)
    await stand.loop.tick()
    assert await stand.runs() == [(THREE, Phase.QUEUED)]  # 02:30 of today was before there was such a calendar
    assert len(await stand.crons.list(ANN)) == 1
    await stand.submit(text(cron(schedule="30 2 * * *", concurrencyPolicy="Forbid")))
    assert await stand.runs() == [(THREE, Phase.QUEUED)]


async def test_deleting_cancels_what_runs_unless_that_is_kept(stand: Stand) -> None:
    for keep in (True, False):
        await stand.submit(text(cron(schedule="0 * * * *")))
        await stand.at(stand.hub.clock.now + HOUR)
        (job,) = (await stand.crons.show(ANN, "nightly")).running
        cancelled = await stand.crons.delete(ANN, "nightly", keep_runs=keep)
        assert list(cancelled) == ([] if keep else [job])
        phase = (await stand.hub.jobs.show(ANN, job)).phase
        assert phase is (Phase.QUEUED if keep else Phase.CANCELLED)
        with pytest.raises(NotFound):
            await stand.crons.show(ANN, "nightly")
        await stand.at(stand.hub.clock.now + HOUR)


async def test_the_history_keeps_as_many_as_it_says(stand: Stand) -> None:
    await stand.submit(text(cron(schedule="0 * * * *", successfulJobsHistoryLimit=2, failedJobsHistoryLimit=0)))
    for hour in range(1, 7):
        await stand.at(datetime(2026, 1, 1, hour, tzinfo=UTC))
        await stand.end(Event.FAIL if hour % 3 == 0 else Event.SUCCEED)
    await stand.loop.tick()
    assert [at for at, _ in await stand.runs()] == [THREE + 2 * HOUR, THREE + HOUR]
    assert len(await stand.jobs()) == 6


async def test_what_cannot_be_submitted_any_more_is_told_and_the_next_is_tried(stand: Stand) -> None:
    bob = await stand.submit(text(cron()), actor=BOB)
    assert bob.crons
    await stand.submit(text(cron()))
    live = await stand.crons.run(ANN, "nightly")
    taken = {**JOB, "metadata": {"name": f"nightly-{int(THREE.timestamp()) // 60}"}}
    await stand.submit(text(taken))
    await stand.at(THREE)
    assert "could not be submitted: Job default/nightly-" in await stand.note()
    assert await stand.runs(actor=BOB) == [(THREE, Phase.QUEUED)]  # one that is wrong holds up no other
    assert [at for at, _ in await stand.runs()] == [None]
    await stand.at(THREE + DAY)
    assert [at for at, _ in await stand.runs()] == [THREE + DAY, None]
    assert live.name in await stand.jobs()


async def test_whose_role_is_taken_away_has_no_more_runs(stand: Stand) -> None:
    await stand.hub.access.add_user(ADMIN, "ann", "red", UserRole.VIEWER)
    await stand.submit(text(cron()))
    await stand.at(THREE)
    assert await stand.runs() == []
    assert "ann is a viewer and may not submit jobs" in await stand.note()


async def test_a_file_is_taken_whole_or_not_at_all(stand: Stand) -> None:
    both = await stand.submit(text(CONFIG, cron(), JOB))
    assert ([one.job.name for one in both.jobs], len(both.crons)) == (["other"], 1)
    with pytest.raises(ConflictError, match="is the live job"):
        await stand.submit(text(cron("second"), JOB))
    with pytest.raises(NotFound):
        await stand.crons.show(ANN, "second")
    with pytest.raises(Invalid, match="two objects are called CronJob default/a"):
        await stand.submit(text(cron("a"), cron("a")))


@pytest.mark.parametrize(
    ("spec", "path", "said"),
    [
        ({"schedule": "x"}, "spec.schedule", "has 1 fields"),
        ({"schedule": "* * */20 * 1L"}, "spec.schedule", "does not come within fifty years"),
        ({"jobTemplate": {"spec": {"parallelism": -1}}}, "spec.jobTemplate.spec.parallelism", "from 0"),
        (
            {"jobTemplate": {"metadata": {"annotations": {"muster.dev/queu": "x"}}, "spec": JOB["spec"]}},
            'spec.jobTemplate.metadata.annotations["muster.dev/queu"]',
            "there is no hint",
        ),
        (
            {"jobTemplate": {"metadata": {"annotations": {"muster.dev/queue": "none"}}, "spec": JOB["spec"]}},
            "muster.dev/queue",
            "there is no queue",
        ),
    ],
)
async def test_what_is_wrong_is_told_by_its_place_in_the_file(
    stand: Stand, spec: dict[str, Any], path: str, said: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await stand.submit(text(CONFIG, cron(**spec)))
    problem = next(one for one in refused.value.problems if one.path == path)
    assert said in problem.message
    assert await stand.crons.list(ANN) == []


async def test_a_plan_is_of_the_run_that_it_would_be(stand: Stand) -> None:
    (planned,) = await stand.crons.plan(ANN, text(CONFIG, cron()))
    assert planned.workload.name.startswith("nightly-")
    assert planned.workload.total_gpus == 1
    assert await stand.crons.list(ANN) == []


async def test_tenants_see_their_own(stand: Stand) -> None:
    await stand.submit(text(cron()))
    assert await stand.crons.list(BOB) == []
    for actor, error in ((BOB, NotFound), (EVE, Forbidden)):
        for steered in (
            stand.crons.suspend(actor, "nightly", True),
            stand.crons.run(actor, "nightly"),
            stand.crons.delete(actor, "nightly"),
        ):
            with pytest.raises(error):
                await steered
    with pytest.raises(NotFound):
        await stand.crons.show(BOB, "nightly")
    with pytest.raises(Forbidden):
        await stand.submit(text(cron()), actor=EVE)
    await stand.submit(text(cron()), actor=BOB)
    with pytest.raises(ConflictError, match="2 CronJobs are called 'nightly'"):
        await stand.crons.show(ADMIN, "nightly")
    (mine,) = await stand.crons.list(ANN)
    assert (await stand.crons.show(ADMIN, mine.record.id)).record == mine.record


async def test_one_that_cannot_be_looked_at_rests_and_holds_up_no_other(stand: Stand) -> None:
    await stand.submit(text(cron()))
    await stand.submit(text(cron("other")))
    broken = (await stand.crons.show(ANN, "nightly")).record.id
    spoilt = rows.crons.update().where(rows.crons.c.id == broken).values(manifest_json='{"spec": 1}')
    await stand.hub.store.write(lambda session: session.connection().execute(spoilt))
    stand.hub.clock.now = THREE
    again = await stand.loop.tick()
    assert again is not None
    assert again > THREE
    assert await stand.jobs() == [f"other-{int(THREE.timestamp()) // 60}"]


async def test_the_loop_sleeps_until_something_is_due_and_ends_with_the_store(tmp_path: Path) -> None:
    hub = await open_hub(tmp_path / "hub.sqlite", Clock())
    stand = stand_on(hub)
    running = asyncio.ensure_future(stand.loop.run())
    stand.hub.clock.now = THREE - MINUTE
    await stand.submit(text(cron(schedule="59 2 * * *")))
    stand.hub.clock.now = THREE + DAY
    await stand.crons.suspend(ANN, "nightly", True)  # wakes it
    await stand.crons.suspend(ANN, "nightly", False)
    async with asyncio.timeout(5):
        while not await stand.runs():  # noqa: ASYNC110  it works through the store, beside this
            await asyncio.sleep(0.01)
    await hub.store.close()
    stand.loop._woken.set()
    async with asyncio.timeout(5):
        await running
    with pytest.raises(StoreClosed):
        await stand.crons.list(ANN)
