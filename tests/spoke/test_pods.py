"""Pods read from JSON: whose they are, what they take, why they do not run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from placement.resources import Resources
from spoke import pods
from spoke.pods import Life
from wire.orders import JobRef


def pod(*, status: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    container = {"name": "main", "resources": {"limits": {"nvidia.com/gpu": "2", "cpu": "500m"}}}
    return {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", **metadata},
        "spec": {"schedulerName": "muster", "containers": [container], **(spec or {})},
        "status": status or {"phase": "Pending"},
    }


def test_what_a_pod_asks_for() -> None:
    facts = pods.read(pod())
    assert facts.requests == Resources({"nvidia.com/gpu": 2, "cpu": 500, "pods": 1})
    assert [(need.resource, need.amount) for need in facts.devices] == [("nvidia.com/gpu", 2)]


@pytest.mark.parametrize(
    ("labels", "ref"),
    [
        ({"muster.dev/job": "j-1", "muster.dev/epoch": "3"}, JobRef("j-1", 3)),
        ({"muster.dev/job": "j-1"}, None),
        ({"muster.dev/job": "j-1", "muster.dev/epoch": "three"}, None),
        ({}, None),
    ],
)
def test_whose_a_pod_is(labels: dict[str, str], ref: JobRef | None) -> None:
    assert pods.read(pod(labels=labels)).ref == ref


@pytest.mark.parametrize(
    ("changes", "unbound"),
    [
        ({}, True),
        ({"spec": {"nodeName": "n1"}}, False),
        ({"spec": {"schedulerName": "default-scheduler"}}, False),
        ({"spec": {"schedulingGates": [{"name": "quota"}]}}, False),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, False),
        ({"status": {"phase": "Failed"}}, False),
    ],
)
def test_which_pods_are_ours_to_bind(changes: dict[str, Any], unbound: bool) -> None:
    assert pods.read(pod(**changes)).unbound is unbound


@pytest.mark.parametrize(
    ("annotations", "gpus"),
    [
        ({"muster.dev/gpus": "0,3"}, (0, 3)),
        ({"ALIYUN_COM_GPU_MEM_IDX": "1"}, (1,)),
        ({"muster.dev/gpus": "all"}, ()),
        ({}, ()),
    ],
)
def test_which_cards_a_pod_has(annotations: dict[str, str], gpus: tuple[int, ...]) -> None:
    assert pods.read(pod(annotations=annotations)).gpus == gpus


def container(**state: Any) -> dict[str, Any]:
    return {"phase": "Pending", "containerStatuses": [{"name": "main", **state}]}


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (
            container(state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}),
            "container main: ImagePullBackOff: no such image",
        ),
        (
            container(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {"exitCode": 137}}),
            "container main: CrashLoopBackOff: last exit code 137",
        ),
        (
            container(state={"terminated": {"exitCode": 3, "reason": "Error"}}, restartCount=2),
            "container main: CrashLoopBackOff: last exit code 3",
        ),
        (
            container(state={"terminated": {"exitCode": 3, "reason": "Error"}}, restartCount=2) | {"phase": "Failed"},
            "container main: Error, exit code 3",
        ),
        (
            container(
                state={"waiting": {"reason": "CrashLoopBackOff"}},
                lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            ),
            "container main: CrashLoopBackOff: last ended by OOMKilled, exit code 137",
        ),
        (
            container(state={"running": {}}, lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            "container main: last ended by OOMKilled, exit code 137",
        ),
        (
            container(
                state={"running": {}}, ready=True, lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
            ),
            "",
        ),
        (
            {**container(state={"terminated": {"exitCode": 1, "reason": "OOMKilled"}}), "phase": "Failed"},
            "container main: OOMKilled, exit code 1",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "disk pressure"}, "Evicted: disk pressure"),
        (container(state={"waiting": {"reason": "ContainerCreating"}}), ""),
        (container(state={"running": {}}), ""),
        ({**container(state={"terminated": {"exitCode": 0}}), "phase": "Succeeded"}, ""),
    ],
)
def test_why_a_pod_does_not_run(status: dict[str, Any], trouble: str) -> None:
    assert pods.read(pod(status=status)).trouble == trouble


def test_an_update_that_says_nothing_new_reads_as_equal() -> None:
    before = pods.read(pod(resourceVersion="1", generation=1))
    after = pods.read(pod(resourceVersion="2", generation=1, managedFields=[{}]), before)
    assert after == before
    assert after.requests is before.requests


def test_a_resized_pod_is_counted_anew() -> None:
    before = pods.read(pod(generation=1))
    bigger = {"containers": [{"name": "main", "resources": {"requests": {"cpu": "4"}}}]}
    assert pods.read(pod(generation=2, spec=bigger), before).requests == Resources({"cpu": 4000, "pods": 1})


def test_an_unknown_phase_still_holds_its_place() -> None:
    facts = pods.read(pod(status={"phase": "Unknown"}, spec={"nodeName": "n1"}))
    assert facts.life is Life.PENDING
    assert facts.alive


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T05:04:05+02:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (17, None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_when_it_last_saved_a_checkpoint(text: object, told: datetime | None) -> None:
    assert pods.read(pod(annotations={"muster.dev/checkpointed-at": text})).checkpoint_at == told


JOB_INDEX = "batch.kubernetes.io/job-completion-index"


@pytest.mark.parametrize(
    ("labels", "number"),
    [
        ({JOB_INDEX: "3"}, (3, None, None)),
        (
            {"leaderworkerset.sigs.k8s.io/group-index": "1", "leaderworkerset.sigs.k8s.io/worker-index": "2"},
            (2, 1, None),
        ),
        (
            {JOB_INDEX: "2", "jobset.sigs.k8s.io/job-index": "1", "jobset.sigs.k8s.io/replicatedjob-replicas": "4"},
            (2, 1, 4),
        ),
        ({JOB_INDEX: "two", "jobset.sigs.k8s.io/job-index": "x"}, (None, None, None)),
    ],
)
def test_which_number_a_pod_has(labels: dict[str, str], number: tuple[int | None, ...]) -> None:
    facts = pods.read(pod(labels=labels))
    assert (facts.index, facts.group, facts.groups) == number
    assert pods.read(pod(status={"phase": "Running", "containerStatuses": [{"restartCount": 2}, {}]})).restarts == 2
