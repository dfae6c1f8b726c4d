from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.admission import footprint_of
from placement import invariants, planner
from placement.fleet import Cluster, Fleet, Health, PendingJob
from placement.kinds import reader
from placement.kinds.catalogue import Catalogue
from placement.overrides import selecting, variants
from placement.overrides.override import Clusters, ImageRewrite, ObjectPatch, Override, Workloads
from placement.overrides.variants import Judge
from placement.safety.policy import Exemption, Policy
from placement.summary import summarise
from placement.verdict import OverrideRefused, Placed, Plan, PolicyForbids, Waiting
from placement.workload import Hints, LabelRequirement, NodeConstraint, Operator, Variant, Workload
from tests.placement import worlds
from tests.placement.worlds import A100, H100, NOW, gpu_node

CATALOGUE = Catalogue.builtin()
JUDGE = Judge(CATALOGUE, lambda submission: footprint_of(submission, CATALOGUE), Policy())
EVERYWHERE = Clusters(names=("*",))
POD = "/spec/template/spec"


def read(**pod: Any) -> tuple[Workload, tuple[dict[str, Any], ...]]:
    container = {"name": "main", "image": "trainer", "resources": {"limits": {"nvidia.com/gpu": 8}}}
    spec = {"restartPolicy": "Never", "containers": [container], **pod}
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "train", "annotations": {"muster.dev/priority": "3"}},
        "spec": {"completions": 2, "parallelism": 2, "completionMode": "Indexed", "template": {"spec": spec}},
    }
    (submission,) = reader.read(yaml.safe_dump(manifest).encode(), CATALOGUE)
    footprint = JUDGE.footprint_of(submission)
    workload = replace(submission.workload, footprint=footprint)
    return workload, (*submission.dependencies, submission.manifest)


def override(name: str = "eu", **changes: Any) -> Override:
    return Override(name, changes.pop("clusters", EVERYWHERE), **changes)


def patch(*operations: dict[str, Any], **whom: Any) -> Override:
    return override(patches=(ObjectPatch(operations, **whom),))


def variant(*overrides: Override, judge: Judge = JUDGE, **pod: Any) -> Variant:
    workload, objects = read(**pod)
    return variants.of(workload, objects, {"east": overrides}, judge)["east"]


def cluster(name: str, **more: Any) -> Cluster:
    labels = {"muster.dev/x": "y"} | more.pop("labels", {})
    nodes = [gpu_node(f"{name}-{number}", labels=more.get("node_labels", {})) for number in range(4)]
    summary = summarise(nodes, {"batch/v1/Job"}, revision=1)
    return Cluster(name, more.pop("region", "eu"), labels, Health.READY, False, summary)


def test_what_decisions_do_not_read_makes_no_other_workload() -> None:
    found = variant(override(images=(ImageRewrite("docker.io", "mirror"),), env=({"name": "A", "value": "b"},)))
    assert found == Variant(("eu",))


def test_constraints_and_data_are_those_of_the_overridden_objects() -> None:
    claim = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    taint = {"key": "gpu", "operator": "Exists"}
    found = variant(
        override(tolerations=(taint,), node_selector={"pool": "train"}, claims={"data": "data-eu"}), volumes=claim
    )
    assert found.refusal is None
    assert found.workload is not None
    (role,) = found.workload.roles
    assert role.constraint.tolerations[0].key == "gpu"
    assert role.constraint.terms[0][0].key == "pool"
    assert [use.name for use in found.workload.data] == ["pvc://default/data-eu"]


@pytest.mark.parametrize(
    ("operation", "field"),
    [
        ({"op": "replace", "path": "/spec/parallelism", "value": 1}, "the gang"),
        ({"op": "replace", "path": f"{POD}/containers/0/resources/limits/nvidia.com~1gpu", "value": 4}, "role worker"),
        ({"op": "add", "path": "/metadata/labels", "value": {"muster.dev/job": "j-1"}}, "muster.dev/job"),
        ({"op": "remove", "path": "/metadata/annotations/muster.dev~1priority"}, "muster.dev/priority"),
        ({"op": "add", "path": f"{POD}/schedulerName", "value": "default-scheduler"}, "schedulerName"),
        ({"op": "add", "path": f"{POD}/priorityClassName", "value": "high"}, "the hints"),
        ({"op": "replace", "path": "/metadata/name", "value": "other"}, "metadata.name"),
        ({"op": "add", "path": "/metadata/namespace", "value": "kube-system"}, "metadata.namespace"),
        ({"op": "replace", "path": "/kind", "value": "CronJob"}, "kind"),
        ({"op": "replace", "path": "/apiVersion", "value": "batch/v2"}, "kind"),
        ({"op": "add", "path": f"{POD}/hostNetwork", "value": True}, "spec.template.spec.hostNetwork"),
        ({"op": "add", "path": f"{POD}/nodeName", "value": "n1"}, "spec.template.spec.nodeName"),
        ({"op": "replace", "path": f"{POD}/containers", "value": []}, "spec.template.spec.containers"),
    ],
)
def test_an_override_may_not_make_another_job_of_it(operation: dict[str, Any], field: str) -> None:
    found = variant(override("a", env=({"name": "A", "value": "b"},)), patch(operation))
    assert found.refusal is not None, found
    assert (found.refusal.override, found.refusal.field) == ("eu", field)
    assert found.refusal.mend


def test_the_first_override_at_fault_is_named() -> None:
    more = {"op": "replace", "path": "/spec/parallelism", "value": 1}
    bad = Override("m", EVERYWHERE, patches=(ObjectPatch((more,)),))
    found = variant(override("a", runtime_class="x"), bad, override("z", runtime_class="y"))
    assert found.refusal is not None
    assert found.refusal.override == "m"


def test_other_gpus_than_those_asked_for_are_no_override() -> None:
    wanted = {"nvidia.com/gpu.product": A100}
    swapped = variant(override(node_selector={"nvidia.com/gpu.product": H100}), nodeSelector=wanted)
    assert swapped.refusal is not None
    assert "products" in swapped.refusal.message
    assert variant(override(node_selector={"nvidia.com/gpu.product": H100})).refusal is None


def test_what_an_admin_was_let_in_with_stays_allowed() -> None:
    assert variant(override(runtime_class="x"), hostNetwork=True).refusal is None


def test_a_planner_decides_with_the_workload_as_it_is_on_each_cluster() -> None:
    """East's nodes have a pool that only an override asks for; west's override is refused; south has none."""
    workload, objects = read()
    overrides = (
        override("pool", clusters=Clusters(labels={"where": ("east",)}), node_selector={"pool": "train"}),
        override(
            "wrong",
            clusters=Clusters(names=("west",)),
            patches=(ObjectPatch(({"op": "replace", "path": "/spec/parallelism", "value": 1},)),),
        ),
    )
    east = cluster("east", labels={"where": "east"})
    clusters = {"east": east, "west": cluster("west"), "south": cluster("south")}
    there = selecting.by_cluster(overrides, clusters.values())
    assert {name: [one.name for one in those] for name, those in there.items()} == {"east": ["pool"], "west": ["wrong"]}
    varied = replace(workload, variants=variants.of(workload, objects, there, JUDGE))
    decision = decide(varied, clusters)
    assert isinstance(decision.verdict, Placed)
    assert decision.verdict.cluster == "south"
    reasons = {one.cluster: [type(reason) for reason in one.reasons] for one in decision.candidates}
    assert reasons["west"] == [OverrideRefused]
    alone = {name: clusters[name] for name in ("east", "west")}
    waiting = decide(varied, alone)
    assert isinstance(waiting.verdict, Waiting)
    assert any("no node of east may run role worker" in reason.message for reason in waiting.verdict.reasons)
    alone["east"] = cluster("east", labels={"where": "east"}, node_labels={"pool": "train"})
    placed = decide(varied, alone)
    assert isinstance(placed.verdict, Placed)
    assert placed.verdict.cluster == "east"
    # Another job of the same look, without overrides, is no part of this one's answers.
    assert isinstance(decide(workload, {"east": east}).verdict, Placed)


def test_a_clusters_owner_judges_the_overridden_job() -> None:
    """The tenant may, the cluster's owner lets nobody have it."""
    lifted = Policy(exemptions=(Exemption(controls=("hostIPC",)),))
    lenient = Judge(CATALOGUE, JUDGE.footprint_of, lifted)
    workload, objects = read()
    ipc = patch({"op": "add", "path": f"{POD}/hostIPC", "value": True})
    made = variants.of(workload, objects, {"east": (ipc,)}, lenient)
    east = cluster("east")
    assert east.summary is not None
    strict = replace(east, summary=replace(east.summary, policy=Policy()))
    decision = decide(replace(workload, variants=made), {"east": strict})
    (reason,) = decision.candidates[0].reasons
    assert isinstance(reason, PolicyForbids)
    assert reason.path == "spec.template.spec.hostIPC"


def decide(workload: Workload, clusters: dict[str, Cluster]) -> Any:
    job = PendingJob("j", 1, workload, "red", NOW)
    (decision,) = planner.plan(Fleet(clusters), [job], NOW).decisions
    return decision


def test_one_planner_keeps_jobs_apart_that_differ_in_their_variants_alone() -> None:
    workload, objects = read()
    east = {"east": cluster("east")}
    there = {"east": (override("pool", node_selector={"pool": "train"}),)}
    varied = replace(workload, variants=variants.of(workload, objects, there, JUDGE))
    jobs = [PendingJob("plain", 1, workload, "red", NOW), PendingJob("varied", 1, varied, "red", NOW)]
    decisions = {one.job: one.verdict for one in planner.Planner().plan(Fleet(east), jobs, NOW).decisions}
    assert isinstance(decisions["plain"], Placed)
    assert isinstance(decisions["varied"], Waiting)


def test_overrides_mean_workloads_by_kind_namespace_tenant_and_queue_in_order() -> None:
    workload, _ = read()
    kinds = override("b", workloads=Workloads(kinds=("batch/*",), queues=("default",)))
    late = override("a", priority=5, workloads=Workloads(tenants=("red",)))
    other = override("c", workloads=Workloads(namespaces=("team-*",)))
    found = selecting.for_workload((late, other, kinds), workload, "red")
    assert [one.name for one in found] == ["b", "a"]


operations = st.one_of(
    st.fixed_dictionaries(
        {"op": st.just("remove"), "path": st.sampled_from(["/spec", "/metadata", f"{POD}/containers"])}
    ),
    st.fixed_dictionaries(
        {
            "op": st.sampled_from(["add", "replace"]),
            "path": st.sampled_from(
                [
                    "/spec/parallelism",
                    "/spec/template",
                    "/metadata/labels",
                    f"{POD}/tolerations",
                    f"{POD}/volumes",
                    "/x",
                ]
            ),
            "value": st.recursive(
                st.none() | st.booleans() | st.integers(-3, 9) | st.text(max_size=4),
                lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
                max_leaves=5,
            ),
        }
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(operations, min_size=1, max_size=3))
def test_whatever_is_patched_it_is_the_same_gang_or_refused(found: list[dict[str, Any]]) -> None:
    workload, _ = read()
    made = variant(patch(*found))
    if made.workload is not None:
        (before,), (after,) = workload.roles, made.workload.roles
        assert (after.replicas, after.minimum, after.devices) == (before.replicas, before.minimum, before.devices)
        assert made.workload.hints == workload.hints


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_varied_job_is_decided_on_each_cluster_as_the_job_that_it_is_there(data: st.DataObject) -> None:
    """Whatever way the planner goes: its answer for a cluster is that for a job that is so everywhere."""
    plain = replace(data.draw(worlds.workloads(whole=True)), hints=Hints())
    clusters = {
        name: worlds.cluster(name, [gpu_node(f"{name}-{n}", free=data.draw(st.integers(0, 8))) for n in range(3)])
        for name in ("a", "b", "c")
    }
    found: dict[str, Variant] = {}
    for name in data.draw(st.lists(st.sampled_from(sorted(clusters)), unique=True)):
        constraint = data.draw(st.sampled_from([NodeConstraint(), NEVER]))
        roles = tuple(replace(role, constraint=constraint) for role in plain.roles)
        found[name] = Variant(("o",), replace(plain, roles=roles))
    varied = replace(plain, variants=found)
    (decision,) = planner.plan_fully(Fleet(clusters), [PendingJob("j", 1, varied, "red", NOW)], NOW).decisions
    for candidate in decision.candidates:
        alone = Fleet({candidate.cluster: clusters[candidate.cluster]})
        job = PendingJob("j", 1, varied.at(candidate.cluster), "red", NOW)
        (expected,) = planner.plan_fully(alone, [job], NOW).decisions[0].candidates
        assert (candidate.reasons, candidate.score) == (expected.reasons, expected.score)
    assert invariants.check(Plan((decision,)), Fleet(clusters)) == ()


NEVER = NodeConstraint(terms=((LabelRequirement("pool", Operator.IN, ("nowhere",)),),))
