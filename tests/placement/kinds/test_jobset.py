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
from placement.workload import SliceRequest, TopologyMode, TopologyRequest

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
    assert [(role.minimum, role.replicas, role.late) for role in workload.roles] == [(1, 1, False), (8, 8, True)]
    assert (workload.awaited_pods, workload.min_pods, workload.total_gpus) == (1, 9, 64)


def after(name: str, *others: str, end: bool = False) -> dict[str, Any]:
    waits = [{"name": other, "status": "Complete" if end else "Ready"} for other in others]
    return jobs(name, 1, parallelism=2) | {"dependsOn": waits}


def stages(read_one: Read, *replicated: dict[str, Any], **spec: Any) -> dict[str, int | None]:
    """Of each role; None where it begins at once."""
    workload = read_one(jobset(*replicated, **spec)).workload
    return {role.name: role.stage if role.late else None for role in workload.roles}


def test_only_what_waits_for_others_is_late(read_one: Read) -> None:
    found = stages(
        read_one, jobs("data", 0), jobs("driver", 0), after("a", "data"), after("b", "data"), after("c", "a")
    )
    assert found == {"data": None, "driver": None, "a": 1, "b": 1, "c": 2}
    workload = read_one(jobset(jobs("data", 0), jobs("driver", 0, replicas=3), after("a", "data"))).workload
    assert (workload.awaited_pods, workload.min_pods) == (4, 6)


def test_in_order_each_comes_after_the_one_before_it(read_one: Read) -> None:
    order = {"startupPolicy": {"startupPolicyOrder": "InOrder"}}
    found = stages(read_one, jobs("one", 0), jobs("two", 0), jobs("three", 0), **order)
    assert found == {"one": None, "two": 1, "three": 2}


@pytest.mark.parametrize(
    ("last", "gang"),
    [
        (after("train", "prepare", end=True), 3),  # 3 that prepare, or 2 that train
        (jobs("train", 8, replicas=2, parallelism=4) | {"dependsOn": [{"name": "prepare", "status": "Complete"}]}, 8),
        (after("train", "prepare"), 5),
    ],
)
def test_the_gang_is_what_must_run_at_one_time(read_one: Read, last: dict[str, Any], gang: int) -> None:
    workload = read_one(jobset(jobs("prepare", 0, replicas=3), last)).workload
    assert (workload.min_pods, workload.awaited_pods) == (gang, 3)


def test_what_follows_on_what_follows_an_end_comes_after_that_end(read_one: Read) -> None:
    chain = (jobs("prepare", 0, replicas=4), after("train", "prepare", end=True), after("watch", "train"))
    assert read_one(jobset(*chain)).workload.min_pods == 4  # 2 that train and 2 that watch are no more


@pytest.mark.parametrize("named", ["b", "nobody", "a"])
def test_what_is_waited_for_stands_before(problems_of: Callable[[str], tuple[Problem, ...]], named: str) -> None:
    (found,) = problems_of(jobset(after("a", named), jobs("b", 1)))
    assert (found.path, "does not stand before it" in found.message) == ("spec.replicatedJobs[0].dependsOn", True)


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
        (jobs_status(("driver", 1, 0), ("workers", 1, 0)), Event.STARTING, ""),
        (jobs_status(("driver", 1, 0), ("workers", 2, 0)), Event.RUNNING, ""),
        (jobs_status(("driver", 0, 1), ("workers", 1, 1)), Event.RUNNING, ""),
        (jobs_status(("driver", 1, 0)), Event.STARTING, ""),
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


@pytest.mark.parametrize(
    ("counts", "end", "event"),
    [
        ((("prepare", 1, 0), ("train", 0, 0)), True, Event.RUNNING),  # nothing else is due
        ((("prepare", 0, 1), ("train", 0, 0)), True, Event.STARTING),
        ((("prepare", 0, 1), ("train", 1, 0)), True, Event.RUNNING),
        ((("prepare", 1, 0), ("train", 0, 0)), False, Event.STARTING),
        ((("prepare", 1, 0), ("train", 1, 0)), False, Event.RUNNING),
    ],
)
def test_it_runs_when_all_that_is_due_is_ready(
    catalogue: Catalogue, counts: tuple[tuple[str, int, int], ...], end: bool, event: Event
) -> None:
    kind = catalogue.find("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert kind is not None
    obj = yaml.safe_load(jobset(jobs("prepare", 0), after("train", "prepare", end=end)))
    assert observe(kind, obj | {"status": jobs_status(*counts)}).event is event


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


@pytest.mark.parametrize("size", [1 << 63, -1, "4", True, 1.5, []])
@pytest.mark.parametrize("where", ["size", "replicas"])
def test_a_size_that_is_no_number_of_pods_is_refused(
    problems_of: Callable[[str], tuple[Problem, ...]], size: Any, where: str
) -> None:
    found = problems_of(lws(True, **{where: size}))
    at = "spec.replicas" if where == "replicas" else "spec.leaderWorkerTemplate.size"
    assert {problem.path for problem in found} == {at}


def test_leaders_do_not_wait_for_workers_that_come_once_they_are_ready(read_one: Read) -> None:
    workload = read_one(lws(True, replicas=2, size=4, startupPolicy="LeaderReady")).workload
    assert [(role.name, role.minimum, role.late) for role in workload.roles] == [
        ("leader", 2, False),
        ("worker", 6, True),
    ]
    assert (workload.min_pods, workload.awaited_pods, workload.groups) == (8, 2, 2)


def test_without_a_leaders_template_the_first_of_each_group_waits_for_nobody(read_one: Read) -> None:
    workload = read_one(lws(False, replicas=2, size=4, startupPolicy="LeaderReady")).workload
    assert [(role.name, role.minimum, role.replicas, role.late) for role in workload.roles] == [("worker", 2, 8, False)]
    assert (workload.min_pods, workload.awaited_pods, workload.groups) == (8, 2, 2)


@pytest.mark.parametrize("leader", [True, False])
def test_each_group_is_a_gang(read_one: Read, leader: bool) -> None:
    workload = read_one(lws(leader, replicas=2, size=4)).workload
    assert (workload.groups, workload.min_pods, workload.awaited_pods) == (2, 8, 8)


def in_racks(leader_gpus: int | None, replicas: int, **annotations: str) -> str:
    obj = yaml.safe_load(lws(leader_gpus is not None, replicas=replicas, size=4))
    group = obj["spec"]["leaderWorkerTemplate"]
    if leader_gpus is not None:
        group["leaderTemplate"] = pod(leader_gpus, "Always")
    if annotations:
        for template in (group["workerTemplate"], *([group["leaderTemplate"]] if leader_gpus is not None else [])):
            template["metadata"] = {"annotations": {f"kueue.x-k8s.io/{k}": v for k, v in annotations.items()}}
    else:
        obj["metadata"]["annotations"] = {"leaderworkerset.sigs.k8s.io/exclusive-topology": "rack"}
    return yaml.safe_dump(obj)


@pytest.mark.parametrize("leader_gpus", [None, 8], ids=["no-leader-template", "leader-like-workers"])
@pytest.mark.parametrize("kueue", [{}, {"podset-required-topology": "rack"}], ids=["own", "kueue"])
def test_each_group_lies_in_one_domain(read_one: Read, leader_gpus: int | None, kueue: dict[str, str]) -> None:
    workload = read_one(in_racks(leader_gpus, 2, **kueue)).workload
    (role,) = workload.roles
    assert (role.name, role.replicas, role.slices) == ("worker", 8, SliceRequest(4, "rack"))
    assert not workload.warnings


def test_the_only_group_lies_in_one_domain_whatever_its_leader_asks_for(read_one: Read) -> None:
    workload = read_one(in_racks(1, 1)).workload
    assert workload.topology == TopologyRequest("rack", TopologyMode.REQUIRED)
    assert [role.slices for role in workload.roles] == [None, None]


def test_a_leader_that_asks_for_something_else_may_lie_elsewhere_and_it_is_said(read_one: Read) -> None:
    workload = read_one(in_racks(1, 2)).workload
    assert [role.slices for role in workload.roles] == [None, SliceRequest(3, "rack")]
    assert any("leader may lie elsewhere" in warning for warning in workload.warnings)


def test_the_first_group_that_is_ready_makes_it_run(catalogue: Catalogue) -> None:
    kind = catalogue.find("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet")
    assert kind is not None
    obj = yaml.safe_load(lws(True, replicas=2, size=4))
    assert observe(kind, obj | {"status": {"replicas": 2, "readyReplicas": 0}}).event is Event.STARTING
    assert observe(kind, obj | {"status": {"replicas": 2, "readyReplicas": 1}}).event is Event.RUNNING
