"""What interrupts a job and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from placement.kinds.reader import read
from placement.lifecycle import Event
from placement.workload import Workload
from spoke import interruption, pods
from spoke.entry import Desired
from spoke.jobs import Job
from tests.spoke.stage import CATALOGUE, job_yaml
from wire.orders import JobRef

REF = JobRef("j-1", 1)
DRAINED = [
    {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
]
SERVICE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: team}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: busybox}]}
"""
BARE_POD = """
apiVersion: v1
kind: Pod
metadata: {name: alone, namespace: team}
spec: {containers: [{name: main, image: busybox}]}
"""

# Each trial has two pods, and Katib makes others where one fails.
TRIALS = """
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {name: sweep, namespace: team}
spec:
  trialTemplate:
    trialSpec:
      apiVersion: batch/v1
      kind: Job
      spec:
        completionMode: Indexed
        completions: 2
        parallelism: 2
        template: {spec: {restartPolicy: Never, containers: [{name: main, image: busybox}]}}
"""


def group(restart: str) -> str:
    return "---".join(
        f"""
apiVersion: v1
kind: Pod
metadata: {{name: train-{index}, namespace: team, labels: {{scheduling.x-k8s.io/pod-group: train}}}}
spec: {{restartPolicy: {restart}, containers: [{{name: main, image: busybox}}]}}
"""
        for index in range(2)
    )


def workload(manifest: str) -> Workload:
    return read(manifest.encode(), CATALOGUE)[-1].workload


def job(manifest: str, *given: dict[str, Any]) -> Job:
    made = Job(ref=REF, arrival=1, workload=workload(manifest), desired=Desired.START, created=True)
    for obj in given:
        facts = pods.read(obj)
        made.pods[facts.uid] = facts
    return made


def pod(index: int, node: str = "", *, phase: str = "Running", deleted: bool = False, **status: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": f"train-{index}",
        "namespace": "team",
        "uid": f"uid-{index}",
        "labels": {"muster.dev/job": "j-1", "muster.dev/epoch": "1", "muster.dev/role": "worker"},
    }
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec = {"schedulerName": "muster", "nodeName": node or f"n{index}", "containers": [{"name": "main"}]}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase, **status}}


def lost(*names: str) -> interruption.WhyLost:
    return lambda node: "no heartbeat for 40 s" if node in names else ""


GANG = job_yaml("train", pods=2)
QUEUE = job_yaml("train", pods=2, indexed=False)


def test_a_lost_node_interrupts_the_gang_at_once() -> None:
    found = interruption.of(job(GANG, pod(0), pod(1)), lost("n1"))
    assert found is not None
    assert found.event is Event.INTERRUPTED
    assert found.reason == "node n1 is lost (no heartbeat for 40 s); the job is restarted whole"
    assert found.grace_s == interruption.LOST_GRACE_S


def test_a_lost_node_comes_before_what_else_is_wrong() -> None:
    gone = pod(0, phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    found = interruption.of(job(GANG, gone, pod(1)), lost("n1"))
    assert found is not None
    assert found.reason.startswith("node n1 is lost")


@pytest.mark.parametrize(
    "taken",
    [
        pod(0, deleted=True, conditions=DRAINED),
        pod(0, phase="Failed", conditions=DRAINED),
        pod(0, phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        pod(0, phase="Failed", reason="NodeShutdown"),
        pod(
            0, phase="Failed", reason="Terminated", message="Pod was terminated in response to imminent node shutdown."
        ),
        pod(0, phase="Failed", reason="Preempting"),
    ],
)
def test_a_pod_that_is_taken_interrupts_its_gang_with_the_pods_own_grace(taken: dict[str, Any]) -> None:
    found = interruption.of(job(GANG, taken, pod(1)), lost())
    assert found is not None
    assert (found.event, found.grace_s) == (Event.INTERRUPTED, None)
    assert "pod train-0 was taken from node n0" in found.reason


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("UnexpectedAdmissionError", "Allocate failed due to no healthy devices present"),
        ("OutOfnvidia.com/gpu", "Node didn't have enough resource: nvidia.com/gpu"),
        ("NodeAffinity", "Predicate NodeAffinity failed"),
        ("SomethingNew", "Pod was rejected: for a reason to come"),
    ],
)
def test_what_a_kubelet_does_not_admit_is_refused(reason: str, message: str) -> None:
    found = interruption.of(job(GANG, pod(0, phase="Failed", reason=reason, message=message), pod(1)), lost())
    assert found is not None
    assert found.event is Event.REFUSE  # the hub rests before it asks this cluster again
    assert found.reason == f"node n0 does not take pod train-0: {reason}: {message}"


@pytest.mark.parametrize(
    "alike",
    [
        pod(0, conditions=DRAINED),  # an eviction that failed half-way
        pod(0, conditions=[{"type": "DisruptionTarget", "status": "False"}], deleted=True),
        pod(0, deleted=True),  # by somebody's hand
        pod(0, phase="Succeeded", conditions=DRAINED),
        pod(0, phase="Failed", containerStatuses=[{"name": "main", "state": {"terminated": {"exitCode": 1}}}]),
        pod(
            0,
            phase="Failed",
            containerStatuses=[{"name": "main", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}],
        ),
        pod(0, phase="Failed", reason="DeadlineExceeded"),
        pod(0, phase="Failed", reason="Evicted", message='Usage of EmptyDir volume "x" exceeds the limit "1Gi".'),
        pod(0, phase="Failed", reason="Evicted", message="Container main exceeded its local ephemeral storage limit"),
        pod(0, node="n-healthy"),
    ],
)
def test_what_the_program_or_somebody_did_is_no_interruption(alike: dict[str, Any]) -> None:
    assert interruption.of(job(GANG, alike, pod(1)), lost("n-elsewhere")) is None


def test_a_pod_that_has_ended_may_be_on_a_lost_node() -> None:
    assert interruption.of(job(GANG, pod(0, phase="Succeeded"), pod(1)), lost("n0")) is None


@pytest.mark.parametrize(
    ("manifest", "whole"),
    [
        (GANG, True),
        (job_yaml("train", pods=1, indexed=False), True),
        (BARE_POD, True),
        (QUEUE, False),
        (SERVICE, False),
        (group("Never"), True),
        (group("Always"), True),
        (TRIALS, False),
    ],
)
def test_jobs_whose_pods_are_each_for_themselves_lose_only_the_pod(manifest: str, whole: bool) -> None:
    one = job(manifest, pod(0), pod(1))
    assert (interruption.of(one, lost("n1")) is not None) is whole
    assert [facts.name for facts in interruption.to_replace(one, lost("n1"))] == ([] if whole else ["train-1"])


@pytest.mark.parametrize(
    "changes",
    [
        {"desired": Desired.STOP},
        {"silent": True},
        {"outcome": Event.FAIL},
        {"outcome": Event.SUCCEED},
        {"hand_back": Event.INTERRUPTED},
        {"workload": None},
    ],
)
def test_what_does_not_run_is_not_interrupted(changes: dict[str, Any]) -> None:
    one = job(GANG, pod(0), pod(1))
    for name, value in changes.items():
        setattr(one, name, value)
    assert interruption.of(one, lost("n0", "n1")) is None
