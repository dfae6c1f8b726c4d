"""The pods each kind's controller would make, and a whole life of each: status rules hold on what is emulated."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from placement.kinds import emulate
from placement.kinds.catalogue import Catalogue
from placement.kinds.kind import Kind
from placement.kinds.observe import observe
from placement.lifecycle import Event

Pod = dict[str, Any]

PYTORCH = """
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: t, namespace: n, uid: u-1}
spec:
  nprocPerNode: "2"
  runPolicy: {backoffLimit: 3}
  pytorchReplicaSpecs:
    Worker:
      replicas: 2
      restartPolicy: Never
      template: {metadata: {labels: {app: t}}, spec: {containers: [{name: pytorch, env: [{name: RANK, value: mine}]}]}}
    Master:
      template: {spec: {containers: [{name: pytorch, ports: [{name: pytorchjob-port, containerPort: 2222}]}]}}
"""

VOLCANO = """
apiVersion: batch.volcano.sh/v1alpha1
kind: Job
metadata: {name: v, namespace: n}
spec:
  minAvailable: 2
  plugins: {svc: [], env: [], pytorch: []}
  tasks:
  - {name: worker, replicas: 2, template: {spec: {containers: [{name: c}], initContainers: [{name: i}]}}}
  - {name: master, replicas: 1, template: {spec: {containers: [{name: c}]}}}
"""

INDEXED = """
apiVersion: batch/v1
kind: Job
metadata: {name: j, namespace: n, uid: u-2}
spec:
  completionMode: Indexed
  completions: 5
  parallelism: 2
  backoffLimit: 1
  template: {spec: {restartPolicy: Never, containers: [{name: c}], initContainers: [{name: i}]}}
"""

STATEFUL = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: s, namespace: n}
spec:
  serviceName: svc
  replicas: 3
  podManagementPolicy: Parallel
  template: {spec: {containers: [{name: c}]}}
"""


@pytest.fixture(scope="session")
def load(catalogue: Catalogue) -> Callable[..., tuple[Kind, Pod]]:
    def loaded(text: str, **spec: Any) -> tuple[Kind, Pod]:
        obj = yaml.safe_load(text)
        obj["spec"] |= spec
        kind = catalogue.find(obj["apiVersion"], obj["kind"])
        assert kind is not None
        return kind, obj

    return loaded


def named(pods: tuple[Pod, ...]) -> dict[str, Pod]:
    return {pod["metadata"]["name"]: pod for pod in pods}


def env(pod: Pod, part: str = "containers") -> dict[str, str]:
    return {each["name"]: each["value"] for each in pod["spec"][part][0]["env"]}


def phased(pods: tuple[Pod, ...] | list[Pod], phase: str, **status: Any) -> list[Pod]:
    return [{**pod, "status": {"phase": phase, **status}} for pod in pods]


def event(kind: Kind, obj: Pod, pods: list[Pod]) -> Event | None:
    return observe(kind, {**obj, "status": emulate.status(kind, obj, pods)}).event


def test_pytorchjob_pods(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(PYTORCH)
    pods = named(emulate.pods(kind, obj))
    assert list(pods) == ["t-master-0", "t-worker-0", "t-worker-1"]
    master, worker = pods["t-master-0"], pods["t-worker-1"]
    assert env(master) == {
        "PYTHONUNBUFFERED": "1",
        "MASTER_ADDR": "t-master-0",
        "PET_MASTER_ADDR": "t-master-0",
        "MASTER_PORT": "2222",
        "PET_MASTER_PORT": "2222",
        "WORLD_SIZE": "6",
        "RANK": "0",
        "PET_NODE_RANK": "0",
        "PET_NPROC_PER_NODE": "2",
        "PET_NNODES": "3",
    }
    assert env(worker)["RANK"] == "mine"  # what the container sets stays
    assert env(worker)["PET_NODE_RANK"] == "2"
    assert worker["metadata"]["labels"] == {
        "app": "t",
        "training.kubeflow.org/job-name": "t",
        "training.kubeflow.org/operator-name": "pytorchjob-controller",
        "training.kubeflow.org/replica-type": "worker",
        "training.kubeflow.org/replica-index": "1",
    }
    assert master["metadata"]["labels"]["training.kubeflow.org/job-role"] == "master"
    assert (master["spec"]["restartPolicy"], worker["spec"]["restartPolicy"]) == ("OnFailure", "Never")
    assert (
        worker["metadata"]["ownerReferences"][0] | {"uid": "u-1", "kind": "PyTorchJob", "controller": True}
        == (worker["metadata"]["ownerReferences"][0])
    )


def test_on_one_machine_everything_is_at_its_address(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(PYTORCH)
    worker = named(emulate.pods(kind, obj, address="127.0.0.1", port=4000))["t-worker-0"]
    assert env(worker)["MASTER_ADDR"] == "127.0.0.1"
    assert env(worker)["MASTER_PORT"] == "2222"  # what the manifest names goes before
    del obj["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["containers"][0]["ports"]
    assert env(emulate.pods(kind, obj, port=4000)[0])["MASTER_PORT"] == "4000"
    assert env(emulate.pods(kind, obj)[0])["MASTER_PORT"] == "23456"


def test_elastic_workers_without_a_master(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(PYTORCH, elasticPolicy={"minReplicas": 1, "maxReplicas": 4, "rdzvBackend": "etcd"})
    del obj["spec"]["pytorchReplicaSpecs"]["Master"]
    (worker, _) = emulate.pods(kind, obj)
    variables = env(worker)
    assert "MASTER_ADDR" not in variables
    assert variables["PET_NNODES"] == "1:4"
    assert variables["PET_RDZV_ENDPOINT"] == "t-worker-0:23456"
    assert variables["PET_RDZV_BACKEND"] == "etcd"


def test_volcano_pods(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(VOLCANO)
    pods = named(emulate.pods(kind, obj))
    assert list(pods) == ["v-master-0", "v-worker-0", "v-worker-1"]  # the master ranks first
    worker = pods["v-worker-1"]
    assert env(worker) == {
        "VK_TASK_INDEX": "1",
        "VC_TASK_INDEX": "1",
        "VC_WORKER_HOSTS": "v-worker-0.v,v-worker-1.v",
        "VC_WORKER_NUM": "2",
        "VC_MASTER_HOSTS": "v-master-0.v",
        "VC_MASTER_NUM": "1",
        "MASTER_ADDR": "v-master-0.v",
        "MASTER_PORT": "23456",
        "WORLD_SIZE": "3",
        "RANK": "2",
    }
    assert "VC_TASK_INDEX" in env(worker, "initContainers")
    assert "RANK" not in env(worker, "initContainers")
    assert (worker["spec"]["hostname"], worker["spec"]["subdomain"]) == ("v-worker-1", "v")
    assert worker["metadata"]["labels"]["volcano.sh/task-spec"] == "worker"
    plain = emulate.pods(*load(VOLCANO, plugins={}))
    assert env(plain[0]) == {}


def test_indexed_job_goes_on_until_all_are_done(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(INDEXED)
    there: list[Pod] = []
    seen: list[str] = []
    while more := emulate.pods(kind, obj, there):
        assert len(more) <= 2
        for pod in more:
            seen.append(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])
            assert env(pod)["JOB_COMPLETION_INDEX"] == env(pod, "initContainers")["JOB_COMPLETION_INDEX"] == seen[-1]
            assert pod["metadata"]["labels"]["job-name"] == "j"
        assert emulate.pods(kind, obj, there + phased(more, "Pending")) == ()
        assert event(kind, obj, there + phased(more, "Pending")) is Event.STARTING or there
        assert event(kind, obj, there + phased(more, "Running")) is Event.RUNNING
        there += phased(more, "Succeeded")
    assert seen == ["0", "1", "2", "3", "4"]
    assert event(kind, obj, there) is Event.SUCCEED
    assert len(named(tuple(there))) == 5


@pytest.mark.parametrize(
    ("rules", "done", "met"),
    [
        ([{"succeededIndexes": "0"}], [0], True),
        ([{"succeededIndexes": "0"}], [1], False),
        ([{"succeededIndexes": "0,2-3"}], [0, 2], False),
        ([{"succeededIndexes": "0,2-3"}], [0, 2, 3], True),
        ([{"succeededIndexes": "1-4", "succeededCount": 2}], [0, 1], False),
        ([{"succeededIndexes": "1-4", "succeededCount": 2}], [1, 4], True),
        ([{"succeededCount": 2}], [3], False),
        ([{"succeededCount": 2}], [3, 1], True),
        ([{"succeededIndexes": "4"}, {"succeededIndexes": "1"}], [1], True),
        ([{"succeededIndexes": "3-1"}], [1, 2, 3], False),
        ([{"succeededIndexes": "every"}], [0, 1], False),
        ([{"succeededIndexes": 1}], [1], False),
        ([{"succeededCount": 0}], [], False),
        ([{}], [0], False),
        ({"succeededCount": 1}, [0], False),
    ],
)
def test_a_success_policy_ends_a_job(
    load: Callable[..., tuple[Kind, Pod]], rules: Any, done: list[int], met: bool
) -> None:
    kind, obj = load(INDEXED, parallelism=5, successPolicy={"rules": rules})
    pods = emulate.pods(kind, obj)
    there = [
        *phased([pods[i] for i in done], "Succeeded"),
        *phased([p for i, p in enumerate(pods) if i not in done], "Running"),
    ]
    assert (event(kind, obj, there) is Event.SUCCEED) is met
    status = emulate.status(kind, obj, there)
    assert [each["reason"] for each in status.get("conditions", ())] == ["SuccessPolicy"] * 2 * met
    assert emulate.pods(kind, obj, there) == ()


def test_a_success_policy_is_for_indexed_jobs(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(INDEXED, completionMode="NonIndexed", successPolicy={"rules": [{"succeededCount": 1}]})
    first, second = emulate.pods(kind, obj)
    assert event(kind, obj, [*phased([first], "Succeeded"), *phased([second], "Running")]) is not Event.SUCCEED


def test_without_a_policy_that_is_met_all_completions_are_the_reason(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(INDEXED, parallelism=5)
    status = emulate.status(kind, obj, phased(emulate.pods(kind, obj), "Succeeded"))
    assert [each["reason"] for each in status["conditions"]] == ["CompletionsReached"] * 2


def test_a_failed_index_is_tried_again_under_another_name(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(INDEXED)
    first = emulate.pods(kind, obj)
    there = phased(first[:1], "Failed") + phased(first[1:], "Running")
    (again,) = emulate.pods(kind, obj, there)
    assert again["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] == "0"
    assert again["metadata"]["name"] != first[0]["metadata"]["name"]
    assert event(kind, obj, there) is not Event.FAIL
    there += phased([again], "Failed")
    assert emulate.pods(kind, obj, there) == ()
    assert event(kind, obj, there) is Event.FAIL


def test_restarts_in_place_use_up_the_retries(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(INDEXED, backoffLimit=2)
    pods = emulate.pods(kind, obj)
    statuses = [{"name": "c", "restartCount": 1, "state": {"terminated": {"exitCode": 3}}}]
    once = phased(pods[:1], "Running", containerStatuses=statuses) + phased(pods[1:], "Running")
    assert event(kind, obj, once) is Event.RUNNING
    twice = phased(pods, "Running", containerStatuses=statuses)
    observed = observe(kind, {**obj, "status": emulate.status(kind, obj, twice)})
    assert observed.event is Event.FAIL
    assert "container c exited with 3" in observed.reason


def test_work_queue_jobs_end_with_the_first_success(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(INDEXED, completionMode="NonIndexed", completions=None)
    pods = emulate.pods(kind, obj)
    assert len(pods) == 2
    assert env(pods[0]) == {}
    there = phased(pods[:1], "Succeeded") + phased(pods[1:], "Running")
    assert emulate.pods(kind, obj, there) == ()
    assert event(kind, obj, there) is Event.RUNNING
    assert event(kind, obj, phased(pods, "Succeeded")) is Event.SUCCEED


def test_unindexed_jobs_replace_pods(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(INDEXED, completionMode="NonIndexed")
    there: list[Pod] = []
    while more := emulate.pods(kind, obj, there):
        there += phased(more, "Succeeded")
    assert len(named(tuple(there))) == 5
    assert event(kind, obj, there) is Event.SUCCEED


def test_a_suspended_job_makes_no_pods(load: Callable[..., tuple[Kind, Pod]]) -> None:
    assert emulate.pods(*load(INDEXED, suspend=True)) == ()


def test_statefulset_pods(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(STATEFUL, ordinals={"start": 5})
    pods = emulate.pods(kind, obj)
    assert list(named(pods)) == ["s-5", "s-6", "s-7"]
    assert pods[1]["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "6"
    assert (pods[1]["spec"]["hostname"], pods[1]["spec"]["subdomain"]) == ("s-6", "svc")
    assert list(named(emulate.pods(kind, obj, [pods[0], pods[2]]))) == ["s-6"]
    assert event(kind, obj, phased(pods[:2], "Running")) is Event.STARTING
    assert event(kind, obj, phased(pods, "Running")) is Event.RUNNING


def test_orderly_statefulsets_come_one_by_one(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(STATEFUL, podManagementPolicy="OrderedReady")
    first = emulate.pods(kind, obj)
    assert list(named(first)) == ["s-0"]
    not_ready = [{"type": "Ready", "status": "False"}]
    assert emulate.pods(kind, obj, phased(first, "Running", conditions=not_ready)) == ()
    assert list(named(emulate.pods(kind, obj, phased(first, "Running")))) == ["s-1"]


def test_pytorchjob_life(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(PYTORCH)
    pods = emulate.pods(kind, obj)
    assert event(kind, obj, phased(pods, "Pending")) is Event.STARTING
    assert event(kind, obj, phased(pods[:1], "Running") + phased(pods[1:], "Pending")) is Event.STARTING
    assert event(kind, obj, phased(pods, "Running")) is Event.RUNNING
    assert event(kind, obj, phased(pods[:1], "Running") + phased(pods[1:], "Succeeded")) is Event.RUNNING
    assert event(kind, obj, phased(pods[:1], "Succeeded") + phased(pods[1:], "Running")) is Event.SUCCEED
    lost = phased(pods[:2], "Running") + phased(pods[2:], "Failed")
    assert event(kind, obj, lost) is Event.FAIL
    assert emulate.pods(kind, obj, lost[1:]) == ()


def test_volcano_life(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load(VOLCANO)
    pods = emulate.pods(kind, obj)
    assert event(kind, obj, phased(pods, "Pending")) is Event.STARTING
    assert (
        event(kind, obj, phased(pods[:2], "Running") + phased(pods[2:], "Pending")) is Event.RUNNING
    )  # minAvailable 2
    assert event(kind, obj, phased(pods[:1], "Failed") + phased(pods[1:], "Running")) is Event.RUNNING
    assert event(kind, obj, phased(pods[:1], "Failed") + phased(pods[1:], "Succeeded")) is Event.SUCCEED
    assert event(kind, obj, phased(pods[:2], "Failed") + phased(pods[2:], "Running")) is Event.FAIL


def test_a_deployment_never_ends(load: Callable[..., tuple[Kind, Pod]]) -> None:
    text = STATEFUL.replace("StatefulSet", "Deployment").replace("  podManagementPolicy: Parallel\n", "")
    kind, obj = load(text)
    pods = emulate.pods(kind, obj)
    assert len(named(pods)) == 3
    assert emulate.pods(kind, obj) == pods
    assert event(kind, obj, phased(pods, "Pending")) is Event.STARTING
    assert event(kind, obj, phased(pods[:1], "Running") + phased(pods[1:], "Pending")) is Event.RUNNING
    assert event(kind, obj, phased(pods, "Failed")) is Event.STARTING


def test_a_pod_is_its_own(load: Callable[..., tuple[Kind, Pod]]) -> None:
    kind, obj = load("{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {}, status: {phase: Running}}")
    assert emulate.pods(kind, obj) == ()
    assert event(kind, obj, []) is Event.RUNNING


def test_nothing_of_the_object_is_changed(load: Callable[..., tuple[Kind, Pod]]) -> None:
    for text in (PYTORCH, VOLCANO, INDEXED, STATEFUL):
        kind, obj = load(text)
        emulate.pods(kind, obj)
        assert obj == yaml.safe_load(text)
