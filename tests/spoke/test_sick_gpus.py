"""A GPU of a running gang is found unfit: the gang goes, that card is given to nobody, and the reason is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from placement.lifecycle import Event
from spoke.cluster.fake import DEFAULT_KINDS
from spoke.cluster.port import ObjectKey
from spoke.nodes import HOST_KUBELET
from tests.spoke.stage import Stage, eventually, job_yaml, node, stage

XID = "NVRM: Xid (PCI:0000:0f:00): {code}, pid=77, name=python, GPU has fallen off the bus."


async def running(on: Stage, job: str, name: str, *, gpus: int = 8, epoch: int = 1, pods: int = 1) -> dict[str, str]:
    ack = await on.run(job, job_yaml(name, gpus=gpus, pods=pods), epoch)
    assert not ack.refused_code, ack.refused_message
    await on.make_pods(name, range(pods))
    await eventually("it is bound", lambda: len(on.bound(job)) == pods)
    for pod in on.pods(job):
        on.set_phase(pod, "Running")
    await on.set_status(name, active=pods, ready=pods, startTime="now")
    await on.told(job, Event.RUNNING)
    return {pod: at for pod, (at, _) in on.bound(job).items()}


def node_event(name: str, code: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{code}", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:01Z"},
        "involvedObject": {"kind": "Node", "name": name},
        "reason": "XidError",
        "message": XID.format(code=code),
        "type": "Warning",
    }


async def test_a_fatal_xid_moves_the_gang_and_a_programs_does_not(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        where = await running(on, "j-1", "train")
        at = where["train-0"]
        on.cluster.put(node_event(at, 31))
        on.cluster.put(node_event("n2" if at == "n1" else "n1", 79))  # of another node
        await eventually("that is told", lambda: on.agent._summaries._present.gpus_unusable == 8)  # type: ignore[union-attr]
        assert on.events("j-1")[-1] is Event.RUNNING
        on.cluster.put(node_event(at, 79))
        told = await on.told("j-1", Event.INTERRUPTED)
        why = f"GPUs of {at}: the GPU at PCI 0000:0f:00: Xid 79 (GPU has fallen off the bus)"
        assert told.reason == f"{why}; the job is restarted whole"
        ack = await on.run("j-2", job_yaml("again", gpus=1))
        assert ack.refused_code == "no-room"


async def test_only_the_job_that_has_the_card_goes(tmp_path: Path) -> None:
    """Where Muster names the cards, the others of the node are given on."""
    host = node("n1")
    host["status"]["nodeInfo"] = {"kubeletVersion": HOST_KUBELET}
    async with stage(tmp_path, host) as on:
        await running(on, "j-1", "one", gpus=4)
        await running(on, "j-2", "two", gpus=3)
        cards = {job: on.bound(job)[f"{name}-0"][1] for job, name in (("j-1", "one"), ("j-2", "two"))}
        sick = cards["j-2"].split(",")[0]
        on.cluster.put({**host, "metadata": {**host["metadata"], "annotations": {"muster.dev/unhealthy-gpus": sick}}})
        told = await on.told("j-2", Event.INTERRUPTED)
        assert told.reason.startswith(f"GPU {sick} of n1: marked by muster.dev/unhealthy-gpus on its node")
        await running(on, "j-3", "three", gpus=3)
        given = on.bound("j-3")["three-0"][1].split(",")
        assert sick not in given
        assert on.events("j-1")[-1] is Event.RUNNING
        ack = await on.run("j-4", job_yaml("four", gpus=1))
        assert ack.refused_code == "no-room"


async def test_a_device_that_its_kubelet_calls_unhealthy(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await running(on, "j-1", "train")
        [pod] = on.pods("j-1")
        sick = {"name": "nvidia.com/gpu", "resources": [{"resourceID": "GPU-1", "health": "Unhealthy"}]}
        status = {**pod["status"], "containerStatuses": [{"name": "main", "allocatedResourcesStatus": [sick]}]}
        on.cluster.put({**pod, "status": status})
        told = await on.told("j-1", Event.INTERRUPTED)
        assert "device GPU-1 (nvidia.com/gpu) is called unhealthy by its kubelet" in told.reason


async def test_many_nodes_at_once_are_one_incident(tmp_path: Path) -> None:
    names = [f"n{i}" for i in range(6)]
    async with stage(tmp_path, *(node(name) for name in names)) as on:
        for i in range(6):
            await running(on, f"j-{i}", f"t{i}")
        for name in names:
            on.cluster.put(node_event(name, 79))
        await eventually(
            "two are moved", lambda: sum(on.events(f"j-{i}")[-1] is Event.INTERRUPTED for i in range(6)) == 2
        )
        await eventually("all are marked", lambda: on.agent._summaries._present.gpus_unusable == 48)  # type: ignore[union-attr]
        assert sum(on.events(f"j-{i}")[-1] is Event.INTERRUPTED for i in range(6)) == 2


async def test_marks_survive_a_deleted_event(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        on.cluster.put(node_event("n1", 79))
        await eventually("it is marked", lambda: bool(on.agent._gpus.book.marks("n1")))
        on.cluster.remove(ObjectKey("v1", "Event", "default", "n1.79"))
        ack = await on.run("j-1", job_yaml("train", gpus=1))
        assert ack.refused_code == "no-room"
        rebooted = node("n1")
        rebooted["status"]["nodeInfo"] = {"bootID": "another"}
        on.cluster.put(rebooted)
        await eventually("it is well", lambda: not on.agent._gpus.book.marks("n1"))
        await running(on, "j-2", "again")


async def test_a_cluster_that_serves_no_events(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), kinds=DEFAULT_KINDS - {"v1/Event"}) as on:
        await running(on, "j-1", "train")
