"""Elastic jobs give up what they can do without before anybody is evicted, and no more than is needed."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from placement.elastic import growing
from placement.elastic.shrinking import part_of
from placement.elastic.sizes import fewer, pods_of, with_pods
from placement.fleet import Fleet, PendingJob, Reservation
from placement.planner import Planner, plan
from placement.preemption import invariants
from placement.verdict import Placed, Plan, Shrink, Waiting
from placement.workload import Hints, Sizes, Workload
from tests.placement.preemption.test_preempting import gang, runs, world
from tests.placement.worlds import A100, NOW, pending


def elastic(pods: int, least: int, most: int, gpus: int = 1, **hints: object) -> Workload:
    made = gang(gpus, pods, **hints)
    (role,) = made.roles
    role = replace(role, minimum=least, maximum=most, sizes=Sizes(least, most))
    return replace(made, roles=(role,), min_pods=least)


def able(on: Fleet) -> Fleet:
    """With spokes that can change sizes."""
    clusters = {
        name: replace(one, summary=replace(one.summary, resizes=True) if one.summary else None)
        for name, one in on.clusters.items()
    }
    return replace(on, clusters=clusters)


def decide(on: Fleet, *asked: Workload) -> Plan:
    jobs = [pending(f"j-{i}", one, minutes=i) for i, one in enumerate(asked)]
    found = plan(on, jobs, NOW)
    assert invariants.check_shrinks(found, on) == ()
    assert invariants.check(found, on) == ()
    assert Planner().plan(on, jobs, NOW) == found
    return found


def asked_of(found: Plan) -> dict[str, int]:
    return {one.job: sum(one.pods.values()) for one in found.shrinks}


def test_the_fewest_pods_of_the_least_important_are_asked_back() -> None:
    on = able(world(runs("vip", elastic(8, 1, 8, priority=3)), runs("low", elastic(8, 2, 8))))
    found = decide(on, gang(4, priority=5))
    assert asked_of(found) == {"low": 4}
    assert found.evictions == ()
    verdict = found.decisions[0].verdict
    assert isinstance(verdict, Waiting)
    assert verdict.room is not None
    assert (verdict.room.shrinking, verdict.room.victims) == (("low",), ())
    assert asked_of(decide(on, gang(1, pods=8, priority=5))) == {"low": 2, "vip": 6}


def test_where_that_is_not_enough_others_are_evicted() -> None:
    on = able(world(runs("train", elastic(8, 7, 8), hours=3), runs("whole", gang(8))))
    found = decide(on, gang(8, priority=5))
    assert found.shrinks == ()
    assert [one.job for one in found.evictions] == ["whole"]


def test_nobody_gives_way_to_less_important_jobs_nor_where_the_spoke_cannot() -> None:
    held = runs("train", elastic(16, 2, 16, priority=2))
    assert decide(able(world(held)), gang(8, priority=1)).shrinks == ()
    assert asked_of(decide(able(world(held)), gang(8, priority=2))) == {"train": 8}
    assert decide(world(held), gang(8, priority=2)).shrinks == ()


def test_one_whose_size_is_being_changed_is_left_alone() -> None:
    held = replace(runs("train", elastic(16, 2, 16)), settles=True)
    assert decide(able(world(held)), gang(8)).shrinks == ()


def test_the_checker_sees_what_is_wrong() -> None:
    held = runs("train", elastic(16, 8, 16))
    on = able(world(held))
    found = decide(on, gang(4))
    (right,) = found.shrinks
    for wrong, said in [
        (replace(right, pods={"r": 7}), "7 pods are left, it needs 8"),
        (replace(right, cluster="b"), "it holds nothing on b"),
        (replace(right, epoch=2), "it holds nothing on a"),
        (replace(right, for_job="j-9"), "does not wait for it"),
    ]:
        pods = dict(zip(pods_of(held.workload), wrong.pods.values(), strict=True))
        (fault, *_) = invariants.check_shrinks(replace(found, shrinks=(replace(wrong, pods=pods),)), on)
        assert said in fault
    twice = replace(found, shrinks=(right, right))
    assert any("twice" in fault for fault in invariants.check_shrinks(twice, on))
    assert invariants.sound_shrinks(twice, on) == ()


def test_what_it_gives_up_is_its_part() -> None:
    held = runs("train", elastic(8, 2, 8))
    part = part_of(held, fewer(held.workload, 2))
    assert (part.workload.pods, part.uses, part.usd_per_hour) == (2, ((A100, 2.0),), 4.0)


GANGS = st.builds(
    lambda gpus, pods, priority: gang(gpus, pods, priority=priority),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 3),
    st.integers(0, 2),
)


@st.composite
def elastics(draw: st.DrawFn) -> Workload:
    least = draw(st.integers(1, 3))
    pods = least + draw(st.integers(0, 6))
    return elastic(
        pods, least, pods + draw(st.integers(0, 4)), draw(st.sampled_from([1, 1, 2])), priority=draw(st.integers(0, 2))
    )


@st.composite
def busy(draw: st.DrawFn) -> Fleet:
    held: list[Reservation] = []
    nodes = {name: draw(st.integers(1, 3)) for name in draw(st.sampled_from(["a", "ab"]))}
    for name, count in nodes.items():
        left = count * 8
        for number in range(draw(st.integers(0, 5))):
            asked = draw(st.one_of(elastics(), GANGS))
            if asked.total_gpus <= left:
                left -= asked.total_gpus
                held.append(runs(f"{name}{number}", asked, on=name))
    return able(world(*held, nodes=nodes, counted=False))


def _smaller(on: Fleet, shrinks: tuple[Shrink, ...]) -> Fleet:
    pods = {one.job: one.pods for one in shrinks}
    held = tuple(replace(one, workload=with_pods(one.workload, pods.get(one.job, {}))) for one in on.reservations)
    return replace(on, reservations=held)


@settings(max_examples=150, deadline=None)
@given(busy(), GANGS)
def test_shrinks_are_sound_enough_and_no_more_than_needed(on: Fleet, asked: Workload) -> None:
    job = pending("j-0", asked)
    found = plan(on, [job], NOW)
    assert invariants.check_shrinks(found, on) == ()
    if not found.shrinks:
        return
    assert found.evictions == ()
    where = replace(asked, hints=replace(asked.hints, clusters=(found.shrinks[0].cluster,)))

    def is_placed(shrinks: tuple[Shrink, ...]) -> bool:
        (decision,) = plan(_smaller(on, shrinks), [replace(job, workload=where)], NOW).decisions
        return isinstance(decision.verdict, Placed)

    if asked.total_gpus > asked.pods:
        return  # on which nodes the pods are that go is guessed: more may be needed then, or fewer
    assert is_placed(found.shrinks)
    for number, one in enumerate(found.shrinks):
        (name,) = one.pods
        kept = replace(one, pods={name: one.pods[name] + 1})
        assert not is_placed((*found.shrinks[:number], kept, *found.shrinks[number + 1 :]))


# ---- growing ----


def grown(on: Fleet, *waiting: Workload) -> dict[str, int]:
    planner = Planner()
    jobs = [pending(f"j-{i}", one, minutes=i) for i, one in enumerate(waiting)]
    decisions = planner.plan(on, jobs, NOW).decisions if jobs else ()
    found = growing.grow(planner.plan, on, on.reservations, decisions, NOW)
    return {one.held.job: one.target.pods for one in found}


def test_all_grow_those_first_that_have_least_of_what_they_could_use() -> None:
    on = able(world(runs("half", elastic(4, 1, 8)), runs("most", elastic(7, 1, 8)), nodes={"a": 2}))
    assert grown(on) == {"half": 8, "most": 8}
    assert grown(able(world(runs("half", elastic(4, 1, 8)), runs("most", elastic(7, 1, 9)), nodes={"a": 2}))) == {
        "half": 8,
        "most": 8,
    }


def test_a_gang_in_one_rack_and_one_that_was_just_changed_keep_their_size() -> None:
    (role,) = elastic(4, 1, 8).roles
    near = replace(gang(1, 4, required="rack"), roles=(role,), min_pods=1)
    assert grown(able(world(runs("near", near)))) == {}
    assert grown(able(world(runs("young", elastic(4, 1, 8), hours=0.01)))) == {}
    assert grown(world(runs("old spoke", elastic(4, 1, 8)))) == {}


def test_nothing_grows_where_somebody_waits_for_room() -> None:
    on = able(world(runs("train", elastic(4, 4, 16, priority=9))))
    assert grown(on, gang(8, pods=2)) == {}
    never = replace(gang(8, pods=2), hints=Hints(clusters=("elsewhere",)))
    assert grown(on, never) == {"train": 16}


@settings(max_examples=100, deadline=None)
@given(busy(), st.lists(GANGS, max_size=2))
def test_what_grows_fits_and_takes_nobodys_place(on: Fleet, asked: list[Workload]) -> None:
    planner = Planner()
    jobs = [PendingJob(f"j-{i}", 1, one, "t", NOW) for i, one in enumerate(asked)]
    decisions = planner.plan(on, jobs, NOW).decisions
    placed = tuple(one.verdict.reservation for one in decisions if isinstance(one.verdict, Placed))
    on = replace(on, reservations=on.reservations + placed)
    found = growing.grow(planner.plan, on, on.reservations, decisions, NOW)
    for one in found:
        assert pods_of(one.target).keys() == pods_of(one.held.workload).keys()
        assert one.held.workload.pods < one.target.pods <= sum(r.sizes.most for r in one.target.roles if r.sizes)
    for name, cluster in on.clusters.items():
        assert cluster.summary is not None
        more = {one.held.job: one.target.total_gpus for one in found}
        used = sum(more.get(one.job, one.workload.total_gpus) for one in on.reservations if one.cluster == name)
        assert used <= cluster.summary.gpus_total
