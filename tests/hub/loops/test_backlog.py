from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from hub.loops.backlog import POLICY_LASTS, Backlog
from hub.records import JobEvent
from hub.store.changes import Happened, Queued, Unqueued
from placement.bursting import BurstNotYet
from placement.fleet import PendingJob
from placement.lifecycle import Phase
from placement.queues.reasons import BudgetShort
from placement.queues.spending import day_of
from placement.verdict import Decision, ExpectedStart, NoClusters, Waiting
from placement.workload import TopologyMode, TopologyRequest
from tests.hub.loops.rig import START_OF_TIME, workload

T0 = START_OF_TIME


def pending(job: str, epoch: int = 1, priority: int = 0, age_s: int = 0) -> PendingJob:
    return PendingJob(job, epoch, workload(job, hints={"priority": priority}), "red", T0 - timedelta(seconds=age_s))


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


@pytest.fixture
def backlog() -> Backlog:
    return Backlog(asyncio.Event())


def ids(taken: tuple[PendingJob, ...]) -> list[str]:
    return [one.job for one in taken]


def test_the_urgent_and_the_old_come_first_and_each_once(backlog: Backlog) -> None:
    backlog.load([pending("young"), pending("old", age_s=9), pending("urgent", priority=5)])
    assert ids(backlog.take(2)) == ["urgent", "old"]
    assert ids(backlog.take(2)) == ["young"]
    assert ids(backlog.take(2)) == []
    assert not backlog.wants_decisions
    backlog.reconsider_all()
    assert len(backlog.take(9)) == 3


def test_newcomers_take_their_rank_in_a_pass_under_way_and_do_not_prolong_it(backlog: Backlog) -> None:
    backlog.load([pending("a", age_s=9), pending("b", age_s=8)])
    backlog.reconsider_all()
    assert ids(backlog.take(1)) == ["a"]
    assert not backlog.passed
    backlog.on_change(Queued(pending("urgent", priority=1)))
    backlog.on_change(Queued(pending("late")))
    assert ids(backlog.take(2)) == ["urgent", "b"]
    assert backlog.passed
    assert ids(backlog.take(2)) == ["late"]


def test_what_left_the_queue_is_not_decided(backlog: Backlog) -> None:
    backlog.load([pending("a"), pending("b")])
    backlog.on_change(Unqueued("a"))
    backlog.reconsider("a")
    assert ids(backlog.take(9)) == ["b"]
    assert len(backlog) == 1


def test_a_job_queued_again_is_decided_with_its_new_epoch_only(backlog: Backlog) -> None:
    backlog.load([pending("a")])
    backlog.on_change(Unqueued("a"))
    backlog.on_change(Queued(pending("a", epoch=2)))
    assert [one.epoch for one in backlog.take(9)] == [2]


def test_a_decision_is_kept_while_the_job_waits_in_that_epoch(backlog: Backlog) -> None:
    decision = Decision("a", 1, Waiting((NoClusters(),)), ())
    assert not backlog.decided(decision, T0)
    backlog.load([pending("a")])
    assert backlog.decided(decision, T0)
    assert backlog.decision("a") == decision
    backlog.on_change(Queued(pending("a", epoch=2)))
    assert backlog.decision("a") is None
    assert not backlog.decided(decision, T0)


def test_a_first_refusal_holds_until_the_summary_moves_on(backlog: Backlog) -> None:
    backlog.refused("a", "east", "full", 7, T0)
    assert backlog.refusals("a", lambda _: 7, at(299)) == {"east": "full"}
    assert backlog.refusals("a", lambda _: 8, at(0)) == {}
    assert backlog.refusals("a", lambda _: 7, at(300)) == {}  # it is asked again, news or not
    assert backlog.refusals("b", lambda _: 7, at(0)) == {}


def test_repeated_refusals_hold_longer_each_time_up_to_a_minute(backlog: Backlog) -> None:
    held: list[float] = []
    for times in range(10):
        backlog.refused("a", "east", "full", times, T0)
        seconds = (s / 2 for s in range(1000))
        held.append(next(s for s in seconds if not backlog.refusals("a", lambda _: -1, at(s))))
    assert held == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_next_retry_is_told_for_queued_jobs(backlog: Backlog) -> None:
    backlog.load([pending("a")])
    assert backlog.next_retry(lambda _: 7, T0) is None
    backlog.refused("a", "east", "full", 7, T0)
    backlog.refused("gone", "east", "full", 7, at(-100))
    assert backlog.next_retry(lambda _: 7, T0) == at(300)
    assert backlog.next_retry(lambda _: 7, at(301)) is None


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.FAILED, Phase.CANCELLED])
def test_refusals_are_forgotten_once_the_job_runs_or_ends(backlog: Backlog, phase: Phase) -> None:
    backlog.refused("a", "east", "full", 7, T0)
    backlog.on_change(Happened(JobEvent(1, "a", "red", 1, Phase.PLACED, "place", "", T0)))
    assert backlog.refusals("a", lambda _: 7, T0)
    backlog.on_change(Happened(JobEvent(2, "a", "red", 1, phase, "x", "", T0)))
    assert not backlog.refusals("a", lambda _: 7, T0)


def test_queues_are_taken_from_in_turn_however_long_one_is(backlog: Backlog) -> None:
    long = [replace(pending(f"a{i}"), workload=workload(f"a{i}", hints={"queue": "a"})) for i in range(9)]
    short = replace(pending("b0"), workload=workload("b0", hints={"queue": "b"}))
    backlog.load([*long, short])
    assert sorted(ids(backlog.take(3))) == ["a0", "a1", "b0"]


def test_a_job_that_room_is_kept_for_is_decided_in_every_cycle(backlog: Backlog) -> None:
    backlog.load([pending("head")])
    backlog.take(9)
    backlog.decided(Decision("head", 1, Waiting((NoClusters(),), ExpectedStart("c", at(60), ("x",))), ()), T0)
    assert backlog.take(9) == ()
    backlog.on_change(Queued(pending("late")))
    assert ids(backlog.take(9)) == ["late", "head"]
    assert backlog.next_timer == at(60)
    backlog.ring(at(59))
    assert backlog.take(9) == ()
    backlog.ring(at(60))
    assert ids(backlog.take(9)) == ["head"]


def test_a_job_that_gives_up_is_decided_when_its_time_has_come(backlog: Backlog) -> None:
    backlog.load([replace(pending("a"), workload=workload("a", hints={"give_up_hours": 1.0}))])
    backlog.take(9)
    assert backlog.next_timer == at(3600)
    backlog.ring(at(3600))
    assert ids(backlog.take(9)) == ["a"]


def test_a_new_day_is_a_new_budget(backlog: Backlog) -> None:
    backlog.load([pending("a")])
    backlog.take(9)
    short = BudgetShort("c", "q", "day", "$", 1.0, 1.0, 0.0, 1.0, "tomorrow")
    backlog.decided(Decision("a", 1, Waiting((short,)), ()), T0)
    midnight = day_of(T0) + timedelta(days=1)
    assert backlog.next_timer == midnight
    backlog.ring(midnight)
    assert ids(backlog.take(9)) == ["a"]


def test_a_job_that_may_burst_later_is_decided_then_and_once(backlog: Backlog) -> None:
    backlog.load([pending("a")])
    backlog.take(9)
    later = BurstNotYet("cloud-b", "q", 2.0, 0.0, at(7200).isoformat())
    for seconds in (0, 60, 120):  # decided again and again until then
        backlog.decided(Decision("a", 1, Waiting((later,)), ()), at(seconds))
    assert backlog.next_timer == at(7200)
    backlog.ring(at(7199))
    assert ids(backlog.take(9)) == []
    backlog.ring(at(7200))
    assert ids(backlog.take(9)) == ["a"]
    assert backlog.next_timer is None


def test_a_job_that_waits_for_locality_wants_a_decision_when_it_has_waited(backlog: Backlog) -> None:
    job = pending("a")
    near = TopologyRequest("rack", TopologyMode.PREFERRED)
    hints = replace(job.workload.hints, wait_for_locality_hours=0.5)
    backlog.load([replace(job, workload=replace(job.workload, topology=near, hints=hints)), pending("b")])
    backlog.take(9)
    assert backlog.next_timer == at(1800)
    backlog.ring(at(1799))
    assert not backlog.wants_decisions
    backlog.ring(at(1800))
    assert ids(backlog.take(9)) == ["a"]


def test_of_a_start_that_is_put_off_with_every_decision_the_last_one_counts(backlog: Backlog) -> None:
    backlog.load([pending("head")])
    backlog.take(9)
    for seconds in range(60):
        start = ExpectedStart("c", at(60 + seconds), ("x",))
        backlog.decided(Decision("head", 1, Waiting((NoClusters(),), start), ()), at(seconds))
    backlog.ring(at(118))
    assert not backlog.wants_decisions
    backlog.on_change(Unqueued("head"))
    assert backlog.next_timer is None


def test_what_a_clusters_owner_forbids_is_not_asked_again_by_a_new_summary() -> None:
    backlog = Backlog(asyncio.Event())
    backlog.load([pending("a")])
    backlog.take(10)
    backlog.refused("a", "east", "the policy", 7, T0, lasts=POLICY_LASTS)
    assert backlog.refusals("a", lambda cluster: 8, at(3600)) == {"east": "the policy"}
    assert not backlog.wants_decisions
    backlog.forgive("west")
    assert backlog.refusals("a", lambda cluster: 8, T0) == {"east": "the policy"}
    backlog.forgive("east")  # its spoke began anew
    assert backlog.refusals("a", lambda cluster: 8, T0) == {}
    assert backlog.wants_decisions
