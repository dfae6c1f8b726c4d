"""One document of every kind, and every way in which one can be wrong."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.kinds import emulate, reader, render
from placement.kinds.catalogue import Catalogue
from placement.kinds.documents import Document, ManifestError, Problem
from placement.kinds.problems import MAX_WARNINGS
from placement.kinds.reader import Submission
from placement.workload import LabelRequirement, Operator, Reference, TopologyMode, TopologyRequest

Read = Callable[[str], Submission]
Problems = Callable[[str], tuple[Problem, ...]]

PYTORCH = """
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: finetune, namespace: ml}
spec:
  elasticPolicy: {minReplicas: 4, maxReplicas: 8}
  pytorchReplicaSpecs:
    Worker:
      replicas: 3
      template:
        spec:
          nodeSelector: {nvidia.com/gpu.product: NVIDIA-A100-SXM4-80GB}
          containers: [{name: pytorch, resources: {limits: {nvidia.com/gpu: "8"}}}]
    Master:
      template:
        spec:
          priorityClassName: high
          nodeSelector: {nvidia.com/gpu.product: NVIDIA-A100-SXM4-80GB}
          tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
          containers:
          - name: pytorch
            resources:
              requests: {cpu: "64", memory: 512Gi, nvidia.com/gpu: "8"}
              limits: {cpu: "64", memory: 512Gi, nvidia.com/gpu: "8"}
          volumes:
          - {name: data, persistentVolumeClaim: {claimName: data-pvc}}
          - {name: config, configMap: {name: deepspeed}}
"""

VOLCANO = """
apiVersion: batch.volcano.sh/v1alpha1
kind: Job
metadata: {name: train}
spec:
  minAvailable: 4
  queue: research
  priorityClassName: urgent
  plugins: {svc: [], env: []}
  tasks:
  - name: worker
    replicas: 4
    template:
      spec:
        restartPolicy: OnFailure
        containers: [{name: w, resources: {limits: {nvidia.com/gpu: 2}}}]
"""

STATEFUL = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: train}
spec:
  replicas: 4
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: t}}
  template:
    metadata: {labels: {app: t}}
    spec:
      nodeSelector: {gpu-type: nvidia, nvidia.com/gpu.product: A100-SXM4-80GB}
      affinity:
        podAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
          - weight: 100
            podAffinityTerm:
              labelSelector: {matchLabels: {app: t}}
              topologyKey: topology.kubernetes.io/zone
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
            - matchExpressions: [{key: nvidia.com/gpu.count, operator: Gt, values: ["7"]}]
      containers: [{name: c, resources: {limits: {nvidia.com/gpu: 8, rdma/hca: 1}}}]
      volumes: [{name: d, persistentVolumeClaim: {claimName: imagenet}}]
"""

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: vllm}
spec:
  replicas: 2
  selector: {matchLabels: {app: vllm}}
  template:
    metadata: {labels: {app: vllm}}
    spec:
      containers:
      - name: vllm
        env: [{name: KEY, valueFrom: {secretKeyRef: {name: keys, key: api}}}]
        resources:
          requests: {cpu: 32, memory: 128Gi, nvidia.com/gpu: 4}
          limits: {cpu: 64, memory: 256Gi, nvidia.com/gpu: 4}
"""

JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: sweep}
spec:
  parallelism: 4
  completions: 3
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, resources: {limits: {nvidia.com/gpu: 1}}}]
"""

POD = """
apiVersion: v1
kind: Pod
metadata: {name: probe}
spec:
  containers: [{name: c, resources: {limits: {nvidia.com/gpu: "1"}}}]
"""

EVERY_KIND = (PYTORCH, VOLCANO, STATEFUL, DEPLOYMENT, JOB, POD)


def changed(text: str, *path_and_value: Any) -> str:
    """The document with one field set; `...` as the value removes it."""
    *path, last, value = path_and_value
    obj = yaml.safe_load(text)
    at = obj
    for step in path:
        at = at[step] if isinstance(at, list) else at.setdefault(step, {})
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return yaml.safe_dump(obj)


def test_pytorchjob(read_one: Read) -> None:
    workload = read_one(PYTORCH).workload
    master, worker = workload.roles  # in rank order, whatever the file's
    assert workload.resource_kind == "kubeflow.org/v1/PyTorchJob"
    assert (workload.name, workload.namespace) == ("finetune", "ml")
    assert (master.name, master.replicas, master.minimum, master.maximum) == ("Master", 1, 1, None)
    assert (worker.name, worker.replicas, worker.minimum, worker.maximum) == ("Worker", 3, 3, 7)
    assert (workload.min_pods, workload.pods, workload.total_gpus) == (4, 4, 32)
    assert dict(master.requests) == {"pods": 1, "cpu": 64_000, "memory": 524_288, "nvidia.com/gpu": 8}
    assert dict(worker.requests) == {"pods": 1, "nvidia.com/gpu": 8}
    assert worker.products == ("NVIDIA-A100-SXM4-80GB",)
    assert workload.hints.priority_class == "high"
    assert set(workload.references) == {
        Reference("PersistentVolumeClaim", "data-pvc"),
        Reference("ConfigMap", "deepspeed"),
        Reference("PriorityClass", "high"),
    }
    assert not workload.long_running
    assert not workload.warnings


def test_a_pytorchjob_that_may_shrink_starts_with_fewer(read_one: Read) -> None:
    workload = read_one(changed(PYTORCH, "spec", "elasticPolicy", {"minReplicas": 2, "maxReplicas": 4})).workload
    master, worker = workload.roles
    assert workload.min_pods == 2
    assert (master.minimum, worker.minimum, worker.maximum) == (1, 1, 3)


def test_a_pytorchjob_outside_its_own_range_is_warned_about(read_one: Read) -> None:
    workload = read_one(changed(PYTORCH, "spec", "elasticPolicy", {"minReplicas": 6, "maxReplicas": 8})).workload
    assert workload.min_pods == 4
    assert "wants from 6 to 8" in workload.warnings[0]


def test_volcano_job(read_one: Read) -> None:
    workload = read_one(VOLCANO).workload
    (worker,) = workload.roles
    assert workload.resource_kind == "batch.volcano.sh/v1alpha1/Job"
    assert (worker.name, worker.replicas, worker.minimum, worker.gpus_per_pod) == ("worker", 4, 4, 2)
    assert (workload.min_pods, workload.total_gpus) == (4, 8)
    assert workload.hints.queue == "research"
    assert workload.hints.priority_class == "urgent"


def test_volcano_tasks_have_minima_of_their_own(read_one: Read) -> None:
    task = yaml.safe_load(VOLCANO)["spec"]["tasks"][0]
    tasks = [{**task, "name": "ps", "replicas": 2, "minAvailable": 1}, {**task, "name": ""}]
    obj = yaml.safe_load(VOLCANO)
    obj["spec"] = {"tasks": tasks}
    workload = read_one(yaml.safe_dump(obj)).workload
    assert [(role.name, role.replicas, role.minimum) for role in workload.roles] == [("ps", 2, 1), ("default1", 4, 3)]
    assert workload.min_pods == 5
    obj["spec"]["minAvailable"] = 3
    workload = read_one(yaml.safe_dump(obj)).workload
    assert workload.min_pods == 3
    assert [role.minimum for role in workload.roles] == [1, 1]


def test_statefulset(read_one: Read) -> None:
    workload = read_one(STATEFUL).workload
    (role,) = workload.roles
    assert (workload.min_pods, workload.total_gpus, workload.long_running) == (4, 32, True)
    assert role.requests["rdma/hca"] == 1
    assert len(role.devices) == 1
    assert LabelRequirement("nvidia.com/gpu.count", Operator.GT, ("7",)) in role.constraint.terms[0]
    assert workload.topology == TopologyRequest("topology.kubernetes.io/zone", TopologyMode.PREFERRED)
    assert 'did you mean "NVIDIA-A100-SXM4-80GB"?' in workload.warnings[0]
    assert workload.references == (Reference("PersistentVolumeClaim", "imagenet"),)


def test_an_orderly_statefulset_is_no_gang(read_one: Read) -> None:
    workload = read_one(changed(STATEFUL, "spec", "podManagementPolicy", "OrderedReady")).workload
    assert (workload.min_pods, workload.roles[0].minimum) == (1, 1)
    assert read_one(changed(STATEFUL, "spec", "podManagementPolicy", ...)).workload.min_pods == 1


def test_deployment(read_one: Read) -> None:
    workload = read_one(DEPLOYMENT).workload
    assert (workload.min_pods, workload.pods, workload.total_gpus, workload.long_running) == (1, 2, 8, True)
    assert workload.roles[0].requests["cpu"] == 32_000
    assert workload.references == (Reference("Secret", "keys"),)


def test_job(read_one: Read) -> None:
    workload = read_one(JOB).workload
    assert (workload.pods, workload.min_pods) == (3, 1)  # never more at once than completions
    indexed = read_one(changed(JOB, "spec", "completionMode", "Indexed")).workload
    assert (indexed.pods, indexed.min_pods, indexed.roles[0].minimum) == (3, 3, 3)


def test_a_suspended_job_is_warned_about(read_one: Read) -> None:
    assert "suspended" in read_one(changed(JOB, "spec", "suspend", True)).workload.warnings[0]


def test_pod(read_one: Read) -> None:
    workload = read_one(POD).workload
    assert (workload.pods, workload.min_pods, workload.total_gpus) == (1, 1, 1)
    assert workload.long_running
    assert not read_one(changed(POD, "spec", "restartPolicy", "Never")).workload.long_running


def test_a_shared_card_is_no_gpu(read_one: Read) -> None:
    limits = {"aliyun.com/gpu-mem": 7162}
    workload = read_one(changed(POD, "spec", "containers", 0, "resources", "limits", limits)).workload
    assert workload.total_gpus == 0
    assert workload.roles[0].devices[0].is_share


def test_several_workloads_in_one_file(catalogue: Catalogue) -> None:
    text = "---\n".join((POD, changed(POD, "metadata", "name", "second"), DEPLOYMENT))
    names = [each.workload.name for each in reader.read(text.encode(), catalogue)]
    assert names == ["probe", "second", "vllm"]


def test_a_list_stands_for_its_items(catalogue: Catalogue) -> None:
    items = [yaml.safe_load(POD), yaml.safe_load(JOB)]
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items})
    assert [each.workload.name for each in reader.read(text.encode(), catalogue)] == ["probe", "sweep"]


def test_namespace_and_generated_names_are_written_out(catalogue: Catalogue) -> None:
    text = changed(POD, "metadata", {"generateName": "run-"}).encode()
    (first,) = reader.read(text, catalogue, namespace="team")
    (again,) = reader.read(text, catalogue, namespace="team")
    (other,) = reader.read(text, catalogue, namespace="team", salt="1")
    assert first.workload.namespace == "team"
    assert first.workload.name == again.workload.name != other.workload.name
    assert first.workload.name.startswith("run-")
    assert first.manifest["metadata"] == {"name": first.workload.name, "namespace": "team"}


@pytest.mark.parametrize(
    ("text", "path", "said", "mend"),
    [
        ("kind: Pod", "apiVersion", "no apiVersion", "whole Kubernetes object"),
        ("Tools: {a: 1}", "apiVersion", "no apiVersion and kind", "whole Kubernetes object"),
        ("{apiVersion: 1, kind: Pod}", "apiVersion", "must be a string", "quoted"),
        ("{apiVersion: ray.example.com/v1, kind: RayTune}", "kind", "not supported", "PyTorchJob (kubeflow.org)"),
        ("{apiVersion: kubeflow.org/v1, kind: PytorchJobs}", "kind", "not supported", "did you mean PyTorchJob?"),
        ("{apiVersion: apps/v1, kind: DaemonSet}", "kind", "every node", "muster distribute"),
        ("{apiVersion: storage.k8s.io/v1, kind: StorageClass}", "kind", "whole cluster", "muster distribute"),
        ("{apiVersion: scheduling.volcano.sh/v1beta1, kind: Job}", "apiVersion", "no Job", "batch.volcano.sh/v1alpha1"),
        (
            "{apiVersion: extensions/v1beta1, kind: Deployment}",
            "apiVersion",
            "no Deployment",
            "write apiVersion: apps/v1",
        ),
        ("{apiVersion: batch/v2, kind: Job}", "apiVersion", "no Job", "write apiVersion: batch/v1"),
        ("{apiVersion: x/v1, kind: Job}", "apiVersion", "no Job", "known in batch/v1, batch.volcano.sh/v1alpha1"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}", "", "no workload", "that uses them"),
        (changed(POD, "metadata", "name", ...), "metadata.name", "missing", "name"),
        (changed(POD, "metadata", "name", "Not_Valid"), "metadata.name", "not a valid name", "lower-case"),
        (changed(POD, "metadata", "name", "x" * 254), "metadata.name", "254 characters", "shorten"),
        (changed(PYTORCH, "metadata", "name", "7b"), "metadata.name", "not a valid name", "a letter first"),
        (changed(JOB, "metadata", "name", "a.b"), "metadata.name", "not a valid name", "lower-case"),
        (changed(POD, "metadata", "name", 7), "metadata.name", "must be a string", "quoted"),
        (changed(POD, "metadata", "namespace", "No"), "metadata.namespace", "not a valid name", "lower-case"),
        (changed(POD, "metadata", "labels", {"a": 8}), "metadata.labels.a", "must be a string", 'quoted: "8"'),
        (changed(POD, "metadata", []), "metadata", "must be a mapping", "mapping"),
        (changed(POD, "spec", ...), "spec.containers", "at least one container", "add"),
        (changed(DEPLOYMENT, "spec", "replicas", -1), "spec.replicas", "from 0", "range"),
        (changed(DEPLOYMENT, "spec", "replicas", 1.5), "spec.replicas", "whole number", "whole number"),
        (changed(DEPLOYMENT, "spec", "replicas", "2"), "spec.replicas", "whole number", "without quotes"),
        (changed(DEPLOYMENT, "spec", "replicas", True), "spec.replicas", "whole number", "whole number"),
        (changed(DEPLOYMENT, "spec", "replicas", 0), "spec", "no pods", "replicas"),
        (changed(DEPLOYMENT, "spec", "template", ...), "spec.template.spec", "no pod template", "add"),
        (changed(DEPLOYMENT, "spec", "template", "spec", ...), "spec.template.spec.containers", "container", "add"),
        (changed(DEPLOYMENT, "spec", "selector", ...), "spec.selector", "missing", "labels"),
        (
            changed(DEPLOYMENT, "spec", "selector", "matchLabels", "app", "x"),
            "spec.selector",
            "does not select",
            "match",
        ),
        (
            changed(JOB, "spec", "template", "spec", "restartPolicy", ...),
            "spec.template.spec.restartPolicy",
            "not set",
            "Never",
        ),
        (
            changed(STATEFUL, "spec", "template", "spec", "restartPolicy", "Never"),
            "spec.template.spec.restartPolicy",
            "Never",
            "Always",
        ),
        (changed(POD, "spec", "nodeName", "n1"), "spec.nodeName", "chooses the node", "hostname"),
        (changed(POD, "spec", "resourceClaims", [{"name": "g"}]), "spec.resourceClaims[0]", "0 claims", "TemplateName"),
        (changed(POD, "spec", "containers", 0, "name", ...), "spec.containers[0].name", "no name", "give"),
        (changed(PYTORCH, "spec", "pytorchReplicaSpecs", ...), "spec.pytorchReplicaSpecs", "missing", "add"),
        (changed(PYTORCH, "spec", "pytorchReplicaSpecs", {}), "spec.pytorchReplicaSpecs", "empty", "Master or Worker"),
        (
            changed(PYTORCH, "spec", "pytorchReplicaSpecs", "worker", {}),
            "spec.pytorchReplicaSpecs.worker",
            "no role",
            "Worker",
        ),
        (
            changed(PYTORCH, "spec", "pytorchReplicaSpecs", "Worker", "template", "spec", "containers", ...),
            "spec.pytorchReplicaSpecs.Worker.template.spec.containers",
            "at least one container",
            "add",
        ),
        (
            changed(PYTORCH, "spec", "pytorchReplicaSpecs", "Worker", "template", "spec", "containers", 0, "name", "x"),
            "spec.pytorchReplicaSpecs.Worker.template.spec.containers",
            "no container is called pytorch",
            "pytorch",
        ),
        (
            changed(PYTORCH, "spec", "elasticPolicy", {"minReplicas": 9, "maxReplicas": 8}),
            "spec.elasticPolicy.minReplicas",
            "maximum 8",
            "swap",
        ),
        (changed(PYTORCH, "spec", "elasticPolicy", 3), "spec.elasticPolicy", "must be a mapping", "mapping"),
        (changed(VOLCANO, "spec", "minAvailable", 5), "spec.minAvailable", "5 pods", "at most 4"),
        (changed(VOLCANO, "spec", "minAvailable", -5), "spec.minAvailable", "from 0", "range"),
        (changed(VOLCANO, "spec", "tasks", []), "spec.tasks", "empty", "add"),
        (changed(VOLCANO, "spec", "tasks", {}), "spec.tasks", "must be a list", "list"),
        (changed(VOLCANO, "spec", "tasks", 0, "replicas", ...), "spec.tasks[0]", "no pods", "replicas"),
        (
            changed(VOLCANO, "spec", "tasks", 0, "minAvailable", 9),
            "spec.tasks[0].minAvailable",
            "more than the 4",
            "at most 4",
        ),
        (changed(VOLCANO, "spec", "queue", 3), "spec.queue", "must be a string", "quoted"),
        (
            changed(POD, "metadata", "labels", {"muster.dev/min-available": "2"}),
            'metadata.labels["muster.dev/min-available"]',
            "2 pods",
            "at most 1",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_field_and_how_to_mend_it(
    problems_of: Problems, text: str, path: str, said: str, mend: str
) -> None:
    found = problems_of(text)
    matching = [each for each in found if each.path == path]
    assert matching, found
    assert any(said in each.message and mend in each.mend for each in matching), matching


def test_two_objects_of_one_name(problems_of: Problems) -> None:
    (problem,) = problems_of(POD + "---" + POD)
    assert (problem.document, problem.path) == (2, "metadata.name")
    assert "two objects Pod default/probe" in problem.message


def test_two_tasks_of_one_name(problems_of: Problems) -> None:
    obj = yaml.safe_load(VOLCANO)
    obj["spec"]["tasks"] *= 2
    assert any("two roles are called worker" in each.message for each in problems_of(yaml.safe_dump(obj)))


def test_all_problems_of_a_file_come_at_once(problems_of: Problems) -> None:
    pod = changed(POD, "spec", "containers", 0, "resources", "limits", {"nvidia.com/gpu": -1, "cpu": "x"})
    found = problems_of(
        "---\n".join((pod, changed(DEPLOYMENT, "spec", "replicas", -1), "\nkind: Odd\napiVersion: v9\n"))
    )
    assert [each.document for each in found] == [1, 1, 2, 3]


@pytest.mark.parametrize("text", EVERY_KIND)
def test_reading_changes_nothing_of_what_it_is_given(catalogue: Catalogue, text: str) -> None:
    (submission,) = reader.read(text.encode(), catalogue)
    given_object = yaml.safe_load(text)
    given_object["metadata"].setdefault("namespace", "default")
    assert submission.manifest == given_object


def hostile() -> list[dict[str, Any]]:
    """Each is quadratic, or a hundred thousand searches for what was meant, when read naively."""
    pod, job = yaml.safe_load(POD), yaml.safe_load(VOLCANO)
    limits = {"limits": {f"nvidia.com/gpu{number}": 1 for number in range(30_000)}}
    values = [f"A100-SXM4-{number}" for number in range(20_000)]
    term = {"matchExpressions": [{"key": "nvidia.com/gpu.product", "operator": "In", "values": values}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    tasks = [{**job["spec"]["tasks"][0], "name": f"t{number}"} for number in range(9_000)]
    return [
        {**pod, "spec": {"containers": [{"name": "c", "resources": limits}]}},
        {**pod, "spec": {"containers": [{"name": f"c{number}"} for number in range(40_000)]}},
        {**pod, "spec": {**pod["spec"], "affinity": affinity}},
        {**job, "spec": {**job["spec"], "tasks": tasks}},
        {"apiVersion": "v1", "kind": "List", "items": [{"kind": "Pod"}] * 20_000},
    ]


@pytest.mark.parametrize("obj", hostile())
def test_hostile_sizes_do_not_keep_the_reader_busy(catalogue: Catalogue, obj: dict[str, Any]) -> None:
    began = time.process_time()
    try:
        (submission,) = reader.read_documents([Document(1, obj)], catalogue)
    except ManifestError as error:
        found = len(error.problems)
    else:
        found = len(submission.workload.warnings)
        assert found <= MAX_WARNINGS
    assert found <= 100
    assert time.process_time() - began < 2


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10) | st.floats(-1, 2) | st.sampled_from(["", "x", "8", "Gt", "a/b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "spec", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_document_with_anything_anywhere_is_read_or_refused(catalogue: Catalogue, data: st.DataObject) -> None:
    obj = yaml.safe_load(data.draw(st.sampled_from(EVERY_KIND)))
    for _ in range(data.draw(st.integers(1, 3))):
        at: Any = obj
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = data.draw(st.sampled_from(keys)) if keys else None
            if key is None or not isinstance(at[key], dict | list) or data.draw(st.booleans()):
                break
            at = at[key]
        if key is not None:
            at[key] = data.draw(_JUNK)
    try:
        submissions = reader.read_documents([Document(1, obj)], catalogue)
    except ManifestError as error:
        problems = error.problems
    else:
        for each in submissions:
            assert each.workload.min_pods <= each.workload.pods
            rendered = render.render([each.manifest], catalogue, job="j-1", epoch=1)[-1]
            kind = catalogue.find(each.workload.api_version, each.workload.kind)
            assert kind is not None
            made = emulate.pods(kind, rendered)
            assert len(made) <= each.workload.pods
            emulate.status(kind, rendered, made)
        return
    assert problems
    assert all(problem.message for problem in problems)
