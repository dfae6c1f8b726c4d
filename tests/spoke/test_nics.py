"""Pods that ask for RDMA NICs get cards near them, and the NICs' indices are written on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spoke.cluster.port import Object
from tests.spoke.stage import Stage, eventually, node, stage


def two_sockets(nics: str = "4") -> dict[str, Any]:
    told = {"muster.dev/gpu-numa": "0,0,0,0,1,1,1,1", "muster.dev/nic-numa": '{"rdma/hca": [0, 0, 1, 1]}'}
    return node("n1", gpus=8, annotations=told, allocatable={"rdma/hca": nics})


def job(name: str, *, pods: int, gpus: int) -> str:
    return f"""
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}, namespace: team}}
spec:
  completionMode: Indexed
  completions: {pods}
  parallelism: {pods}
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: main
        image: busybox
        resources: {{limits: {{nvidia.com/gpu: {gpus}, rdma/hca: 1}}, requests: {{cpu: 1}}}}
"""


async def run(here: Stage, name: str, *, pods: int, gpus: int) -> None:
    assert not (await here.run(name, job(name, pods=pods, gpus=gpus))).refused_code
    await here.make_pods(name, range(pods))
    await eventually(f"{name} is bound", lambda: len(here.bound(name)) == pods)


def nics_of(pod: Object) -> str:
    return str(pod["metadata"]["annotations"]["muster.dev/nics"])


def placed(here: Stage, name: str) -> list[tuple[str, str]]:
    return sorted((p["metadata"]["annotations"]["muster.dev/gpus"], nics_of(p)) for p in here.pods(name))


async def test_each_pod_of_a_gang_gets_cards_and_a_nic_of_one_numa_node(tmp_path: Path) -> None:
    async with stage(tmp_path, two_sockets()) as here:
        await run(here, "train", pods=4, gpus=2)
        numa = {"0": 0, "1": 0, "2": 1, "3": 1}
        for gpus, nic in placed(here, "train"):
            assert {int(index) // 4 for index in gpus.split(",")} == {numa[nic.removeprefix("rdma/hca=")]}
        assert len({nic for _, nic in placed(here, "train")}) == 4


async def test_a_pod_goes_to_the_numa_node_whose_nic_is_free_also_after_a_restart(tmp_path: Path) -> None:
    async with stage(tmp_path, two_sockets()) as here:
        await run(here, "first", pods=2, gpus=1)
        assert {nic for _, nic in placed(here, "first")} == {"rdma/hca=0", "rdma/hca=1"}
        await here.restart()
        await run(here, "second", pods=1, gpus=2)
        assert placed(here, "second") == [("4,5", "rdma/hca=2")]


async def test_nics_that_pods_share_are_never_taken(tmp_path: Path) -> None:
    async with stage(tmp_path, two_sockets(nics="1000")) as here:
        await run(here, "train", pods=4, gpus=1)
        assert {nic for _, nic in placed(here, "train")} == {"rdma/hca=0"}
