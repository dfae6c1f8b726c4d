"""Every kind of violation is found: each test breaks one thing in a plan or an assignment that is sound."""

from dataclasses import replace

import pytest

from placement.assignment import Assignment, NodeAssignment, PodToPlace
from placement.fleet import Fleet, Health, Reservation
from placement.invariants import check, check_assignment
from placement.inventory import Node, Taint
from placement.planner import plan
from placement.queues.reasons import GaveUp
from placement.queues.tree import Queue, QueueTree, Quota
from placement.resources import Resources
from placement.verdict import (
    Candidate,
    ClusterNotReady,
    Decision,
    ExpectedStart,
    Placed,
    Plan,
    Rejected,
    Score,
    Waiting,
)
from placement.workload import Hints, SliceRequest, TopologyMode, TopologyRequest, Workload
from tests.placement.worlds import (
    A100,
    GPU,
    NOW,
    cluster,
    fleet,
    gpu_node,
    pending,
    role,
    selecting,
    shared_node,
    workload,
)

ASKED = workload(role(gpus=8))
A, B = cluster("a", [gpu_node("n")]), cluster("b", [gpu_node("n")])
WORLD = fleet(A, B)
SOUND = plan(WORLD, [pending("j-0", ASKED)], NOW)
DECISION = SOUND.decisions[0]


def changed(**changes: object) -> Plan:
    return Plan((replace(DECISION, **changes),))  # type: ignore[arg-type]  # names are Decision's own


def placed(
    on: str = "a", *, asked: Workload = ASKED, job: str = "j-0", usd: float = 16.0, spot: bool = False
) -> Decision:
    score = Score({"gpu": usd})
    candidates = tuple(Candidate(name, (), score) for name in ("a", "b"))
    uses = ((A100, float(asked.total_gpus)),)
    return Decision(job, 1, Placed(Reservation(job, 1, on, asked, spot, uses, usd, NOW), score), candidates)


def found_in(broken: Plan, world: Fleet = WORLD) -> str:
    return "\n".join(check(broken, world))


def test_a_sound_plan_has_no_violation() -> None:
    assert check(SOUND, WORLD) == ()
    assert check(Plan((placed("a"), placed("b", job="j-1"))), WORLD) == ()


def test_a_job_decided_twice_or_placed_while_it_lives() -> None:
    assert "job j-0 is decided 2 times" in found_in(Plan((DECISION, DECISION)))
    world = replace(WORLD, reservations=(Reservation("j-0", 1, "b", workload(role())),))
    assert "placed again while it holds capacity on b" in found_in(Plan((placed("a"),)), world)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"health": Health.LOST}, "a is lost"),
        ({"cordoned": True}, "a is cordoned"),
        ({"summary": None}, "a has not reported"),
    ],
)
def test_a_cluster_that_takes_nothing(change: dict[str, object], said: str) -> None:
    assert said in found_in(Plan((placed("a"),)), fleet(replace(A, **change), B))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hints", "said"),
    [
        (Hints(clusters=("b",)), "not among the clusters it allows"),
        (Hints(excluded_clusters=("a",)), "not among the clusters it allows"),
        (Hints(regions=("us",)), "a is in eu"),
    ],
)
def test_a_cluster_that_the_job_leaves_out(hints: Hints, said: str) -> None:
    assert said in found_in(Plan((placed("a", asked=replace(ASKED, hints=hints)),)))


def test_a_kind_not_served_a_cluster_unknown_and_spot_unwanted() -> None:
    assert "a does not serve v1/X" in found_in(Plan((placed("a", asked=replace(ASKED, kind="X")),)))
    assert "does not exist" in found_in(Plan((placed("z"),)))
    assert "on spot, which it does not tolerate" in found_in(Plan((placed("a", spot=True),)))


def test_more_promised_than_there_is() -> None:
    twice = Plan((placed("a"), placed("a", job="j-1")))
    assert "a: 16 of nvidia.com/gpu promised, 8 were there" in found_in(twice)
    world = replace(WORLD, reservations=(Reservation("old", 1, "a", workload(role(gpus=4))),))
    assert "a: 8 of nvidia.com/gpu promised, 4 were there" in found_in(Plan((placed("a"),)), world)
    counted = replace(A, summary=replace(A.summary, counted=frozenset({("old", 1)})))  # type: ignore[type-var]
    assert found_in(Plan((placed("a"),)), replace(world, clusters={"a": counted, "b": B})) == ""


def test_more_of_one_product_than_there_is() -> None:
    asked = workload(role(gpus=8, product="Tesla-T4"))
    assert "8 of nvidia.com/gpu Tesla-T4 promised, 0 were there" in found_in(Plan((placed("a", asked=asked),)))


def test_candidates_that_do_not_bear_the_verdict_out() -> None:
    reasons = (ClusterNotReady("a", "lost"),)
    b = DECISION.candidates[1]
    assert "its candidates are" in found_in(changed(candidates=DECISION.candidates[:1]))
    assert "candidate a has no score" in found_in(changed(candidates=(Candidate("a"), b)))
    assert "has reasons and a score" in found_in(changed(candidates=(Candidate("a", reasons, b.score), b)))
    assert "which is no feasible candidate" in found_in(changed(candidates=(Candidate("a", reasons), b)))
    assert "costs" in found_in(changed(candidates=(DECISION.candidates[0], replace(b, score=Score({"gpu": 1.0})))))
    verdict = DECISION.verdict
    assert isinstance(verdict, Placed)
    assert "its score is" in found_in(changed(verdict=replace(verdict, score=Score({"gpu": 1.0}))))
    assert "its reservation is for" in found_in(changed(job="j-7"))


def test_a_refusal_against_its_candidates() -> None:
    reasons = (ClusterNotReady("a", "lost"),)
    out = (Candidate("a", reasons), Candidate("b", (ClusterNotReady("b", "lost"),)))
    assert "not placed though a candidate is feasible" in found_in(changed(verdict=Waiting(reasons)))
    assert "refused without a reason" in found_in(changed(verdict=Rejected(()), candidates=out))
    assert "not those of its candidates" in found_in(changed(verdict=Waiting(reasons), candidates=out))


def test_given_up_is_a_rejection_of_its_own() -> None:
    gave_up, reasons = GaveUp(5.0, 5.0), (ClusterNotReady("a", "lost"), ClusterNotReady("b", "lost"))
    out = tuple(Candidate(reason.cluster, (reason,)) for reason in reasons)
    assert found_in(changed(verdict=Rejected((gave_up, *reasons)), candidates=out)) == ""
    assert "it waits though it was given up" in found_in(changed(verdict=Waiting((gave_up, *reasons)), candidates=out))


# ---- queues ----


def of(queue: str, *queues: Queue, gpus: int = 8) -> str:
    asked = workload(role(gpus=gpus), hints=Hints(queue=queue))
    return found_in(Plan((placed("a", asked=asked),)), replace(WORLD, queues=QueueTree.of(queues)))


def test_a_queue_beyond_its_quota_or_a_root_beyond_its_tree() -> None:
    assert "queue a and its parts use 8 *, they have 7" in of("a", Queue("a", quotas={"*": Quota(7)}))
    assert of("a", Queue("a", quotas={"*": Quota(8)})) == ""
    lender = Queue("b", "o", {A100: Quota(9)})
    assert "it has 4 and may borrow 3" in of("a", Queue("o"), lender, Queue("a", "o", {A100: Quota(4, 3)}))
    assert of("a", Queue("o"), lender, Queue("a", "o", {A100: Quota(4, 4)})) == ""
    keeper = Queue("b", "o", {A100: Quota(9, None, 3)})
    assert "queue o and its parts use 8" in of("a", Queue("o"), keeper, Queue("a", "o", {A100: Quota(4)}))


def test_a_queue_that_takes_no_jobs() -> None:
    assert "placed from queue a, which does not exist" in of("a", Queue("b"))
    assert "placed from a, which is a cohort" in of("a", Queue("a"), Queue("b", "a"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"since": None}, "is placed at no time"),
        ({"uses": ((A100, 7.0),)}, "is counted as 7 GPUs, it asks for 8"),
        ({"uses": ((A100, 9.0), ("cpu", -1.0), ("", -1.0))}, "uses less than nothing"),
    ],
)
def test_a_reservation_that_does_not_say_what_it_takes(change: dict[str, object], said: str) -> None:
    verdict = DECISION.verdict
    assert isinstance(verdict, Placed)
    held = replace(verdict.reservation, **change)  # type: ignore[arg-type]  # names are Reservation's own
    assert said in found_in(changed(verdict=replace(verdict, reservation=held)))


def test_a_reserved_start() -> None:
    world = replace(WORLD, reservations=(Reservation("old", 1, "a", ASKED, since=NOW),))
    reasons = (ClusterNotReady("a", "lost"), ClusterNotReady("b", "lost"))
    out = tuple(Candidate(reason.cluster, (reason,)) for reason in reasons)

    def said(*starts: ExpectedStart) -> str:
        decisions = [Decision(f"j-{i}", 1, Waiting(reasons, start), out) for i, start in enumerate(starts)]
        return found_in(Plan(tuple(decisions)), world)

    sound = ExpectedStart("a", NOW, ("old",))
    assert said(sound) == ""
    assert "a is kept for 2 jobs at once" in said(sound, sound)
    assert "waits for new, which do not end on a" in said(replace(sound, after=("old", "new")))
    assert "waits for nothing" in said(replace(sound, after=()))
    assert "on z, which has not reported" in said(replace(sound, cluster="z"))


# ---- assignments ----

GANG = workload(role(replicas=2, gpus=2), required="rack")
PODS = [PodToPlace("p0", "worker"), PodToPlace("p1", "worker")]
NODES = [gpu_node("n0", "r0"), gpu_node("n1", "r0"), gpu_node("n2", "r1")]


def on(pod: str, node: str, *gpus: int, role: str = "worker") -> NodeAssignment:
    return NodeAssignment(pod, role, node, gpus)


def problems(*pods: NodeAssignment, nodes: list[Node] = NODES, asked: Workload = GANG) -> str:
    return "\n".join(check_assignment(Assignment(pods), nodes, asked))


def test_a_sound_assignment_has_no_violation() -> None:
    sound = Assignment((on("p0", "n0", 0, 1), on("p1", "n1", 4, 5)))
    assert check_assignment(sound, NODES, GANG, pods=PODS) == ()
    assert check_assignment(sound, NODES, GANG) == ()


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (on("p0", "n1", 0, 1), "pod p0 is assigned 2 times"),
        (on("p1", "n9", 0, 1), "p1 is on n9, which does not exist"),
        (on("p1", "n1", 0, 1, role="chief"), "which the workload has not"),
        (on("p1", "n0", 1, 2), "n0: card 1 is given twice"),
        (on("p1", "n1", 0, 9), "n1: card 9 does not exist"),
        (on("p1", "n1", 0), "n1: p1 has cards (0,), it asks for 2"),
        (on("p1", "n2", 0, 1), "it requires one rack and is in 2"),
    ],
)
def test_one_pod_amiss(second: NodeAssignment, said: str) -> None:
    assert said in problems(on("p0", "n0", 0, 1), second)


def test_a_gang_partly_assigned() -> None:
    part = Assignment((on("p0", "n0", 0, 1),))
    assert "1 pods are assigned, the gang starts with 2" in problems(*part.pods)
    assert "asked for" in check_assignment(part, NODES, GANG, pods=PODS)[0]
    assert check_assignment(part, NODES, GANG, placed=[on("p1", "n1", 0, 1)]) == ()
    assert "is in 2" in check_assignment(part, NODES, GANG, placed=[on("p1", "n2", 0, 1)])[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ready": False}, "it is not ready"),
        ({"taints": (Taint("a", "", "NoExecute"),)}, "it does not admit p1"),
        ({"free": Resources({GPU: 1, "pods": 9})}, "2 of nvidia.com/gpu given, 1 are free"),
        ({"free": Resources({GPU: 2})}, "1 of pods given, 0 are free"),
        ({"gpus": gpu_node("x", free=6).gpus}, "card 1 is given and not free"),
        ({"domains": {}}, "which is in no rack"),
    ],
)
def test_a_node_that_cannot_have_the_pod(change: dict[str, object], said: str) -> None:
    nodes = [NODES[0], replace(NODES[1], **change)]  # type: ignore[arg-type]  # names are Node's own
    assert said in problems(on("p0", "n0", 0, 1), on("p1", "n1", 0, 1), nodes=nodes)


def test_a_sick_card_and_a_constraint() -> None:
    sick = replace(NODES[0], gpus=tuple(replace(gpu, healthy=gpu.index != 1) for gpu in NODES[0].gpus))
    assert "card 1 does not exist or is not healthy" in problems(on("p0", "n0", 0, 1), nodes=[sick])
    picky = workload(role(gpus=2, constraint=selecting("pool", "blue")))
    assert "does not admit p0" in problems(on("p0", "n0", 0, 1), asked=picky)


def test_shares_beyond_their_card() -> None:
    asked = workload(role(replicas=2, share=9))
    nodes = [shared_node("s", [10, 9])]
    assert problems(on("p0", "s", 0), on("p1", "s", 1), nodes=nodes, asked=asked) == ""
    assert "18 of card 0's memory given, 10 are free" in problems(
        on("p0", "s", 0), on("p1", "s", 0), nodes=nodes, asked=asked
    )
    assert "it asks for 1" in problems(on("p0", "s"), on("p1", "s", 1), nodes=nodes, asked=asked)


def test_a_required_host_and_an_unknown_level() -> None:
    asked = workload(role(replicas=2, gpus=2), required="host")
    assert "requires one host and is in 2" in problems(on("p0", "n0", 0, 1), on("p1", "n1", 0, 1), asked=asked)
    asked = workload(role(gpus=2), required="row")
    assert "requires level row, which there is not" in problems(on("p0", "n0", 0, 1), asked=asked)


SLICED = replace(role(replicas=4, gpus=2), slices=SliceRequest(2, "rack"))


def test_a_role_and_a_slice_in_two_domains() -> None:
    near = TopologyRequest("rack", TopologyMode.REQUIRED)
    asked = workload(replace(role(replicas=2, gpus=2), topology=near), role("chief", gpus=2))
    apart = on("c", "n2", 0, 1, role="chief")
    assert problems(on("p0", "n0", 0, 1), on("p1", "n1", 0, 1), apart, asked=asked) == ""
    said = problems(on("p0", "n0", 0, 1), on("p1", "n2", 2, 3), apart, asked=asked)
    assert said == "role worker requires one rack and is in 2"
    sliced = workload(SLICED)
    whole = [on("p-0", "n0", 0, 1), on("p-1", "n1", 0, 1), on("p-2", "n2", 0, 1), on("p-3", "n2", 2, 3)]
    assert problems(*whole, asked=sliced) == ""
    torn = [whole[0], on("p-2", "n1", 0, 1), on("p-1", "n2", 0, 1), whole[3]]
    assert problems(*torn, asked=sliced) == (
        "slice 0 of role worker requires one rack and is in 2\nslice 1 of role worker requires one rack and is in 2"
    )
    numbered = [replace(pod, pod=f"p-{i}-xyz", index=i) for i, pod in enumerate(torn)]
    assert problems(*numbered, asked=sliced) == ""  # the controller's number counts, and not the name


def test_slices_of_pods_that_are_all_alike() -> None:
    asked = workload(SLICED)
    whole = [on("a", "n0", 0, 1), on("b", "n0", 2, 3), on("c", "n2", 0, 1), on("d", "n2", 2, 3)]
    assert problems(*whole, asked=asked) == ""
    torn = [*whole[:2], on("c", "n1", 0, 1), whole[3]]
    assert "in slices of 2 in one rack each, of which 3 would be needed" in problems(*torn, asked=asked)
    bare = [*NODES[:2], replace(NODES[2], domains={})]
    assert "on nodes that are in no rack" in problems(*whole, nodes=bare, asked=asked)
    assert "requires level row" in problems(*whole, asked=workload(replace(SLICED, slices=SliceRequest(2, "row"))))


def test_tiers_and_levels_that_few_clusters_have() -> None:
    pods = on("p0", "n0", 0, 1), on("p1", "n2", 0, 1)
    assert "one rack and is in 2" in problems(*pods, asked=workload(role(replicas=2, gpus=2), required="tier-1"))
    assert problems(*pods, asked=workload(role(replicas=2, gpus=2), required="tier-9")) == ""
    linked = [replace(node, domains={**node.domains, "nvlink": node.name}) for node in NODES]
    asked = workload(role(replicas=2, gpus=2), required="nvlink")
    assert "requires level nvlink, which there is not" in problems(*pods, asked=asked)
    assert "one nvlink and is in 2" in problems(*pods, nodes=linked, asked=asked)
