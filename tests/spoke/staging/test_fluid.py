from __future__ import annotations

import asyncio
from typing import Any

import pytest

from spoke.cluster.fake import DEFAULT_KINDS, FakeCluster
from spoke.staging.kube import How, KubeStager
from spoke.staging.port import CannotStage, Copy
from tests.spoke.stage import eventually
from wire.orders import JobRef

API = "data.fluid.io/v1alpha1"
WANTED = Copy(JobRef("j-1", 2), "images", "s3://b/images", 10**12, "ml", "images", "")
HOW = How("muster:1", poll_s=0.01)


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster(kinds=DEFAULT_KINDS | {f"{API}/Dataset", f"{API}/DataLoad"})
    made.put(dataset("[Calculating]", "0.00B"))
    return made


def dataset(total: str, cached: str) -> dict[str, Any]:
    metadata = {"name": "images", "namespace": "ml"}
    status = {"ufsTotal": total, "cacheStates": {"cached": cached}}
    return {"apiVersion": API, "kind": "Dataset", "metadata": metadata, "status": status}


def loads(cluster: FakeCluster) -> list[Any]:
    return list(cluster.objects(API, "DataLoad"))


def phase(cluster: FakeCluster, phase: str, message: str = "") -> None:
    [load] = loads(cluster)
    cluster.put({**load, "status": {"phase": phase, "conditions": [{"type": phase, "message": message}]}})


async def test_fluid_loads_what_is_its_own(cluster: FakeCluster) -> None:
    said: list[tuple[int, int]] = []
    task = asyncio.create_task(KubeStager(cluster, HOW).copy(WANTED, lambda done, total: said.append((done, total))))
    await eventually("there is a DataLoad", lambda: loads(cluster))
    [load] = loads(cluster)
    assert load["spec"]["dataset"] == {"name": "images", "namespace": "ml"}
    assert not cluster.objects("batch/v1", "Job")
    assert said == []
    cluster.put(dataset("4GiB", "1GiB"))
    await eventually("progress is told", lambda: said)
    phase(cluster, "Complete")
    await task
    assert set(said) == {(1 << 30, 4 << 30)}
    assert loads(cluster) == []


async def test_what_fluid_cannot_load_is_told(cluster: FakeCluster) -> None:
    task = asyncio.create_task(KubeStager(cluster, HOW).copy(WANTED, lambda done, total: None))
    await eventually("there is a DataLoad", lambda: loads(cluster))
    phase(cluster, "Failed", "no such bucket")
    with pytest.raises(CannotStage, match="Fluid failed to load images: no such bucket"):
        await task
    assert loads(cluster) == []


async def test_stopped_nothing_is_loaded_any_more(cluster: FakeCluster) -> None:
    task = asyncio.create_task(KubeStager(cluster, HOW).copy(WANTED, lambda done, total: None))
    await eventually("there is a DataLoad", lambda: loads(cluster))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await KubeStager(cluster, HOW).forget(WANTED.ref)
    assert loads(cluster) == []
