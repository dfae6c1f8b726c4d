"""Which pods may be placed: gangs whole or not at all, extras as they come."""

from __future__ import annotations

from collections.abc import Callable
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


def only_batch(job: Job, being_bound: Callable[[str], bool]) -> gangs.Batch | None:
    found = gangs.batches(job, being_bound)
    assert len(found) <= 1
    return found[0] if found else None


def names(batch: gangs.Batch | None) -> tuple[list[str], list[str]] | None:
    """(all, the needed ones)"""
    return ([pod.name for pod in batch.pods], [pod.name for pod in batch.needed]) if batch is not None else None


def test_nothing_is_placed_before_the_gang_is_whole() -> None:
    gang = job(4, master=(1, 1), worker=(3, 3))
    for name in ("master-0", "worker-0", "worker-1"):
        add(gang, name)
    assert only_batch(gang, nobody) is None
    add(gang, "worker-2")
    everyone = ["master-0", "worker-0", "worker-1", "worker-2"]
    assert names(only_batch(gang, nobody)) == (everyone, everyone)


def test_a_role_that_is_missing_holds_the_gang_back() -> None:
    gang = job(2, master=(1, 1), worker=(3, 0))
    add(gang, "worker-0")
    add(gang, "worker-1")
    assert only_batch(gang, nobody) is None
    add(gang, "master-0")
    assert names(only_batch(gang, nobody)) == (["master-0", "worker-0", "worker-1"], ["master-0", "worker-0"])


def test_more_than_the_minimum_is_wanted_and_the_minimum_needed() -> None:
    gang = job(2, worker=(4, 2))
    for i in range(4):
        add(gang, f"worker-{i}")
    batch = only_batch(gang, nobody)
    assert names(batch) == ([f"worker-{i}" for i in range(4)], ["worker-0", "worker-1"])
    assert batch is not None
    assert batch.together


def test_extras_go_each_for_itself() -> None:
    gang = job(2, worker=(4, 2))
    add(gang, "worker-0", "bound")
    add(gang, "worker-1", "bound")
    add(gang, "worker-2")
    batch = only_batch(gang, nobody)
    assert batch is not None
    assert not batch.together


@pytest.mark.parametrize(
    ("lost", "counts"), [("failed", False), ("terminating", False), ("succeeded", True), ("bound", True)]
)
def test_what_counts_as_there(lost: str, counts: bool) -> None:
    gang = job(2, worker=(2, 2))
    add(gang, "worker-0", lost)
    add(gang, "worker-1")
    assert (only_batch(gang, nobody) is not None) is counts


def test_pods_being_bound_are_there_and_not_placed_twice() -> None:
    gang = job(2, worker=(2, 2))
    add(gang, "worker-0")
    add(gang, "worker-1")
    assert only_batch(gang, lambda uid: True) is None
    one = only_batch(gang, lambda uid: uid == "worker-0")
    assert names(one) == (["worker-1"], ["worker-1"])


def test_a_stopping_job_places_nothing() -> None:
    gang = job(1, worker=(1, 1))
    add(gang, "worker-0")
    for stopping in (replace(gang, desired=Desired.STOP), replace(gang, silent=True)):
        assert only_batch(stopping, nobody) is None


def test_a_pod_without_a_known_role_belongs_to_the_only_one_there_is() -> None:
    alone = job(1, worker=(1, 1))
    add(alone, "other-0")
    assert only_batch(alone, nobody) is not None
    several = job(1, master=(1, 1), worker=(1, 0))
    add(several, "other-0")
    assert only_batch(several, nobody) is None


def test_partial() -> None:
    gang = job(2, worker=(2, 2))
    assert not gangs.partial(gang)
    add(gang, "worker-0", "bound")
    assert gangs.partial(gang)
    add(gang, "worker-1", "bound")
    assert not gangs.partial(gang)


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
    batch = only_batch(gang, being.__contains__)
    there = [pod for pod in gang.pods.values() if gangs.is_there(pod, being.__contains__)]
    if batch is None:
        return
    assert all(pod.unbound and pod.uid not in being for pod in batch.pods)
    added = batch.needed if batch.together else ()
    after = [*there, *added]
    assert len(after) >= min_pods
    assert sum(pod.role == "master" for pod in after) >= masters
    assert set(added) <= set(batch.pods)


def groups(count: int, *, leader_first: bool = False) -> Job:
    """Of a leader and two workers each."""
    leader = Role("leader", count, count, NEED)
    worker = Role("worker", 2 * count, 2 * count, NEED, late=leader_first, stage=int(leader_first))
    first = count if leader_first else 3 * count
    workload = Workload("v1", "X", "x", "ns", (leader, worker), first, groups=count, awaited=first)
    return Job(JobRef("j-1", 1), 1, workload, Desired.START)


def member(to: Job, group: int, index: int, state: str = "unbound") -> None:
    role = "worker" if index else "leader"
    name = f"{role}-{group}-{index}"
    add(to, name, state)
    to.pods[name] = replace(to.pods[name], group=group, index=index)


def test_each_group_starts_whole_and_waits_for_no_other() -> None:
    several = groups(2)
    for index in (0, 1, 2):
        member(several, 1, index)
    member(several, 0, 0)
    (one,) = gangs.batches(several, nobody)
    assert names(one) == (["leader-1-0", "worker-1-1", "worker-1-2"],) * 2
    for index in (1, 2):
        member(several, 0, index)
    assert [batch.part for batch in gangs.batches(several, nobody)] == [(0, 0), (0, 1)]
    assert all(batch.together and len(batch.needed) == 3 for batch in gangs.batches(several, nobody))


def test_pods_of_different_groups_make_no_gang() -> None:
    several = groups(3)
    member(several, 0, 0)
    member(several, 1, 1)
    member(several, 2, 2)
    assert gangs.batches(several, nobody) == []


def test_leaders_first_and_then_the_workers_of_each_group_whole() -> None:
    several = groups(2, leader_first=True)
    member(several, 0, 0)
    (leader,) = gangs.batches(several, nobody)
    assert names(leader) == (["leader-0-0"],) * 2
    member(several, 0, 0, "bound")
    member(several, 0, 1)
    assert gangs.batches(several, nobody) == []
    member(several, 0, 2)
    (workers,) = gangs.batches(several, nobody)
    assert (workers.together, names(workers)) == (True, (["worker-0-1", "worker-0-2"],) * 2)


def test_a_group_that_cannot_become_whole_is_given_up_alone() -> None:
    several = groups(2)
    for index in (0, 1, 2):
        member(several, 0, index, "bound")
    member(several, 1, 0, "bound")
    several.whole, several.whole_parts = True, {(0, 0)}
    assert [pod.name for pod in gangs.partial(several)] == ["leader-1-0"]
    several.pods["worker-0-2"] = replace(several.pods["worker-0-2"], life=Life.FAILED)
    assert [pod.name for pod in gangs.partial(several)] == ["leader-1-0"], "it was whole: a new one is being made"


def test_numbers_of_pods_in_groups_follow_one_another() -> None:
    several = groups(2)
    for group in (0, 1):
        for index in (0, 1, 2):
            member(several, group, index)
    found = {name: several.index_of(pod) for name, pod in several.pods.items()}
    assert found == {
        "leader-0-0": 0,
        "worker-0-1": 0,
        "worker-0-2": 1,
        "leader-1-0": 1,
        "worker-1-1": 2,
        "worker-1-2": 3,
    }
    member(several, 7, 1)
    assert several.index_of(several.pods["worker-7-1"]) is None


def test_pods_of_several_jobs_of_a_role_have_numbers_of_their_own() -> None:
    """A JobSet's replicated Job: its index is that of one Job, and all of them are one gang."""
    gang = job(5, driver=(1, 1), worker=(4, 4))
    for number in (0, 1):
        for index in (0, 1):
            add(gang, f"worker-{number}-{index}")
            pod = gang.pods[f"worker-{number}-{index}"]
            gang.pods[pod.name] = replace(pod, group=number, groups=2, index=index)
    assert [gang.index_of(pod) for pod in gang.pods.values()] == [0, 1, 2, 3]
    assert gangs.batches(gang, nobody) == [], "the driver is missing"
    add(gang, "driver-0")
    assert len(gangs.batches(gang, nobody)) == 1
