"""Which pods may be placed: gangs whole or not at all, extras as they come."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.resources import Resources
from placement.workload import Role, Workload
from spoke import gangs
from spoke.entry import Desired
from spoke.jobs import Job
from spoke.pods import Life, PodFacts
from wire.orders import JobRef

NEED = Resources({"nvidia.com/gpu": 1, "pods": 1})


def job(min_pods: int, **roles: tuple[int, int]) -> Job:
    """Roles as (replicas, minimum)."""
    made = tuple(Role(name, replicas, minimum, NEED) for name, (replicas, minimum) in roles.items())
    return Job(JobRef("j-1", 1), 1, Workload("v1", "X", "x", "ns", made, min_pods), Desired.START)


def add(to: Job, name: str, state: str = "unbound") -> None:
    pod = PodFacts(
        namespace="ns",
        name=name,
        uid=name,
        generation=1,
        ref=to.ref,
        role=name.split("-")[0],
        node="" if state == "unbound" else "n1",
        life={"succeeded": Life.SUCCEEDED, "failed": Life.FAILED}.get(state, Life.PENDING),
        ready=False,
        terminating=state == "terminating",
        schedulable=True,
        owner_kind="Job",
        requests=NEED,
        devices=(),
        gpus=(),
    )
    to.pods[name] = pod


def nobody(uid: str) -> bool:
    return False


def names(batch: gangs.Batch | None) -> tuple[list[str], list[str]] | None:
    """(all, the needed ones)"""
    return ([pod.name for pod in batch.pods], [pod.name for pod in batch.needed]) if batch is not None else None


def test_nothing_is_placed_before_the_gang_is_whole() -> None:
    gang = job(4, master=(1, 1), worker=(3, 3))
    for name in ("master-0", "worker-0", "worker-1"):
        add(gang, name)
    assert gangs.batch(gang, nobody) is None
    add(gang, "worker-2")
    everyone = ["master-0", "worker-0", "worker-1", "worker-2"]
    assert names(gangs.batch(gang, nobody)) == (everyone, everyone)


def test_a_role_that_is_missing_holds_the_gang_back() -> None:
    gang = job(2, master=(1, 1), worker=(3, 0))
    add(gang, "worker-0")
    add(gang, "worker-1")
    assert gangs.batch(gang, nobody) is None
    add(gang, "master-0")
    assert names(gangs.batch(gang, nobody)) == (["master-0", "worker-0", "worker-1"], ["master-0", "worker-0"])


def test_more_than_the_minimum_is_wanted_and_the_minimum_needed() -> None:
    gang = job(2, worker=(4, 2))
    for i in range(4):
        add(gang, f"worker-{i}")
    batch = gangs.batch(gang, nobody)
    assert names(batch) == ([f"worker-{i}" for i in range(4)], ["worker-0", "worker-1"])
    assert batch is not None
    assert batch.together


def test_extras_go_each_for_itself() -> None:
    gang = job(2, worker=(4, 2))
    add(gang, "worker-0", "bound")
    add(gang, "worker-1", "bound")
    add(gang, "worker-2")
    batch = gangs.batch(gang, nobody)
    assert batch is not None
    assert not batch.together


@pytest.mark.parametrize(
    ("lost", "counts"), [("failed", False), ("terminating", False), ("succeeded", True), ("bound", True)]
)
def test_what_counts_as_there(lost: str, counts: bool) -> None:
    gang = job(2, worker=(2, 2))
    add(gang, "worker-0", lost)
    add(gang, "worker-1")
    assert (gangs.batch(gang, nobody) is not None) is counts


def test_pods_being_bound_are_there_and_not_placed_twice() -> None:
    gang = job(2, worker=(2, 2))
    add(gang, "worker-0")
    add(gang, "worker-1")
    assert gangs.batch(gang, lambda uid: True) is None
    one = gangs.batch(gang, lambda uid: uid == "worker-0")
    assert names(one) == (["worker-1"], ["worker-1"])


def test_a_stopping_job_places_nothing() -> None:
    gang = job(1, worker=(1, 1))
    add(gang, "worker-0")
    for stopping in (replace(gang, desired=Desired.STOP), replace(gang, silent=True)):
        assert gangs.batch(stopping, nobody) is None


def test_a_pod_without_a_known_role_belongs_to_the_only_one_there_is() -> None:
    alone = job(1, worker=(1, 1))
    add(alone, "other-0")
    assert gangs.batch(alone, nobody) is not None
    several = job(1, master=(1, 1), worker=(1, 0))
    add(several, "other-0")
    assert gangs.batch(several, nobody) is None


def test_partial() -> None:
    gang = job(2, worker=(2, 2))
    assert not gangs.is_partial(gang)
    add(gang, "worker-0", "bound")
    assert gangs.is_partial(gang)
    add(gang, "worker-1", "bound")
    assert not gangs.is_partial(gang)


def test_what_admission_added_is_asked_for() -> None:
    gang = job(2, worker=(2, 2))
    add(gang, "worker-0")
    workload = gang.workload
    assert workload is not None
    assert gangs.as_they_are(gang, workload, gang.pods.values()) is workload
    more = Resources({"nvidia.com/gpu": 1, "pods": 1, "cpu": 100})
    gang.pods["worker-0"] = replace(gang.pods["worker-0"], requests=more)
    assert gangs.as_they_are(gang, workload, gang.pods.values()).roles[0].requests == more


states = st.sampled_from(["unbound", "bound", "succeeded", "failed", "terminating", "being"])


@given(st.integers(1, 6), st.integers(0, 2), st.lists(states, max_size=8), st.lists(states, max_size=3))
def test_a_batch_always_leaves_the_gang_whole(
    min_pods: int, masters: int, workers: list[str], heads: list[str]
) -> None:
    gang = job(min_pods, master=(masters, masters), worker=(8, 0))
    being = set[str]()
    for role, each in (("worker", workers), ("master", heads)):
        for i, state in enumerate(each):
            add(gang, f"{role}-{i}", "unbound" if state == "being" else state)
            if state == "being":
                being.add(f"{role}-{i}")
    batch = gangs.batch(gang, being.__contains__)
    there = [pod for pod in gang.pods.values() if gangs.is_there(pod, being.__contains__)]
    if batch is None:
        return
    assert all(pod.unbound and pod.uid not in being for pod in batch.pods)
    added = batch.needed if batch.together else ()
    after = [*there, *added]
    assert len(after) >= min_pods
    assert sum(pod.role == "master" for pod in after) >= masters
    assert set(added) <= set(batch.pods)
