from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from placement.capacity import Capacity, Fit
from placement.data import DataCatalog, Dataset, Replica
from placement.fleet import Fleet, Leaving, Progress, Reservation
from placement.inventory import Node
from placement.money import Price, PriceBook
from placement.planner import plan
from placement.queues.tree import Queue, QueueTree, Quota
from placement.rebalance.planning import propose
from placement.rebalance.proposals import Aim, Proposal
from placement.transfers import Transfers
from placement.verdict import Decision, NoClusters, RoomMade, Waiting
from placement.workload import DataUse, Hints, Workload
from tests.placement.worlds import A100, H100, NOW, cluster, fleet, gpu_node, pending, role, summary_of, workload

FLAT = PriceBook({}, default=Price(2.0))


def gang(gpus: int, pods: int = 1, **hints: object) -> Workload:
    return workload(role(replicas=pods, gpus=gpus), hints=Hints(**hints))  # type: ignore[arg-type]


def runs(job: str, gpus: int, on: str = "a", *, hours: float = 1.0, usd: float = 2.0, **hints: object) -> Reservation:
    """For so many hours of ten, with a checkpoint just now (`progress` says so)."""
    asked = gang(gpus, expected_hours=10.0, **hints)
    return Reservation(
        job, 1, on, asked, uses=((A100, float(gpus)),), usd_per_hour=usd * gpus, since=NOW - timedelta(hours=hours)
    )


def world(held: Sequence[Reservation], prices: PriceBook = FLAT, **nodes: Sequence[Node]) -> Fleet:
    """Nodes as their summaries tell them; all that runs is counted."""
    made = []
    for name, each in nodes.items():
        refs = frozenset((one.job, one.epoch) for one in held if one.cluster == name)
        made.append(cluster(name, each, summary=summary_of(each, counted=refs)))
    progress = {one.job: Progress(1, one.since, NOW) for one in held}
    return replace(fleet(*made, reservations=held, prices=prices), progress=progress)


def see(on: Fleet, *asked: Workload) -> tuple[Proposal, ...]:
    jobs = [pending(f"j-{i}", one, minutes=i) for i, one in enumerate(asked)]
    decisions = {one.job: one for one in plan(on, jobs, NOW).decisions}
    return propose(on, [(job, decisions[job.job]) for job in jobs], NOW)


def told(job: str, node: str) -> Progress:
    return Progress(1, NOW - timedelta(hours=1), NOW, ((node, "worker", 1),))


def aims(found: Sequence[Proposal]) -> list[Aim]:
    return [one.aim for one in found]


def test_two_halves_make_room_for_a_whole() -> None:
    """x and y hold four cards each on a node of their own; together they leave one free."""
    on = world([runs("x", 4), runs("y", 4, hours=3)], a=[gpu_node("n1", free=4), gpu_node("n2", free=4)])
    found = see(on, gang(8))
    (room,) = [one for one in found if one.aim is Aim.MAKE_ROOM]
    (step,) = room.steps
    assert (step.source, step.target, step.gpus) == ("a", "a", 4.0)
    assert (room.job, room.cluster) == ("j-0", "a")
    assert room.earlier_hours == 7.0 - 0.1, "y would have ended in seven hours"
    assert room.gain == "j-0 starts on a 6.9 h earlier"
    assert abs(room.gain_usd - 16 * 6.9) < 1e-9
    assert abs(room.usd - 8 * 0.1) < 1e-9, "a restart: all is saved"
    assert found[0] is room


def test_jobs_move_to_another_cluster_where_there_is_room() -> None:
    on = world([runs("x", 8)], a=[gpu_node("n1", free=0)], b=[gpu_node("m1", free=8)])
    found = see(on, gang(8, clusters=("a",)))
    (room,) = [one for one in found if one.aim is Aim.MAKE_ROOM]
    assert [(step.job, step.source, step.target) for step in room.steps] == [("x", "a", "b")]


def test_what_it_costs_more_there_counts() -> None:
    dear = PriceBook({("b", "*"): Price(50.0)}, default=Price(2.0))
    on = world([runs("x", 8)], dear, a=[gpu_node("n1", free=0)], b=[gpu_node("m1", free=8)])
    assert see(on, gang(8, clusters=("a",))) == ()


def test_who_has_no_other_place_stays() -> None:
    on = world([runs("x", 8)], a=[gpu_node("n1", free=0)])
    assert see(on, gang(8)) == ()


def test_who_says_no_or_leaves_or_is_young_stays() -> None:
    for held in (runs("x", 4, preemptible=False), runs("x", 4, min_runtime_hours=5.0)):
        on = world([held, runs("y", 4, preemptible=False)], a=[gpu_node("n1", free=4), gpu_node("n2", free=4)])
        assert see(on, gang(8)) == ()
    on = world([runs("x", 4)], a=[gpu_node("n1", free=4), gpu_node("n2", free=4)])
    assert see(replace(on, leaving={"x": Leaving(1)}), gang(8)) == ()


def test_a_cheaper_place_pays_after_restart_and_lost_work() -> None:
    prices = PriceBook({("b", "*"): Price(1.0)}, default=Price(2.0))
    on = world([runs("x", 8, hours=1)], prices, a=[gpu_node("n1", free=0)], b=[gpu_node("m1", free=8)])
    (saving,) = see(on)
    assert (saving.aim, saving.cluster, saving.saved_usd_per_hour) == (Aim.SAVE_COST, "b", 8.0)
    assert saving.gain == "x costs $8.00 an hour less on b, for 9.0 h"
    assert abs(saving.net_usd - (8 * 9 - 16 * 0.1)) < 1e-9
    nearly_done = replace(on, reservations=(runs("x", 8, hours=9.9),))
    assert see(nearly_done) == ()
    never_saved = replace(on, progress={"x": Progress(1, NOW - timedelta(hours=6))})
    assert see(never_saved) == (), "six hours of work again cost more"


def test_egress_counts() -> None:
    prices = PriceBook({("b", "*"): Price(1.0)}, default=Price(2.0), transfers=Transfers())
    on = world([runs("x", 8)], prices, a=[gpu_node("n1", free=0)], b=[gpu_node("m1", free=8)])
    on = replace(on, clusters={**on.clusters, "b": replace(on.clusters["b"], region="us")})
    reading = replace(on.reservations[0].workload, data=(DataUse("big"),))
    on = replace(
        on,
        reservations=(replace(on.reservations[0], workload=reading),),
        data=DataCatalog({"big": Dataset("big", 50 * 10**12, (Replica("eu"),))}),
    )
    assert see(on) == ()


def test_whole_nodes_come_back() -> None:
    """A small job alone on a node fits beside another one."""
    on = world([runs("x", 1), runs("y", 4)], a=[gpu_node("n1", free=7), gpu_node("n2", free=4)])
    on = replace(on, progress={**on.progress, "x": told("x", "n1"), "y": told("y", "n2")})
    (whole,) = see(on)
    assert (whole.aim, whole.whole_nodes, whole.cluster) == (Aim.WHOLE_NODES, 1, "a")
    assert [step.job for step in whole.steps] == ["x"]


def test_ids_are_the_same_for_the_same_moves() -> None:
    on = world([runs("x", 1), runs("y", 4)], a=[gpu_node("n1", free=7), gpu_node("n2", free=4)])
    later = propose(on, [], NOW + timedelta(minutes=5))
    assert [one.id for one in see(on)] == [one.id for one in later]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([1, 2, 4, 8]), st.floats(0.1, 9)), max_size=7),
    st.integers(1, 3),
    st.sampled_from([(4, 1), (8, 1), (8, 2)]),
)
def test_proposals_win_more_than_they_cost_and_can_be_carried_out(
    given_: list[tuple[str, int, float]], nodes: int, asked: tuple[int, int]
) -> None:
    left = {"a": [8] * nodes, "b": [8] * nodes}
    held = []
    for number, (on, gpus, hours) in enumerate(given_):
        node = next((i for i, free in enumerate(left[on]) if free >= gpus), None)
        if node is not None:
            left[on][node] -= gpus
            held.append(runs(f"x{number}", gpus, on, hours=hours))
    prices = PriceBook({("b", "*"): Price(1.2)}, default=Price(2.0))
    made = {name: [gpu_node(f"{name}{i}", free=free) for i, free in enumerate(each)] for name, each in left.items()}
    fleet_ = world(held, prices, **made)
    found = see(fleet_, gang(*asked))
    assert [one.net_usd for one in found] == sorted((one.net_usd for one in found), reverse=True)
    assert len({one.id for one in found}) == len(found)
    running = {one.job for one in held}
    for one in found:
        assert one.net_usd > 0
        assert len({step.job for step in one.steps}) == len(one.steps)
        assert {step.job for step in one.steps} <= running
        assert all(step.usd >= 0 for step in one.steps)
        _holds(fleet_, one, gang(*asked))


def _holds(on: Fleet, one: Proposal, asked: Workload) -> None:
    """By amount, in every cluster: what comes is not more than what is free and what goes."""
    free = {name: each.summary.gpus_free for name, each in on.clusters.items() if each.summary is not None}
    for step in one.steps:
        free[step.source] += int(step.gpus)
        free[step.target] -= int(step.gpus)
    if one.aim is Aim.MAKE_ROOM:
        free[one.cluster] -= asked.total_gpus
        summary = on.clusters[one.cluster].summary
        assert summary is not None
        assert not isinstance(Capacity.of(one.cluster, summary).fit(asked), Fit), "it had to wait"
    assert min(free.values()) >= 0


DEAR_A = PriceBook({("a", "*"): Price(4.0), ("b", "*"): Price(1.0)})


def test_nobody_is_moved_into_room_that_is_promised() -> None:
    held = [runs("x", 8, usd=4.0), runs("leaves", 4, on="b", usd=1.0)]
    on = world(held, DEAR_A, a=[gpu_node("a0", free=0)], b=[gpu_node("b0", free=4), gpu_node("b1")])
    on = replace(on, leaving={"leaves": Leaving(1, "j-0")})
    job = pending("j-0", gang(8))
    made = Waiting((NoClusters(),), room=RoomMade("b", NOW, ("leaves",)))
    assert [one.steps[0].target for one in propose(on, [], NOW)] == ["b"]
    assert [one.steps[0].target for one in propose(on, [(job, Decision("j-0", 1, made, ()))], NOW)] == ["b"]
    two = pending("j-1", gang(8))
    waiting = [(job, Decision("j-0", 1, made, ())), (two, Decision("j-1", 1, made, ()))]
    assert propose(on, waiting, NOW) == ()


def test_nobody_is_moved_to_a_public_cluster_that_he_would_have_to_wait_for() -> None:
    held = [runs("x", 8, usd=4.0)]
    on = world(held, replace(DEAR_A, public=frozenset("b")), a=[gpu_node("a0", free=0)], b=[gpu_node("b0")])
    assert [one.steps[0].target for one in propose(on, [], NOW)] == ["b"]
    patient = replace(on, queues=QueueTree.of([Queue("default", burst_after_hours=1.0)]))
    assert propose(patient, [], NOW) == ()


def test_who_would_wait_for_a_rack_again_is_moved_to_one() -> None:
    asked = workload(
        role(replicas=2, gpus=8), preferred="rack", hints=Hints(expected_hours=10.0, wait_for_locality_hours=2.0)
    )
    held = [replace(runs("x", 16, usd=4.0), workload=asked)]
    full = [gpu_node("a0", "r1", free=0), gpu_node("a1", "r1", free=0)]
    apart, together = ([gpu_node("b0", "r1"), gpu_node("b1", rack)] for rack in ("r2", "r1"))
    assert propose(world(held, DEAR_A, a=full, b=apart), [], NOW) == ()
    assert [one.steps[0].target for one in propose(world(held, DEAR_A, a=full, b=together), [], NOW)] == ["b"]


def test_nobody_is_moved_to_cards_that_his_queue_has_no_quota_for() -> None:
    on = world([runs("x", 8, usd=4.0)], DEAR_A, a=[gpu_node("a0", free=0)], b=[gpu_node("b0", product=H100)])
    for amount, targets in ((8.0, ["b"]), (4.0, [])):
        quotas = {A100: Quota(8.0), H100: Quota(amount)}
        limited = replace(on, queues=QueueTree.of([Queue("default", quotas=quotas)]))
        assert [one.steps[0].target for one in propose(limited, [], NOW)] == targets
