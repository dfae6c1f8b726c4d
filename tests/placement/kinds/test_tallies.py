"""Progress and retries, as each kind tells them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from placement.kinds import tallies
from placement.kinds.catalogue import Catalogue
from placement.kinds.observe import observe
from placement.kinds.tallies import TallyRule
from placement.tally import Tally

RULE = TypeAdapter(TallyRule)


def rule(**said: Any) -> TallyRule:
    made: TallyRule = RULE.validate_python(said)
    return made


@pytest.mark.parametrize(
    ("said", "obj", "tally"),
    [
        ({"text": "status.progress"}, {"status": {"progress": "3/10"}}, Tally(3, 10)),
        ({"text": "status.progress"}, {"status": {"progress": "3 of 10"}}, Tally(3, 10)),
        ({"text": "status.progress"}, {"status": {"progress": "3/"}}, None),
        ({"text": "status.progress"}, {"status": {"progress": 3}}, None),
        ({"text": "status.progress"}, {}, None),
        ({"done": {"sum": ["status.a", "status.b"]}}, {"status": {"a": 1, "b": 2}}, Tally(3)),
        ({"done": {"sum": ["status.a"]}}, {"status": {"a": "1"}}, None),
        ({"done": {"sum": ["status.a"], "default": 0}, "of": {"sum": ["spec.n"], "default": 6}}, {}, Tally(0, 6)),
        ({"done": {"sum": ["status.a"]}, "of": {"sum": ["spec.n"]}}, {"status": {"a": 1}}, Tally(1)),
        ({"done": {"sum": ["s.*.n"], "each": 1}}, {"s": [{"n": 3}, {}, {"n": "x"}]}, Tally(5)),
        ({"done": {"sum": ["s.*.n"], "each": 1}}, {"s": {"a": {"n": 3}, "b": {}}}, Tally(4)),
        ({"done": {"sum": ["s.*.n"], "each": 1}}, {"s": 3}, None),
        ({"done": {"cel": "int(status.a) - 5"}}, {"status": {"a": 3}}, Tally(0)),
        ({"done": {"cel": "status.a"}}, {"status": {"a": 2**62}}, Tally(2**53)),
        ({"done": {"sum": ["status.a"]}, "when": {"exists": "spec.n"}}, {"status": {"a": 1}}, None),
    ],
)
def test_rules(said: dict[str, Any], obj: dict[str, Any], tally: Tally | None) -> None:
    assert tallies.read(rule(**said), obj) == tally


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "`done`"),
        ({"text": "a", "done": {"sum": ["b"]}}, "`done`"),
        ({"done": {}}, "a sum of paths, or computed by cel"),
        ({"done": {"sum": ["a"], "cel": "1"}}, "a sum of paths, or computed by cel"),
        ({"done": {"cel": "gang + 1"}}, "gang and pods"),
        ({"done": {"sum": ["a"]}, "when": {"sum": ["b"], "at_least": "gang"}}, "gang and pods"),
    ],
)
def test_a_rule_that_says_nothing_or_two_things_is_refused(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        rule(**said)


REPLICAS = {"Master": {"active": 1, "failed": 1}, "Worker": {"active": 2, "failed": 2}}
JOBS = {"replicatedJobs": [{"name": "a", "replicas": 3}, {"name": "b"}], "failurePolicy": {"maxRestarts": 5}}
CREATED = [{"type": "Created", "status": "True"}]


@pytest.mark.parametrize(
    ("api_version", "kind", "spec", "status", "progress", "retries"),
    [
        ("batch/v1", "Job", {"completions": 8}, {"active": 2, "succeeded": 3, "failed": 1}, Tally(3, 8), Tally(1, 6)),
        ("batch/v1", "Job", {"backoffLimit": 0}, {"active": 2}, None, Tally(0, 0)),
        (
            "kubeflow.org/v1",
            "PyTorchJob",
            {"runPolicy": {"backoffLimit": 3}},
            {"conditions": CREATED, "replicaStatuses": REPLICAS},
            None,
            Tally(3, 3),
        ),
        ("kubeflow.org/v1", "MPIJob", {}, {"conditions": CREATED}, None, Tally(0)),
        (
            "jobset.x-k8s.io/v1alpha2",
            "JobSet",
            JOBS,
            {"restarts": 2, "replicatedJobsStatus": [{"name": "a", "succeeded": 2}, {"name": "b", "succeeded": 1}]},
            Tally(3, 4),
            Tally(2, 5),
        ),
        ("argoproj.io/v1alpha1", "Workflow", {}, {"phase": "Running", "progress": "4/9"}, Tally(4, 9), None),
        (
            "ray.io/v1",
            "RayJob",
            {"backoffLimit": 2},
            {"jobDeploymentStatus": "Retrying", "failed": 1},
            None,
            Tally(1, 2),
        ),
        (
            "sparkoperator.k8s.io/v1beta2",
            "SparkApplication",
            {"restartPolicy": {"type": "OnFailure", "onFailureRetries": 3}},
            {"applicationState": {"state": "RUNNING"}, "executionAttempts": 2},
            None,
            Tally(1, 3),
        ),
        (
            "batch.volcano.sh/v1alpha1",
            "Job",
            {},
            {"state": {"phase": "Restarting"}, "retryCount": 2},
            None,
            Tally(2, 3),
        ),
        (
            "v1",
            "Pod",
            {},
            {"phase": "Running", "containerStatuses": [{"restartCount": 2}, {"restartCount": 1}]},
            None,
            Tally(3),
        ),
        ("apps/v1", "Deployment", {}, {"replicas": 1}, None, None),
    ],
)
def test_kinds(
    catalogue: Catalogue,
    api_version: str,
    kind: str,
    spec: dict[str, Any],
    status: dict[str, Any],
    progress: Tally | None,
    retries: Tally | None,
) -> None:
    found = catalogue.find(api_version, kind)
    assert found is not None
    said = observe(found, {"metadata": {"name": "x"}, "spec": spec, "status": status})
    assert (said.progress, said.retries) == (progress, retries)
