"""Why a job does not begin to run: read from events when it is time, and rarely."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from placement.kinds.reader import read
from placement.lifecycle import Event
from spoke import pods
from spoke.cluster.fake import FakeCluster
from spoke.cluster.port import ClusterError, Refused, Unavailable
from spoke.entry import Desired
from spoke.jobs import Job, Jobs
from spoke.stuck import AT_ONCE, Patience, Stuck
from tests.spoke.stage import CATALOGUE, job_yaml, start

NOW = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
PYTORCH = """
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: train, namespace: team}
spec:
  pytorchReplicaSpecs:
    Master:
      replicas: 1
      template: {spec: {containers: [{name: pytorch, image: train}]}}
    Worker:
      replicas: 3
      template: {spec: {containers: [{name: pytorch, image: train}]}}
"""


class Desk:
    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.jobs = Jobs()
        self.changed: list[str] = []
        patience = Patience(after_s=10, again_s=10, no_pods_s=30)
        self.stuck = Stuck(self.cluster, self.jobs, CATALOGUE, clock=lambda: NOW, patience=patience)
        self.stuck.changed = self.changed.append

    def job(self, name: str = "j-1", manifest: str | None = None) -> Job:
        workload = read((manifest or job_yaml("train", pods=2)).encode(), CATALOGUE)[-1].workload
        ref = start(1, name, job_yaml("train")).ref
        made = Job(ref=ref, arrival=1, workload=workload, desired=Desired.START, created=True, object_uid=f"uid-{name}")
        self.jobs._jobs[name] = made
        return made

    def say(self, uid: str, reason: str, message: str, at: str = "2026-01-01T12:00:00Z", kind: str = "Warning") -> None:
        self.cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{uid}-{reason.lower()}-{len(self.cluster._objects)}", "namespace": "team"},
                "involvedObject": {"uid": uid},
                "type": kind,
                "reason": reason,
                "message": message,
                "lastTimestamp": at,
            }
        )

    async def at(self, *moments: float) -> None:
        for moment in moments:
            await self.stuck.round(moment)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def pod(
    job: Job, index: int, *, ready: bool = False, phase: str = "Pending", bound: bool = True, **status: Any
) -> None:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    obj = {
        "metadata": {"name": f"train-{index}", "namespace": "team", "uid": f"pod-{index}"},
        "spec": {"schedulerName": "muster", "nodeName": f"n{index}" if bound else "", "containers": [{"name": "main"}]},
        "status": {"phase": phase, "conditions": conditions, **status},
    }
    job.pods[f"pod-{index}"] = pods.read(obj)


async def test_the_newest_warning_about_a_pod_that_waits(desk: Desk) -> None:
    job = desk.job()
    pod(job, 0, ready=True, phase="Running")
    pod(job, 1)
    desk.say("pod-1", "Pulled", "image is there", "2026-01-01T12:09:00Z", kind="Normal")
    desk.say("pod-1", "FailedScheduling", "0/3 nodes are available", "2026-01-01T12:08:00Z")
    desk.say("pod-1", "FailedMount", "secret not found", "2026-01-01T12:02:00Z")
    desk.say("pod-1", "FailedAttachVolume", "still in use", "2026-01-01T12:01:00Z")
    desk.say("pod-0", "BackOff", "of a pod that runs", "2026-01-01T12:09:00Z")
    await desk.at(0, 9)
    assert (job.stuck, desk.cluster.calls.get("list", 0)) == ("", 0)
    await desk.at(10)
    assert job.stuck == "pod train-1: FailedMount: secret not found"
    assert desk.changed == ["j-1"]


async def test_while_pods_wait_to_be_bound_no_events_are_read(desk: Desk) -> None:
    job = desk.job()
    for index in (0, 1):
        pod(job, index, bound=False)
    await desk.at(0, 10, 20)
    pod(job, 0)  # bound now: its kubelet is given time
    await desk.at(21, 30)
    assert (job.stuck, desk.cluster.calls.get("list", 0)) == ("", 0)
    await desk.at(31)
    assert desk.cluster.calls["list"] == 1
    assert job.stuck == "pod train-0: the kubelet of node n0 has not begun with it"


async def test_the_workloads_warning_where_pods_are_missing(desk: Desk) -> None:
    job = desk.job()
    desk.say("uid-j-1", "FailedCreate", "pods is forbidden: exceeded quota: none")
    await desk.at(0, 10)
    assert job.stuck == "Job train: FailedCreate: pods is forbidden: exceeded quota: none"


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (
            PYTORCH,
            "its controller has made 0 of 4 pods since 2026-01-01 12:30:00 UTC: "
            "does the training-operator run in this cluster?",
        ),
        (
            job_yaml("train", pods=2),
            "its controller has made 0 of 2 pods since 2026-01-01 12:30:00 UTC: "
            "does the kube-controller-manager run in this cluster?",
        ),
    ],
)
async def test_no_pods_and_no_word(desk: Desk, manifest: str, said: str) -> None:
    job = desk.job(manifest=manifest)
    await desk.at(0, 10, 20)
    assert job.stuck == ""
    await desk.at(30)
    assert job.stuck == said
    await desk.at(40)
    assert desk.changed == ["j-1"]  # the same words: nothing to report again


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, "pod train-1: the kubelet of node n1 has not begun with it"),
        (
            {"containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}]},
            "pod train-1 on node n1: ContainerCreating",
        ),
        ({"phase": "Running"}, "pod train-1 on node n1 runs and is not ready"),
    ],
)
async def test_pods_that_wait_without_a_warning(desk: Desk, status: dict[str, Any], said: str) -> None:
    job = desk.job()
    pod(job, 0, ready=True, phase="Running")
    pod(job, 1, **status)
    await desk.at(0, 10)
    assert job.stuck == said


async def test_it_is_forgotten_when_the_job_runs(desk: Desk) -> None:
    job = desk.job()
    desk.say("uid-j-1", "FailedCreate", "exceeded quota")
    await desk.at(0, 10)
    assert job.stuck
    job.event = Event.RUNNING
    await desk.at(11)
    assert job.stuck == ""
    job.event = Event.STARTING  # it begins again: and so does the patience with it
    await desk.at(12, 21)
    assert job.stuck == ""
    await desk.at(22)
    assert job.stuck


async def test_few_jobs_at_once_and_each_rarely(desk: Desk) -> None:
    for number in range(3 * AT_ONCE):
        desk.job(f"j-{number}")
    await desk.at(0, 10)
    assert desk.cluster.calls["list"] == AT_ONCE
    await desk.at(11, 12)
    assert desk.cluster.calls["list"] == 3 * AT_ONCE
    await desk.at(13, 19)
    assert desk.cluster.calls["list"] == 3 * AT_ONCE
    await desk.at(20)
    assert desk.cluster.calls["list"] == 4 * AT_ONCE


@pytest.mark.parametrize("error", [Unavailable("busy"), Refused("events is forbidden")])
async def test_where_events_cannot_be_read_the_pods_tell(desk: Desk, error: ClusterError) -> None:
    job = desk.job()
    pod(job, 0)
    desk.cluster.faults.append(lambda verb, key: error if verb == "list" else None)
    await desk.at(0, 10, 20, 30)
    assert job.stuck == "pod train-0: the kubelet of node n0 has not begun with it"
    assert desk.cluster.calls["list"] == (1 if isinstance(error, Refused) else 3)


async def test_a_job_whose_room_was_taken_goes_back_when_its_patience_is_over(desk: Desk) -> None:
    given_up: list[str] = []
    desk.stuck.without_room = lambda job: given_up.append(job.ref.job)
    waits, bound = desk.job("j-1"), desk.job("j-2")
    pod(bound, 0)
    waits.shortfall = bound.shortfall = "8 of 9 pods"
    await desk.at(0, 9.9)
    assert given_up == []
    await desk.at(10)
    assert given_up == ["j-1"]  # of the other something is bound


async def test_room_that_came_back_in_time_begins_the_wait_anew(desk: Desk) -> None:
    given_up: list[str] = []
    desk.stuck.without_room = lambda job: given_up.append(job.ref.job)
    job = desk.job()
    job.shortfall = "8 of 9 pods"
    await desk.at(0, 9)
    job.shortfall = ""
    await desk.at(9.5)
    job.shortfall = "8 of 9 pods"
    await desk.at(9.6, 19.5)
    assert given_up == []
    await desk.at(19.6)
    assert given_up == ["j-1"]
