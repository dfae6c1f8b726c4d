"""Many cycles of one planner in a small world in which everything happens at once.

Jobs come from several queues, with data, slices and preferred levels that they wait for; some run and are evicted, some
leave, some never get written; prices, datasets, queues and summaries change between the cycles, or time alone does. A
planner that was there all along must answer what a new one answers, and what one answers that asks every cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from placement import bursting, locality, topology
from placement.assignment import Assignment
from placement.data import DataCatalog, Dataset, Replica
from placement.fleet import Fleet, Health, Leaving, PendingJob, Progress, Reservation
from placement.invariants import check
from placement.inventory import Node
from placement.money import Price, PriceBook
from placement.planner import Planner, plan, plan_fully
from placement.preemption import invariants as evicting
from placement.preemption.losses import safe_until
from placement.queues.tree import Budget, Preemption, Queue, QueueTree, Quota, Reach
from placement.transfers import Route, Transfers
from placement.verdict import Placed, Plan, Waiting
from placement.workload import DataUse, Hints, IfTooLarge, SliceRequest, TopologyMode, TopologyRequest, Workload
from tests.placement.worlds import A100, H100, NOW, after, cluster, gpu_node, pods_of, role, summary_of, workload

TB = 1_000_000_000_000


# ---- what there is ----


@st.composite
def bases(draw: st.DrawFn) -> dict[str, list[Node]]:
    """Three clusters of a few nodes in racks, as they are when empty."""
    found = {}
    for name in "abc":
        count, racks = draw(st.integers(1, 3)), draw(st.sampled_from(["1", "12", "112"]))
        product = H100 if name == "b" else A100
        found[name] = [
            gpu_node(f"{name}{i}", f"r{racks[i % len(racks)]}", block="x", product=product) for i in range(count)
        ]
    return found


@st.composite
def asked(draw: st.DrawFn) -> Workload:
    pods, gpus = draw(st.sampled_from([1, 2, 2, 3])), draw(st.sampled_from([8, 4, 8, 2]))
    made = [role(replicas=pods, gpus=gpus, product=draw(st.sampled_from(["", "", "", "", H100])))]
    form = draw(st.sampled_from(["plain", "plain", "preferred", "preferred", "required", "slices", "roles"]))
    if form == "slices" and pods > 1:
        made[0] = replace(made[0], slices=SliceRequest(2, "rack"))
    if form == "roles":
        mode = draw(st.sampled_from([*TopologyMode]))
        made = [replace(made[0], topology=TopologyRequest("rack", mode)), role("driver", cpu=2_000)]
    names = draw(st.sampled_from([(), (), (), (), (), ("images",), ("text",), ("s3://else/x",), ("pvc://default/x",)]))
    return replace(
        workload(*made, preferred="rack" * (form == "preferred"), required="rack" * (form == "required")),
        hints=draw(hints()),
        data=tuple(DataUse(name, name == "text", draw(st.sampled_from(["", "red"]))) for name in names),
        long_running=draw(st.integers(0, 5)) == 5,
    )


@st.composite
def hints(draw: st.DrawFn) -> Hints:
    return Hints(
        queue=draw(st.sampled_from("abb")),
        priority=draw(st.integers(0, 2)),
        clusters=draw(st.sampled_from([(), (), (), (), (), (), ("a", "b")])),
        regions=draw(st.sampled_from([(), (), (), (), (), (), ("eu",)])),
        expected_hours=draw(st.sampled_from([0.5, 1.0, 8.0])),
        tolerates_spot=draw(st.sampled_from([None, True, True])),
        if_too_large=draw(st.sampled_from([*IfTooLarge])),
        give_up_hours=draw(st.sampled_from([None, None, None, None, 6.0])),
        wait_for_locality_hours=draw(st.sampled_from([0.0, 1.0])),
        checkpoint_minutes=draw(st.sampled_from([None, 30.0])),
        preemptible=draw(st.integers(0, 5)) > 0,
        min_runtime_hours=draw(st.sampled_from([0.0, 0.0, 1.0])),
    )


@st.composite
def catalogs(draw: st.DrawFn) -> DataCatalog:
    stores = [Replica("eu", "a"), Replica("us"), Replica("eu", uri="s3://else"), Replica("us", "b", "pvc://default/x")]
    sizes = st.sampled_from([0, TB // 100, 40 * TB])
    found = []
    for name, tenant in (("images", ""), ("images", "red"), ("text", "")):
        if draw(st.integers(0, 3)):
            replicas = tuple(draw(st.lists(st.sampled_from(stores), min_size=1, max_size=2, unique=True)))
            residency = draw(st.sampled_from([(), (), ("eu",)]))
            found.append(Dataset(name, draw(sizes), replicas, residency, tenant, learned=draw(st.integers(0, 3)) == 3))
    told = draw(st.sampled_from([frozenset(), frozenset("abc")]))
    return DataCatalog({one.key: one for one in found}, told)


@st.composite
def price_books(draw: st.DrawFn) -> PriceBook:
    usd = st.sampled_from([1.0, 1.5, 2.0])
    return PriceBook(
        {
            ("a", A100): Price(draw(usd), 0.8, draw(st.sampled_from([0.05, 0.9]))),
            ("b", "*"): Price(draw(usd)),
            ("c", "*"): Price(draw(usd), 0.9, draw(st.sampled_from([0.0, 0.6]))),
        },
        transfers=Transfers(
            {("us", "eu"): Route(draw(st.sampled_from([0.0, 0.02])), draw(st.sampled_from([1.0, 50.0])))}
        ),
        public=draw(st.sampled_from([frozenset(), frozenset("c"), frozenset("ac")])),
    )


@st.composite
def queue_trees(draw: st.DrawFn) -> QueueTree:
    burst = st.sampled_from([None, 0.0, 2.0])
    quota = st.sampled_from([{}, {}, {}, {"*": Quota(8.0)}, {"*": Quota(16.0, 16.0)}])
    anybody = Preemption(fair_share=Reach.ANY)
    return QueueTree.of(
        [
            Queue("org", quotas=draw(st.sampled_from([{}, {}, {"*": Quota(32.0)}])), burst_after_hours=draw(burst)),
            Queue("a", "org", draw(quota), preemption=draw(st.sampled_from([Preemption(), anybody]))),
            Queue("b", "org", draw(quota), budget=draw(st.sampled_from([Budget(), Budget(usd_per_day=400.0)]))),
        ]
    )


# ---- what happens ----


@dataclass
class World:
    bases: dict[str, list[Node]]
    fleet: Fleet
    draw: st.DataObject
    now: datetime = NOW
    pending: dict[str, PendingJob] = field(default_factory=dict)
    bound: dict[str, tuple[Reservation, Assignment]] = field(default_factory=dict)
    began: int = 0

    def any(self, *of: Any) -> Any:
        return self.draw.draw(st.sampled_from(of))

    def now_and_then(self, times: int = 4) -> bool:
        return self.draw.draw(st.integers(1, times)) == times

    def come(self, kinds: Sequence[Workload], count: int) -> None:
        for _ in range(count):
            self.began += 1
            kind = self.draw.draw(st.sampled_from(kinds))
            since = self.now - timedelta(hours=self.draw.draw(st.sampled_from([0.0, 0.5, 3.0])))
            refused = {"a": "no room"} if self.now_and_then(20) else {}
            job = f"j-{self.began}"
            mine = replace(kind.hints, queue=self.any(*"abb"), priority=self.any(0, 1, 2))
            self.pending[job] = PendingJob(job, 1, replace(kind, hints=mine), "red", since, refused)

    def nodes(self, name: str) -> list[Node]:
        found = self.bases[name]
        for held, assignment in self.bound.values():
            if held.cluster == name:
                found = after(found, assignment, held.workload)
        return found

    def carry_out(self, made: Plan) -> None:
        """Not all that is decided comes to pass."""
        for one in made.decisions:
            if isinstance(one.verdict, Placed):
                if not self.now_and_then(6):
                    del self.pending[one.job]
                    self.hold(replace(one.verdict.reservation) if self.now_and_then(3) else one.verdict.reservation)
            elif isinstance(one.verdict, Waiting):
                room = one.verdict.room
                self.pending[one.job] = replace(self.pending[one.job], promised=room.cluster if room else "")
            else:
                del self.pending[one.job]
        leaving = dict(self.fleet.leaving)
        for eviction in evicting.sound(made, self.fleet):
            leaving[eviction.job] = Leaving(eviction.epoch, eviction.for_job)
        self.fleet = replace(self.fleet, leaving=leaving)

    def hold(self, made: Reservation) -> None:
        self.fleet = replace(self.fleet, reservations=(*self.fleet.reservations, made))

    def go_on(self) -> None:
        """The pods of what was placed are bound; what runs ends; clusters tell of it, or not yet."""
        self.now += timedelta(minutes=self.draw.draw(st.sampled_from([0, 0, 0.02, 0.2, 40, 130])))
        for held in self.fleet.reservations:
            if held.job in self.bound or held.cluster not in self.fleet.clusters:
                if self.now_and_then(3 if held.job in self.fleet.leaving else 6):
                    self.end(held)
            elif not self.now_and_then(3):
                self.bind(held)
        for name, known in self.fleet.clusters.items():
            if not self.now_and_then(3):
                self.change(name, summary=self.told(name))
            if self.now_and_then(20):
                self.change(name, **self.any({"cordoned": True}, {"health": Health.LOST}))
            elif known.cordoned or known.health is not Health.READY:
                self.change(name, cordoned=False, health=Health.READY)
        for what, some in (("prices", price_books()), ("data", catalogs()), ("queues", queue_trees())):
            if self.now_and_then(6):
                changed: dict[str, Any] = {what: self.draw.draw(some)}
                self.fleet = replace(self.fleet, **changed)

    def bind(self, held: Reservation) -> None:
        found = topology.assign(self.nodes(held.cluster), pods_of(held.workload), held.workload)
        if isinstance(found, Assignment):
            self.bound[held.job] = held, found

    def end(self, held: Reservation) -> None:
        self.bound.pop(held.job, None)
        left, leaving = dict(self.fleet.leaving), self.fleet.leaving.get(held.job)
        left.pop(held.job, None)
        rest = tuple(one for one in self.fleet.reservations if one is not held)
        self.fleet = replace(self.fleet, reservations=rest, leaving=left)
        if leaving is not None:
            self.fleet = replace(self.fleet, emptied={**self.fleet.emptied, held.cluster: self.now})
            again = PendingJob(held.job, held.epoch + 1, held.workload, "red", NOW, waits_since=self.now)
            self.pending[held.job] = again

    def told(self, name: str) -> object:
        here = [held for held, _ in self.bound.values() if held.cluster == name]
        return summary_of(self.nodes(name), counted=frozenset((one.job, one.epoch) for one in here))

    def change(self, name: str, **changes: Any) -> None:
        changed = replace(self.fleet.clusters[name], **changes)
        self.fleet = replace(self.fleet, clusters={**self.fleet.clusters, name: changed})

    def tell_progress(self) -> None:
        progress = {}
        for job, (held, assignment) in self.bound.items():
            told: dict[tuple[str, str], int] = {}
            for pod in assignment.pods:
                told[pod.node, pod.role] = told.get((pod.node, pod.role), 0) + 1
            pods = () if self.now_and_then(4) else tuple((*where, count) for where, count in sorted(told.items()))
            saved = self.now if self.now_and_then(3) else None
            progress[job] = Progress(held.epoch, held.since, saved, pods)
        self.fleet = replace(self.fleet, progress=progress)


def worlds(data: st.DataObject) -> World:
    base = data.draw(bases())
    regions = {name: data.draw(st.sampled_from(["eu", "us"])) for name in base}
    clusters = {name: cluster(name, nodes, region=regions[name]) for name, nodes in base.items()}
    fleet = Fleet(clusters, (), data.draw(price_books()), data.draw(queue_trees()), data=data.draw(catalogs()))
    return World(base, fleet, data)


# ---- what must hold ----


def broken(made: Plan, fleet: Fleet, jobs: Sequence[PendingJob], now: datetime) -> Iterator[str]:
    """Rules for which the pending jobs have to be known, too."""
    yield from check(made, fleet)
    yield from evicting.check(made, fleet)
    waiting = {job.job: job for job in jobs}
    for one in made.decisions:
        job, verdict = waiting[one.job], one.verdict
        if isinstance(verdict, Placed):
            yield from _may_not_be_there(job, verdict.cluster, fleet, now)
            until = locality.waits_until(job)
            request = verdict.reservation.workload.topology
            if until is not None and now < until and request is not None and request.mode is not TopologyMode.REQUIRED:
                yield f"{job.job} is spread before {until}"
        elif isinstance(verdict, Waiting) and verdict.room is not None and verdict.room.usd:
            yield from _may_not_be_there(job, verdict.room.cluster, fleet, now)
    running = {one.job: one for one in fleet.reservations}
    for gone in made.evictions:
        victim, job = running[gone.job], waiting[gone.for_job]
        if safe_until(victim, fleet.progress.get(victim.job), now) is not None:
            yield f"{gone.job} is evicted before it ran as long as it may"
        mine, theirs = job.workload.hints, victim.workload.hints
        if mine.queue == theirs.queue and mine.priority <= theirs.priority:
            yield f"{gone.job} is evicted for an equal"


def _may_not_be_there(job: PendingJob, name: str, fleet: Fleet, now: datetime) -> Iterator[str]:
    hours = bursting.wait_hours(job.workload.hints.queue, fleet.queues)
    if name in fleet.prices.public and hours and (now - (job.waits_since or job.submitted_at)) < timedelta(hours=hours):
        yield f"{job.job} may not go to {name} yet"
    for use in job.workload.data:
        dataset = fleet.data.find(use)
        if dataset is not None and dataset.residency and fleet.clusters[name].region not in dataset.residency:
            yield f"{dataset.name} must not be in {name}"
    if name in job.refused_by:
        yield f"{name} refused {job.job}"


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_planner_that_was_there_all_along_answers_as_a_new_one(data: st.DataObject) -> None:
    world, kept, thorough = worlds(data), Planner(), Planner(thorough=True)
    kinds = data.draw(st.lists(asked(), min_size=2, max_size=4))
    for _ in range(data.draw(st.integers(3, 6))):
        world.come(kinds, data.draw(st.integers(2, 5)))
        world.tell_progress()
        jobs = [*world.pending.values()]
        made = kept.plan(world.fleet, jobs, world.now)
        assert made == plan(world.fleet, jobs, world.now)
        full = thorough.plan(world.fleet, jobs, world.now)
        assert full == plan_fully(world.fleet, jobs, world.now)
        assert [one.verdict for one in full.decisions] == [one.verdict for one in made.decisions]
        assert full.evictions == made.evictions
        assert [*broken(made, world.fleet, jobs, world.now)] == []
        world.carry_out(made)
        world.go_on()
