"""KubeRay's kinds: a head, groups of workers with ranges of their own, and who submits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from placement.kinds.catalogue import Catalogue
from placement.kinds.observe import observe
from placement.kinds.problems import Problem
from placement.kinds.reader import Submission
from placement.kinds.render import render
from placement.lifecycle import Event

Read = Callable[[str], Submission]


def template(gpus: int = 0) -> dict[str, Any]:
    limits = {"cpu": 2} | ({"nvidia.com/gpu": gpus} if gpus else {})
    return {"spec": {"containers": [{"name": "ray", "image": "ray", "resources": {"limits": limits}}]}}


def group(name: str, gpus: int, **fields: Any) -> dict[str, Any]:
    return {"groupName": name, "template": template(gpus), **fields}


CLUSTER: dict[str, Any] = {
    "headGroupSpec": {"template": template()},
    "workerGroupSpecs": [
        group("gpu", 4, replicas=2, minReplicas=1, maxReplicas=10),
        group("cpu", 0, replicas=4, minReplicas=2, maxReplicas=20),
    ],
}


def ray(kind: str, spec: dict[str, Any], version: str = "v1") -> str:
    return yaml.safe_dump({"apiVersion": f"ray.io/{version}", "kind": kind, "metadata": {"name": "r"}, "spec": spec})


EVERY = {
    "RayCluster": CLUSTER,
    "RayJob": {"entrypoint": "python x.py", "rayClusterSpec": CLUSTER},
    "RayService": {"serveConfigV2": "", "rayClusterConfig": CLUSTER},
}


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("version", ["v1", "v1alpha1"])
def test_the_gang_is_the_head_and_the_least_of_each_group(read_one: Read, kind: str, version: str) -> None:
    workload = read_one(ray(kind, EVERY[kind], version)).workload
    assert [(role.name, role.minimum, role.replicas, role.maximum) for role in workload.roles] == [
        ("head", 1, 1, None),
        ("gpu", 1, 2, 10),
        ("cpu", 2, 4, 20),
    ]
    assert (workload.min_pods, workload.total_gpus, workload.long_running) == (4, 8, kind != "RayJob")


@pytest.mark.parametrize(
    ("fields", "role"),
    [
        ({}, (0, 0, None)),  # the CRD's defaults: none, and nothing above
        ({"replicas": 3}, (0, 3, None)),
        ({"replicas": 1, "minReplicas": 2, "maxReplicas": 4}, (2, 2, 4)),  # KubeRay holds them to the range
        ({"replicas": 9, "minReplicas": 2, "maxReplicas": 4}, (2, 4, 4)),
        ({"replicas": 2, "minReplicas": 1, "maxReplicas": 3, "numOfHosts": 4}, (4, 8, 12)),
    ],
)
def test_ranges(read_one: Read, fields: dict[str, Any], role: tuple[int, int, int | None]) -> None:
    spec = {"headGroupSpec": {"template": template()}, "workerGroupSpecs": [group("w", 1, **fields)]}
    worker = read_one(ray("RayCluster", spec)).workload.roles[1]
    assert (worker.minimum, worker.replicas, worker.maximum) == role


def test_a_head_alone_is_a_cluster(read_one: Read) -> None:
    workload = read_one(ray("RayCluster", {"headGroupSpec": {"template": template(1)}})).workload
    assert (workload.pods, workload.total_gpus) == (1, 1)


def test_the_submitter_comes_once_the_cluster_is_there(read_one: Read) -> None:
    spec = {**EVERY["RayJob"], "submitterPodTemplate": template()}
    workload = read_one(ray("RayJob", spec)).workload
    assert [(role.name, role.minimum, role.replicas) for role in workload.roles][-1] == ("submitter", 0, 1)
    assert workload.min_pods == 4
    by_http = read_one(ray("RayJob", {**spec, "submissionMode": "HTTPMode"})).workload
    assert [role.name for role in by_http.roles] == ["head", "gpu", "cpu"]


def test_every_pod_template_is_marked(read_one: Read, catalogue: Catalogue) -> None:
    spec = {**EVERY["RayJob"], "submitterPodTemplate": template()}
    (rendered,) = render([read_one(ray("RayJob", spec)).manifest], catalogue, job="j-1", epoch=1)
    cluster = rendered["spec"]["rayClusterSpec"]
    templates = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    found = [each["template"] for each in templates] + [rendered["spec"]["submitterPodTemplate"]]
    assert [each["metadata"]["labels"]["muster.dev/role"] for each in found] == ["head", "gpu", "cpu", "submitter"]
    assert {each["spec"]["schedulerName"] for each in found} == {"muster"}


@pytest.mark.parametrize(
    ("spec", "path", "said"),
    [
        ({}, "spec.headGroupSpec", "is missing"),
        ({"headGroupSpec": {}}, "spec.headGroupSpec.template.spec", "there is no pod template"),
        (
            {**CLUSTER, "workerGroupSpecs": [group("w", 1, minReplicas=3, maxReplicas=2)]},
            "spec.workerGroupSpecs[0].minReplicas",
            "3 is more than the maximum 2",
        ),
        ({**CLUSTER, "workerGroupSpecs": [group("head", 1)]}, "spec.workerGroupSpecs[0]", "two roles are called head"),
        ({**CLUSTER, "workerGroupSpecs": {"a": 1}}, "spec.workerGroupSpecs", "must be a list"),
    ],
)
def test_wrong_ones_say_where(
    problems_of: Callable[[str], tuple[Problem, ...]], spec: dict[str, Any], path: str, said: str
) -> None:
    found = problems_of(ray("RayCluster", spec))
    assert any(each.path == path and said in each.message for each in found), found


@pytest.mark.parametrize(
    ("kind", "status", "event", "reason"),
    [
        ("RayCluster", {"state": "ready"}, Event.RUNNING, ""),
        ("RayCluster", {"readyWorkerReplicas": 3}, Event.RUNNING, ""),  # the gang, and not yet all
        ("RayCluster", {"readyWorkerReplicas": 2}, None, ""),
        ("RayCluster", {"state": "failed", "reason": "no head"}, Event.FAIL, "no head"),
        ("RayJob", {"jobDeploymentStatus": "Initializing"}, Event.STARTING, "Initializing"),
        ("RayJob", {"jobDeploymentStatus": "Running", "jobStatus": "PENDING"}, Event.STARTING, "Running"),
        ("RayJob", {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, Event.RUNNING, ""),
        ("RayJob", {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, Event.SUCCEED, ""),
        ("RayJob", {"jobDeploymentStatus": "Complete", "jobStatus": "FAILED", "message": "boom"}, Event.FAIL, "boom"),
        (
            "RayJob",
            {"jobDeploymentStatus": "Failed", "reason": "AppFailed", "message": "x"},
            Event.FAIL,
            "AppFailed: x",
        ),
        ("RayJob", {"jobDeploymentStatus": "Retrying", "jobStatus": "FAILED"}, Event.STARTING, "Retrying"),
        ("RayService", {"serviceStatus": "Running"}, Event.RUNNING, ""),
        ("RayService", {"serviceStatus": ""}, Event.STARTING, ""),
    ],
)
def test_status(catalogue: Catalogue, kind: str, status: dict[str, Any], event: Event | None, reason: str) -> None:
    rules = catalogue.find("ray.io/v1", kind)
    assert rules is not None
    said = observe(rules, yaml.safe_load(ray(kind, EVERY[kind])) | {"status": status})
    assert said.event is event
    assert reason in said.reason
