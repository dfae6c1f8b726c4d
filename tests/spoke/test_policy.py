"""Whatever a hub sends, what the cluster's owner does not allow is not made."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from placement.data import DataMove, Replica
from placement.lifecycle import Event
from placement.safety.levels import Level
from placement.safety.policy import Exemption, Policy
from spoke import policy
from spoke.cluster.port import Unavailable
from spoke.policy import ClusterPolicy, Guard, PolicyFileError
from tests.spoke.stage import CATALOGUE, job_yaml, node, stage, start
from wire.orders import Command, JobRef, Start

REF = JobRef("j-1", 1)
OPEN = Guard(policy.default(CATALOGUE), CATALOGUE, "muster-here")


def order(**changes: Any) -> Start:
    made = start(1, "j-1", job_yaml("train", pods=1, gpus=1)).order
    assert isinstance(made, Start)
    return Start(copy.deepcopy(list(made.objects)), made.workload, **changes)


def changed(change: Callable[[dict[str, Any]], object]) -> Start:
    made = order()
    change(made.objects[-1])  # type: ignore[arg-type]
    return made


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def said(rules: Policy, sent: Start) -> str:
    return Guard(ClusterPolicy(rules), CATALOGUE).of_start(REF, sent)


def test_an_ordinary_job_is_let_in() -> None:
    assert OPEN.of_start(REF, order()) == ""


WRONG: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda job: pod_of(job).update(hostNetwork=True), "spec.template.spec.hostNetwork"),
    (lambda job: pod_of(job).update(hostPID=True), "spec.template.spec.hostPID"),
    (
        lambda job: pod_of(job)["containers"][0].update(securityContext={"privileged": True}),
        "spec.template.spec.containers[0].securityContext.privileged",
    ),
    (
        lambda job: pod_of(job).update(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
        "spec.template.spec.volumes[0].hostPath.path",
    ),
    (lambda job: pod_of(job).update(schedulerName="evil"), "spec.template.spec.schedulerName"),
    (lambda job: pod_of(job).update(nodeName="n1"), "spec.template.spec.nodeName"),
    (lambda job: pod_of(job).update(priorityClassName="system-node-critical"), "priorityClassName"),
    (lambda job: job["metadata"].update(namespace="kube-system"), "belongs to the cluster itself"),
    (lambda job: job["metadata"].update(namespace="muster-system"), "belongs to the cluster itself"),
    (lambda job: job["metadata"].update(namespace="muster-here"), "the spoke's own"),
    (lambda job: job["metadata"].update(namespace="elsewhere"), "is not what it is"),
    (lambda job: job["metadata"].pop("namespace"), "no namespace"),
    (lambda job: job.update(kind="DaemonSet", apiVersion="apps/v1"), "apps/v1/DaemonSet is not among the kinds"),
    (lambda job: job["metadata"].update(finalizers=["a.b/c"]), "metadata.finalizers"),
    (lambda job: job["metadata"].update(ownerReferences=[{"uid": "1"}]), "metadata.ownerReferences"),
    (lambda job: job["metadata"]["labels"].update({"muster.dev/job": "j-2"}), "muster.dev/job"),
    (
        lambda job: job["spec"]["template"]["metadata"]["labels"].update({"muster.dev/epoch": "7"}),
        "muster.dev/epoch",
    ),
    (
        lambda job: job["metadata"].setdefault("annotations", {}).update({"muster.dev/travels-along": "[]"}),
        "muster.dev/travels-along",
    ),
]


@pytest.mark.parametrize(("change", "expected"), WRONG, ids=[expected for _, expected in WRONG])
async def test_what_is_forbidden_is_refused_and_nothing_is_made(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], expected: str
) -> None:
    async with stage(tmp_path, node("n1"), guard=OPEN) as on:
        [ack] = await on.agent.commanded([Command(1, REF, changed(change))])
        assert (ack.refused_code, expected in ack.refused_message) == ("policy", True), ack.refused_message
        assert await on.ledger.entries() == ()
        assert [*on.cluster.objects("batch/v1", "Job"), *on.cluster.objects("apps/v1", "DaemonSet")] == []


EXTRA: list[tuple[dict[str, Any], str]] = [
    ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "muster-system"}}, "muster-system"),
    ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "other"}}, "is of other"),
    (
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "s", "namespace": "team"},
        },
        "RoleBinding is not among the kinds",
    ),
    (
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "s"}},
        "ClusterRoleBinding",
    ),
    (
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/service-account-token",
            "metadata": {"name": "s", "namespace": "team"},
        },
        "service-account-token",
    ),
]


@pytest.mark.parametrize(("extra", "expected"), EXTRA, ids=[expected for _, expected in EXTRA])
def test_what_travels_along_is_judged_too(extra: dict[str, Any], expected: str) -> None:
    made = order()
    assert expected in OPEN.of_start(REF, Start([extra, *made.objects], made.workload))


def test_data_goes_to_the_jobs_own_namespace() -> None:
    def move(place: str) -> DataMove:
        return DataMove("imagenet", 1, Replica("r", "", "s3://b/p"), "c", 0.0, 0.0, place)

    assert OPEN.of_start(REF, order(moves=(move("pvc://team/data"),))) == ""
    assert "copied to pvc://kube-system/data" in OPEN.of_start(REF, order(moves=(move("pvc://kube-system/data"),)))


def test_the_owner_says_which_level_namespaces_and_kinds() -> None:
    made = order()
    assert "runAsNonRoot" in said(Policy(Level.RESTRICTED), made)
    assert "the namespace team is not allowed" in said(Policy(namespaces=("ml-*",)), made)
    assert "batch/v1/Job is not among" in said(Policy(kinds=("v1/*",)), made)
    host = changed(lambda job: pod_of(job).update(hostNetwork=True))
    assert said(Policy(exemptions=(Exemption(("team",), ("hostNetwork",)),)), host) == ""


async def test_what_was_accepted_under_another_policy_and_not_made_is_handed_back(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        on.cluster.faults.append(lambda verb, key: Unavailable("away") if verb == "create" else None)
        assert (await on.run("j-1", job_yaml("train", pods=1, gpus=1))).refused_code == ""
        on.guard = Guard(ClusterPolicy(Policy(namespaces=("other",))), CATALOGUE)
        await on.restart()
        on.cluster.faults.clear()
        refused = await on.told("j-1", Event.REFUSE)
        assert "the namespace team is not allowed" in refused.reason
        assert on.cluster.objects("batch/v1", "Job") == []


async def test_the_summary_tells_the_hub(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), guard=OPEN) as on:
        summary = await on.agent.wait_for_summary(-1)
        assert summary.policy == OPEN.rules.jobs


# ---- the file ----


def written(text: str) -> ClusterPolicy:
    return policy.parse(yaml.safe_load(text), CATALOGUE)


def test_a_file_says_what_differs_from_the_default() -> None:
    assert written("{}") == policy.default(CATALOGUE)
    rules = written("jobs: {level: restricted, namespaces: [ml-*], kinds: [builtin, example.org/v1/Widget]}")
    assert (rules.jobs.level, rules.jobs.namespaces) == (Level.RESTRICTED, ("ml-*",))
    assert {"example.org/v1/Widget", "batch/v1/Job", "v1/Secret"} <= set(rules.jobs.kinds)
    assert "apps/v1/DaemonSet" not in rules.jobs.kinds
    assert written("access: [logs]").access == ("logs",)
    exempt = written("jobs: {exemptions: [{namespaces: [rdma], controls: [hostNetwork], host_paths: [/data]}]}")
    assert exempt.jobs.exemptions == (Exemption(("rdma",), ("hostNetwork",), (), ("/data",)),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "it is no mapping"),
        ("jobs: {level: tight}", "jobs.level"),
        ("jobs: {namespace: [a]}", "jobs.namespace"),
        ("jobs: {namespaces: [A_b]}", "'A_b' is no namespace"),
        ("jobs: {kinds: [Job]}", "write batch/v1/Job"),
        ("jobs: {exemptions: [{controls: [hostNetwrk]}]}", "did you mean hostNetwork?"),
        ("access: [shell]", "access.0"),
        ("job: {}", "job"),
    ],
)
def test_a_file_that_says_nothing_that_can_be_meant_stops_the_spoke(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(PolicyFileError) as refused:
        policy.load(file, CATALOGUE)
    assert expected in str(refused.value)
    file.write_text("{")
    with pytest.raises(PolicyFileError):
        policy.load(file, CATALOGUE)


# ---- other doors ----


def test_logs_and_shells_are_the_owners_to_give() -> None:
    assert OPEN.of_access("exec", "team") == ""
    only_logs = Guard(ClusterPolicy(Policy(namespaces=("team",)), access=("logs",)), CATALOGUE)
    assert only_logs.of_access("logs", "team") == ""
    assert "does not give exec" in only_logs.of_access("exec", "team")
    assert "the namespace other is not allowed" in only_logs.of_access("logs", "other")
    assert "belongs to the cluster itself" in OPEN.of_access("logs", "kube-system")


STORAGE = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "s"},
    "provisioner": "p",
    "parameters": {"csi.storage.k8s.io/provisioner-secret-namespace": "kube-system"},
}
PLUGIN = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "p", "namespace": "kube-system"},
    "spec": {
        "template": {
            "spec": {
                "containers": [{"name": "p", "image": "p"}],
                "volumes": [{"name": "v", "hostPath": {"path": "/var/lib/kubelet"}}],
            }
        }
    },
}


def test_what_is_distributed_is_allowed_by_kind_and_what_runs_only_where_its_owner_says() -> None:
    assert "storage.k8s.io/v1/StorageClass is not among" in OPEN.of_distributed([STORAGE])
    harmless = Guard(written("distributed: {kinds: [builtin]}"), CATALOGUE)
    assert harmless.of_distributed([STORAGE]) == ""
    assert "apps/v1/DaemonSet is not among" in harmless.of_distributed([PLUGIN])
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}}
    assert "ClusterRole is not among" in harmless.of_distributed([role])
    text = "distributed: {level: privileged, namespaces: [kube-system, '*'], kinds: [apps/v1/DaemonSet, builtin]}"
    assert Guard(written(text), CATALOGUE).of_distributed([PLUGIN, STORAGE]) == ""
    by_pattern = "distributed: {level: privileged, kinds: [apps/v1/DaemonSet]}"
    assert "belongs to the cluster itself" in Guard(written(by_pattern), CATALOGUE).of_distributed([PLUGIN])
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "muster-system"}}
    named = "distributed: {namespaces: [muster-system], kinds: [v1/ConfigMap]}"
    assert "belongs to the cluster itself" in Guard(written(named), CATALOGUE).of_distributed([config])


def test_a_namespace_that_is_distributed_is_as_if_it_were_in_itself() -> None:
    rules = written("distributed: {namespaces: [team-*], kinds: [v1/Namespace]}")
    guard = Guard(rules, CATALOGUE, "team-muster")

    def said(name: str) -> str:
        return guard.of_distributed([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])

    assert said("team-a") == ""
    assert "is not allowed" in said("elsewhere")
    assert "belongs to the cluster itself" in said("kube-system")
    assert "the spoke's own" in said("team-muster")


def test_only_the_owner_lets_what_exists_be_taken_over() -> None:
    assert (written("{}").adopt, written("adopt: true").adopt) == (False, True)
    with pytest.raises(ValueError, match="adopt"):
        written("adopt: perhaps")
