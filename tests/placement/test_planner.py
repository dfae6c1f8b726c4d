from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement import topology
from placement.fleet import Cluster, Fleet, Health, PendingJob, Reservation
from placement.invariants import check
from placement.inventory import Node
from placement.money import Price, PriceBook
from placement.planner import Planner, plan, plan_fully
from placement.verdict import (
    Decision,
    DeviceMissing,
    ExpectedStart,
    NoClusters,
    NotAllowed,
    Placed,
    RefusedBySpoke,
    Rejected,
    ResourcesShort,
    TopologyShort,
    Waiting,
)
from placement.workload import Hints, IfTooLarge, Workload
from tests.placement.worlds import (
    A100,
    H100,
    NOW,
    after,
    cluster,
    fleet,
    fleets,
    gpu_node,
    node_lists,
    pending,
    pods_of,
    queues,
    role,
    summary_of,
    workload,
    workloads,
)


@given(fleets(), queues())
@settings(max_examples=150, deadline=None)
def test_no_plan_breaks_an_invariant(world: Fleet, jobs: list[PendingJob]) -> None:
    assert check(plan(world, jobs, NOW), world) == ()


@given(fleets(), queues(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_in_which_jobs_and_clusters_are_given_does_not_matter(
    world: Fleet, jobs: list[PendingJob], random: object
) -> None:
    shuffled, names = jobs[:], list(world.clusters)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Random
    random.shuffle(names)  # type: ignore[attr-defined]  # Random
    other = replace(world, clusters={name: world.clusters[name] for name in names})
    assert plan(other, shuffled, NOW) == plan(world, jobs, NOW)


@given(fleets(), st.lists(queues(), min_size=2, max_size=4), st.data())
@settings(max_examples=100, deadline=None)
def test_a_planner_that_remembers_answers_what_a_fresh_one_does(
    world: Fleet, cycles: list[list[PendingJob]], data: st.DataObject
) -> None:
    planner = Planner()
    for number, jobs in enumerate(cycles):
        named = [replace(job, job=f"{number}-{job.job}") for job in jobs]
        decided = planner.plan(world, named, NOW)
        assert decided == plan(world, named, NOW)
        world = data.draw(next_worlds(world, placed(decided.decisions)))


@given(fleets(), queues())
@settings(max_examples=150, deadline=None)
def test_clusters_that_are_not_asked_would_not_have_been_chosen(world: Fleet, jobs: list[PendingJob]) -> None:
    few, all_ = plan(world, jobs, NOW).decisions, plan_fully(world, jobs, NOW).decisions
    assert [one.verdict for one in few] == [one.verdict for one in all_]
    for one, other in zip(few, all_, strict=True):
        assert not any(candidate.at_least for candidate in other.candidates)
        for asked, known in zip(one.candidates, other.candidates, strict=True):
            if not asked.at_least:
                assert asked == known
            elif asked.score and known.score:
                assert asked.score.total_usd <= known.score.total_usd + 1e-6


@st.composite
def next_worlds(draw: st.DrawFn, world: Fleet, made: list[Reservation]) -> Fleet:
    """What the next cycle may see: reservations kept or gone, a cluster changed or not, other prices or the same."""
    reservations = [r for r in (*world.reservations, *made) if draw(st.integers(0, 4))]
    clusters = dict(world.clusters)
    name = draw(st.sampled_from(sorted(clusters)))
    change = draw(st.sampled_from(["none", "cordon", "health", "summary", "counted", "gone"]))
    clusters[name] = _changed(clusters[name], change, draw)
    if change == "gone" and len(clusters) > 1:
        del clusters[name]
        reservations = [r for r in reservations if r.cluster != name]
    prices = draw(st.sampled_from([world.prices, PriceBook({("a", "*"): Price(9.0)})]))
    return replace(world, clusters=clusters, reservations=tuple(reservations), prices=prices)


def _changed(known: Cluster, change: str, draw: st.DrawFn) -> Cluster:
    if change == "cordon":
        return replace(known, cordoned=not known.cordoned)
    if change == "health":
        return replace(known, health=Health.LOST if known.health is Health.READY else Health.READY)
    if change == "summary":
        return replace(known, summary=summary_of(draw(node_lists(max_nodes=5))))
    if change == "counted" and known.summary:
        return replace(known, summary=replace(known.summary, counted=frozenset({("held-0", 1), ("0-j-0", 1)})))
    return known


def placed(decisions: tuple[Decision, ...]) -> list[Reservation]:
    return [d.verdict.reservation for d in decisions if isinstance(d.verdict, Placed)]


# ---- examples ----


def decide(world: Fleet, *asked: Workload) -> tuple[Decision, ...]:
    return plan(world, [pending(f"j-{i}", one, minutes=i) for i, one in enumerate(asked)], NOW).decisions


def where(decisions: tuple[Decision, ...]) -> list[str]:
    return [d.verdict.cluster if isinstance(d.verdict, Placed) else "-" for d in decisions]


def nodes(count: int, *, rack: str = "r1", free: int = 8) -> list[Node]:
    return [gpu_node(f"{rack}n{i}", rack, free=free) for i in range(count)]


CHEAP_B = PriceBook({("a", "*"): Price(2.0), ("b", "*"): Price(1.0)})


def test_the_cheapest_cluster_wins_until_it_is_full_and_ties_go_by_name() -> None:
    world = fleet(cluster("a", nodes(1)), cluster("b", nodes(1)), prices=CHEAP_B)
    assert where(decide(world, *[workload(role(gpus=8))] * 3)) == ["b", "a", "-"]
    world = fleet(cluster("b", nodes(1)), cluster("a", nodes(1)))
    assert where(decide(world, workload(role(gpus=8)))) == ["a"]


def test_every_decision_carries_a_candidate_for_every_cluster() -> None:
    world = fleet(cluster("a", nodes(2)), cluster("b", nodes(1)), cluster("c", cordoned=True))
    (decision,) = decide(world, workload(role(replicas=2, gpus=8), required="rack"))
    assert [(c.cluster, c.feasible, c.domain) for c in decision.candidates] == [
        ("a", True, "rack r1"),
        ("b", False, ""),
        ("c", False, ""),
    ]


def test_a_gang_at_the_head_that_does_not_fit_holds_nobody_up() -> None:
    world = fleet(cluster("a", nodes(2)))
    assert where(decide(world, workload(role(replicas=3, gpus=8)), workload(role(gpus=8)))) == ["-", "a"]


def test_two_gangs_for_the_last_gpus_one_goes_whole_and_one_waits_whole() -> None:
    world = fleet(cluster("a", nodes(4)))
    first, second = decide(world, *[workload(role(replicas=3, gpus=8))] * 2)
    assert isinstance(first.verdict, Placed)
    assert second.verdict == Waiting(
        (ResourcesShort("a", "nvidia.com/gpu", 24, 8, 1, 3, ever=True),),
        ExpectedStart("a", NOW + timedelta(hours=1), ("j-0",)),
    )


def test_enough_in_sum_but_not_in_the_rack_is_refused_there_and_placed_elsewhere() -> None:
    scattered = [*nodes(2, rack="r1"), *nodes(2, rack="r2")]
    world = fleet(cluster("a", scattered), cluster("b", nodes(4)), prices=PriceBook({("b", "*"): Price(9.0)}))
    (decision,) = decide(world, workload(role(replicas=4, gpus=8), required="rack"))
    assert where((decision,)) == ["b"]
    assert decision.candidates[0].reasons == (TopologyShort("a", "rack", 4, 2, 32, 32, ever=False),)


def test_what_is_reserved_and_not_counted_yet_is_not_given_again() -> None:
    one = workload(role(gpus=8))
    held = Reservation("j-9", 3, "a", one)
    made = cluster("a", nodes(1))
    assert where(decide(fleet(made, reservations=[held]), one)) == ["-"]
    counted = replace(made, summary=summary_of(nodes(1), counted=frozenset({("j-9", 3)})))
    assert where(decide(fleet(counted, reservations=[held]), one)) == ["a"]
    older = replace(made, summary=summary_of(nodes(1), counted=frozenset({("j-9", 2)})))
    assert where(decide(fleet(older, reservations=[held]), one)) == ["-"]


def test_a_spoke_that_refused_is_not_asked_again() -> None:
    world = fleet(cluster("a", nodes(1)), cluster("b", nodes(1)), prices=CHEAP_B)
    job = pending("j-0", workload(role(gpus=8)), refused_by={"b": "no room after all"})
    (decision,) = plan(world, [job], NOW).decisions
    assert where((decision,)) == ["a"]
    assert decision.candidates[1].reasons == (RefusedBySpoke("b", "no room after all"),)


def test_without_clusters_everything_waits() -> None:
    (decision,) = decide(fleet(), workload(role()))
    assert decision.verdict == Waiting((NoClusters(),))


def test_what_no_cluster_could_ever_hold_is_rejected_only_if_asked_so() -> None:
    world = fleet(cluster("a", nodes(2)), cluster("b", nodes(1), cordoned=True))
    reject = Hints(if_too_large=IfTooLarge.REJECT)
    too_large, busy, unknown = role(replicas=9, gpus=8), role(replicas=2, gpus=8), role(gpus=1, product=H100)
    assert isinstance(decide(world, workload(too_large))[0].verdict, Waiting)
    assert isinstance(decide(world, workload(too_large, hints=reject))[0].verdict, Rejected)
    verdict = decide(world, workload(unknown, hints=reject))[0].verdict
    assert isinstance(verdict, Rejected)
    assert any(isinstance(reason, DeviceMissing) for reason in verdict.reasons)
    full = fleet(cluster("a", nodes(2, free=0)))
    assert isinstance(decide(full, workload(busy, hints=reject))[0].verdict, Waiting)
    joining = fleet(cluster("a", nodes(2)), cluster("new", summary=None, health=Health.JOINING))
    assert isinstance(decide(joining, workload(too_large, hints=reject))[0].verdict, Waiting)


def test_a_job_for_a_cluster_that_has_not_joined_waits_for_it() -> None:
    hints = Hints(clusters=("later",), if_too_large=IfTooLarge.REJECT)
    (decision,) = decide(fleet(cluster("a", nodes(1))), workload(role(gpus=8), hints=hints))
    assert decision.verdict == Waiting((NotAllowed("a", "clusters (later)"),))


def test_a_job_for_a_region_without_clusters_waits_for_one() -> None:
    hints = Hints(regions=("us",), if_too_large=IfTooLarge.REJECT)
    assert isinstance(decide(fleet(cluster("a", nodes(1))), workload(role(gpus=99), hints=hints))[0].verdict, Waiting)


def test_the_reservation_says_whether_it_is_spot() -> None:
    world = fleet(cluster("a", nodes(1)), prices=PriceBook({("a", "*"): Price(2.0, 0.5)}))
    (decision,) = decide(world, workload(role(gpus=8), hints=Hints(tolerates_spot=True)))
    assert isinstance(decision.verdict, Placed)
    assert decision.verdict.reservation == Reservation(
        "j-0",
        1,
        "a",
        workload(role(gpus=8), hints=Hints(tolerates_spot=True)),
        spot=True,
        uses=((A100, 8.0),),
        usd_per_hour=4.0,
        since=NOW,
    )


def test_equal_jobs_share_one_answer_and_different_prices_or_hours_do_not() -> None:
    world = fleet(cluster("a", nodes(1)))
    short, long = (workload(role(gpus=1), hints=Hints(expected_hours=hours)) for hours in (1, 10))
    first, second = decide(world, short, long)
    assert isinstance(first.verdict, Placed)
    assert isinstance(second.verdict, Placed)
    assert second.verdict.score.terms["gpu"] == 10 * first.verdict.score.terms["gpu"]


@given(node_lists(max_nodes=8), st.lists(workloads(whole=True), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_what_a_cycle_places_on_a_cluster_its_spoke_can_bind_in_that_order(
    have: list[Node], asked: list[Workload]
) -> None:
    for decision in decide(fleet(cluster("a", have)), *asked):
        if isinstance(decision.verdict, Placed):
            one = decision.verdict.reservation.workload
            answer = topology.assign(have, pods_of(one), one)
            assert isinstance(answer, topology.Assignment)
            have = after(have, answer, one)


def test_a_cluster_that_costs_more_than_what_was_found_is_not_asked_for_room() -> None:
    dear, cheap = cluster("a", nodes(2)), cluster("b", nodes(2))
    book = PriceBook({("a", "*"): Price(3.0), ("b", "*"): Price(1.0)})
    [made] = decide(Fleet({"a": dear, "b": cheap}, (), book), workload(role(replicas=1, gpus=8)))
    assert where((made,)) == ["b"]
    told = {one.cluster: one for one in made.candidates}
    assert told["a"].at_least
    assert told["a"].score is not None
    assert told["a"].score.terms["gpu"] == 3 * told["b"].score.terms["gpu"]  # type: ignore[union-attr]  # it is chosen
    assert not told["b"].at_least


def test_a_cycle_that_fails_is_no_reason_to_believe_what_was_before_it() -> None:
    asked, planner = workload(role(gpus=8)), Planner()
    held = Reservation("x", 1, "a", asked)
    made = fleet(cluster("a", nodes(1)), cluster("b", nodes(0)), reservations=[held])
    assert where(planner.plan(made, [pending("j-0", asked)], NOW).decisions) == ["-"]
    broken = Reservation("y", 1, "b", replace(asked, roles=None))  # type: ignore[arg-type]  # it is broken
    with pytest.raises(TypeError):
        planner.plan(replace(made, reservations=(broken,)), [pending("j-0", asked)], NOW)
    assert where(planner.plan(replace(made, reservations=()), [pending("j-0", asked)], NOW).decisions) == ["a"]
