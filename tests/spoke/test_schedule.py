"""Deciding: no card twice, gangs whole or not at all, by priority and arrival, at a cost that follows what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement import topology
from placement.inventory import DEFAULT_LEVELS
from placement.lifecycle import Event
from placement.resources import Resources
from placement.workload import DeviceNeed, Hints, Role, SliceRequest, TopologyMode, TopologyRequest, Workload
from spoke import pods
from spoke.binding import Placing
from spoke.entry import Desired
from spoke.inventory import Inventory
from spoke.jobs import Job, Jobs
from spoke.pods import Life, PodFacts
from spoke.schedule import Scheduler
from tests.spoke.stage import foreign_pod, node
from wire.orders import JobRef

GPU = "nvidia.com/gpu"


@dataclass
class FakeBinder:
    """Remembers what it was told."""

    bound: list[tuple[JobRef, list[Placing], bool]] = field(default_factory=list)
    rolled_back: list[JobRef] = field(default_factory=list)
    resting: set[JobRef] = field(default_factory=set)

    def bind(self, job: Job, placings: Sequence[Placing], *, together: bool) -> None:
        self.bound.append((job.ref, list(placings), together))

    def roll_back(self, job: Job, reason: str, bound: Sequence[PodFacts]) -> None:
        assert bound
        self.rolled_back.append(job.ref)
        self.resting.add(job.ref)

    def is_resting(self, ref: JobRef) -> bool:
        return ref in self.resting


class Desk:
    """A scheduler, and jobs and pods put before it."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        self.inventory = Inventory(DEFAULT_LEVELS)
        for each in nodes:
            self.inventory.put_node(each)
        self.jobs = Jobs()
        self.binder = FakeBinder()
        self.changed: list[str] = []
        self.scheduler = Scheduler(self.jobs, self.inventory, self.binder, self.changed.append)  # type: ignore[arg-type]  # a fake

    def job(
        self, name: str, n: int, gpus: int, *, minimum: int | None = None, priority: int = 0, rack: bool = False
    ) -> Job:
        need = Resources({GPU: gpus, "cpu": 1000, "pods": 1})
        least = n if minimum is None else minimum
        role = Role("worker", n, least, need, (DeviceNeed(GPU, gpus),))
        level = TopologyRequest("rack", TopologyMode.REQUIRED) if rack else None
        workload = Workload("batch/v1", "Job", name, "team", (role,), least, level, Hints(priority=priority))
        job = Job(JobRef(name, 1), len(self.jobs), workload, Desired.START, created=True)
        self.jobs._jobs[name] = job
        return job

    def pods(self, job: Job, *indices: int) -> None:
        assert job.workload is not None
        [role] = job.workload.roles
        for i in indices:
            name = f"{job.ref.job}-{i}"
            job.pods[name] = PodFacts(
                namespace="team",
                name=name,
                uid=name,
                generation=1,
                ref=job.ref,
                role="worker",
                node="",
                life=Life.PENDING,
                ready=False,
                terminating=False,
                schedulable=True,
                owner_kind="Job",
                requests=role.requests,
                devices=role.devices,
                gpus=(),
            )
        self.scheduler.poke(job.ref.job)

    def confirm(self) -> None:
        """The watch tells of every binding."""
        for ref, placings, _ in self.binder.bound:
            job = self.jobs.of(ref)
            for placing in placings:
                at = placing.assignment
                if job is not None and placing.pod.uid in job.pods and not job.pods[placing.pod.uid].over:
                    seen = replace(placing.pod, node=at.node, gpus=at.gpus)
                    job.pods[placing.pod.uid] = seen
                    self.inventory.put_pod(seen)

    def finish(self, job: Job) -> None:
        for uid, pod in job.pods.items():
            job.pods[uid] = replace(pod, life=Life.SUCCEEDED)
            self.inventory.put_pod(replace(job.pods[uid], node=pod.node or "n"))
        job.outcome = Event.SUCCEED
        self.scheduler.poke(job.ref.job)

    def foreign(self, name: str, at: str, gpus: int) -> None:
        self.inventory.put_pod(pods.read(foreign_pod(name, at, gpus, uid=name)))

    def placed(self, job: Job) -> dict[str, str]:
        return {p.pod.name: p.assignment.node for ref, ps, _ in self.binder.bound for p in ps if ref == job.ref}


def test_a_gang_takes_the_places_held_for_it() -> None:
    desk = Desk(node("n1"), node("n2"))
    gang = desk.job("g", 2, 8)
    assert desk.scheduler.hold(gang.ref, gang.workload) == ""  # type: ignore[arg-type]  # it has one
    assert desk.scheduler.hold(JobRef("other", 1), gang.workload) != ""  # type: ignore[arg-type]
    desk.pods(gang, 0)
    desk.scheduler.decide()
    assert desk.binder.bound == []
    desk.pods(gang, 1)
    desk.scheduler.decide()
    assert set(desk.placed(gang).values()) == {"n1", "n2"}
    assert desk.inventory.slots(gang.ref) == {}


def sliced(desk: Desk, pods: int, size: int, *, minimum: int) -> Job:
    """A gang whose slices each want one rack."""
    job = desk.job("g", pods, 8, minimum=minimum)
    assert job.workload is not None
    role = replace(job.workload.roles[0], slices=SliceRequest(size, "rack"))
    job.workload = replace(job.workload, roles=(role,))
    return job


def numbered(desk: Desk, job: Job, *indices: int) -> None:
    """Pods whose names end in anything, as an indexed Job's do."""
    desk.pods(job, *indices)
    for index in indices:
        known = job.pods.pop(f"{job.ref.job}-{index}")
        name = f"{job.ref.job}-{index}-5x7k{9 - index}"
        job.pods[name] = replace(known, name=name, uid=name, index=index)


def test_a_slice_s_pods_share_a_rack_whichever_come_first() -> None:
    desk = Desk(*(node(f"{rack}-{n}", rack=rack) for rack in ("r1", "r2") for n in range(2)))
    gang = sliced(desk, 4, 2, minimum=2)
    assert desk.scheduler.hold(gang.ref, gang.workload) == ""  # type: ignore[arg-type]  # it has one
    numbered(desk, gang, 1, 2)
    desk.scheduler.decide()
    desk.confirm()
    numbered(desk, gang, 0, 3)
    desk.scheduler.decide()
    racks = {name.split("-")[1]: at.split("-")[0] for name, at in desk.placed(gang).items()}
    assert len(racks) == 4
    assert racks["0"] == racks["1"] != racks["2"] == racks["3"]


def test_a_pod_made_anew_joins_its_slice() -> None:
    desk = Desk(*(node(f"{rack}-{n}", rack=rack) for rack in ("r1", "r2") for n in range(3)))
    gang = sliced(desk, 4, 2, minimum=4)
    numbered(desk, gang, 0, 1, 2, 3)
    desk.scheduler.decide()
    desk.confirm()
    gang.whole = True
    before = desk.placed(gang)
    [gone] = [name for name in gang.pods if "-2-" in name]
    desk.inventory.drop_pod(gang.pods.pop(gone).uid)
    [mate] = [at for name, at in before.items() if "-3-" in name]
    numbered(desk, gang, 2)
    desk.scheduler.decide()
    [anew] = [at for name, at in desk.placed(gang).items() if "-2-" in name and name in gang.pods]
    assert anew.split("-")[0] == mate.split("-")[0]


def test_a_broken_promise_is_made_good_elsewhere() -> None:
    desk = Desk(node("n1"), node("n2"), node("n3"))
    gang = desk.job("g", 2, 8)
    desk.scheduler.hold(gang.ref, gang.workload)  # type: ignore[arg-type]
    lost, _ = [slot.node for slot in desk.inventory.slots(gang.ref).values()]
    desk.foreign("theirs", lost, 1)
    desk.pods(gang, 0, 1)
    desk.scheduler.decide()
    assert set(desk.placed(gang).values()) == {"n1", "n2", "n3"} - {lost}


def test_a_gang_within_one_rack_stays_there_when_a_pod_is_replaced() -> None:
    desk = Desk(*(node(f"n{i}", rack=f"r{i // 2}") for i in range(6)))
    gang = desk.job("g", 2, 8, rack=True)
    desk.pods(gang, 0, 1)
    desk.scheduler.decide()
    first = set(desk.placed(gang).values())
    assert first in ({"n0", "n1"}, {"n2", "n3"}, {"n4", "n5"})
    desk.confirm()
    gang.whole = True
    desk.inventory.drop_pod("g-0")
    del gang.pods["g-0"]
    where = desk.placed(gang)["g-0"]
    desk.foreign("theirs", where, 8)
    desk.pods(gang, 7)
    desk.scheduler.decide()
    assert "g-7" not in desk.placed(gang)
    assert "rack" in gang.shortfall
    desk.inventory.drop_pod("theirs")
    desk.scheduler.decide()
    assert desk.placed(gang)["g-7"] == where


def test_those_that_wait_go_by_priority_and_then_by_arrival() -> None:
    desk = Desk(node("n1"))
    desk.foreign("theirs", "n1", 8)
    early, late, urgent = desk.job("early", 1, 8), desk.job("late", 1, 8), desk.job("urgent", 1, 8, priority=10)
    for job in (late, early, urgent):
        desk.pods(job, 0)
    desk.scheduler.decide()
    assert desk.binder.bound == []
    order = []
    desk.inventory.drop_pod("theirs")
    for _ in range(3):
        desk.scheduler.decide()
        order.append(desk.binder.bound[-1][0].job)
        desk.confirm()
        desk.finish(desk.jobs._jobs[order[-1]])
    assert order == ["urgent", "early", "late"]


def test_a_large_gang_that_waits_does_not_stop_a_small_one() -> None:
    desk = Desk(node("n1"))
    desk.foreign("theirs", "n1", 4)
    large, small = desk.job("large", 1, 8), desk.job("small", 1, 2)
    desk.pods(large, 0)
    desk.pods(small, 0)
    desk.scheduler.decide()
    assert desk.placed(small) == {"small-0": "n1"}
    assert "needs 8" in large.shortfall
    assert desk.changed == ["large"]


def test_the_minimum_is_placed_where_not_all_fit_and_the_rest_as_room_comes() -> None:
    desk = Desk(node("n1"))
    desk.foreign("theirs", "n1", 4)
    gang = desk.job("g", 4, 2, minimum=2)
    desk.pods(gang, 0, 1, 2, 3)
    desk.scheduler.decide()
    assert len(desk.placed(gang)) == 2
    desk.scheduler.decide()
    assert gang.shortfall
    desk.inventory.drop_pod("theirs")
    desk.scheduler.decide()
    assert len(desk.placed(gang)) == 4


def test_a_gang_half_bound_before_it_was_ever_whole_is_rolled_back() -> None:
    desk = Desk(node("n1"), node("n2"))
    gang = desk.job("g", 2, 8)
    desk.pods(gang, 0, 1)
    half = replace(gang.pods["g-0"], node="n1")
    gang.pods["g-0"] = half
    desk.inventory.put_pod(half)
    desk.foreign("theirs", "n2", 8)
    desk.scheduler.decide()
    assert desk.binder.rolled_back == [gang.ref]
    gang.whole = True  # one that lost a pod while it ran keeps the others
    desk.binder.rolled_back.clear()
    desk.binder.resting.clear()
    desk.scheduler.poke("g")
    desk.scheduler.decide()
    assert desk.binder.rolled_back == []


def test_equal_demands_that_wait_are_tried_once_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    real = topology.assign

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return real(*args, **kwargs)

    monkeypatch.setattr(topology, "assign", counted)
    desk = Desk(node("n1"))
    desk.foreign("theirs", "n1", 8)
    for i in range(200):
        desk.pods(desk.job(f"j{i}", 1, 8), 0)
    desk.scheduler.decide()
    assert calls <= 2  # one that found no room, and once more for the reason
    calls = 0
    for _ in range(200):
        desk.foreign("again", "n1", 7)
        desk.inventory.drop_pod("again")
        desk.scheduler.decide()
    assert calls <= 400


events = st.lists(
    st.tuples(
        st.sampled_from(["submit", "pods", "confirm", "finish", "foreign", "leave", "decide", "cordon", "back"]),
        st.integers(0, 5),
        st.integers(1, 8),
        st.integers(1, 3),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(events)
def test_no_card_twice_and_no_gang_in_part(history: list[tuple[str, int, int, int]]) -> None:
    desk = Desk(*(node(f"n{i}", rack=f"r{i // 2}") for i in range(4)))
    for verb, which, gpus, n in history:
        name, at = f"j{which}", f"n{which % 4}"
        job = desk.jobs.get(name)
        if verb == "submit" and job is None:
            job = desk.job(name, n, gpus, rack=which % 2 == 0)
            desk.scheduler.hold(job.ref, job.workload)  # type: ignore[arg-type]
        elif verb == "pods" and job is not None:
            desk.pods(job, *(i for i in range(min(n, job.workload.pods)) if f"{name}-{i}" not in job.pods))  # type: ignore[union-attr]
        elif verb == "confirm":
            desk.confirm()
        elif verb == "finish" and job is not None and len(desk.placed(job)) == job.workload.pods:  # type: ignore[union-attr]
            desk.confirm()
            desk.finish(job)
        elif verb == "foreign":
            [free] = [each.free[GPU] for each in desk.inventory.actual_nodes() if each.name == at]
            desk.foreign(f"f{which}", at, min(gpus, free))
        elif verb == "leave":
            desk.inventory.drop_pod(f"f{which}")
        elif verb == "cordon":
            desk.inventory.put_node(node(at, rack=f"r{which % 4 // 2}", spec={"unschedulable": True}))
        elif verb == "back":
            desk.inventory.put_node(node(at, rack=f"r{which % 4 // 2}"))
        desk.scheduler.decide()
        check(desk)


def check(desk: Desk) -> None:
    taken: set[tuple[str, int]] = set()
    for ref, placings, together in desk.binder.bound:
        job = desk.jobs.of(ref)
        assert job is not None
        assert job.workload is not None
        assert together
        assert len(placings) == job.workload.pods
        if job.workload.topology is not None:
            assert len({int(p.assignment.node[1:]) // 2 for p in placings}) == 1
        if job.outcome is not None:
            continue
        for placing in placings:
            cards = {(placing.assignment.node, index) for index in placing.assignment.gpus}
            assert len(cards) == placing.pod.requests[GPU]
            assert not cards & taken
            taken |= cards
    for at in desk.inventory.actual_nodes():
        assert at.free[GPU] >= 0
        ours = sum(name == at.name for name, _ in taken)
        assert ours <= 8 - at.free[GPU]


def test_groups_are_bound_each_for_itself() -> None:
    desk = Desk(node("n1"), node("n2"))
    need = Resources({GPU: 8, "cpu": 1000, "pods": 1})
    role = Role("worker", 4, 4, need, (DeviceNeed(GPU, 8),))
    workload = Workload("v1", "LeaderWorkerSet", "g", "team", (role,), 4, groups=2)
    job = Job(JobRef("g", 1), 0, workload, Desired.START, created=True)
    desk.jobs._jobs["g"] = job
    desk.pods(job, 0, 1, 2, 3)
    for i in range(4):
        job.pods[f"g-{i}"] = replace(job.pods[f"g-{i}"], group=i // 2, index=i % 2)
    desk.scheduler.decide()
    ((_, placings, together),) = desk.binder.bound
    assert ([placing.pod.name for placing in placings], together) == (["g-0", "g-1"], True)
    assert "needs" in job.shortfall, "the other group waits for room"
