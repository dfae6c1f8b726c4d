from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from placement.fleet import Fleet, Leaving, PendingJob, Progress, Reservation
from placement.invariants import check
from placement.money import Price, PriceBook
from placement.planner import Planner, plan
from placement.preemption import invariants
from placement.preemption.rights import Rights, Standing
from placement.queues.quota import Limits
from placement.queues.reasons import KeptForAnother, QuotaShort
from placement.queues.tree import Preemption, Queue, QueueTree, Quota, Reach
from placement.queues.usage import of_reservation
from placement.verdict import Eviction, NotAllowed, Placed, Plan, ResourcesShort, Waiting
from placement.workload import Hints, Workload
from tests.placement.worlds import A100, H100, NOW, cluster, gpu_node, pending, role, summary_of, workload

ONE = QueueTree.of([Queue("default")])


def gang(gpus: int = 8, pods: int = 1, *, required: str = "", **hints: object) -> Workload:
    return workload(role(replicas=pods, gpus=gpus), required=required, hints=Hints(**hints))  # type: ignore[arg-type]


def runs(job: str, asked: Workload, *, on: str = "a", hours: float = 1.0) -> Reservation:
    """For so many hours already, at 2 USD per GPU-hour."""
    uses, usd = ((A100, float(asked.total_gpus)),), 2.0 * asked.total_gpus
    return Reservation(job, 1, on, asked, uses=uses, usd_per_hour=usd, since=NOW - timedelta(hours=hours))


def world(
    *held: Reservation,
    nodes: Mapping[str, int] | None = None,
    queues: QueueTree = ONE,
    saved: Mapping[str, float] | None = None,
    counted: bool = True,
    leaving: Mapping[str, Leaving] | None = None,
) -> Fleet:
    """Clusters of 8-GPU nodes; `saved`: hours since a job's last checkpoint. What runs is counted in the summaries."""
    clusters = []
    for name, count in (nodes or {"a": 2}).items():
        theirs = [one for one in held if one.cluster == name]
        used = sum(one.workload.total_gpus for one in theirs) if counted else 0
        each = [gpu_node(f"{name}{i}", free=8 - min(8, max(0, used - 8 * i))) for i in range(count)]
        refs = frozenset((one.job, one.epoch) for one in theirs) if counted else frozenset()
        clusters.append(cluster(name, each, summary=summary_of(each, counted=refs)))
    progress = {
        one.job: Progress(1, one.since, NOW - timedelta(hours=saved[one.job]) if saved and one.job in saved else None)
        for one in held
    }
    return Fleet(
        {one.name: one for one in clusters},
        held,
        PriceBook({}, default=Price(2.0)),
        queues,
        progress=progress,
        leaving=leaving or {},
    )


def decide(on: Fleet, *asked: Workload | PendingJob) -> Plan:
    jobs = [one if isinstance(one, PendingJob) else pending(f"j-{i}", one, minutes=i) for i, one in enumerate(asked)]
    found = plan(on, jobs, NOW)
    assert check(found, on) == ()
    assert invariants.check(found, on) == ()
    assert Planner().plan(on, jobs, NOW) == found
    return found


def victims(found: Plan) -> list[str]:
    return sorted(one.job for one in found.evictions)


def room_of(found: Plan, index: int = 0) -> object:
    verdict = found.decisions[index].verdict
    assert isinstance(verdict, Waiting)
    return verdict.room


def test_the_victim_is_the_one_that_loses_least_since_its_checkpoint() -> None:
    on = world(
        runs("old", gang(), hours=9),
        runs("young", gang(), hours=2),
        saved={"old": 0.25},
    )
    found = decide(on, gang(priority=5))
    assert victims(found) == ["old"]
    (eviction,) = found.evictions
    assert (eviction.epoch, eviction.cluster, eviction.for_job) == (1, "a", "j-0")
    assert eviction.lost_gpu_hours == 2.0
    assert eviction.usd == 16 * (0.25 + 0.1)
    assert eviction.reason == (
        "evicted for j-0: priority 0 is below 5; loses 2.00 GPU-hours since its last checkpoint, "
        "5.60 USD with its restart"
    )
    room = room_of(found)
    assert getattr(room, "message") == "waits for 1 job to be evicted from a (old)"  # noqa: B009


def test_one_without_a_checkpoint_loses_all_since_it_began() -> None:
    on = world(runs("old", gang(), hours=9), runs("young", gang(), hours=2))
    (eviction,) = decide(on, gang(priority=5)).evictions
    assert (eviction.job, eviction.lost_gpu_hours) == ("young", 16.0)


def test_nobody_is_evicted_for_an_equal() -> None:
    on = world(runs("x", gang(priority=5)), runs("y", gang(priority=9)))
    assert decide(on, gang(priority=5)).evictions == ()


def test_nobody_is_evicted_where_there_is_room() -> None:
    on = world(runs("x", gang()))
    found = decide(on, gang(priority=5))
    assert isinstance(found.decisions[0].verdict, Placed)
    assert found.evictions == ()


def test_nobody_is_evicted_for_a_gang_that_would_not_fit_even_so() -> None:
    on = world(runs("x", gang(priority=9)), runs("y", gang()))
    assert decide(on, gang(pods=2, priority=5)).evictions == ()


def test_as_many_are_evicted_as_the_gang_needs_and_no_more() -> None:
    on = world(*(runs(f"x{i}", gang(4), hours=i + 1) for i in range(8)), nodes={"a": 4})
    assert victims(decide(on, gang(4, pods=3, priority=5))) == ["x0", "x1", "x2"]


def test_one_dear_victim_gives_way_to_two_cheap_ones() -> None:
    on = world(runs("dear", gang(8), hours=9), runs("x", gang(4), hours=1), runs("y", gang(4), hours=1))
    assert victims(decide(on, gang(8, priority=5))) == ["x", "y"]


def test_one_that_says_no_or_is_too_young_stays() -> None:
    on = world(
        runs("no", gang(preemptible=False), hours=0.1),
        runs("young", gang(min_runtime_hours=1.0), hours=0.5),
        runs("dear", gang(min_runtime_hours=1.0), hours=90),
        nodes={"a": 3},
    )
    assert victims(decide(on, gang(priority=5))) == ["dear"]


def test_what_only_time_forbids_is_looked_at_again() -> None:
    on = world(runs("young", gang(pods=2, min_runtime_hours=1.0), hours=0.5))
    found = decide(on, gang(priority=5))
    verdict = found.decisions[0].verdict
    assert isinstance(verdict, Waiting)
    assert (verdict.room, verdict.look_again) == (None, NOW + timedelta(minutes=30))


def test_the_cluster_is_chosen_by_the_whole_cost() -> None:
    """On b the victim is cheaper, by more than the place is dearer."""
    on = world(runs("x", gang(), on="a", hours=3), runs("y", gang(), on="b", hours=1), nodes={"a": 1, "b": 1})
    on = replace(on, prices=PriceBook({("a", "*"): Price(2.0), ("b", "*"): Price(4.0)}))
    assert victims(decide(on, gang(priority=5))) == ["y"]
    on = replace(on, prices=PriceBook({("a", "*"): Price(2.0), ("b", "*"): Price(9.0)}))
    assert victims(decide(on, gang(priority=5))) == ["x"]


def test_jobs_are_evicted_on_one_cluster_only() -> None:
    on = world(runs("x", gang(), on="a"), runs("y", gang(), on="b"), nodes={"a": 1, "b": 1})
    assert decide(on, gang(pods=2, priority=5)).evictions == ()


def test_several_waiting_jobs_take_no_victim_twice() -> None:
    on = world(*(runs(f"x{i}", gang(), hours=i + 1) for i in range(4)), nodes={"a": 4})
    found = decide(on, gang(pods=2, priority=5), gang(priority=5), gang(pods=2, priority=5))
    assert [one.for_job for one in found.evictions] == ["j-0", "j-0", "j-1"]
    assert len({one.job for one in found.evictions}) == 3


# ---- room under way ----


def test_room_that_is_made_is_kept_and_not_made_twice() -> None:
    held = [runs("x", gang(), hours=1), runs("y", gang(), hours=2)]
    on = world(*held, leaving={"x": Leaving(1, "j-0")})
    found = decide(on, gang(priority=5), gang(priority=0))
    assert found.evictions == ()
    assert getattr(room_of(found), "victims") == ("x",)  # noqa: B009
    # x is gone, and the cluster has told so: the first takes its room, whoever's turn is before.
    on = world(held[1], queues=QueueTree.of([Queue("default"), Queue("other")]))
    promised = replace(pending("j-0", gang(priority=5), minutes=9), promised="a")
    other = pending("j-1", gang(queue="other"))
    found = decide(on, promised, other)
    assert {one.job: isinstance(one.verdict, Placed) for one in found.decisions} == {"j-0": True, "j-1": False}
    (reason,) = next(one.verdict for one in found.decisions if one.job == "j-1").reasons  # type: ignore[union-attr]
    assert isinstance(reason, KeptForAnother | ResourcesShort)


def test_while_victims_leave_their_room_is_not_for_others() -> None:
    """One of the two nodes is free already, both are needed."""
    on = world(runs("y", gang(), hours=2), nodes={"a": 2}, leaving={"y": Leaving(1, "j-0")})
    on = replace(on, queues=QueueTree.of([Queue("default"), Queue("other")]))
    found = decide(on, pending("j-0", gang(pods=2, priority=5), minutes=9), pending("j-1", gang(queue="other")))
    assert not any(isinstance(one.verdict, Placed) for one in found.decisions)
    (reason,) = next(one.verdict for one in found.decisions if one.job == "j-1").reasons  # type: ignore[union-attr]
    assert isinstance(reason, KeptForAnother)
    assert reason.job == "j-0"


def test_until_the_cluster_says_that_the_victims_are_gone_nothing_more_is_evicted() -> None:
    both = world(runs("x", gang(), hours=1), runs("y", gang(), hours=2))
    behind = replace(both, reservations=both.reservations[1:])  # x is released, its summary counts it still
    found = decide(behind, replace(pending("j-0", gang(priority=5)), promised="a"))
    assert found.evictions == ()
    assert getattr(room_of(found), "message") == "room was made on a; waits for its next report"  # noqa: B009


def test_nor_for_a_moment_after_a_victim_left() -> None:
    """Its pods may count no more, and take their room still."""
    on = world(runs("x", gang(), hours=1), runs("y", gang(), hours=2))
    left = replace(on, emptied={"a": NOW - timedelta(seconds=1)})
    found = decide(left, replace(pending("j-0", gang(priority=5)), promised="a"), gang(priority=6))
    assert found.evictions == ()
    assert {getattr(one.verdict, "look_again", None) for one in found.decisions} == {NOW + timedelta(seconds=4)}
    later = replace(on, emptied={"a": NOW - timedelta(seconds=6)})
    assert victims(decide(later, replace(pending("j-0", gang(priority=5)), promised="a"))) == ["x"]


def test_where_that_was_not_enough_it_is_planned_again() -> None:
    on = world(runs("x", gang(), hours=1), runs("y", gang(), hours=2))
    assert victims(decide(on, replace(pending("j-0", gang(priority=5)), promised="a"))) == ["x"]


def test_a_promise_does_not_hold_a_job_back_elsewhere() -> None:
    on = world(runs("x", gang(), hours=1), nodes={"a": 1, "b": 1}, leaving={"x": Leaving(1, "j-0")})
    found = decide(on, gang(priority=5))
    verdict = found.decisions[0].verdict
    assert isinstance(verdict, Placed)
    assert verdict.cluster == "b"


def test_what_leaves_anyway_is_waited_for() -> None:
    on = world(runs("x", gang(), hours=1), runs("y", gang(), hours=2), leaving={"x": Leaving(1)})
    assert decide(on, gang(priority=5)).evictions == ()


# ---- queues ----


def cohort(**rules: Reach) -> QueueTree:
    quotas = {"*": Quota(8.0)}
    return QueueTree.of(
        [
            Queue("org"),
            Queue("a", "org", quotas, preemption=Preemption(**rules)),
            Queue("b", "org", quotas, preemption=Preemption(**rules)),
        ]
    )


def test_what_was_lent_is_taken_back() -> None:
    on = world(runs("x", gang(queue="b", priority=9)), runs("y", gang(queue="b", priority=9), hours=3), queues=cohort())
    found = decide(on, gang(queue="a"))
    assert victims(found) == ["x"]
    assert "queue b runs it on what a lent" in found.evictions[0].reason
    # The second would be b's own.
    assert decide(on, gang(queue="a", pods=2)).evictions == ()


def test_what_is_lent_stays_where_the_queue_says_so() -> None:
    held = runs("x", gang(queue="b")), runs("y", gang(queue="b"))
    assert decide(world(*held, queues=cohort(reclaim=Reach.NEVER)), gang(queue="a")).evictions == ()
    lower = cohort(reclaim=Reach.LOWER_PRIORITY)
    assert decide(world(*held, queues=lower), gang(queue="a")).evictions == ()
    assert len(decide(world(*held, queues=lower), gang(queue="a", priority=1)).evictions) == 1


def test_quota_that_is_lent_comes_back_where_there_is_room() -> None:
    """Nothing but quota is missing: there is a third node."""
    on = world(runs("x", gang(queue="b")), runs("y", gang(queue="b"), hours=3), nodes={"a": 3}, queues=cohort())
    found = decide(on, gang(queue="a"))
    assert isinstance(found.decisions[0].verdict, Waiting)
    assert isinstance(found.decisions[0].verdict.reasons[0], QuotaShort)
    assert victims(found) == ["x"]


def test_a_queue_that_borrows_itself_takes_nothing_back() -> None:
    on = world(runs("x", gang(queue="b")), runs("y", gang(queue="b")), queues=cohort())
    assert decide(on, gang(queue="a", pods=2)).evictions == ()


def test_shares_are_evened_out_for_what_is_more_important_or_where_the_queue_says_any() -> None:
    rules = Preemption(fair_share=Reach.ANY)
    free = QueueTree.of([Queue("a", preemption=rules), Queue("b", preemption=rules)])
    held = [runs(f"x{i}", gang(queue="b"), hours=i + 1) for i in range(4)]
    on = world(*held, nodes={"a": 4}, queues=free)
    found = decide(on, *(gang(queue="a") for _ in range(4)))
    assert victims(found) == ["x0", "x1"]  # two and two: no further
    assert "queue b has more than its share, and a less" in found.evictions[0].reason
    usual = replace(on, queues=QueueTree.of([Queue("a"), Queue("b")]))
    assert decide(usual, *(gang(queue="a") for _ in range(4))).evictions == ()
    assert victims(decide(usual, *(gang(queue="a", priority=1) for _ in range(4)))) == ["x0", "x1"]


def test_weights_say_what_is_even() -> None:
    rules = Preemption(fair_share=Reach.ANY)
    queues = QueueTree.of([Queue("a", weight=3.0, preemption=rules), Queue("b")])
    on = world(*(runs(f"x{i}", gang(queue="b"), hours=i + 1) for i in range(4)), nodes={"a": 4}, queues=queues)
    assert victims(decide(on, *(gang(queue="a") for _ in range(4)))) == ["x0", "x1", "x2"]


# ---- properties ----

HINTS = st.builds(
    Hints,
    queue=st.sampled_from(["a", "b", "c"]),
    priority=st.integers(0, 2),
    preemptible=st.sampled_from([True, True, True, False]),
)
GANGS = st.builds(
    lambda hints, gpus, pods: replace(gang(gpus, pods), hints=hints),
    HINTS,
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 3),
)
REACHES = st.sampled_from(list(Reach))
RULES = st.builds(Preemption, st.sampled_from([Reach.NEVER, Reach.LOWER_PRIORITY]), REACHES, REACHES)


@st.composite
def trees(draw: st.DrawFn) -> QueueTree:
    quota = st.sampled_from([{}, {"*": Quota(4.0)}, {"*": Quota(12.0)}, {"*": Quota(8.0, 8.0, 4.0)}])
    return QueueTree.of(
        [
            Queue("org", quotas={}),
            Queue("a", "org", draw(quota), draw(st.sampled_from([1.0, 2.0])), preemption=draw(RULES)),
            Queue("b", "org", draw(quota), preemption=draw(RULES)),
            Queue("c", draw(st.sampled_from(["", "org"])), preemption=draw(RULES)),
        ]
    )


@st.composite
def busy(draw: st.DrawFn) -> Fleet:
    held: list[Reservation] = []
    nodes = {name: draw(st.integers(1, 4)) for name in draw(st.sampled_from(["a", "ab"]))}
    for name, count in nodes.items():
        left = count * 8
        for number in range(draw(st.integers(0, 8))):
            asked = draw(GANGS)
            if asked.total_gpus <= left:
                left -= asked.total_gpus
                held.append(runs(f"{name}{number}", asked, on=name, hours=draw(st.sampled_from([0.5, 1.0, 7.0]))))
    saved = {one.job: draw(st.sampled_from([0.0, 0.3])) for one in held if draw(st.booleans())}
    return world(*held, nodes=nodes, queues=draw(trees()), saved=saved, counted=draw(st.booleans()))


def _after(on: Fleet, gone: Sequence[Eviction]) -> Fleet:
    """With them gone, and nothing else changed: what was counted of them is free."""
    names = {one.job for one in gone}
    left = tuple(one for one in on.reservations if one.job not in names)
    return replace(on, reservations=left)


@settings(max_examples=120, deadline=None)
@given(busy(), st.lists(GANGS, min_size=1, max_size=3))
def test_evictions_are_sound_minimal_and_lead_nowhere_back(on: Fleet, asked: list[Workload]) -> None:
    jobs = [pending(f"j-{i}", one, minutes=i) for i, one in enumerate(asked)]
    found = plan(on, jobs, NOW)
    assert invariants.check(found, on) == ()
    by_job = {job.job: job for job in jobs}
    for decision in found.decisions:
        theirs = [one for one in found.evictions if one.for_job == decision.job]
        if not theirs or any(one.for_job != decision.job for one in found.evictions):
            continue
        if any(isinstance(one.verdict, Placed) for one in found.decisions):
            continue
        _is_enough_and_minimal(on, by_job[decision.job], theirs)
        _nobody_comes_back(on, by_job[decision.job], theirs)


def _is_enough_and_minimal(on: Fleet, job: PendingJob, theirs: list[Eviction]) -> None:
    """Where nothing is counted yet, what the cluster is without them is known exactly."""
    if any(known.summary is not None and known.summary.counted for known in on.clusters.values()):
        return
    only = replace(
        job, workload=replace(job.workload, hints=replace(job.workload.hints, clusters=(theirs[0].cluster,)))
    )

    def is_placed(gone: Sequence[Eviction]) -> bool:
        (decision,) = plan(_after(on, gone), [only], NOW).decisions
        return isinstance(decision.verdict, Placed)

    assert is_placed(theirs)
    for one in theirs:
        assert not is_placed([other for other in theirs if other is not one])


def _nobody_comes_back(on: Fleet, job: PendingJob, theirs: list[Eviction]) -> None:
    """No victim, waiting again, may have the job evicted that it made room for."""
    names = {one.job for one in theirs}
    uses = ((A100, float(job.workload.total_gpus)),)
    made = Reservation(job.job, 1, theirs[0].cluster, job.workload, uses=uses)
    left = [*(one for one in on.reservations if one.job not in names), made]
    there = {A100: sum(8.0 * shape.nodes for each in on.clusters.values() for shape in each.summary.shapes)}  # type: ignore[union-attr]
    standing = Standing(Limits(on.queues), there, ((one.workload.hints.queue, of_reservation(one)) for one in left))
    for victim in (one for one in on.reservations if one.job in names):
        again = PendingJob(victim.job, 2, victim.workload, "t", NOW)
        assert Rights(standing, again, of_reservation(victim)).over([made]) is None


def test_halves_of_two_nodes_are_no_node() -> None:
    """Where the pods are was told: the cheapest two are on two nodes, and both of one have to go."""
    held = [runs("x1", gang(4), hours=1), runs("x2", gang(4), hours=5)]
    held += [runs("y1", gang(4), hours=2), runs("y2", gang(4), hours=9)]
    on = world(*held)
    places = {"x1": "a0", "x2": "a0", "y1": "a1", "y2": "a1"}
    told = {
        job: Progress(1, on.progress[job].running_since, None, ((node, "worker", 1),)) for job, node in places.items()
    }
    assert victims(decide(on, gang(8, priority=5))) == ["x1", "y1"], "nobody told"
    assert victims(decide(replace(on, progress=told), gang(8, priority=5))) == ["x1", "x2"]
    assert victims(decide(replace(on, progress=told), gang(4, pods=2, priority=5))) == ["x1", "y1"]


def test_of_many_halves_the_two_of_one_node_are_found() -> None:
    """Alone, each of them is dearer than a hundred others; together they are the cheapest node."""
    count, held, told = 300, [], {}
    for node in range(count):
        hours = (1.0, 1.0) if node == 7 else (0.1, 8.0)
        for half, each in enumerate(hours):
            job = f"x{node}-{half}"
            held.append(runs(job, gang(4), hours=each))
            told[job] = Progress(1, NOW - timedelta(hours=each), None, ((f"a{node}", "worker", 1),))
    on = replace(world(*held, nodes={"a": count}), progress=told)
    assert victims(decide(on, gang(8, priority=5))) == ["x7-0", "x7-1"]


def test_a_start_is_foreseen_by_the_nodes_that_were_told() -> None:
    """Pieces of several sizes: given back anywhere, they would not make two whole nodes."""
    held = [runs("p", gang(4), hours=0), runs("q", gang(4), hours=0), runs("r", gang(5), hours=0), runs("s", gang(5))]
    on = world(*held, nodes={"a": 4})
    each = [gpu_node("a0", free=0), gpu_node("a1", free=3), gpu_node("a2", free=3), gpu_node("a3")]
    summary = summary_of(each, counted=frozenset((one.job, 1) for one in held))
    places = {"p": "a0", "q": "a0", "r": "a1", "s": "a2"}
    progress = {job: Progress(1, NOW, None, ((node, "worker", 1),)) for job, node in places.items()}
    on = replace(on, clusters={"a": cluster("a", each, summary=summary)}, progress=progress)
    verdict = decide(on, gang(8, pods=3)).decisions[0].verdict
    assert isinstance(verdict, Waiting)
    assert verdict.start is not None
    assert verdict.start.at == NOW + timedelta(hours=1)


def test_nobody_is_evicted_on_a_public_cluster_before_the_job_may_go_there() -> None:
    patient = QueueTree.of([Queue("default", burst_after_hours=2.0)])
    on = world(runs("x", gang()), nodes={"a": 1}, queues=patient)
    on = replace(on, prices=replace(on.prices, public=frozenset("a")))
    found = decide(on, gang(priority=5))
    assert found.evictions == ()
    verdict = found.decisions[0].verdict
    assert isinstance(verdict, Waiting)
    assert verdict.look_again == NOW + timedelta(hours=2)
    waited = replace(pending("j-0", gang(priority=5)), waits_since=NOW - timedelta(hours=2))
    assert victims(decide(on, waited)) == ["x"]


def test_one_who_may_not_burst_yet_is_no_reason_against_one_who_may() -> None:
    patient = QueueTree.of([Queue("default", burst_after_hours=2.0)])
    on = world(runs("x", gang()), nodes={"a": 1}, queues=patient)
    on = replace(on, prices=replace(on.prices, public=frozenset("a")))
    young, old = pending("j-0", gang(priority=5)), pending("j-1", gang(priority=5))
    found = decide(on, young, replace(old, waits_since=NOW - timedelta(hours=2)))
    assert [(one.job, one.for_job) for one in found.evictions] == [("x", "j-1")]


def test_one_whom_a_spoke_refused_is_no_reason_against_one_who_is_like_it() -> None:
    on = world(runs("x", gang()), nodes={"a": 1})
    refused = replace(pending("j-0", gang(priority=5)), refused_by={"a": "no room"})
    found = decide(on, refused, pending("j-1", gang(priority=5)))
    assert [(one.job, one.for_job) for one in found.evictions] == [("x", "j-1")]


def test_for_a_gang_that_insists_on_a_rack_for_now_nobody_outside_of_one_is_evicted() -> None:
    """The rack of two nodes stays in use; anywhere, one eviction would be enough."""
    nodes = [gpu_node("n0", "r0"), gpu_node("n1", "r0", free=0), gpu_node("n2", "r1", free=0, product=H100)]
    alone = workload(role(gpus=8, product=H100))
    held = [runs("stays", gang(preemptible=False)), replace(runs("x", alone), uses=((H100, 8.0),))]
    counted = frozenset((one.job, one.epoch) for one in held)
    on = replace(world(*held), clusters={"a": cluster("a", nodes, summary=summary_of(nodes, counted=counted))})
    asked = workload(role(replicas=2, gpus=8), preferred="rack", hints=Hints(priority=5, wait_for_locality_hours=1.0))
    assert decide(on, asked).evictions == ()
    late = replace(pending("j-0", asked), waits_since=NOW - timedelta(hours=1))
    assert victims(decide(on, late)) == ["x"]


def test_the_checker_sees_what_stands_in_the_way_besides_room() -> None:
    on = world(runs("x", gang()), nodes={"a": 1})
    found = decide(on, gang(priority=5))
    closed = replace(on, clusters={"a": replace(on.clusters["a"], cordoned=True)})
    assert invariants.check(found, closed) == ("evicting x for j-0: nothing may be started on a",)
    (decision,) = found.decisions
    (candidate,) = decision.candidates
    elsewhere = replace(candidate, reasons=(*candidate.reasons, NotAllowed("a", "regions (us)")))
    wrong = replace(found, decisions=(replace(decision, candidates=(elsewhere,)),))
    (fault,) = invariants.check(wrong, on)
    assert fault.startswith("evicting x for j-0: more than room is missing there: ")
    assert invariants.sound(wrong, on) == ()


def test_what_runs_in_a_queue_that_became_a_cohort_of_the_jobs_own_is_left_alone() -> None:
    """There is nothing to compare them by; deciding must not fail over it."""
    tree = QueueTree.of([Queue("team"), Queue("part", cohort="team", preemption=Preemption(fair_share=Reach.ANY))])
    on = world(runs("old", gang(8, 2, queue="team")), queues=tree)
    assert victims(decide(on, gang(8, 2, queue="part", priority=5))) == []
