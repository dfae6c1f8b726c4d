"""Kubeflow's kinds besides PyTorchJob: what each asks for, the pods of its operator, and a whole life of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest
import yaml

from placement.kinds import emulate
from placement.kinds.catalogue import Catalogue
from placement.kinds.kind import Kind
from placement.kinds.observe import observe
from placement.kinds.problems import Problem
from placement.kinds.reader import Submission
from placement.lifecycle import Event

Read = Callable[[str], Submission]
Pod = dict[str, Any]


def job(kind: str, field: str, container: str, roles: dict[str, Any], version: str = "v1", **spec: Any) -> str:
    """`roles`: name -> (replicas, GPUs of each)."""

    def template(gpus: int) -> dict[str, Any]:
        limits = {"nvidia.com/gpu": gpus, "cpu": 1, "memory": "1Gi"}
        return {"spec": {"containers": [{"name": container, "image": "i", "resources": {"limits": limits}}]}}

    specs = {name: {"replicas": replicas, "template": template(gpus)} for name, (replicas, gpus) in roles.items()}
    body = {"apiVersion": f"kubeflow.org/{version}", "kind": kind, "metadata": {"name": "t"}}
    return yaml.safe_dump(body | {"spec": {field: specs} | spec})


TF = job(
    "TFJob", "tfReplicaSpecs", "tensorflow", {"Chief": (1, 0), "PS": (2, 0), "Worker": (3, 2), "Evaluator": (1, 1)}
)
XGB = job("XGBoostJob", "xgbReplicaSpecs", "xgboost", {"Master": (1, 0), "Worker": (2, 1)})
PADDLE = job("PaddleJob", "paddleReplicaSpecs", "paddle", {"Worker": (4, 2)})
MPI = job("MPIJob", "mpiReplicaSpecs", "mpi", {"Launcher": (1, 0), "Worker": (4, 8)}, slotsPerWorker=8)
MPI_V2 = job("MPIJob", "mpiReplicaSpecs", "mpi", {"Launcher": (1, 0), "Worker": (4, 8)}, version="v2beta1")
EVERY = {"TFJob": TF, "XGBoostJob": XGB, "PaddleJob": PADDLE, "MPIJob v1": MPI, "MPIJob v2beta1": MPI_V2}


@pytest.mark.parametrize(
    ("text", "roles", "gang", "gpus"),
    [
        (TF, [("Chief", 1), ("PS", 2), ("Worker", 3), ("Evaluator", 1)], 7, 7),
        (XGB, [("Master", 1), ("Worker", 2)], 3, 2),
        (PADDLE, [("Worker", 4)], 4, 8),
        (MPI, [("Launcher", 1), ("Worker", 4)], 5, 32),
        (MPI_V2, [("Launcher", 1), ("Worker", 4)], 5, 32),
    ],
    ids=EVERY,
)
def test_all_pods_of_all_roles_start_together(
    read_one: Read, text: str, roles: list[tuple[str, int]], gang: int, gpus: int
) -> None:
    workload = read_one(text).workload
    assert [(role.name, role.replicas) for role in workload.roles] == roles
    assert (workload.min_pods, workload.total_gpus) == (gang, gpus)
    assert all(role.minimum == role.replicas for role in workload.roles)


def test_a_launcher_that_comes_after_its_workers_is_not_waited_for(read_one: Read) -> None:
    text = job(
        "MPIJob",
        "mpiReplicaSpecs",
        "mpi",
        {"Launcher": (1, 1), "Worker": (4, 8)},
        version="v2beta1",
        launcherCreationPolicy="WaitForWorkersReady",
    )
    workload = read_one(text).workload
    assert [(role.name, role.minimum, role.replicas) for role in workload.roles] == [
        ("Launcher", 0, 1),
        ("Worker", 4, 4),
    ]
    assert workload.min_pods == 4
    assert workload.total_gpus == 33  # room is kept for it all the same


def test_a_paddle_job_is_elastic_between_its_bounds(read_one: Read) -> None:
    elastic = {"elasticPolicy": {"minReplicas": 2, "maxReplicas": 6}}
    workload = read_one(job("PaddleJob", "paddleReplicaSpecs", "paddle", {"Worker": (4, 2)}, **elastic)).workload
    (worker,) = workload.roles
    assert (workload.min_pods, worker.minimum, worker.replicas, worker.maximum) == (2, 2, 4, 6)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        (TF.replace("Chief:", "Chef:"), "spec.tfReplicaSpecs.Chef", "no role is called Chef"),
        (TF.replace("name: tensorflow", "name: main"), "containers", "tensorflow"),
        (XGB.replace("replicas: 2", "replicas: -2"), "spec.xgbReplicaSpecs.Worker.replicas", "-2"),
        (MPI.replace("mpiReplicaSpecs", "replicaSpecs"), "spec.mpiReplicaSpecs", "is missing"),
        (PADDLE.replace("kubeflow.org/v1", "kubeflow.org/v1alpha9"), "apiVersion", "kubeflow.org/v1"),
    ],
)
def test_wrong_ones_are_refused_by_name(
    problems_of: Callable[[str], tuple[Problem, ...]], text: str, path: str, said: str
) -> None:
    found = problems_of(text)
    assert any(path in each.path and said in f"{each.message} {each.mend}" for each in found), found


def test_tf_config_names_every_peer_but_the_evaluator(catalogue: Catalogue) -> None:
    kind, obj = loaded(catalogue, TF)
    pods = {pod["metadata"]["name"]: pod for pod in emulate.pods(kind, obj)}
    assert len(pods) == 7
    config = orjson.loads(env(pods["t-worker-2"])["TF_CONFIG"])
    assert config == {
        "cluster": {
            "chief": ["t-chief-0:2222"],
            "ps": ["t-ps-0:2222", "t-ps-1:2222"],
            "worker": ["t-worker-0:2222", "t-worker-1:2222", "t-worker-2:2222"],
        },
        "task": {"type": "worker", "index": 2},
        "environment": "cloud",
    }


def test_a_tfjob_of_one_pod_is_not_distributed(catalogue: Catalogue) -> None:
    kind, obj = loaded(catalogue, job("TFJob", "tfReplicaSpecs", "tensorflow", {"Worker": (1, 1)}))
    (pod,) = emulate.pods(kind, obj)
    assert "TF_CONFIG" not in env(pod)


def test_xgboost_ranks_go_over_master_and_workers(catalogue: Catalogue) -> None:
    kind, obj = loaded(catalogue, XGB)
    pods = emulate.pods(kind, obj)
    assert [env(pod)["RANK"] for pod in pods] == ["0", "1", "2"]
    assert env(pods[0]) | {"MASTER_ADDR": "t-master-0", "WORKER_ADDRS": "t-worker-0,t-worker-1"} == env(pods[0])


@pytest.mark.parametrize("text", EVERY.values(), ids=EVERY)
def test_a_whole_life(catalogue: Catalogue, text: str) -> None:
    kind, obj = loaded(catalogue, text)
    pods = list(emulate.pods(kind, obj))
    assert event(kind, obj, phased(pods, "Pending")) is Event.STARTING
    one_runs = [*phased(pods[:1], "Running"), *phased(pods[1:], "Pending")]
    assert event(kind, obj, one_runs) is Event.STARTING
    assert event(kind, obj, phased(pods, "Running")) is Event.RUNNING
    leaders = len(pods) if kind.kind == "PaddleJob" else 1  # without a master all workers must succeed
    done = [*phased(pods[:leaders], "Succeeded"), *phased(pods[leaders:], "Running")]
    assert event(kind, obj, done) is Event.SUCCEED
    broken = [*phased(pods[:-1], "Running"), *phased(pods[-1:], "Failed", message="out of disk")]
    said = observe(kind, {**obj, "status": emulate.status(kind, obj, broken)})
    assert said.event is Event.FAIL
    assert "out of disk" in said.reason


NOTEBOOK = """
apiVersion: kubeflow.org/v1
kind: Notebook
metadata: {name: lab}
spec:
  template:
    spec:
      containers: [{name: lab, image: jupyter, resources: {limits: {nvidia.com/gpu: 1}}}]
"""


def test_a_notebook_is_one_pod_that_stays(read_one: Read, catalogue: Catalogue) -> None:
    workload = read_one(NOTEBOOK).workload
    assert (workload.pods, workload.min_pods, workload.total_gpus, workload.long_running) == (1, 1, 1, True)
    kind, obj = loaded(catalogue, NOTEBOOK)
    assert observe(kind, {**obj, "status": {"readyReplicas": 1}}).event is Event.RUNNING
    waits = {
        "readyReplicas": 0,
        "containerState": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
    }
    said = observe(kind, {**obj, "status": waits})
    assert (said.event, said.reason) == (Event.STARTING, "ImagePullBackOff: no such image")


def test_a_stopped_notebook_says_that_no_pod_comes(read_one: Read) -> None:
    text = NOTEBOOK.replace(
        "{name: lab}", "{name: lab, annotations: {kubeflow-resource-stopped: 2026-11-26T08:00:00Z}}", 1
    )
    assert any("suspended" in warning for warning in read_one(text).workload.warnings)


def loaded(catalogue: Catalogue, text: str) -> tuple[Kind, Pod]:
    obj = yaml.safe_load(text)
    kind = catalogue.find(obj["apiVersion"], obj["kind"])
    assert kind is not None
    return kind, obj


def env(pod: Pod) -> dict[str, str]:
    return {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]}


def phased(pods: Sequence[Pod], phase: str, **status: Any) -> list[Pod]:
    return [{**pod, "status": {"phase": phase, **status}} for pod in pods]


def event(kind: Kind, obj: Pod, pods: list[Pod]) -> Event | None:
    return observe(kind, {**obj, "status": emulate.status(kind, obj, pods)}).event


def test_a_template_that_says_nothing_is_none(problems_of: Callable[[str], tuple[Problem, ...]]) -> None:
    obj = yaml.safe_load(MPI)
    obj["spec"]["mpiReplicaSpecs"]["Worker"]["template"] = {}
    (problem,) = problems_of(yaml.safe_dump(obj))
    assert problem.path == "spec.mpiReplicaSpecs.Worker.template.spec"
    assert problem.message == "there is no pod template"


@pytest.mark.parametrize(
    ("api_version", "kind", "field", "role", "container"),
    [
        ("kubeflow.org/v1", "PyTorchJob", "pytorchReplicaSpecs", "Master", "pytorch"),
        ("kubeflow.org/v1", "XGBoostJob", "xgbReplicaSpecs", "Master", "xgboost"),
        ("kubeflow.org/v1", "MPIJob", "mpiReplicaSpecs", "Launcher", "mpi"),
        ("kubeflow.org/v2beta1", "MPIJob", "mpiReplicaSpecs", "Launcher", "mpi"),
    ],
)
@pytest.mark.parametrize("replicas", [0, 2])
def test_what_operators_take_one_of_is_one(
    problems_of: Callable[[str], tuple[Problem, ...]],
    api_version: str,
    kind: str,
    field: str,
    role: str,
    container: str,
    replicas: int,
) -> None:
    template = {"spec": {"containers": [{"name": container, "image": "i"}]}}
    specs = {role: {"replicas": replicas, "template": template}, "Worker": {"replicas": 2, "template": template}}
    body = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": {field: specs}}
    (found,) = problems_of(yaml.safe_dump(body))
    assert (found.path, found.message) == (f"spec.{field}.{role}", f"there is one {role} in a {kind}, not {replicas}")
