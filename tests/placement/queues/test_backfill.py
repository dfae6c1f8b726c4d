from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from placement.capacity import Capacity, Fit
from placement.fleet import Fleet, PendingJob, Progress, Reservation
from placement.invariants import check
from placement.planner import Planner, plan
from placement.queues.backfill import Holds
from placement.queues.forecast import Forecast
from placement.queues.reasons import KeptForAnother
from placement.verdict import Candidate, Decision, ExpectedStart, Placed, ResourcesShort, Waiting
from placement.workload import Hints, Workload
from tests.placement.worlds import NOW, cluster, fleet, gpu_node, pending, role, summary_of, workload


def job(hours: float, gpus: int = 8, pods: int = 1, priority: int = 0) -> Workload:
    return workload(role(replicas=pods, gpus=gpus), hints=Hints(expected_hours=hours, priority=priority))


def running(name: str, hours: float, asked: Workload, since: datetime = NOW) -> Reservation:
    asked = replace(asked, hints=replace(asked.hints, expected_hours=hours))
    return Reservation(name, 1, "a", asked, since=since)


def world(nodes: int, *held: Reservation) -> Fleet:
    return fleet(cluster("a", [gpu_node(f"n{i}") for i in range(nodes)]), reservations=held)


def decide(on: Fleet, *asked: Workload) -> list[Decision]:
    """The first is at the head."""
    jobs = [pending(f"j-{i}", one, minutes=i) for i, one in enumerate(asked)]
    found = plan(on, jobs, NOW)
    assert check(found, on) == ()
    return list(found.decisions)


def where(decisions: list[Decision]) -> list[str]:
    return [one.verdict.cluster if isinstance(one.verdict, Placed) else "-" for one in decisions]


def test_the_gang_at_the_head_is_told_when_it_starts_and_after_what() -> None:
    on = world(3, running("x", 2, job(1)), running("y", 4, job(1)))
    (head,) = decide(on, job(1, pods=2))
    assert isinstance(head.verdict, Waiting)
    assert head.verdict.start == ExpectedStart("a", NOW + timedelta(hours=2), ("x",))
    assert head.verdict.start.message == "expected to start on a at 2026-01-01 02:00 UTC, when x has ended"


def test_behind_it_goes_what_ends_before_and_nothing_that_does_not() -> None:
    on = world(3, running("x", 2, job(1)), running("y", 4, job(1)))
    assert where(decide(on, job(1, pods=2), job(2))) == ["-", "a"]
    _, longer = decide(on, job(1, pods=2), job(3))
    assert isinstance(longer.verdict, Waiting)
    assert longer.verdict.reasons == (KeptForAnother("a", "j-0", "2026-01-01 02:00 UTC", "2026-01-01 03:00 UTC"),)
    assert longer.verdict.reasons[0].message == (
        "a has room until 2026-01-01 02:00 UTC, when j-0 is to start there; "
        "this job would run until 2026-01-01 03:00 UTC"
    )


def test_what_fits_beside_the_gang_goes_however_long_it_is() -> None:
    on = world(3, running("x", 2, job(1)))
    # One node is free now beside the two that the gang needs then; a second long job would take one of those.
    assert where(decide(on, job(1, pods=3), job(99))) == ["-", "-"]
    on = world(4, running("x", 2, job(1, pods=2)))
    assert where(decide(on, job(1, pods=3), job(99), job(99))) == ["-", "a", "-"]
    service = replace(job(1), long_running=True)
    assert where(decide(on, job(1, pods=3), service, service)) == ["-", "a", "-"]


def test_a_stream_of_small_jobs_does_not_starve_a_whole_node() -> None:
    held = [running(f"x{i}", 1 + i, job(1, gpus=1)) for i in range(8)]
    head, small = decide(world(1, *held[:7]), job(1), job(20, gpus=1))
    assert isinstance(head.verdict, Waiting)
    assert head.verdict.start is not None
    assert head.verdict.start.at == NOW + timedelta(hours=7)
    assert where([small]) == ["-"]


def test_what_never_ends_or_began_nobody_knows_when_is_not_waited_for() -> None:
    service = replace(running("s", 1, job(1)), workload=replace(job(1), long_running=True))
    for held in (service, Reservation("u", 1, "a", job(1))):
        (head,) = decide(world(1, held), job(1))
        assert isinstance(head.verdict, Waiting)
        assert head.verdict.start is None


def test_an_overdue_job_is_expected_any_moment() -> None:
    (head,) = decide(world(1, running("x", 10, job(1), since=NOW - timedelta(hours=12))), job(1))
    assert isinstance(head.verdict, Waiting)
    assert head.verdict.start is not None
    assert head.verdict.start.at == NOW + timedelta(hours=1)


def test_what_the_summary_counts_is_given_back_when_it_ends() -> None:
    nodes = [gpu_node("n0", free=0), gpu_node("n1", free=0), gpu_node("n2")]
    summary = summary_of(nodes, counted=frozenset({("x", 1), ("y", 1)}))
    on = replace(
        world(3, running("x", 2, job(1)), running("y", 4, job(1))), clusters={"a": cluster("a", nodes, summary=summary)}
    )
    (head,) = decide(on, job(1, pods=2))
    assert isinstance(head.verdict, Waiting)
    assert head.verdict.start == ExpectedStart("a", NOW + timedelta(hours=2), ("x",))
    (head,) = decide(on, job(1, pods=3))
    assert isinstance(head.verdict, Waiting)
    assert head.verdict.start == ExpectedStart("a", NOW + timedelta(hours=4), ("x", "y"))


def test_each_cluster_is_kept_for_one() -> None:
    on = world(1, running("x", 2, job(1)))
    first, second = decide(on, job(1), job(1))
    assert isinstance(first.verdict, Waiting)
    assert isinstance(second.verdict, Waiting)
    assert first.verdict.start is not None
    assert second.verdict.start is None


@st.composite
def histories(draw: st.DrawFn) -> tuple[Fleet, list[tuple[int, Workload]]]:
    """Whole nodes, so that no fragment decides, and jobs (minute, what) of which the head comes first."""
    nodes = draw(st.integers(2, 6))
    held = [
        running(f"x{i}", draw(st.integers(1, 8)), job(1, pods=draw(st.integers(1, 2))))
        for i in range(draw(st.integers(1, 3)))
    ]
    behind = draw(
        st.lists(
            st.tuples(st.integers(0, 300), st.builds(job, st.integers(1, 9), st.just(8), st.integers(1, 3))),
            max_size=12,
        )
    )
    return world(nodes, *held), [(0, job(1, pods=draw(st.integers(2, nodes)))), *sorted(behind, key=lambda e: e[0])]


@given(histories())
@settings(max_examples=200, deadline=None)
def test_nobody_behind_delays_the_head(history: tuple[Fleet, list[tuple[int, Workload]]]) -> None:
    """Played in virtual time, with everything ending when it said: the head starts as it was told first, or earlier."""
    on, jobs = history
    planner = Planner()
    waiting: list[PendingJob] = []
    arriving = [(NOW + timedelta(minutes=m), pending(f"j-{i}", one, minutes=m)) for i, (m, one) in enumerate(jobs)]
    now, told = NOW, None
    for _ in range(200):
        waiting += [one for at, one in arriving if at <= now]
        arriving = [(at, one) for at, one in arriving if at > now]
        on = replace(on, reservations=tuple(r for r in on.reservations if r.expected_end and r.expected_end > now))
        found = planner.plan(on, waiting, now)
        assert check(found, on) == ()
        made = [one.verdict.reservation for one in found.decisions if isinstance(one.verdict, Placed)]
        if "j-0" in {one.job for one in made}:
            assert told is None or now <= told
            return
        head = next(one.verdict for one in found.decisions if one.job == "j-0")
        assert isinstance(head, Waiting)
        assert head.start is not None
        told = told or head.start.at
        assert head.start.at <= told
        on = replace(on, reservations=(*on.reservations, *made))
        waiting = [one for one in waiting if one.job not in {held.job for held in made}]
        ends = [held.expected_end for held in on.reservations if held.expected_end]
        now = min([*ends, *(at for at, _ in arriving)])
    raise AssertionError("the head never started")


def test_where_pods_are_found_to_be_changes_what_was_foreseen() -> None:
    """x and y end first, and are not on one node as it seemed; nothing but the places of pods is told meanwhile."""
    held = [running(name, hours, job(1, gpus=4)) for name, hours in (("x", 2), ("y", 2), ("z", 4), ("w", 4))]
    nodes = [gpu_node("n0", free=0), gpu_node("n1", free=0)]
    counted = frozenset((one.job, one.epoch) for one in held)
    on = fleet(cluster("a", nodes, summary=summary_of(nodes, counted=counted)), reservations=held)
    told = {
        name: Progress(1, NOW, None, ((node, "worker", 1),))
        for name, node in (("x", "n0"), ("z", "n0"), ("y", "n1"), ("w", "n1"))
    }
    planner, jobs = Planner(), [pending("j-0", job(1))]
    for progress, hours in (({}, 2), (told, 4), ({}, 2)):
        (head,) = planner.plan(replace(on, progress=progress), jobs, NOW).decisions
        assert isinstance(head.verdict, Waiting)
        assert head.verdict.start is not None
        assert head.verdict.start.at == NOW + timedelta(hours=hours)


def test_what_fitted_beside_one_gang_is_asked_again_beside_another() -> None:
    """Room for `kept` is kept on two nodes; once it is placed, the cluster is kept for `later`, who needs both."""
    asked, both = job(9), job(1, pods=2)
    capacity = Capacity.of("a", summary_of([gpu_node("n0"), gpu_node("n1")]))
    holds = Holds(NOW)
    holds.keep("a", {"kept": asked}, capacity)
    assert holds.refusal("other", asked, "a", 1) is None
    holds.take("kept", asked, "a", 1)
    fit = capacity.fit(both)
    assert isinstance(fit, Fit)
    found = Forecast(ExpectedStart("a", NOW + timedelta(hours=2), ("x",)), capacity, fit, NOW)
    short = Candidate("a", (ResourcesShort("a", "nvidia.com/gpu", 16, 8, 1, 2, ever=True),))
    assert holds.reserve(pending("later", both), [short], lambda name, before: found, lambda forecast: True) is not None
    assert isinstance(holds.refusal("other", asked, "a", 1), KeptForAnother)
