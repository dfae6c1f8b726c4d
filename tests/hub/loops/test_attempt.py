from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from hub.loops import attempt
from placement.fleet import Cluster, Fleet, Health, PendingJob, Reservation
from placement.verdict import Decision, Eviction, NoClusters, Placed, Plan, RoomMade, Score, Waiting
from tests.hub.loops.rig import START_OF_TIME, render, workload

NOW = START_OF_TIME


def pending(*names: str) -> list[PendingJob]:
    return [PendingJob(name, 1, workload(name), "red", NOW) for name in names]


def place_all(fleet: Fleet, jobs: Sequence[PendingJob], now: datetime) -> Plan:
    if any(job.job == "poison" for job in jobs):
        raise ZeroDivisionError("division by zero")
    return Plan(
        tuple(
            Decision(job.job, job.epoch, Placed(Reservation(job.job, job.epoch, "east", job.workload), Score({})), ())
            for job in jobs
        )
    )


def fine(plan: Plan, fleet: Fleet) -> tuple[str, ...]:
    return ()


def test_one_job_that_cannot_be_planned_fails_alone() -> None:
    found = attempt.decide(place_all, fine, Fleet({}), pending("a", "poison", "b"), NOW)
    assert [one.job for one in found.decisions] == ["a", "b"]
    (failure,) = found.failures
    assert (failure.job, failure.epoch) == ("poison", 1)
    assert "ZeroDivisionError: division by zero" in failure.message


def test_planned_one_by_one_each_sees_what_the_others_took() -> None:
    seen: list[int] = []

    def plan(fleet: Fleet, jobs: Sequence[PendingJob], now: datetime) -> Plan:
        if len(jobs) == 1:
            seen.append(len(fleet.reservations))
        return place_all(fleet, jobs, now)

    attempt.decide(plan, fine, Fleet({}), pending("a", "poison", "b", "c"), NOW)
    assert seen == [0, 1, 1, 2]


def evicting(fleet: Fleet, jobs: Sequence[PendingJob], now: datetime) -> Plan:
    """The first two running jobs that stay leave for each."""
    if len(jobs) > 1:
        raise ZeroDivisionError("not together")
    (job,) = jobs
    gone = [one for one in fleet.reservations if one.job not in fleet.leaving][:2]
    room = RoomMade("east", now, tuple(one.job for one in gone))
    evictions = tuple(Eviction(one.job, one.epoch, one.cluster, job.job, 30.0, 1.0, 1.0, "why") for one in gone)
    return Plan((Decision(job.job, job.epoch, Waiting((NoClusters(),), room=room), ()),), evictions)


def running(*names: str) -> Fleet:
    hints = {"preemptible": True}
    east = Cluster("east", "eu", {}, Health.READY, cordoned=False, summary=None)
    held = (Reservation(name, 1, "east", workload(name, hints=hints)) for name in names)
    return Fleet({"east": east}, tuple(held))


def test_planned_one_by_one_nobody_is_evicted_twice_and_those_with_a_promise_come_first() -> None:
    jobs = pending("a", "b")
    found = attempt.decide(evicting, fine, running("w", "x", "y", "z"), [jobs[0], replace(jobs[1], promised="c")], NOW)
    assert [(one.job, one.for_job) for one in found.evictions] == [("w", "b"), ("x", "b"), ("y", "a"), ("z", "a")]
    assert [one.job for one in found.decisions] == ["b", "a"]


def test_who_would_wait_for_evictions_that_are_dropped_is_dropped_too() -> None:
    def careless(fleet: Fleet, jobs: Sequence[PendingJob], now: datetime) -> Plan:
        found = [evicting(fleet, [job], now) for job in jobs[:1]]
        wrong = evicting(replace(fleet, reservations=running("gone", "too").reservations), jobs[1:], now)
        return Plan((*found[0].decisions, *wrong.decisions), (*found[0].evictions, *wrong.evictions))

    found = attempt.decide(careless, fine, running("w", "x"), pending("a", "b"), NOW)
    assert [one.job for one in found.decisions] == ["a"]
    assert {one.for_job for one in found.evictions} == {"a"}
    assert found.dropped == ("b",)


def test_decisions_that_break_an_invariant_are_dropped_and_the_others_stand() -> None:
    def two_fit(plan: Plan, fleet: Fleet) -> tuple[str, ...]:
        return ("east is overbooked",) if len(plan.decisions) > 2 else ()

    found = attempt.decide(place_all, two_fit, Fleet({}), pending("a", "b", "c"), NOW)
    assert [one.job for one in found.decisions] == ["a", "b"]
    assert found.dropped == ("c",)


def test_a_job_that_the_planner_left_out_stays_queued() -> None:
    def forgetful(fleet: Fleet, jobs: Sequence[PendingJob], now: datetime) -> Plan:
        return Plan((Decision(jobs[0].job, 1, Waiting((NoClusters(),)), ()),))

    found = attempt.decide(forgetful, fine, Fleet({}), pending("a", "b"), NOW)
    assert [one.job for one in found.decisions] == ["a"]
    assert found.dropped == ("b",)


def test_one_job_that_cannot_be_rendered_fails_alone() -> None:
    placed = [Placed(Reservation(name, 2, "east", workload(name)), Score({})) for name in ("a", "unrenderable")]
    objects = {one.reservation.job: ({"name": one.reservation.job},) for one in placed}
    rendered, failures = attempt.render(render, lambda objects, workload, cluster: objects, placed, objects, Fleet({}))
    assert rendered["a"][0]["labels"] == {"muster.dev/job": "a", "muster.dev/epoch": "2"}
    assert [(one.job, one.epoch) for one in failures] == [("unrenderable", 2)]
