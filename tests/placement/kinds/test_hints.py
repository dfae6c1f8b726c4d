from collections.abc import Callable
from typing import Any

import pytest
import yaml

from placement.kinds.documents import Problem
from placement.kinds.reader import Submission
from placement.workload import Hints, IfTooLarge, TopologyMode, TopologyRequest

Read = Callable[[str], Submission]
Problems = Callable[[str], tuple[Problem, ...]]


def job(
    annotations: dict[str, Any] | None = None, labels: dict[str, Any] | None = None, pod: dict[str, Any] | None = None
) -> str:
    metadata = {"name": "j", "annotations": annotations or {}, "labels": labels or {}}
    spec = {"restartPolicy": "Never", "containers": [{"name": "c"}], **(pod or {})}
    template = {"metadata": {"labels": {"app": "a"}}, "spec": spec}
    body = {"parallelism": 4, "completions": 4, "completionMode": "Indexed", "template": template}
    return yaml.safe_dump({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": body})


def near(key: str, mode: str = "required", **selector: Any) -> dict[str, Any]:
    term = {"labelSelector": selector or {"matchLabels": {"app": "a"}}, "topologyKey": key}
    given = [term] if mode == "required" else [{"weight": 5, "podAffinityTerm": term}]
    return {"affinity": {"podAffinity": {f"{mode}DuringSchedulingIgnoredDuringExecution": given}}}


def test_without_hints(read_one: Read) -> None:
    workload = read_one(job()).workload
    assert workload.hints == Hints()
    assert workload.topology is None


def test_all_hints(read_one: Read) -> None:
    workload = read_one(
        job(
            {
                "muster.dev/topology-required": "rack",
                "muster.dev/clusters": "a, b",
                "muster.dev/exclude-clusters": "c",
                "muster.dev/regions": "eu,us",
                "muster.dev/expected-hours": "2.5",
            },
            {
                "muster.dev/queue": "q",
                "muster.dev/priority": "-7",
                "muster.dev/spot": "true",
                "muster.dev/min-available": "3",
                "muster.dev/if-too-large": "reject",
            },
        )
    ).workload
    assert workload.hints == Hints("q", "", -7, ("a", "b"), ("c",), ("eu", "us"), 2.5, True, IfTooLarge.REJECT)
    assert workload.topology == TopologyRequest("rack", TopologyMode.REQUIRED)
    assert (workload.min_pods, workload.roles[0].minimum) == (3, 3)


@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("priority", "high", "whole number"),
        ("priority", "1" * 30, "whole number"),
        ("clusters", "a,,b", "commas"),
        ("expected-hours", "soon", "hours above 0"),
        ("expected-hours", "-1", "hours above 0"),
        ("expected-hours", "nan", "hours above 0"),
        ("spot", "yes", '"true" or "false"'),
        ("if-too-large", "explode", "wait, reject"),
        ("min-available", "0", "give one"),
        ("min-available", "5", "at most 4"),
        ("topology-required", "", "a level"),
        ("topolgy-required", "rack", "did you mean muster.dev/topology-required?"),
        ("colour", "red", "known:"),
        ("job", "j-0123456789", "remove it"),
    ],
)
def test_wrong_hints(problems_of: Problems, name: str, value: str, mend: str) -> None:
    (problem,) = problems_of(job({f"muster.dev/{name}": value}))
    assert problem.path == f'metadata.annotations["muster.dev/{name}"]'
    assert mend in problem.mend


def test_a_hint_given_twice(problems_of: Problems, read_one: Read) -> None:
    (problem,) = problems_of(job({"muster.dev/queue": "a"}, {"muster.dev/queue": "b"}))
    assert "twice" in problem.message
    assert read_one(job({"muster.dev/queue": "a"}, {"muster.dev/queue": "a"})).workload.hints.queue == "a"


def test_two_topologies(problems_of: Problems) -> None:
    (problem,) = problems_of(job({"muster.dev/topology-required": "rack", "muster.dev/topology-preferred": "host"}))
    assert "exclude each other" in problem.message


def test_hints_on_a_pod_template(problems_of: Problems) -> None:
    obj = yaml.safe_load(job())
    obj["spec"]["template"]["metadata"]["labels"]["muster.dev/queue"] = "q"
    (problem,) = problems_of(yaml.safe_dump(obj))
    assert problem.path == 'spec.template.metadata.labels["muster.dev/queue"]'


def test_a_level_that_is_nearly_known(read_one: Read) -> None:
    workload = read_one(job({"muster.dev/topology-preferred": "racks"})).workload
    assert workload.topology == TopologyRequest("racks", TopologyMode.PREFERRED)
    assert "did you mean rack?" in workload.warnings[0]
    assert not read_one(job({"muster.dev/topology-preferred": "nvl-domain"})).workload.warnings


@pytest.mark.parametrize(
    ("labels", "queue"),
    [
        ({"kueue.x-k8s.io/queue-name": "k"}, "k"),
        ({"kueue.x-k8s.io/queue-name": "k", "muster.dev/queue": "m"}, "m"),
        ({"volcano.sh/queue-name": "v"}, "v"),
        ({}, "default"),
    ],
)
def test_queues_of_other_schedulers(read_one: Read, labels: dict[str, str], queue: str) -> None:
    assert read_one(job(labels=labels)).workload.hints.queue == queue


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (near("topology.muster.dev/rack"), TopologyRequest("topology.muster.dev/rack", TopologyMode.REQUIRED)),
        (near("example.com/cell", "preferred"), TopologyRequest("example.com/cell", TopologyMode.PREFERRED)),
        (near("kubernetes.io/hostname", matchLabels={"app": "other"}), None),
        # Labels that the Job controller will put on the pods count as well.
        (
            near("kubernetes.io/hostname", matchLabels={"batch.kubernetes.io/job-name": "j"}),
            TopologyRequest("kubernetes.io/hostname", TopologyMode.REQUIRED),
        ),
        (
            near("kubernetes.io/hostname", matchExpressions=[{"key": "app", "operator": "In", "values": ["a"]}]),
            TopologyRequest("kubernetes.io/hostname", TopologyMode.REQUIRED),
        ),
    ],
)
def test_pod_affinity_to_the_own_gang(read_one: Read, pod: dict[str, Any], expected: TopologyRequest | None) -> None:
    workload = read_one(job(pod=pod)).workload
    assert workload.topology == expected
    assert bool(workload.warnings) == (expected is None)


def test_an_own_hint_goes_before_pod_affinity(read_one: Read) -> None:
    workload = read_one(job({"muster.dev/topology-preferred": "block"}, pod=near("kubernetes.io/hostname"))).workload
    assert workload.topology == TopologyRequest("block", TopologyMode.PREFERRED)


def test_the_strongest_of_several_wishes_counts(read_one: Read) -> None:
    terms = [
        near(key)["affinity"]["podAffinity"] for key in ("topology.kubernetes.io/zone", "topology.muster.dev/rack")
    ]
    required = [each["requiredDuringSchedulingIgnoredDuringExecution"][0] for each in terms]
    pod = near("kubernetes.io/hostname", "preferred")
    pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = required
    assert read_one(job(pod=pod)).workload.topology == TopologyRequest(
        "topology.muster.dev/rack", TopologyMode.REQUIRED
    )


def test_what_is_not_kept_is_said(read_one: Read) -> None:
    anti = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "x"}]}}
    pod = {"affinity": anti, "topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]}
    warnings = read_one(job(pod=pod)).workload.warnings
    assert any("anti-affinity" in each for each in warnings)
    assert any("topologySpreadConstraints" in each for each in warnings)
