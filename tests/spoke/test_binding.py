"""What a binding tells the pod: its cards, and for shared ones what their device plugin wants to find."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

from placement.assignment import NodeAssignment
from placement.inventory import DEFAULT_LEVELS
from spoke import pods
from spoke.binding import Binder, Placing
from spoke.cluster.fake import FakeCluster
from spoke.cluster.port import Object
from spoke.crew import Crew
from spoke.inventory import Inventory, Usage
from spoke.jobs import Job, Jobs
from spoke.ledger import Ledger
from tests.spoke.stage import NOW, foreign_pod, job_yaml, node, start


async def bound(directory: Path, pod: Object, gpus: tuple[int, ...]) -> tuple[Object, Job, Inventory]:
    """The pod after its binding to n1."""
    cluster, inventory, crew, jobs = FakeCluster([node("n1")]), Inventory(DEFAULT_LEVELS), Crew(), Jobs()
    ledger = Ledger.open(directory / "ledger.sqlite")
    await ledger.accept([start(1, "j-1", job_yaml("train"))])
    [entry] = await ledger.entries()
    job = jobs.put(entry)
    facts = pods.read(cluster.put(pod))
    job.pods[facts.uid] = facts
    inventory.assume(facts.uid, "n1", Usage(facts.requests, gpus))
    binder = Binder(cluster, ledger, inventory, crew, Random(1), lambda: NOW)
    binder.bind(job, [Placing(facts, NodeAssignment(facts.name, "worker", "n1", gpus))], together=True)
    async with asyncio.timeout(10):
        while not job.whole and not job.problem:  # noqa: ASYNC110  two outcomes, neither with an event
            await asyncio.sleep(0.001)
    await crew.close()
    await ledger.close()
    [after] = cluster.objects("v1", "Pod")
    return after, job, inventory


def unbound(resource: str, amount: int) -> Object:
    pod = foreign_pod("p", "", 0)
    limits = {"limits": {resource: str(amount)}}
    return {**pod, "spec": {"schedulerName": "muster", "containers": [{"name": "c", "resources": limits}]}}


async def test_whole_cards(tmp_path: Path) -> None:
    pod, job, _ = await bound(tmp_path, unbound("nvidia.com/gpu", 2), (1, 3))
    assert pod["spec"]["nodeName"] == "n1"
    assert pod["metadata"]["annotations"] == {"muster.dev/gpus": "1,3"}
    assert job.whole


async def test_a_share_of_a_card(tmp_path: Path) -> None:
    pod, _, _ = await bound(tmp_path, unbound("aliyun.com/gpu-mem", 7162), (2,))
    assert pod["metadata"]["annotations"] == {
        "muster.dev/gpus": "2",
        "ALIYUN_COM_GPU_MEM_IDX": "2",
        "ALIYUN_COM_GPU_MEM_POD": "7162",
        "ALIYUN_COM_GPU_MEM_ASSIGNED": "false",
        "ALIYUN_COM_GPU_MEM_ASSUME_TIME": str(int(NOW.timestamp() * 1e9)),
    }


async def test_a_pod_that_was_bound_elsewhere_gives_its_place_back(tmp_path: Path) -> None:
    taken = unbound("nvidia.com/gpu", 1)
    taken = {**taken, "spec": {**taken["spec"], "nodeName": "other"}}
    pod, job, inventory = await bound(tmp_path, taken, (0,))
    assert "could not be bound" in job.problem
    assert "already assigned" in job.problem
    assert pod["spec"]["nodeName"] == "other"  # it was not ours to delete
    assert not inventory.is_assumed("uid-2")
