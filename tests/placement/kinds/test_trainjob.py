"""Kubeflow Trainer's TrainJobs, with their runtime in the file and without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from placement import marks
from placement.data import DataPlace
from placement.kinds import reader
from placement.kinds.catalogue import Catalogue
from placement.kinds.observe import observe
from placement.kinds.problems import Problem
from placement.kinds.reader import Submission
from placement.kinds.render import render
from placement.lifecycle import Event
from placement.safety.levels import Level
from placement.safety.reading import Reading, footprint
from placement.workload import Reference

Read = Callable[[str], Submission]
ProblemsOf = Callable[[str], tuple[Problem, ...]]
Json = dict[str, Any]
STEP = "trainer.kubeflow.org/trainjob-ancestor-step"
H100 = "NVIDIA-H100-80GB-HBM3"


def trainjob(
    ref: Mapping[str, Any] | None = None, trainer: Json | None = None, metadata: Json | None = None, **spec: Any
) -> Json:
    given = {"numNodes": 4, "resourcesPerNode": {"limits": {"nvidia.com/gpu": 8}}} if trainer is None else trainer
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "llm", **(metadata or {})},
        "spec": {"runtimeRef": dict(ref or {"name": "torch-distributed"}), "trainer": given, **spec},
    }


def replicated(name: str, step: str = "", container: str = "", **more: Any) -> Json:
    """One of a runtime's Jobs. In `more`: `pod`, more of its pod's spec; `resources`; and fields of the Job's own."""
    main = {"name": container or name, "image": "torch:2", "resources": more.pop("resources", {})}
    pod = {"spec": {"containers": [main], **more.pop("pod", {})}}
    labels = {"metadata": {"labels": {STEP: step}}} if step else {}
    return {"name": name, "template": {**labels, "spec": {"template": pod, **more.pop("job", {})}}, **more}


def runtime(*jobs: Json, kind: str = "TrainingRuntime", name: str = "mine", **spec: Any) -> Json:
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "labels": {"trainer.kubeflow.org/framework": "torch"}},
        "spec": {"template": {"spec": {"replicatedJobs": list(jobs)}}, **spec},
    }


MINE = {"kind": "TrainingRuntime", "name": "mine"}
NODE = replicated("node", "trainer")
GPU2 = {"limits": {"nvidia.com/gpu": 2, "memory": "8Gi"}}


def text(*objects: Json) -> str:
    return yaml.safe_dump_all(objects)


def roles_of(submission: Submission) -> dict[str, tuple[int, int, bool]]:
    return {role.name: (role.replicas, role.gpus_per_pod, role.late) for role in submission.workload.roles}


# ---- what it asks for ----


def test_where_the_runtime_lies_in_the_cluster_a_node_is_a_pod(read_one: Read) -> None:
    read = read_one(text(trainjob()))
    assert roles_of(read) == {"node": (4, 8, False)}
    assert (read.workload.min_pods, read.workload.long_running) == (4, False)
    assert read.workload.warnings == (
        "ClusterTrainingRuntime torch-distributed lies in the cluster: each node is counted as one pod",
    )
    assert read.workload.references == (Reference("ClusterTrainingRuntime", "torch-distributed"),)


def test_a_trainer_that_says_nothing_is_one_node_of_unknown_size(read_one: Read) -> None:
    read = read_one(text(trainjob(trainer={})))
    assert roles_of(read) == {"node": (1, 0, False)}
    assert "what a node asks for is not known, and not counted" in read.workload.warnings[0]


def test_initializers_are_pods_that_come_before_the_nodes(read_one: Read) -> None:
    initializer = {
        "dataset": {"storageUri": "hf://tatsu-lab/alpaca"},
        "model": {"storageUri": "s3://models/llama", "secretRef": {"name": "keys"}},
    }
    read = read_one(text(trainjob(initializer=initializer)))
    assert roles_of(read) == {
        "dataset-initializer": (1, 0, False),
        "model-initializer": (1, 0, False),
        "node": (4, 8, True),
    }
    assert read.workload.awaited_pods == 2
    assert {use.name for use in read.workload.data} == {"hf://tatsu-lab/alpaca", "s3://models/llama"}
    assert Reference("Secret", "keys") in read.workload.references


def test_a_runtime_in_the_file_says_what_the_trainjob_leaves_out(read_one: Read) -> None:
    node = replicated("node", "trainer", resources=GPU2, pod={"nodeSelector": {"nvidia.com/gpu.product": H100}})
    read = read_one(text(runtime(node, mlPolicy={"numNodes": 3, "torch": {}}), trainjob(MINE, trainer={})))
    assert roles_of(read) == {"node": (3, 2, False)}
    assert read.workload.roles[0].products == (H100,)
    assert [one["kind"] for one in read.dependencies] == ["TrainingRuntime"]
    assert read.workload.warnings == ()


@pytest.mark.parametrize(("gpus", "memory"), [(8, 8 * 1024), (None, 8 * 1024)])
def test_amounts_of_both_are_merged(read_one: Read, gpus: int | None, memory: int) -> None:
    node = replicated("node", "trainer", resources=GPU2)
    limits = {"limits": {"nvidia.com/gpu": gpus}} if gpus else {"limits": {"cpu": 4}}
    read = read_one(text(runtime(node), trainjob(MINE, {"numNodes": 1, "resourcesPerNode": limits})))
    (role,) = read.workload.roles
    assert (role.gpus_per_pod, role.requests["memory"]) == (gpus or 2, memory)


def test_every_job_of_the_runtime_is_a_role_and_those_that_wait_come_later(read_one: Read) -> None:
    jobs = (
        replicated("dataset-initializer", "dataset-initializer"),
        replicated("node", "trainer", dependsOn=[{"name": "dataset-initializer", "status": "Complete"}]),
        replicated("metrics", job={"parallelism": 2}, replicas=2),
    )
    read = read_one(text(trainjob(MINE), runtime(*jobs)))
    assert roles_of(read) == {
        "dataset-initializer": (1, 0, False),
        "node": (4, 8, True),
        "metrics": (4, 0, False),
    }


@pytest.mark.parametrize(
    ("nodes", "as_node", "expected"),
    [
        (None, True, {"launcher": (1, 8, True), "node": (1, 8, False)}),
        (4, True, {"launcher": (1, 8, True), "node": (3, 8, False)}),
        (4, False, {"launcher": (1, 8, True), "node": (4, 0, False)}),
    ],
)
def test_mpi_has_a_launcher_that_may_be_a_node(
    read_one: Read, nodes: int | None, as_node: bool, expected: dict[str, Any]
) -> None:
    launcher = replicated("launcher", "trainer", "node", dependsOn=[{"name": "node", "status": "Ready"}])
    mpi = {"numNodes": 1, "mpi": {"runLauncherAsNode": as_node}}
    trainer = {"resourcesPerNode": {"limits": {"nvidia.com/gpu": 8}}} | ({"numNodes": nodes} if nodes else {})
    read = read_one(text(runtime(replicated("node"), launcher, mlPolicy=mpi), trainjob(MINE, trainer)))
    assert roles_of(read) == expected


def test_jobs_of_a_runtime_in_order_wait_for_the_first(read_one: Read) -> None:
    one = runtime(replicated("prepare"), NODE)
    one["spec"]["template"]["spec"]["startupPolicy"] = {"startupPolicyOrder": "InOrder"}
    assert roles_of(read_one(text(one, trainjob(MINE)))) == {"prepare": (1, 0, False), "node": (4, 8, True)}


@pytest.mark.parametrize("field", ["runtimePatches", "podTemplateOverrides", "podSpecOverrides"])
def test_patches_of_the_runtime_count(read_one: Read, field: str) -> None:
    pod = {"nodeSelector": {"nvidia.com/gpu.product": H100}, "volumes": [{"name": "c", "configMap": {"name": "conf"}}]}
    target = {"targetJobs": [{"name": "node"}]}
    if field == "runtimePatches":
        jobs = [{"name": "node", "template": {"spec": {"template": {"spec": pod}}}}]
        patch: Json = {
            "runtimePatches": [
                {"manager": "me", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}}}
            ]
        }
    else:
        patch = {field: [target | ({"spec": pod} if field == "podTemplateOverrides" else pod)]}
    read = read_one(text(trainjob(**patch)))
    assert read.workload.roles[0].products == (H100,)
    assert Reference("ConfigMap", "conf") in read.workload.references


def test_a_cluster_runtime_in_the_file_becomes_one_of_the_jobs_namespace(read_one: Read, catalogue: Catalogue) -> None:
    whole = runtime(NODE, kind="ClusterTrainingRuntime", name="torch-distributed")
    read = read_one(text(whole, trainjob(metadata={"namespace": "team"})))
    assert roles_of(read) == {"node": (4, 8, False)}
    (travels,) = read.dependencies
    assert (travels["kind"], travels["metadata"]["namespace"]) == ("TrainingRuntime", "team")
    assert "is not applied: it belongs to the whole cluster" in read.workload.warnings[0]
    own, job = render([*read.dependencies, read.manifest], catalogue, job="j-1", epoch=1)
    assert (own["kind"], own["metadata"]["namespace"]) == ("TrainingRuntime", "team")
    assert job["spec"]["runtimeRef"]["name"] == own["metadata"]["name"]


def test_two_trainjobs_of_one_file_share_its_runtime(catalogue: Catalogue) -> None:
    objects = (
        runtime(NODE),
        trainjob(MINE),
        trainjob(MINE, metadata={"name": "other"}),
        trainjob(metadata={"name": "x"}),
    )
    found = reader.read(text(*objects).encode(), catalogue)
    assert [len(one.dependencies) for one in found] == [1, 1, 0]
    names = {
        render([*one.dependencies, one.manifest], catalogue, job="j-1", epoch=1)[0]["metadata"]["name"]
        for one in found[:2]
    }
    assert names == {"muster-llm", "muster-other"}


# ---- what is wrong ----


@pytest.mark.parametrize(
    ("objects", "path", "words"),
    [
        ([trainjob(ref={"kind": "TrainingRuntime"})], "spec.runtimeRef.name", "nothing says how it runs"),
        ([trainjob(trainer={"numNodes": "four"})], "spec.trainer.numNodes", 'is "four"'),
        ([trainjob(trainer={"numNodes": 0})], "spec.trainer.numNodes", "asks for no pods"),
        ([trainjob(trainer={"numProcPerNode": -1})], "spec.trainer.numProcPerNode", "-1"),
        (
            [trainjob(trainer={"resourcesPerNode": {"limits": {"nvidia.com/gpu": "half"}}})],
            'spec.trainer.resourcesPerNode.limits["nvidia.com/gpu"]',
            "half",
        ),
        (
            [trainjob(MINE, trainer={}), runtime(replicated("node", "trainer", pod={"nodeName": "n1"}))],
            "spec.runtimeRef",
            "Job 0 of the runtime, template.spec.nodeName: Muster chooses the node",
        ),
        ([trainjob(managedBy="kueue.x-k8s.io/multikueue")], "spec.managedBy", "another federation"),
        (
            [trainjob(ref={"name": "mine"}), runtime(NODE)],
            "spec.runtimeRef.kind",
            "names the ClusterTrainingRuntime mine; in the file is a TrainingRuntime mine",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_where_the_user_wrote_it(
    problems_of: ProblemsOf, objects: list[Json], path: str, words: str
) -> None:
    problem = problems_of(text(*objects))[0]
    assert problem.path == path
    assert words in problem.message


# ---- the marks ----


def test_the_marks_and_the_scheduler_are_in_a_runtime_of_its_own(read_one: Read, catalogue: Catalogue) -> None:
    jobs = (replicated("dataset-initializer", "dataset-initializer"), NODE)
    read = read_one(text(runtime(*jobs, podGroupPolicy={"coscheduling": {}}), trainjob(MINE)))
    before = yaml.safe_dump([*read.dependencies, read.manifest])
    own, job = render([*read.dependencies, read.manifest], catalogue, job="j-1", epoch=2)
    assert yaml.safe_dump([*read.dependencies, read.manifest]) == before
    assert own["metadata"] == {
        "name": "muster-llm",
        "namespace": "default",
        "labels": {"trainer.kubeflow.org/framework": "torch"},
        "annotations": {},
    }
    assert job["spec"]["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org",
        "kind": "TrainingRuntime",
        "name": "muster-llm",
    }
    assert "podGroupPolicy" not in own["spec"]
    for one in own["spec"]["template"]["spec"]["replicatedJobs"]:
        pod = one["template"]["spec"]["template"]
        assert pod["spec"]["schedulerName"] == "muster"
        assert pod["metadata"]["labels"] == {marks.JOB: "j-1", marks.EPOCH: "2", marks.ROLE: one["name"]}
        assert one["template"]["metadata"]["labels"][STEP]


def test_a_runtime_of_the_cluster_is_left_to_the_spoke(read_one: Read, catalogue: Catalogue) -> None:
    (job,) = render([read_one(text(trainjob())).manifest], catalogue, job="j-1", epoch=1)
    assert job["spec"] == trainjob()["spec"]


def test_pods_are_told_where_datasets_are_by_their_runtime(read_one: Read, catalogue: Catalogue) -> None:
    hint = {"annotations": {"muster.dev/datasets": "imagenet"}}
    read = read_one(text(runtime(NODE), trainjob(MINE, metadata=hint)))
    place = DataPlace("imagenet", "pvc://default/dataset-imagenet", writes=False)
    own, _ = render([*read.dependencies, read.manifest], catalogue, job="j", epoch=1, data=[place])
    (container,) = own["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"][
        "containers"
    ]
    assert {"name": "MUSTER_DATASET_IMAGENET", "value": "/muster/datasets/imagenet"} in container["env"]
    elsewhere = read_one(text(trainjob(metadata=hint)))
    assert any("not told where datasets are" in warning for warning in elsewhere.workload.warnings)


# ---- who may ----


def test_its_pods_are_seen_only_with_the_runtime_in_the_file(read_one: Read, catalogue: Catalogue) -> None:
    def levels(read: Submission) -> set[tuple[str, Level]]:
        objects = [*read.dependencies, read.manifest]
        return {(one.control, one.level) for one in footprint(objects, catalogue, Reading("default")).breaches}

    assert levels(read_one(text(trainjob()))) == {("unseen", Level.RESTRICTED)}
    whole = runtime(replicated("node", "trainer", pod={"hostNetwork": True}))
    found = levels(read_one(text(whole, trainjob(MINE))))
    assert ("hostNetwork", Level.BASELINE) in found
    assert "unseen" not in {control for control, _ in found}


# ---- its status ----


def counted(name: str, ready: int = 0, succeeded: int = 0) -> Json:
    return {"name": name, "ready": ready, "succeeded": succeeded, "failed": 0, "active": 1, "suspended": 0}


@pytest.mark.parametrize(
    ("status", "event", "reason"),
    [
        ({"conditions": [{"type": "Suspended", "status": "False", "reason": "Resumed"}]}, Event.STARTING, ""),
        ({"jobsStatus": [counted("node")]}, Event.STARTING, ""),
        ({"jobsStatus": [counted("dataset-initializer", 1), counted("node")]}, Event.STARTING, ""),
        ({"jobsStatus": [counted("dataset-initializer", 0, 1), counted("node", 1)]}, Event.RUNNING, ""),
        ({"jobsStatus": [counted("workers", 1)]}, Event.RUNNING, ""),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, Event.SUCCEED, ""),
        (
            {
                "conditions": [{"type": "Failed", "status": "True", "reason": "JobsFailed", "message": "node failed"}],
                "jobsStatus": [counted("node", 1)],
            },
            Event.FAIL,
            "JobsFailed: node failed",
        ),
        ({"other": 1}, None, ""),
    ],
)
def test_its_status_tells(catalogue: Catalogue, status: Json, event: Event | None, reason: str) -> None:
    kind = catalogue.find("trainer.kubeflow.org/v1alpha1", "TrainJob")
    assert kind is not None
    said = observe(kind, {**trainjob(), "status": status})
    assert said.event is event
    assert reason in said.reason
