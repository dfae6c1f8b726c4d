"""What a cluster's owner forbids is filtered before anything is sent there."""

from __future__ import annotations

from dataclasses import replace

from placement import planner
from placement.fleet import Cluster, PendingJob
from placement.safety.footprint import Footprint
from placement.safety.levels import Breach, Level
from placement.safety.policy import Exemption, Policy
from placement.verdict import Decision, Placed, PolicyForbids, Waiting
from tests.placement import worlds
from tests.placement.worlds import NOW

NET = Breach("hostNetwork", Level.BASELINE, "spec.hostNetwork", "true", of="Pod p")
ROOT = Breach("runAsUser", Level.RESTRICTED, "spec.securityContext.runAsUser", "0", of="Pod p")
ASKS = Footprint("team", ("v1/Pod",), (NET, ROOT))


def world(**policies: Policy | None) -> dict[str, Cluster]:
    found = {}
    for name, rules in policies.items():
        cluster = worlds.cluster(name, [worlds.gpu_node("n1")])
        assert cluster.summary is not None
        found[name] = replace(cluster, summary=replace(cluster.summary, policy=rules))
    return found


def decided(clusters: dict[str, Cluster], footprint: Footprint = ASKS) -> Decision:
    work = replace(worlds.workload(worlds.role()), footprint=footprint)
    fleet = worlds.fleet(*clusters.values())
    (decision,) = planner.plan_fully(fleet, [PendingJob("j-1", 1, work, "red", NOW)], NOW).decisions
    return decision


def test_it_goes_where_it_is_allowed() -> None:
    open_ = Policy(exemptions=(Exemption(controls=("hostNetwork",)),))
    decision = decided(world(a=Policy(), b=open_, c=Policy(namespaces=("other",))))
    assert isinstance(decision.verdict, Placed)
    assert decision.verdict.cluster == "b"
    reasons = {one.cluster: one.reasons for one in decision.candidates}
    assert reasons["a"] == (
        PolicyForbids(
            "a",
            "spec.hostNetwork",
            "Pod p asks for the node's own network (hostNetwork: true), which the level baseline forbids",
        ),
    )
    assert reasons["a"][0].message.startswith("the policy of a's owner: spec.hostNetwork: Pod p asks")
    (where,) = reasons["c"]
    assert isinstance(where, PolicyForbids)
    assert (where.path, where.more) == ("metadata.namespace", 1)


def test_a_spoke_that_does_not_say_is_asked() -> None:
    assert isinstance(decided(world(a=None)).verdict, Placed)


def test_what_nobody_read_is_not_judged() -> None:
    assert isinstance(decided(world(a=Policy(namespaces=("other",))), Footprint()).verdict, Placed)


def test_forbidden_everywhere_it_waits_for_another_cluster_or_another_policy() -> None:
    verdict = decided(world(a=Policy(), b=Policy(kinds=("batch/*",)))).verdict
    assert isinstance(verdict, Waiting)
    assert {reason.code for reason in verdict.reasons} == {"policy-forbids"}


def test_workloads_that_differ_in_this_alone_are_told_apart() -> None:
    clusters = world(a=Policy())
    fleet = worlds.fleet(*clusters.values())
    made = worlds.workload(worlds.role())
    jobs = [
        PendingJob(f"j-{number}", 1, replace(made, name=f"w{number}", footprint=footprint), "red", NOW)
        for number, footprint in enumerate((Footprint("team", ("v1/Pod",)), ASKS, Footprint("team", ("v1/Pod",))))
    ]
    found = planner.Planner().plan(fleet, jobs, NOW)
    assert [isinstance(one.verdict, Placed) for one in sorted(found.decisions, key=lambda one: one.job)] == [
        True,
        False,
        True,
    ]


def test_a_policy_that_changes_is_heard() -> None:
    standing = planner.Planner()
    job = PendingJob("j-1", 1, replace(worlds.workload(worlds.role()), footprint=ASKS), "red", NOW)
    (first,) = standing.plan(worlds.fleet(*world(a=Policy()).values()), [job], NOW).decisions
    (then,) = standing.plan(worlds.fleet(*world(a=Policy(Level.PRIVILEGED)).values()), [job], NOW).decisions
    assert (type(first.verdict), type(then.verdict)) == (Waiting, Placed)
