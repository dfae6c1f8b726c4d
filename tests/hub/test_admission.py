from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import manifests
from hub import admission
from hub.errors import Invalid
from placement.kinds import reader
from placement.kinds.catalogue import Catalogue
from placement.kinds.problems import Problem
from placement.safety.levels import Level
from placement.safety.policy import Exemption
from placement.safety.tenants import Tenant, Tenants
from tests.hub.loops.rig import ADMIN, ANN, SHARING, Hub, manifest

CATALOGUE = Catalogue.builtin()
DEMO = Path(__file__).parents[2] / "deploy" / "demo"


def pod_spec(**more: Any) -> dict[str, Any]:
    return {"restartPolicy": "Never", "containers": [{"name": "main", "image": "torch"}], **more}


def job(spec: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "train", "namespace": namespace},
        "spec": {"template": {"spec": spec}},
    }


def config(namespace: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": namespace}, "data": {}}


def found(*objects: dict[str, Any], actor: Any = ANN, tenants: Tenants = SHARING) -> tuple[Problem, ...]:
    (one,) = reader.read(yaml.safe_dump_all(objects).encode(), CATALOGUE)
    return admission.admit(one, actor, tenants, CATALOGUE).problems


@pytest.mark.parametrize(
    "namespace", ["kube-system", "kube-public", "kube-node-lease", "kube-flannel", "muster-system"]
)
@pytest.mark.parametrize("actor", [ANN, ADMIN])
def test_nothing_goes_into_a_clusters_own_namespaces(namespace: str, actor: Any) -> None:
    (problem,) = found(job(pod_spec(), namespace), config(namespace), actor=actor)
    assert problem.path == "metadata.namespace"
    assert namespace in problem.message
    assert problem.mend
    (problem,) = found(job(pod_spec()), config(namespace), actor=actor)
    assert (problem.path, problem.message) == (
        "metadata.namespace",
        f"ConfigMap c is in the namespace {namespace}, which belongs to the cluster itself",
    )


def test_what_travels_along_stays_in_its_workloads_namespace() -> None:
    assert found(job(pod_spec(), "red"), config("red")) == ()
    (problem,) = found(job(pod_spec(), "red"), config("blue"), actor=ADMIN)
    assert problem.message == "ConfigMap c is in the namespace blue, its workload train in red"


PRIVILEGED = {"name": "x", "image": "x", "securityContext": {"privileged": True}}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (pod_spec(hostNetwork=True), "hostNetwork"),
        (pod_spec(hostPID=True), "hostPID"),
        (pod_spec(hostIPC=True), "hostIPC"),
        (pod_spec(containers=[{"name": "a", "image": "a"}, PRIVILEGED]), "containers[1].securityContext.privileged"),
        (pod_spec(initContainers=[PRIVILEGED]), "initContainers[0].securityContext.privileged"),
        (pod_spec(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "volumes[0].hostPath.path"),
    ],
)
def test_the_machine_under_a_pod_is_for_admins(spec: dict[str, Any], path: str) -> None:
    (problem,) = found(job(spec))
    assert problem.path == f"spec.template.spec.{path}"
    assert "level baseline forbids (tenant red)" in problem.message
    assert "ask an admin" in problem.mend
    assert found(job(spec), actor=ADMIN) == ()


def test_a_pod_and_every_role_of_a_gang_are_looked_at() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod_spec(hostNetwork=True)}
    assert [problem.path for problem in found(pod)] == ["spec.hostNetwork"]
    replicas = {
        "Master": {"replicas": 1, "template": {"spec": {"containers": [{"name": "pytorch", "image": "x"}]}}},
        "Worker": {
            "replicas": 2,
            "template": {"spec": {"hostIPC": True, "containers": [{**PRIVILEGED, "name": "pytorch"}]}},
        },
    }
    gang = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": "g"},
        "spec": {"pytorchReplicaSpecs": replicas},
    }
    at = "spec.pytorchReplicaSpecs.Worker.template.spec"
    assert [problem.path for problem in found(gang)] == [
        f"{at}.hostIPC",
        f"{at}.containers[0].securityContext.privileged",
    ]


def test_what_asks_for_nothing_special_is_let_in() -> None:
    spec = pod_spec(hostNetwork=False, volumes=[{"name": "v", "emptyDir": {}}])
    spec["containers"][0]["securityContext"] = {"privileged": False}
    assert found(job(spec, "kubeflow")) == ()


def test_the_manifests_of_the_demo_and_of_the_end_to_end_tests_pass() -> None:
    texts = [
        path.read_bytes()
        for name in ("gang", "indexed-job", "service", "too-large")
        for path in [DEMO / f"{name}.yaml"]
    ]
    texts.append(manifests.text(manifests.job("a"), manifests.indexed_job("b", pods=2, gpus=8)))
    for text in texts:
        for one in reader.read(text, CATALOGUE):
            assert admission.admit(one, ANN, SHARING, CATALOGUE).problems == ()


def red(**more: Any) -> Tenants:
    return Tenants({"red": Tenant("red", **{"namespaces": ("red",), **more})})


def test_a_tenants_manifests_live_in_its_namespaces() -> None:
    assert found(job(pod_spec(), "red"), tenants=Tenants()) == ()
    (problem,) = found(job(pod_spec(), "blue"), tenants=Tenants())
    assert (problem.path, problem.message) == (
        "metadata.namespace",
        "Job train is in the namespace blue, not tenant red's",
    )
    assert problem.mend == "its own: red; an admin gives it others (muster tenant set red --namespace blue)"
    assert found(job(pod_spec(), "blue"), tenants=Tenants(), actor=ADMIN) == ()
    assert found(job(pod_spec(), "red-7"), tenants=red(namespaces=("red", "red-*"))) == ()


def test_only_the_kinds_that_its_owner_allows() -> None:
    (problem,) = found(job(pod_spec(), "red"), tenants=red(kinds=("kubeflow.org/*",)))
    assert (problem.path, problem.message) == (
        "kind",
        "batch/v1/Job is not among the kinds that are allowed (tenant red)",
    )
    assert found(job(pod_spec(), "red"), config("red"), tenants=red(kinds=("batch/v1/Job", "v1/ConfigMap"))) == ()


def test_levels_and_exemptions_are_the_tenants() -> None:
    asks = job(pod_spec(hostIPC=True), "red")
    assert len(found(asks, tenants=red())) == 1
    assert found(asks, tenants=red(exemptions=(Exemption(controls=("hostIPC",)),))) == ()
    assert found(asks, tenants=red(level=Level.PRIVILEGED)) == ()
    hardened = {
        problem.path.rpartition(".")[2]
        for problem in found(job(pod_spec(), "red"), tenants=red(level=Level.RESTRICTED))
    }
    assert hardened == {"runAsNonRoot", "type", "allowPrivilegeEscalation", "drop"}


def test_foreign_schedulers_are_refused_and_a_kinds_own_is_not() -> None:
    assert found(job(pod_spec(schedulerName="default-scheduler"), "red"), tenants=red()) == ()
    (problem,) = found(job(pod_spec(schedulerName="volcano"), "red"), tenants=red())
    assert problem.path == "spec.template.spec.schedulerName"
    task = {"name": "w", "replicas": 1, "template": {"spec": pod_spec(schedulerName="volcano")}}
    volcano = {
        "apiVersion": "batch.volcano.sh/v1alpha1",
        "kind": "Job",
        "metadata": {"name": "v", "namespace": "red"},
        "spec": {"schedulerName": "volcano", "minAvailable": 1, "tasks": [task]},
    }
    assert found(volcano, tenants=red()) == ()


async def test_what_names_no_namespace_goes_to_the_tenants_first(hub: Hub) -> None:
    hub.federation.tenants = red(namespaces=("red-*", "red-a", "red-b"))
    (one,) = await hub.jobs.submit(ANN, manifest("a"))
    assert one.job.namespace == "red-a"
    hub.federation.tenants = red(namespaces=())
    with pytest.raises(Invalid, match="namespace red, not tenant red's"):
        await hub.jobs.submit(ANN, manifest("b"))


async def test_only_its_queues(hub: Hub) -> None:
    hub.federation.tenants = red(queues=("default",))
    with pytest.raises(Invalid, match="tenant red may not use queue 'research'"):
        await hub.jobs.submit(ANN, manifest("a", queue="research"))


async def test_submit_and_plan_refuse_alike(hub: Hub) -> None:
    for attempt in (
        hub.jobs.submit(ANN, manifest("a"), namespace="kube-system"),
        hub.jobs.plan(ANN, manifest("a"), namespace="kube-system"),
    ):
        with pytest.raises(Invalid, match="kube-system") as refused:
            await attempt
        assert [problem.path for problem in refused.value.problems] == ["metadata.namespace"]
