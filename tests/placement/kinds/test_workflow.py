"""Argo's Workflow: the most that may run at once."""

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


def pod(name: str, gpus: int, cpu: str = "1", **more: Any) -> dict[str, Any]:
    limits = {"cpu": cpu} | ({"nvidia.com/gpu": gpus} if gpus else {})
    return {"name": name, "container": {"image": "i", "resources": {"limits": limits}}, **more}


def workflow(*templates: dict[str, Any], **spec: Any) -> str:
    body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"}}
    return yaml.safe_dump(body | {"spec": {"entrypoint": "main", "templates": list(templates)} | spec})


def steps(*groups: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"name": "main", "steps": [list(group) for group in groups], **more}


def call(template: str, **more: Any) -> dict[str, Any]:
    return {"name": template, "template": template, **more}


def dag(**waits: list[str]) -> dict[str, Any]:
    """Each task runs the template of its name."""
    return {"name": "main", "dag": {"tasks": [call(name, dependencies=after) for name, after in waits.items()]}}


ABC = (pod("a", 0), pod("b", 8), pod("c", 1))


@pytest.mark.parametrize(
    ("text", "pods", "gpus"),
    [
        (workflow(*ABC, steps([call("a")], [call("b")], [call("c")])), 1, 8),  # one after another: the largest
        (workflow(*ABC, steps([call("b"), call("c")])), 2, 8),  # together: 9 GPUs, as pods of 8
        (workflow(*ABC, dag(a=[], b=["a"], c=["b"])), 1, 8),
        (workflow(*ABC, dag(a=[], b=["a"], c=["a"])), 2, 8),
        (workflow(*ABC, steps([call("c", withItems=[1, 2, 3, 4])])), 4, 1),
        (workflow(*ABC, steps([call("c", withSequence={"count": "5"})])), 5, 1),
        (workflow(*ABC, steps([call("c", withSequence={"start": "2", "end": 4})])), 3, 1),
        (workflow(*ABC, steps([call("c", withItems=list(range(50)))]), parallelism=4), 4, 1),
        (workflow(*ABC, steps([call("c", withItems=list(range(50)))], parallelism=2)), 2, 1),
        (workflow(*ABC, steps([call("a")]), onExit="b"), 1, 8),
        (workflow(pod("main", 2)), 1, 2),
    ],
    ids=[
        "steps",
        "group",
        "chain",
        "fork",
        "items",
        "count",
        "from-to",
        "parallelism",
        "of-template",
        "exit",
        "single",
    ],
)
def test_room_is_kept_for_the_most_that_may_run_at_once(read_one: Read, text: str, pods: int, gpus: int) -> None:
    workload = read_one(text).workload
    (role,) = workload.roles
    assert (role.replicas, role.gpus_per_pod, workload.min_pods) == (pods, gpus, 1)


def test_an_expression_of_dependencies_is_an_order_too(read_one: Read) -> None:
    tasks = [call("b"), call("c", depends="b.Succeeded")]
    assert read_one(workflow(*ABC, {"name": "main", "dag": {"tasks": tasks}})).workload.total_gpus == 8
    tasks[1]["depends"] = "b.Succeeded || a.Failed"  # it may run beside either
    workload = read_one(workflow(*ABC, {"name": "main", "dag": {"tasks": [*tasks, call("a")]}})).workload
    assert workload.roles[0].replicas == 3


def test_the_nodes_are_those_that_the_step_with_the_most_gpus_asks_for(read_one: Read) -> None:
    here = pod("b", 8, nodeSelector={"gpu": "big"})
    workload = read_one(
        workflow(pod("a", 1, nodeSelector={"gpu": "small"}), here, steps([call("a")], [call("b")]))
    ).workload
    assert workload.roles[0].constraint.terms[0][0].values == ("big",)


def test_what_only_the_run_tells_is_said(read_one: Read) -> None:
    text = workflow(
        *ABC, steps([call("c", withParam="{{steps.a.outputs.result}}"), {"name": "x", "templateRef": {"name": "t"}}])
    )
    warnings = read_one(text).workload.warnings
    assert any("withParam" in each for each in warnings)
    assert any("templateRef" in each for each in warnings)


def test_a_template_that_calls_itself_is_read_to_its_end(read_one: Read) -> None:
    text = workflow(pod("b", 4), steps([call("b")], [call("main", when="{{again}}")]))
    workload = read_one(text).workload
    assert workload.total_gpus == 4
    assert any("calls itself" in each for each in workload.warnings)


def test_a_request_without_a_limit_is_counted_and_said_to_fail(read_one: Read) -> None:
    step = {"name": "main", "container": {"image": "i", "resources": {"requests": {"nvidia.com/gpu": "8"}}}}
    workload = read_one(workflow(step)).workload
    assert workload.total_gpus == 8
    assert any("Kubernetes will refuse" in each for each in workload.warnings)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        (workflow(pod("a", 1)), "spec.entrypoint", "there is no template main"),
        (workflow(steps([call("zz")])), "spec.templates[0].steps[0].template", "there is no template zz"),
        (workflow({"name": "main"}), "spec.templates[0]", "says nothing to run"),
        (workflow({"name": "main", "steps": 3}), "spec.templates[0].steps", "must be a list"),
        (workflow(pod("main", 1), entrypoint=None), "spec.entrypoint", "is missing"),
        (workflow(pod("main", 1, cpu="lots")), "spec.templates[0].containers[0].resources.limits.cpu", "quantity"),
    ],
)
def test_wrong_ones_say_where(
    problems_of: Callable[[str], tuple[Problem, ...]], text: str, path: str, said: str
) -> None:
    found = problems_of(text)
    assert any(each.path == path and said in each.message for each in found), found


def test_its_pods_are_marked_by_the_workflow(read_one: Read, catalogue: Catalogue) -> None:
    text = workflow(pod("main", 1, schedulerName="volcano"), podMetadata={"labels": {"team": "x"}})
    (rendered,) = render([read_one(text).manifest], catalogue, job="j-1", epoch=2)
    spec = rendered["spec"]
    assert spec["podMetadata"]["labels"] == {
        "team": "x",
        "muster.dev/job": "j-1",
        "muster.dev/epoch": "2",
        "muster.dev/role": "steps",
    }
    assert (spec["schedulerName"], spec["templates"][0]["schedulerName"]) == ("muster", "muster")


@pytest.mark.parametrize(
    ("status", "event", "reason"),
    [
        ({"phase": "Running", "progress": "1/3"}, Event.RUNNING, ""),
        ({"phase": "Succeeded"}, Event.SUCCEED, ""),
        ({"phase": "Failed", "message": "child 'x' failed"}, Event.FAIL, "Failed: child 'x' failed"),
        ({"phase": "Error", "message": "no such template"}, Event.FAIL, "Error: no such template"),
        ({"phase": "Pending", "message": "waits"}, Event.STARTING, "waits"),
    ],
)
def test_status(catalogue: Catalogue, status: dict[str, Any], event: Event, reason: str) -> None:
    kind = catalogue.find("argoproj.io/v1alpha1", "Workflow")
    assert kind is not None
    said = observe(kind, yaml.safe_load(workflow(pod("main", 1))) | {"status": status})
    assert (said.event, said.reason) == (event, reason)
