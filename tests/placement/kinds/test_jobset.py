"""JobSet and LeaderWorkerSet: Jobs and groups of pods that belong together."""

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


def pod(gpus: int, restart: str = "Never") -> dict[str, Any]:
    limits = {"nvidia.com/gpu": gpus} if gpus else {"cpu": 1}
    return {
        "spec": {"restartPolicy": restart, "containers": [{"name": "c", "image": "i", "resources": {"limits": limits}}]}
    }


def jobs(name: str, gpus: int, replicas: int = 1, **spec: Any) -> dict[str, Any]:
    return {"name": name, "replicas": replicas, "template": {"spec": {"template": pod(gpus), **spec}}}


def jobset(*replicated: dict[str, Any], **spec: Any) -> str:
    body = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": "s"}}
    return yaml.safe_dump(body | {"spec": {"replicatedJobs": list(replicated)} | spec})


TWO = (jobs("driver", 0), jobs("workers", 8, replicas=2, parallelism=4, completions=4))


def test_all_pods_of_all_jobs_start_together(read_one: Read) -> None:
    workload = read_one(jobset(*TWO)).workload
    assert [(role.name, role.minimum, role.replicas) for role in workload.roles] == [
        ("driver", 1, 1),
        ("workers", 8, 8),
    ]
    assert (workload.min_pods, workload.total_gpus, workload.long_running) == (9, 64, False)


def test_a_job_has_no_more_pods_than_completions(read_one: Read) -> None:
    workload = read_one(jobset(jobs("w", 1, replicas=2, parallelism=8, completions=3))).workload
    assert workload.pods == 6


@pytest.mark.parametrize(
    "spec", [{"startupPolicy": {"startupPolicyOrder": "InOrder"}}, {}], ids=["in-order", "depends-on"]
)
def test_jobs_that_begin_after_others_are_not_waited_for(read_one: Read, spec: dict[str, Any]) -> None:
    driver, workers = TWO
    if not spec:
        workers = {**workers, "dependsOn": [{"name": "driver", "status": "Ready"}]}
    workload = read_one(jobset(driver, workers, **spec)).workload
    assert [(role.minimum, role.replicas) for role in workload.roles] == [(1, 1), (0, 8)]
    assert (workload.min_pods, workload.total_gpus) == (1, 64)


def test_marks_reach_the_pods_of_the_jobs(read_one: Read, catalogue: Catalogue) -> None:
    (rendered,) = render([read_one(jobset(*TWO)).manifest], catalogue, job="j-1", epoch=1)
    templates = [each["template"]["spec"]["template"] for each in rendered["spec"]["replicatedJobs"]]
    assert [each["metadata"]["labels"]["muster.dev/role"] for each in templates] == ["driver", "workers"]
    assert {each["spec"]["schedulerName"] for each in templates} == {"muster"}


def test_a_pod_that_always_restarts_is_refused(problems_of: Callable[[str], tuple[Problem, ...]]) -> None:
    always = {"name": "w", "template": {"spec": {"template": pod(1, "Always")}}}
    found = problems_of(jobset(always))
    assert any(each.path.endswith("template.spec.template.spec.restartPolicy") for each in found), found


def jobs_status(*counts: tuple[str, int, int]) -> dict[str, Any]:
    return {"replicatedJobsStatus": [{"name": n, "ready": r, "succeeded": s} for n, r, s in counts]}


@pytest.mark.parametrize(
    ("status", "event", "reason"),
    [
        (jobs_status(("driver", 1, 0), ("workers", 0, 0)), Event.STARTING, ""),
        (jobs_status(("driver", 1, 0), ("workers", 2, 0)), Event.RUNNING, ""),
        ({"conditions": [{"type": "Completed", "status": "True"}]}, Event.SUCCEED, ""),
        (
            {"conditions": [{"type": "Failed", "status": "True", "reason": "ReachedMaxRestarts", "message": "m"}]},
            Event.FAIL,
            "ReachedMaxRestarts: m",
        ),
        ({"restarts": 1}, Event.STARTING, ""),
    ],
)
def test_status_of_a_jobset(catalogue: Catalogue, status: dict[str, Any], event: Event, reason: str) -> None:
    kind = catalogue.find("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert kind is not None
    said = observe(kind, yaml.safe_load(jobset(*TWO)) | {"status": status})
    assert (said.event, said.reason) == (event, reason)


def lws(leader: bool, **spec: Any) -> str:
    body = {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "metadata": {"name": "l"}}
    group: dict[str, Any] = {"workerTemplate": pod(8, "Always")} | (
        {"leaderTemplate": pod(1, "Always")} if leader else {}
    )
    size = {"size": spec.pop("size")} if "size" in spec else {}
    return yaml.safe_dump(body | {"spec": {"leaderWorkerTemplate": group | size} | spec})


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        (lws(True, replicas=2, size=4), [("leader", 2), ("worker", 6)]),
        (lws(False, replicas=2, size=4), [("worker", 8)]),
        (lws(True, size=3), [("leader", 1), ("worker", 2)]),
        (lws(False), [("worker", 1)]),
    ],
)
def test_groups_of_a_leader_and_its_workers(read_one: Read, text: str, roles: list[tuple[str, int]]) -> None:
    workload = read_one(text).workload
    assert [(role.name, role.replicas) for role in workload.roles] == roles
    assert workload.long_running


def test_leaders_do_not_wait_for_workers_that_come_once_they_are_ready(read_one: Read) -> None:
    workload = read_one(lws(True, replicas=2, size=4, startupPolicy="LeaderReady")).workload
    assert [(role.name, role.minimum, role.replicas) for role in workload.roles] == [("leader", 2, 2), ("worker", 0, 6)]
    assert workload.min_pods == 2


def test_the_first_group_that_is_ready_makes_it_run(catalogue: Catalogue) -> None:
    kind = catalogue.find("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet")
    assert kind is not None
    obj = yaml.safe_load(lws(True, replicas=2, size=4))
    assert observe(kind, obj | {"status": {"replicas": 2, "readyReplicas": 0}}).event is Event.STARTING
    assert observe(kind, obj | {"status": {"replicas": 2, "readyReplicas": 1}}).event is Event.RUNNING
