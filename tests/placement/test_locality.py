"""A preferred level is waited for, then relaxed."""

from dataclasses import replace
from datetime import timedelta

from placement.inventory import Node
from placement.planner import Planner, plan
from placement.verdict import Decision, Placed, Rejected, ResourcesShort, TopologyShort, Waiting
from placement.workload import Hints, IfTooLarge, TopologyMode, TopologyRequest, Workload
from tests.placement.worlds import NOW, cluster, fleet, gpu_node, pending, role, workload

PATIENT = Hints(wait_for_locality_hours=2.0)
HOUR = timedelta(hours=1)


def racks(*free: list[int]) -> list[Node]:
    return [gpu_node(f"r{r}n{n}", f"r{r}", free=gpus) for r, rack in enumerate(free) for n, gpus in enumerate(rack)]


def near(pods: int, hints: Hints = PATIENT) -> Workload:
    return workload(role(replicas=pods, gpus=8), preferred="rack", hints=hints)


def only(decisions: tuple[Decision, ...]) -> Decision:
    [decision] = decisions
    return decision


def test_a_preferred_rack_is_waited_for_and_then_any_will_do() -> None:
    world = fleet(cluster("c", racks([8, 8, 8], [8, 8, 0])))
    job = pending("j", near(4))
    planner = Planner()
    decision = only(planner.plan(world, [job], NOW + HOUR).decisions)
    assert isinstance(decision.verdict, Waiting)
    [reason] = decision.verdict.reasons
    assert isinstance(reason, TopologyShort)
    assert reason.wanted_until == "2026-01-01 02:00 UTC"
    assert reason.message.startswith("rack wanted until 2026-01-01 02:00 UTC: largest rack of c fits 3 of 4 pods")
    assert decision.candidates[0].reasons == (reason,)
    later = only(planner.plan(world, [job], NOW + 2 * HOUR).decisions)
    assert isinstance(later.verdict, Placed)
    assert later.verdict.reservation.workload == job.workload


def test_who_finds_its_rack_starts_at_once_and_its_spoke_is_told_to_keep_it() -> None:
    world = fleet(cluster("c", racks([8, 8, 8], [8, 8, 8, 8])))
    picky = replace(PATIENT, if_too_large=IfTooLarge.REJECT)
    decision = only(plan(world, [pending("j", near(4, picky))], NOW).decisions)
    assert isinstance(decision.verdict, Placed)
    sent = decision.verdict.reservation.workload
    assert sent.topology == TopologyRequest("rack", TopologyMode.REQUIRED)
    assert sent.hints == picky


def test_each_job_waits_for_its_own_time_though_they_are_alike() -> None:
    world = fleet(cluster("c", racks([8, 8, 8], [8, 8, 0], [8, 8, 8])))
    jobs = [pending("old", near(4), minutes=-120), pending("new", near(4))]
    decisions = {one.job: one.verdict for one in Planner().plan(world, jobs, NOW).decisions}
    assert isinstance(decisions["old"], Placed)
    assert isinstance(decisions["new"], Waiting)
    again = replace(jobs[0], job="again", waits_since=NOW)
    assert isinstance(only(plan(world, [again], NOW).decisions).verdict, Waiting)


def test_what_is_short_in_any_case_is_not_said_to_be_waited_for() -> None:
    world = fleet(cluster("c", racks([8, 8])))
    decision = only(plan(world, [pending("j", near(4))], NOW).decisions)
    assert isinstance(decision.verdict, Waiting)
    assert isinstance(decision.verdict.reasons[0], ResourcesShort)
    strict = workload(role(replicas=2, gpus=8), required="rack", hints=PATIENT)
    [reason] = only(plan(fleet(cluster("c", racks([8], [8]))), [pending("j", strict)], NOW).decisions).verdict.reasons
    assert isinstance(reason, TopologyShort)
    assert reason.wanted_until == ""


def test_nothing_is_too_large_for_what_it_only_prefers() -> None:
    picky = replace(PATIENT, if_too_large=IfTooLarge.REJECT)
    world = fleet(cluster("c", racks([8, 8], [8, 8])))
    assert isinstance(only(plan(world, [pending("j", near(4, picky))], NOW).decisions).verdict, Waiting)
    assert isinstance(only(plan(world, [pending("j", near(5, picky))], NOW).decisions).verdict, Rejected)


def test_a_role_that_prefers_is_waited_for_too() -> None:
    one = replace(
        role(replicas=2, gpus=8), topology=TopologyRequest("topology.muster.dev/rack", TopologyMode.PREFERRED)
    )
    world = fleet(cluster("c", racks([8], [8])))
    job = pending("j", workload(one, role("reader"), hints=PATIENT))
    [reason] = only(plan(world, [job], NOW).decisions).verdict.reasons
    assert isinstance(reason, TopologyShort)
    assert reason.message.startswith(
        "rack wanted until 2026-01-01 02:00 UTC: largest rack of c fits 1 of 2 pods of role"
    )
    assert isinstance(only(plan(world, [job], NOW + 2 * HOUR).decisions).verdict, Placed)
