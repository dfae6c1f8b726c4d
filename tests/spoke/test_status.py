"""What is told of a job, and when: outcomes at once, progress with patience, nothing twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placement.inventory import DEFAULT_LEVELS
from placement.lifecycle import Event
from placement.tally import Tally
from spoke.entry import Desired
from spoke.ingest import Ingest
from spoke.inventory import Inventory
from spoke.jobs import Job, Jobs
from spoke.ledger import Ledger
from spoke.pods import Life, PodFacts
from spoke.status import COUNTS_HOLD_BACK_S, FAIL_DOUBT_S, FAIL_HOLD_BACK_S, HOLD_BACK_S, Reporter, assess
from tests.spoke.stage import CATALOGUE, NOW, job_yaml, start


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    await ledger.accept([start(1, "j-1", job_yaml("train", pods=2))])
    yield ledger
    await ledger.close()


@pytest.fixture
async def jobs(ledger: Ledger) -> Jobs:
    jobs = Jobs()
    for entry in await ledger.entries():
        jobs.put(entry).created = True
    return jobs


@pytest.fixture
def job(jobs: Jobs) -> Job:
    [job] = jobs
    return job


@pytest.fixture
def reporter(jobs: Jobs, ledger: Ledger) -> Reporter:
    return Reporter(jobs, ledger, lambda: NOW)


def pod(job: Job, name: str, **facts: Any) -> PodFacts:
    made = PodFacts(
        namespace="team",
        name=name,
        uid=name,
        generation=1,
        ref=job.ref,
        role="worker",
        node="n1",
        life=Life.RUNNING,
        ready=True,
        terminating=False,
        schedulable=True,
        owner_kind="Job",
        requests=job.workload.roles[0].requests if job.workload else None,  # type: ignore[arg-type]  # it has one
        devices=(),
        gpus=(0,),
    )
    made = replace(made, **facts)
    job.pods[name] = made
    return made


async def told(reporter: Reporter, now: float) -> list[tuple[Event, str]]:
    reporter.poke("j-1")
    await reporter.round(now)
    reports, reporter._outbox = reporter._outbox, []
    return [(report.event, report.reason) for report in reports]


async def test_running_and_outcomes_are_told_at_once_and_once(job: Job, reporter: Reporter) -> None:
    job.event = Event.RUNNING
    assert await told(reporter, 0.0) == [(Event.RUNNING, "")]
    assert await told(reporter, 0.1) == []
    job.event = Event.SUCCEED
    assert await told(reporter, 0.2) == [(Event.SUCCEED, "")]
    assert job.outcome is Event.SUCCEED
    job.event = Event.FAIL
    assert await told(reporter, 99.0) == []


async def test_a_failure_waits_a_moment_and_an_interruption_wins_over_it(job: Job, reporter: Reporter) -> None:
    job.event = Event.FAIL
    assert await told(reporter, 0.0) == []
    assert await told(reporter, FAIL_HOLD_BACK_S / 2) == []
    job.hand_back = Event.INTERRUPTED
    assert await told(reporter, FAIL_HOLD_BACK_S) == []
    job.hand_back = None
    assert await told(reporter, 10.0) == []  # begins anew
    assert await told(reporter, 10.0 + FAIL_HOLD_BACK_S) == [(Event.FAIL, "")]
    assert job.outcome is Event.FAIL


async def test_a_failure_that_was_being_told_when_the_job_was_interrupted_is_not(job: Job, reporter: Reporter) -> None:
    job.event = Event.FAIL
    found = assess(job)
    assert found is not None
    job.hand_back = Event.INTERRUPTED
    await reporter.tell(job, found)
    assert (job.outcome, reporter._outbox) == (None, [])


async def test_a_failure_waits_for_a_sign_of_life_of_its_nodes_but_not_for_ever(job: Job, reporter: Reporter) -> None:
    asked: list[float] = []
    doubtful = [True]

    def in_doubt(job: Job, since: float) -> bool:
        asked.append(since)
        return bool(doubtful)

    reporter.in_doubt = in_doubt
    job.event = Event.FAIL
    for now in (0.0, 1.0, 20.0, FAIL_DOUBT_S - 0.1):
        assert await told(reporter, now) == []
    assert set(asked) == {0.0}  # since it was first seen
    assert await told(reporter, FAIL_DOUBT_S) == [(Event.FAIL, "")]


async def test_a_failure_is_looked_at_again_by_itself(job: Job, reporter: Reporter) -> None:
    job.event = Event.FAIL
    await told(reporter, 0.0)
    assert reporter._names_due(FAIL_HOLD_BACK_S) == {"j-1"}


async def test_trouble_is_told_of_a_gang_that_runs_and_taken_back(job: Job, reporter: Reporter) -> None:
    job.event = Event.RUNNING
    well = pod(job, "train-0")
    await told(reporter, 0.0)
    job.pods["train-0"] = replace(well, trouble="container main: CrashLoopBackOff: last exit code 1")
    await told(reporter, 1.0)
    [(event, reason)] = await told(reporter, 1.0 + HOLD_BACK_S)
    assert (event, reason) == (Event.RUNNING, "pod train-0: container main: CrashLoopBackOff: last exit code 1")
    job.pods["train-0"] = well
    await told(reporter, 9.0)
    assert await told(reporter, 9.0 + HOLD_BACK_S) == [(Event.RUNNING, "")]


async def test_progress_is_held_back_and_only_the_last_of_it_told(job: Job, reporter: Reporter) -> None:
    job.shortfall = "rack r1 fits 3 of 4 pods"
    assert await told(reporter, 0.0) == []
    job.shortfall = "rack r1 fits 2 of 4 pods"
    assert await told(reporter, HOLD_BACK_S / 2) == []
    assert await told(reporter, HOLD_BACK_S) == [(Event.STARTING, "waiting for room: rack r1 fits 2 of 4 pods")]


async def test_running_overtakes_what_is_held_back(job: Job, reporter: Reporter) -> None:
    assert await told(reporter, 0.0) == []
    job.event = Event.RUNNING
    assert await told(reporter, 0.1) == [(Event.RUNNING, "")]
    assert await told(reporter, HOLD_BACK_S) == []


async def test_mere_counts_wait_longer(job: Job, reporter: Reporter) -> None:
    job.event = Event.RUNNING
    first = pod(job, "train-0")
    await told(reporter, 0.0)
    job.pods["train-0"] = replace(first, ready=False)
    assert await told(reporter, 1.0) == []
    assert await told(reporter, 1.0 + HOLD_BACK_S) == []
    assert await told(reporter, 1.0 + COUNTS_HOLD_BACK_S) == [(Event.RUNNING, "")]


async def test_what_was_held_back_and_undone_is_not_told(job: Job, reporter: Reporter) -> None:
    job.event = Event.RUNNING
    await told(reporter, 0.0)
    job.event = Event.STARTING
    assert await told(reporter, 0.1) == []
    job.event = Event.RUNNING
    assert await told(reporter, 0.2) == []
    assert await told(reporter, 9.0) == []


async def test_counts_and_places(job: Job, reporter: Reporter) -> None:
    pod(job, "train-0", gpus=(0, 1))
    pod(job, "train-1", life=Life.SUCCEEDED, ready=False)
    pod(job, "train-2", life=Life.FAILED, ready=False)
    pod(job, "train-3", node="", ready=False, life=Life.PENDING)
    job.event = Event.RUNNING
    found = assess(job)
    assert found is not None
    [count] = found.roles
    assert (count.role, count.ready, count.succeeded, count.failed, count.total) == ("worker", 1, 1, 1, 2)
    assert (found.pods[0].pod, found.pods[0].gpus) == ("train-0", (0, 1))
    assert len(found.pods) == 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"problem": "webhook is away", "shortfall": "no room"}, "webhook is away"),
        ({"shortfall": "no room"}, "waiting for room: no room"),
        ({"stuck": "pod p: FailedMount", "event_reason": "Suspended"}, "pod p: FailedMount"),
        ({"event_reason": "Suspended"}, "Suspended"),
        ({}, ""),
    ],
)
def test_why_it_does_not_run_yet(job: Job, changes: dict[str, str], reason: str) -> None:
    for name, value in changes.items():
        setattr(job, name, value)
    found = assess(job)
    assert found is not None
    assert (found.event, found.reason) == (Event.STARTING, reason)


def test_troubled_pods_are_named(job: Job) -> None:
    pod(job, "train-1", trouble="container main: ImagePullBackOff")
    pod(job, "train-0", trouble="container main: ImagePullBackOff")
    found = assess(job)
    assert found is not None
    assert found.reason == "pod train-0: container main: ImagePullBackOff (and 1 more pods)"
    job.event, job.event_reason = Event.FAIL, "BackoffLimitExceeded"
    failed = assess(job)
    assert failed is not None
    assert failed.reason == "BackoffLimitExceeded; pod train-0: container main: ImagePullBackOff (and 1 more pods)"


def test_a_stopping_job_tells_only_that_it_had_won(job: Job) -> None:
    job.desired, job.event = Desired.STOP, Event.FAIL
    assert assess(job) is None
    job.event = Event.SUCCEED
    assert assess(job) is not None


def test_counts_begin_with_the_object(job: Job) -> None:
    """The ledger tells from them that the workload was made: it must not be made twice."""
    job.created, job.problem = False, "busy"
    found = assess(job)
    assert found is not None
    assert found.roles == ()
    job.created = True
    again = assess(job)
    assert again is not None
    assert again.roles


async def test_a_new_stream_gets_what_is_not_acknowledged_and_nothing_twice(job: Job, reporter: Reporter) -> None:
    job.event = Event.RUNNING
    reporter.poke("j-1")
    await reporter.round(0.0)
    [again] = await reporter.unacked()
    assert again.event is Event.RUNNING
    job.event = Event.SUCCEED
    reporter.poke("j-1")
    await reporter.round(0.1)
    assert [report.event for report in await reporter.wait()] == [Event.SUCCEED]


async def test_a_checkpoint_is_told_with_patience_and_the_latest_counts(job: Job, reporter: Reporter) -> None:
    job.event = Event.RUNNING
    pod(job, "train-0", checkpoint_at=NOW)
    assert await told(reporter, 0.0) == [(Event.RUNNING, "")]
    assert job.told is not None
    assert job.told.checkpoint_at == NOW
    job.object_checkpoint_at = NOW + timedelta(seconds=30)
    assert await told(reporter, 1.0) == []
    job.object_checkpoint_at = NOW + timedelta(seconds=60)
    assert await told(reporter, 1.0 + COUNTS_HOLD_BACK_S / 2) == []
    assert await told(reporter, 1.0 + COUNTS_HOLD_BACK_S) == [(Event.RUNNING, "")]
    assert job.told.checkpoint_at == NOW + timedelta(seconds=60)
    assert [report.checkpoint_at for report in await reporter.unacked()] == [NOW + timedelta(seconds=60)]


def watched(job: Job, jobs: Jobs, status: dict[str, Any]) -> None:
    """The workload object as the API server shows it, with this status."""
    assert job.key is not None
    kind = CATALOGUE.find(job.key.api_version, job.key.kind)
    assert kind is not None
    labels = {"muster.dev/job": job.ref.job, "muster.dev/epoch": str(job.ref.epoch)}
    metadata = {"name": job.key.name, "namespace": job.key.namespace, "uid": "u", "labels": labels}
    spec = {"parallelism": 2, "completions": 2, "completionMode": "Indexed"}
    obj = {"apiVersion": job.key.api_version, "kind": job.key.kind, "metadata": metadata, "spec": spec}
    Ingest(Inventory(DEFAULT_LEVELS), jobs, None).workloads(kind).upsert({**obj, "status": status})


ODD = {"conditions": [{"type": "Frozen", "status": "True"}]}
ODD_WORDS = "status not understood: condition Frozen"


@pytest.mark.parametrize(
    ("before", "event"), [({"active": 2, "ready": 0}, Event.STARTING), ({"active": 2, "ready": 2}, Event.RUNNING)]
)
async def test_a_status_that_is_not_understood_is_told_once_and_the_job_stays_as_it_is(
    job: Job, jobs: Jobs, reporter: Reporter, before: dict[str, Any], event: Event
) -> None:
    watched(job, jobs, before)
    await told(reporter, 0)
    await told(reporter, HOLD_BACK_S)
    watched(job, jobs, ODD)
    assert [*await told(reporter, 10), *await told(reporter, 10 + HOLD_BACK_S)] == [(event, ODD_WORDS)]
    watched(job, jobs, {**ODD, "since": "2026-01-01T00:00:00Z"})
    assert await told(reporter, 60) == []
    watched(job, jobs, before)
    await told(reporter, 120)
    assert await told(reporter, 120 + HOLD_BACK_S) == [(event, "")]


async def test_an_agent_that_was_started_anew_keeps_a_job_whose_status_it_does_not_understand_as_it_was(
    job: Job, jobs: Jobs, reporter: Reporter, ledger: Ledger
) -> None:
    watched(job, jobs, {"active": 2, "ready": 2})
    assert [event for event, _ in await told(reporter, 0)] == [Event.RUNNING]
    after = Jobs()
    for entry in await ledger.entries():
        after.put(entry).created = True
    [job] = after
    watched(job, after, ODD)
    found = assess(job)
    assert found is not None
    assert (found.event, found.reason) == (Event.RUNNING, ODD_WORDS)


async def test_progress_and_retries_are_told_with_patience(job: Job, jobs: Jobs, reporter: Reporter) -> None:
    watched(job, jobs, {"active": 2, "ready": 2})
    await told(reporter, 0)
    watched(job, jobs, {"active": 1, "ready": 1, "succeeded": 1, "failed": 1})
    assert await told(reporter, 10) == []
    reporter.poke("j-1")
    await reporter.round(10 + COUNTS_HOLD_BACK_S)
    [report] = reporter._outbox
    assert (report.progress, report.retries) == (Tally(1, 2), Tally(1, 6))


def test_containers_that_were_restarted_count_as_retries_where_the_kind_counts_them(job: Job, jobs: Jobs) -> None:
    watched(job, jobs, {"active": 2, "ready": 2, "failed": 1})
    pod(job, "train-0", restarts=2)
    pod(job, "train-1", restarts=5, life=Life.FAILED)  # it is among those that the Job counts
    assert job.retries == Tally(3, 6)
