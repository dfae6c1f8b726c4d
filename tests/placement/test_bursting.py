from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement import bursting, planner
from placement.bursting import BurstNotYet
from placement.fleet import Cluster, Fleet, Health, PendingJob
from placement.money import Price, PriceBook
from placement.queues.tree import Queue, QueueTree
from placement.verdict import Placed, Waiting
from placement.workload import Hints
from tests.placement.worlds import gpu_node, role, summary_of, workload

NOW = datetime(2026, 3, 1, 13, 41, tzinfo=UTC)
TREE = QueueTree.of([Queue("org", burst_after_hours=6), Queue("team-a", "org", burst_after_hours=2), Queue("b", "org")])
PRICES = PriceBook({("cloud-b", "*"): Price(1.0), ("own", "*"): Price(3.0)}, public=frozenset({"cloud-b"}))


def job(queue: str = "team-a", waited_h: float = 0.4, gpus: int = 8) -> PendingJob:
    asked = workload(role(gpus=gpus), hints=Hints(queue=queue))
    return PendingJob("j", 1, asked, "red", NOW - timedelta(hours=waited_h))


def fleet(own_gpus: int = 8) -> Fleet:
    clusters = {
        name: Cluster(name, "", {}, Health.READY, False, summary_of([gpu_node("n", free=free)]))
        for name, free in (("cloud-b", 8), ("own", own_gpus))
    }
    return Fleet(clusters, prices=PRICES, queues=TREE)


def test_the_reason_tells_what_was_waited_and_when_it_may() -> None:
    reason = bursting.refusal(job(), "cloud-b", PRICES, TREE, NOW)
    assert reason is not None
    assert reason.message == (
        "cloud-b is public; queue team-a bursts after 2 h of waiting, this job has waited 0.4 h "
        "(at 2026-03-01 15:17 UTC it may)"
    )
    assert bursting.refusal(job(), "own", PRICES, TREE, NOW) is None


@pytest.mark.parametrize(("queue", "hours"), [("team-a", 2), ("b", 6), ("org", 6), ("nowhere", None)])
def test_a_queue_that_says_nothing_does_as_its_cohort(queue: str, hours: float | None) -> None:
    assert bursting.wait_hours(queue, TREE) == hours


@given(allowed=st.floats(0, 100), waited=st.floats(0, 200), put_back=st.none() | st.floats(0, 200))
def test_it_opens_at_the_moment_that_it_names(allowed: float, waited: float, put_back: float | None) -> None:
    tree = QueueTree.of([Queue("q", burst_after_hours=allowed)])
    asked = job("q", waited)
    if put_back is not None:
        asked = replace(asked, waits_since=NOW - timedelta(hours=put_back))
    reason = bursting.refusal(asked, "cloud-b", PRICES, tree, NOW)
    if reason is not None:
        assert reason.opens > NOW
        assert reason.waited_hours <= allowed
        assert bursting.refusal(asked, "cloud-b", PRICES, tree, reason.opens) is None
        assert bursting.refusal(asked, "cloud-b", PRICES, tree, reason.opens - timedelta(microseconds=1)) is not None


def test_the_cheaper_public_cluster_is_left_until_the_wait_is_over() -> None:
    (early,) = planner.plan(fleet(), [job()], NOW).decisions
    assert isinstance(early.verdict, Placed)
    assert early.verdict.cluster == "own"
    (late,) = planner.plan(fleet(), [job(waited_h=2)], NOW).decisions
    assert isinstance(late.verdict, Placed)
    assert late.verdict.cluster == "cloud-b"


def test_where_its_own_clusters_are_full_it_waits_and_then_bursts() -> None:
    keeps = planner.Planner()  # what it remembers of the first decision must not stand in the way of the second
    (early,) = keeps.plan(fleet(0), [job()], NOW).decisions
    assert isinstance(early.verdict, Waiting)
    assert any(isinstance(reason, BurstNotYet) for reason in early.verdict.reasons)
    (late,) = keeps.plan(fleet(0), [job()], NOW + timedelta(hours=1.6)).decisions
    assert isinstance(late.verdict, Placed)
    assert late.verdict.cluster == "cloud-b"


def test_equal_jobs_that_waited_differently_are_told_apart() -> None:
    young, old = job(gpus=1), replace(job(waited_h=3, gpus=1), job="old")
    first, second = planner.plan(fleet(0), [young, old], NOW).decisions
    placed = {one.job: isinstance(one.verdict, Placed) for one in (first, second)}
    assert placed == {"j": False, "old": True}
