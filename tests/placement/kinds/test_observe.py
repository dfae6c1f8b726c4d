from typing import Any

import pytest

from placement.kinds import statuses
from placement.kinds.catalogue import Catalogue
from placement.kinds.kind import Kind
from placement.kinds.observe import Observation, observe
from placement.lifecycle import Event


def condition(type_: str, status: str = "True", **more: str) -> dict[str, str]:
    return {"type": type_, "status": status, **more}


INDEXED = {"parallelism": 4, "completions": 8, "completionMode": "Indexed"}
GANG = {"pytorchReplicaSpecs": {"Master": {}, "Worker": {"replicas": 3}}}
FAILED = condition("Failed", reason="BackoffLimitExceeded", message="too many failures")


@pytest.mark.parametrize(
    ("api_version", "kind", "spec", "status", "event", "reason"),
    [
        ("batch/v1", "Job", {}, None, None, ""),
        ("batch/v1", "Job", {}, {}, None, ""),
        ("batch/v1", "Job", {}, {"uncountedTerminatedPods": {}}, None, ""),
        ("batch/v1", "Job", {}, {"startTime": "t"}, Event.STARTING, ""),
        ("batch/v1", "Job", INDEXED, {"active": 4, "ready": 3}, Event.STARTING, ""),
        ("batch/v1", "Job", INDEXED, {"active": 4, "ready": 4}, Event.RUNNING, ""),
        ("batch/v1", "Job", INDEXED, {"active": 2, "ready": 2, "succeeded": 6}, Event.RUNNING, ""),
        ("batch/v1", "Job", {"parallelism": 4}, {"active": 4, "ready": 1}, Event.RUNNING, ""),
        (
            "batch/v1",
            "Job",
            INDEXED,
            {"succeeded": 1, "conditions": [condition("SuccessCriteriaMet")]},
            Event.RUNNING,
            "",
        ),
        ("batch/v1", "Job", {}, {"conditions": [condition("Complete")]}, Event.SUCCEED, ""),
        ("batch/v1", "Job", {}, {"active": 1, "conditions": [condition("Complete", "False")]}, Event.STARTING, ""),
        ("batch/v1", "Job", {}, {"conditions": [FAILED]}, Event.FAIL, "BackoffLimitExceeded: too many failures"),
        ("kubeflow.org/v1", "PyTorchJob", GANG, {"conditions": [condition("Created")]}, Event.STARTING, ""),
        (  # the operator says Running as soon as the master does
            "kubeflow.org/v1",
            "PyTorchJob",
            GANG,
            {
                "conditions": [condition("Running")],
                "replicaStatuses": {"Master": {"active": 1}, "Worker": {"active": 2}},
            },
            Event.STARTING,
            "",
        ),
        (
            "kubeflow.org/v1",
            "PyTorchJob",
            GANG,
            {
                "conditions": [condition("Running")],
                "replicaStatuses": {"Master": {"active": 1}, "Worker": {"active": 3}},
            },
            Event.RUNNING,
            "",
        ),
        (
            "kubeflow.org/v1",
            "PyTorchJob",
            GANG,
            {"conditions": [condition("Running", "False"), condition("Restarting", reason="R", message="again")]},
            Event.STARTING,
            "R: again",
        ),
        ("kubeflow.org/v1", "PyTorchJob", GANG, {"conditions": [condition("Succeeded")]}, Event.SUCCEED, ""),
        (
            "kubeflow.org/v1",
            "PyTorchJob",
            GANG,
            {"conditions": [condition("Failed", reason="PyTorchJobFailed")]},
            Event.FAIL,
            "PyTorchJobFailed",
        ),
        ("batch.volcano.sh/v1alpha1", "Job", {}, {"state": {"phase": "Pending"}}, Event.STARTING, ""),
        ("batch.volcano.sh/v1alpha1", "Job", {}, {"state": {"phase": "Running"}}, Event.RUNNING, ""),
        ("batch.volcano.sh/v1alpha1", "Job", {}, {"state": {"phase": "Completed"}}, Event.SUCCEED, ""),
        (
            "batch.volcano.sh/v1alpha1",
            "Job",
            {},
            {"state": {"phase": "Aborted", "message": "by hand"}},
            Event.FAIL,
            "Aborted: by hand",
        ),
        ("apps/v1", "Deployment", {"replicas": 2}, {"replicas": 2, "readyReplicas": 1}, Event.RUNNING, ""),
        (
            "apps/v1",
            "Deployment",
            {"replicas": 2},
            {"conditions": [condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="late")]},
            Event.STARTING,
            "ProgressDeadlineExceeded: late",
        ),
        ("apps/v1", "StatefulSet", {"replicas": 2}, {"replicas": 2, "readyReplicas": 1}, Event.RUNNING, ""),
        (
            "apps/v1",
            "StatefulSet",
            {"replicas": 2, "podManagementPolicy": "Parallel"},
            {"replicas": 2, "readyReplicas": 1},
            Event.STARTING,
            "",
        ),
        ("v1", "Pod", {}, {"phase": "Running"}, Event.RUNNING, ""),
        ("v1", "Pod", {}, {"phase": "Succeeded"}, Event.SUCCEED, ""),
        ("v1", "Pod", {}, {"phase": "Failed", "reason": "Evicted", "message": "low"}, Event.FAIL, "Evicted: low"),
        ("v1", "Pod", {}, {"phase": "Failed"}, Event.FAIL, "the pod failed"),
        (
            "v1",
            "Pod",
            {},
            {
                "phase": "Failed",
                "containerStatuses": [
                    {"name": "a", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "b", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}},
                ],
            },
            Event.FAIL,
            "container b exited with 137 (OOMKilled)",
        ),
        (
            "v1",
            "Pod",
            {},
            {
                "phase": "Pending",
                "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "ErrImagePull"}}}],
            },
            Event.STARTING,
            "container a waits: ErrImagePull",
        ),
        (
            "v1",
            "Pod",
            {},
            {
                "phase": "Pending",
                "conditions": [condition("PodScheduled", "False", reason="Unschedulable", message="no")],
            },
            Event.STARTING,
            "Unschedulable: no",
        ),
    ],
)
def test_native_statuses(
    catalogue: Catalogue,
    api_version: str,
    kind: str,
    spec: dict[str, Any],
    status: dict[str, Any] | None,
    event: Event | None,
    reason: str,
) -> None:
    found = catalogue.find(api_version, kind)
    assert found is not None
    obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec, "status": status}
    said = observe(found, obj)
    assert (said.event, said.reason, said.not_understood) == (event, reason, "")


def test_the_gang_hint_counts_when_watching_too(catalogue: Catalogue) -> None:
    found = catalogue.find("batch/v1", "Job")
    assert found is not None
    metadata = {"annotations": {"muster.dev/min-available": "2"}}
    assert observe(found, {"metadata": metadata, "spec": INDEXED, "status": {"ready": 1}}).event is None
    assert observe(found, {"metadata": metadata, "spec": INDEXED, "status": {"ready": 2}}).event is Event.RUNNING


def test_long_reasons_are_cut(catalogue: Catalogue) -> None:
    found = catalogue.find("v1", "Pod")
    assert found is not None
    reason = observe(found, {"status": {"phase": "Failed", "message": "x" * 9000}}).reason
    assert len(reason) == 500


def test_a_status_that_makes_no_sense_says_nothing(catalogue: Catalogue) -> None:
    for kind in catalogue.kinds:
        for status in ([1], "odd", {"conditions": [3], "state": 4, "phase": [], "replicaStatuses": {"Worker": 3}}):
            assert observe(kind, {"spec": 3, "status": status}).event in (None, Event.STARTING)


STRANGE = {"phase": "Paused", "conditions": [condition("Frozen"), condition("Thawed", "False")], "since": "2026-01-01"}


def every_kind() -> list[Kind]:
    return [kind for kind in Catalogue.builtin().kinds if kind.rules.status]


@pytest.mark.parametrize("kind", every_kind(), ids=lambda kind: kind.resource_kind)
def test_a_status_that_no_rule_is_for_is_said_and_is_no_event(kind: Kind) -> None:
    said = observe(kind, {"metadata": {"name": "x"}, "spec": {}, "status": STRANGE})
    assert said == Observation(None, "", "status not understood: phase Paused, condition Frozen")


@pytest.mark.parametrize("kind", every_kind(), ids=lambda kind: kind.resource_kind)
@pytest.mark.parametrize("status", [None, {}, {"conditions": None}, {"conditions": [], "counts": {"a": 0}, "cpu": "0"}])
def test_a_status_that_says_nothing_yet_is_not_one_that_is_not_understood(kind: Kind, status: Any) -> None:
    said = observe(kind, {"metadata": {"name": "x"}, "spec": {}, "status": status})
    assert (said.event in (None, Event.STARTING), said.not_understood) == (True, "")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"phase": "Unknown"}, "phase Unknown"),
        ({"state": {"phase": "Odd", "lastTransitionTime": "2026-01-01T00:00:00Z"}, "podName": "x"}, "phase Odd"),
        ({"replicas": 3, "message": "free text", "hash": "ab12"}, "it has hash, message, replicas"),
        ({"a": "x" * 100}, f"a {'x' * 59}…"),
        ({f"k{i}": f"w{i}" for i in range(9)}, "k0 w0, k1 w1, k2 w2, k3 w3, k4 w4, k5 w5 …"),
        ("odd", "it is odd, and no mapping"),
    ],
)
def test_the_words_of_a_status(status: Any, words: str) -> None:
    assert statuses.words(status) == words


def test_the_words_stay_the_same_while_only_moments_and_counters_change() -> None:
    before = {"phase": "Odd", "at": "2026-01-01T00:00:00Z", "done": 3, "message": "3 of 9"}
    assert statuses.words(before) == statuses.words(before | {"at": "2026-01-02T00:00:00Z", "done": 4, "message": "4"})
