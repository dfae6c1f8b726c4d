from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from spoke.cluster.fake import FakeCluster
from spoke.cluster.port import ClusterError, ObjectKey, Refused
from spoke.staging.kube import How, KubeStager
from spoke.staging.port import CannotStage, Copy
from tests.spoke.stage import eventually
from wire.orders import JobRef

WANTED = Copy(JobRef("j-1", 2), "team/images", "s3://b/images", 10**12, "ml", "dataset-images", "keys")
HOW = How("muster:1", poll_s=0.01, patience_s=0.2)


def jobs(cluster: FakeCluster) -> list[Any]:
    return list(cluster.objects("batch/v1", "Job"))


def pod(cluster: FakeCluster, phase: str, *said: dict[str, object], name: str = "p") -> None:
    """As Job controller and kubelet do."""
    [job] = jobs(cluster)
    labels = {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    owner = {"uid": job["metadata"]["uid"], "kind": "Job", "name": job["metadata"]["name"]}
    metadata = {"name": name, "namespace": "ml", "labels": labels, "ownerReferences": [owner]}
    unfit = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes: unbound claims"}
    conditions = [unfit] if phase == "Pending" else []
    status = {"phase": phase, "conditions": conditions}
    cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})
    cluster.pod_logs["ml", name] = [json.dumps(one).encode() + b"\n" for one in said]


def end(cluster: FakeCluster, kind: str, **more: str) -> None:
    [job] = jobs(cluster)
    cluster.put({**job, "status": {"conditions": [{"type": kind, "status": "True", **more}]}})


class Told:
    def __init__(self) -> None:
        self.said: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.said.append((done, total))


async def begun(cluster: FakeCluster, wanted: Copy = WANTED) -> tuple[asyncio.Task[None], Told]:
    told = Told()
    task = asyncio.create_task(KubeStager(cluster, HOW).copy(wanted, told))
    await eventually("there is a Job", lambda: jobs(cluster))
    return task, told


async def test_a_job_copies_into_a_claim_and_its_progress_is_read_from_its_log() -> None:
    cluster = FakeCluster()
    task, told = await begun(cluster)
    [claim] = cluster.objects("v1", "PersistentVolumeClaim")
    assert claim["metadata"]["name"] == "dataset-images"
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1050000000000"}},
    }
    [job] = jobs(cluster)
    spec = job["spec"]["template"]["spec"]
    [container] = spec["containers"]
    assert container["command"][-4:] == ["--from", "s3://b/images", "--to", "/data"]
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "dataset-images"}
    assert "muster.dev/job" not in job["metadata"]["labels"]
    pod(cluster, "Running", {"done": 1, "total": 9}, {"done": 4, "total": 9})
    await eventually("progress is told", lambda: told.said)
    end(cluster, "Complete")
    await task
    assert set(told.said) == {(4, 9)}
    assert jobs(cluster) == []
    assert cluster.objects("v1", "PersistentVolumeClaim")


async def test_after_a_restart_the_same_job_is_followed() -> None:
    cluster = FakeCluster()
    task, _ = await begun(cluster)
    [before] = jobs(cluster)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    again, _ = await begun(cluster)
    assert [one["metadata"]["uid"] for one in jobs(cluster)] == [before["metadata"]["uid"]]
    end(cluster, "Complete")
    await again


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (
            lambda cluster: (
                pod(cluster, "Failed", {"error": "s3://b/images cannot be copied: denied"}),
                end(cluster, "Failed", reason="BackoffLimitExceeded"),
            ),
            "s3://b/images cannot be copied: denied",
        ),
        (lambda cluster: end(cluster, "Failed", reason="BackoffLimitExceeded", message="3 pods"), "Exceeded: 3 pods"),
        (lambda cluster: pod(cluster, "Pending"), "does not start: 0/3 nodes: unbound claims"),
        (lambda cluster: None, "does not start: there is none"),
        (
            lambda cluster: (pod(cluster, "Failed", name="a"), pod(cluster, "Pending", name="b")),
            "does not start: 0/3 nodes: unbound claims",
        ),
    ],
)
async def test_what_fails_says_why_and_leaves_no_job(break_it: Callable[[FakeCluster], object], said: str) -> None:
    cluster = FakeCluster()
    task, _ = await begun(cluster)
    break_it(cluster)
    with pytest.raises(CannotStage, match=said):
        await task
    assert jobs(cluster) == []


async def test_what_the_cluster_refuses_is_told() -> None:
    cluster = FakeCluster()
    cluster.faults.append(lambda verb, key: Refused("exceeded quota") if verb == "create" else None)
    with pytest.raises(CannotStage, match="exceeded quota"):
        await KubeStager(cluster, HOW).copy(WANTED, Told())


async def test_a_claim_that_is_there_is_used_as_it_is() -> None:
    cluster = FakeCluster()
    metadata = {"name": "dataset-images", "namespace": "ml"}
    mine = cluster.put(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {"of": "me"}}
    )
    task, _ = await begun(cluster)
    assert cluster.objects("v1", "PersistentVolumeClaim") == [mine]
    end(cluster, "Complete")
    await task


async def test_a_job_that_somebody_deleted_is_worth_another_try() -> None:
    cluster = FakeCluster()
    task, _ = await begun(cluster)
    [job] = jobs(cluster)
    cluster.remove(ObjectKey("batch/v1", "Job", "ml", job["metadata"]["name"]))
    with pytest.raises(ClusterError, match="was deleted by somebody"):
        await task


async def test_what_is_forgotten_is_that_attempts_alone() -> None:
    cluster = FakeCluster()
    mine, _ = await begun(cluster)
    other = replace(WANTED, ref=JobRef("j-1", 3))
    others = asyncio.create_task(KubeStager(cluster, HOW).copy(other, Told()))
    await eventually("there are two", lambda: len(jobs(cluster)) == 2)
    await KubeStager(cluster, HOW).forget(WANTED.ref)
    assert [one["metadata"]["labels"]["muster.dev/copies-for-epoch"] for one in jobs(cluster)] == ["3"]
    for task in (mine, others):
        task.cancel()
    await asyncio.gather(mine, others, return_exceptions=True)
