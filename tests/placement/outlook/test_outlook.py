from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from placement.data import DataCatalog, Dataset, Replica
from placement.fleet import Fleet, PendingJob, Reservation
from placement.money import PriceBook
from placement.outlook.outlook import Outlook, outlook
from placement.outlook.usable import GpuUse, NotForIt
from placement.planner import plan, plan_fully
from placement.queues.tree import Queue, QueueTree, Quota
from placement.verdict import Placed, Waiting
from placement.workload import DataUse, Hints, TopologyMode, Workload
from tests.placement.worlds import (
    A100,
    NOW,
    T4,
    cluster,
    fleet,
    fleets,
    gpu_node,
    pending,
    queues,
    role,
    summary_of,
    workload,
)


def gang(gpus: int = 8, pods: int = 1, *, required: str = "", product: str = "", **hints: object) -> Workload:
    asked = role(replicas=pods, gpus=gpus, cpu=8000, product=product)
    return workload(asked, required=required, hints=Hints(**hints))  # type: ignore[arg-type]


def see(on: Fleet, asked: Workload | PendingJob, **place: object) -> Outlook:
    job = asked if isinstance(asked, PendingJob) else pending("j-0", asked)
    (decision,) = plan_fully(on, [job], NOW).decisions
    return outlook(job, decision, on, NOW, **place)  # type: ignore[arg-type]


def only(seen: Outlook) -> GpuUse:
    (use,) = seen.gpus
    return use


def test_pieces_that_are_too_small() -> None:
    on = fleet(cluster("a", [gpu_node("x", free=8), gpu_node("y", free=5), gpu_node("z", free=2)]))
    assert only(see(on, gang(4, 4))) == GpuUse("a", 24, 15, 12, (NotForIt(3, "in pieces too small for a pod of 4"),))


def test_another_product_and_nodes_that_it_may_not_use() -> None:
    nodes = [gpu_node("x", free=8), gpu_node("y", free=3, product=T4)]
    assert only(see(fleet(cluster("a", nodes)), gang(8, 2, product=A100))).rest == (
        NotForIt(3, f"of another product ({T4})"),
    )


def test_other_racks() -> None:
    on = fleet(cluster("a", [gpu_node(f"{rack}{i}", rack, free=8) for rack in "pq" for i in range(2)]))
    use = only(see(on, gang(8, 3, required="rack")))
    assert (use.free, use.usable) == (32, 16)
    assert use.rest == (NotForIt(16, "outside the rack that has the most for it"),)


def test_nodes_short_of_cores() -> None:
    node = gpu_node("x")
    node = replace(node, free=node.free - node.free + type(node.free)({**node.free, "cpu": 1000}))
    assert only(see(fleet(cluster("a", [node])), gang(4))).rest == (NotForIt(8, "on nodes short of CPU or memory"),)


def test_a_closed_cluster_has_nothing_for_it() -> None:
    on = fleet(cluster("a", [gpu_node("x")], cordoned=True))
    assert only(see(on, gang())) == GpuUse("a", 8, 8, 0, (NotForIt(8, "the cluster is cordoned"),))


def test_its_quota() -> None:
    limited = QueueTree.of([Queue("default", quotas={"*": Quota(4.0)})])
    on = replace(fleet(cluster("a", [gpu_node("x")])), queues=limited)
    seen = see(on, gang(4, 2))
    assert only(seen) == GpuUse("a", 8, 8, 4, (NotForIt(4, "over the quota of queue default"),))
    assert seen.mends[0] == "4 more * for queue default: by quota, or when others give back as many"


def test_what_is_promised_is_not_free() -> None:
    held = Reservation("x", 1, "a", gang(6), since=NOW)
    assert only(see(fleet(cluster("a", [gpu_node("n")]), reservations=[held]), gang(4))).free == 2


def test_when_it_may_start_and_on_what_that_is_founded() -> None:
    held = [Reservation(f"x{i}", 1, "a", gang(expected_hours=i + 1.0), since=NOW) for i in range(2)]
    on = fleet(cluster("a", [gpu_node(f"n{i}") for i in range(2)]), reservations=held)
    job = pending("j-0", gang(8, 2))
    (decision,) = plan(on, [job], NOW).decisions
    seen = outlook(job, decision, on, NOW)
    assert seen.eta is not None
    assert (seen.eta.at, seen.eta.reserved) == (NOW + timedelta(hours=2), True)
    assert seen.eta.basis == "when x0 and x1 have ended as they said"
    assert isinstance(decision.verdict, Waiting)
    behind = replace(decision, verdict=replace(decision.verdict, start=None))
    seen = outlook(job, behind, on, NOW, place=3, ahead=("p", "q"))
    assert seen.eta is not None
    assert seen.eta.basis == "when x0 and x1 have ended as they said; not before the 2 ahead of it"
    assert (seen.place, seen.ahead) == (3, ("p", "q"))


def test_each_mend_is_one_that_helps() -> None:
    on = fleet(cluster("a", [gpu_node(f"{rack}{i}", rack, free=8) for rack in "pq" for i in range(2)]))
    seen = see(on, gang(8, 3, required="rack"))
    assert seen.mends == (
        "topology-preferred: rack instead of topology-required: it would start on a",
        "2 instead of 3 pods of worker (16 GPUs in all): it would start on a",
    )
    on = fleet(cluster("a", [gpu_node("x", free=4), gpu_node("y", free=4)]), cluster("b", [gpu_node("z", product=T4)]))
    assert see(on, gang(8, product=A100)).mends == (
        "2 pods of 4 GPUs instead of 1 of 8: it would start on a",
        f"any GPU instead of {A100}: it would start on b",
    )
    assert see(fleet(cluster("a", [gpu_node("x")], cordoned=True)), gang()).mends == (
        "muster cluster cordon --off a: it has room for it",
    )
    assert see(fleet(cluster("a", [gpu_node("x")])), gang(clusters=("b",))).mends == (
        "without its own lists of clusters and regions it would start on a",
    )


def test_why_nobody_is_evicted() -> None:
    held = [
        Reservation("no", 1, "a", gang(preemptible=False), since=NOW),
        Reservation("equal", 1, "a", gang(priority=1), since=NOW),
        Reservation("young", 1, "a", gang(min_runtime_hours=2.0), since=NOW),
    ]
    on = fleet(cluster("a", [gpu_node(f"n{i}") for i in range(3)]), reservations=held)
    assert see(on, gang(priority=1)).preemption == (
        "nobody is evicted for it: 3 jobs run where it could go; 1 not preemptible, as it says; "
        "1 of no lower priority than 1 in queue default; 1 protected by min-runtime until 2026-01-01 02:00 UTC"
    )


@settings(max_examples=60, deadline=None)
@given(fleets(), queues())
def test_every_free_gpu_is_counted_once(on: Fleet, jobs: list[PendingJob]) -> None:
    for decision in plan_fully(on, jobs, NOW).decisions:
        job = next(one for one in jobs if one.job == decision.job)
        seen = outlook(job, decision, on, NOW)
        for use in seen.gpus:
            assert use.usable + sum(each.gpus for each in use.rest) == use.free
            assert min((use.usable, *(each.gpus for each in use.rest))) >= 0
        if isinstance(decision.verdict, Placed):
            assert seen == Outlook(seen.gpus)


@settings(max_examples=40, deadline=None)
@given(fleets(), st.sampled_from([2, 4, 8]), st.integers(1, 6))
def test_with_fewer_pods_it_is_placed_as_was_told(on: Fleet, gpus: int, pods: int) -> None:
    on = replace(on, queues=QueueTree.of([Queue("default")]), reservations=())
    seen = see(on, gang(gpus, pods))
    told = [mend for mend in seen.mends if " pods of worker" in mend]
    for mend in told:
        fewer = gang(gpus, int(mend.split()[0]))
        (decision,) = plan_fully(on, [pending("j-1", fewer)], NOW).decisions
        assert isinstance(decision.verdict, Placed)


def test_a_public_cluster_that_its_queue_waits_for() -> None:
    book = PriceBook(public=frozenset("a"))
    patient = QueueTree.of([Queue("default", burst_after_hours=2.0)])
    on = replace(fleet(cluster("a", [gpu_node("x")]), prices=book), queues=patient)
    seen = see(on, gang(4, 2))
    why = "the cluster is public, and not for queue default before 2026-01-01 02:00 UTC"
    assert only(seen) == GpuUse("a", 8, 8, 0, (NotForIt(8, why),))
    assert seen.eta is not None
    assert (seen.eta.at, seen.eta.cluster) == (NOW + timedelta(hours=2), "a")
    assert seen.mends == (), "fewer pods may not go there either"


def test_data_that_is_out_of_reach() -> None:
    held = Dataset("images", 1, (Replica("", "b", "pvc://ml/images"),))
    on = replace(fleet(cluster("a", [gpu_node("x")])), data=DataCatalog({"images": held}))
    seen = see(on, replace(gang(4), data=(DataUse("images"),)))
    assert only(seen) == GpuUse("a", 8, 8, 0, (NotForIt(8, "dataset images cannot be read"),))


def test_one_that_insists_on_a_rack_for_now() -> None:
    on = fleet(cluster("a", [gpu_node("x", "p"), gpu_node("y", "q"), gpu_node("z", "q", free=0)]))
    asked = gang(8, 2, required="rack", wait_for_locality_hours=2.0)
    assert asked.topology is not None
    rather = replace(asked, topology=replace(asked.topology, mode=TopologyMode.PREFERRED))
    seen = see(on, rather)
    assert only(seen).usable == 8
    assert seen.mends[0] == "without wait-for-locality-hours it would start on a"


def test_a_summary_alone_is_enough() -> None:
    """Clusters that are away are told of too."""
    away = cluster("a", [gpu_node("x")], summary=summary_of([gpu_node("x")]))
    assert see(fleet(away), gang(4)).gpus == (GpuUse("a", 8, 8, 8, ()),)
