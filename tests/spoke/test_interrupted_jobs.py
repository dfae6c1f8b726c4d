"""A node is lost, drained or deleted under a job: what is left of it goes, whatever happens meanwhile; it is said."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from placement.lifecycle import Event
from spoke import status, stuck
from spoke.cluster.fake import DEFAULT_KINDS, FakeCluster, key_of
from spoke.cluster.port import ClusterError, Object, ObjectKey, Unavailable
from spoke.heartbeats import Patience
from tests.spoke.stage import Stage, eventually, foreign_pod, job_yaml, node, stage
from wire.orders import Command, JobRef, Stop

LEASE_S = 0.4
LOOK_S = 0.05
DRAINED = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "evicting"}]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "HOLD_BACK_S", 0.01)
    monkeypatch.setattr(status, "COUNTS_HOLD_BACK_S", 0.02)
    monkeypatch.setattr(status, "_LOOK_AGAIN_S", 0.05)


class WithKubelets(FakeCluster):
    """A bound pod goes when its kubelet has ended it, or at once without grace. `dead` kubelets end nothing."""

    def __init__(self, *nodes: Object) -> None:
        self.dead: set[str] = set()
        self.asked: list[tuple[str, float | None]] = []  # pod deleted, with what grace
        super().__init__(nodes)

    async def delete(self, key: ObjectKey, *, uid: str = "", grace_s: float | None = None) -> None:
        await self._call("delete", key)
        present = self._objects.get(key)
        if present is None or uid not in ("", present["metadata"]["uid"]):
            return
        if key.kind != "Pod":
            self.remove(key)
            return
        self.asked.append((key.name, grace_s))
        self._end(key, 30.0 if grace_s is None else grace_s)

    def remove(self, key: ObjectKey) -> None:
        if key.kind == "Pod" and key in self._objects and not self._ended(key):
            self._end(key, 30.0)
        else:
            super().remove(key)

    def vanish(self, key: ObjectKey) -> None:
        super().remove(key)

    def _end(self, key: ObjectKey, grace_s: float) -> None:
        pod = self._objects[key]
        grace_s = min(grace_s, pod["metadata"].get("deletionGracePeriodSeconds", grace_s))
        ending = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace_s}
        self.put({**pod, "metadata": {**pod["metadata"], **ending}})
        if grace_s == 0 or pod["spec"].get("nodeName") not in self.dead:
            super().remove(key)

    def _ended(self, key: ObjectKey) -> bool:
        return not self._objects[key]["spec"].get("nodeName")


class Kubelets:
    """Renews the lease of every node that is not dead."""

    def __init__(self, cluster: WithKubelets, *names: str) -> None:
        self._cluster = cluster
        self._names = names
        self._turn = 0

    async def run(self) -> None:
        while True:
            self.renew()
            await asyncio.sleep(LOOK_S)

    def renew(self) -> None:
        self._turn += 1
        for name in set(self._names) - self._cluster.dead:
            self._cluster.put(
                {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": name, "namespace": "kube-node-lease"},
                    "spec": {"renewTime": f"t{self._turn}", "leaseDurationSeconds": LEASE_S},
                }
            )


@asynccontextmanager
async def bed(directory: Path, names: tuple[str, ...] = ("n1", "n2", "n3"), **more: Any) -> AsyncIterator[Stage]:
    cluster = WithKubelets(*(node(name) for name in names))
    on = Stage(cluster, directory, look_at_nodes_s=LOOK_S, **more)
    kubelets = asyncio.create_task(Kubelets(cluster, *names).run())
    await on.raise_curtain()
    try:
        await on.agent.welcomed([], 60.0)
        yield on
    finally:
        await on.drop_curtain()
        kubelets.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await kubelets


def kubelets(on: Stage) -> WithKubelets:
    assert isinstance(on.cluster, WithKubelets)
    return on.cluster


async def running_gang(on: Stage, pods: int = 2) -> dict[str, str]:
    """pod -> node"""
    ack = await on.run("j-1", job_yaml("train", pods=pods, gpus=8))
    assert not ack.refused_code, ack.refused_message
    await on.make_pods("train", range(pods))
    await eventually("the gang is bound", lambda: len(on.bound("j-1")) == pods)
    for pod in on.pods("j-1"):
        on.set_phase(pod, "Running")
    await on.set_status("train", active=pods, ready=pods, startTime="now")
    await on.told("j-1", Event.RUNNING)
    return {pod: at for pod, (at, _) in on.bound("j-1").items()}


def nothing_is_left(on: Stage) -> bool:
    return not on.pods("j-1") and not on.cluster.objects("batch/v1", "Job")


async def test_a_dead_node_interrupts_the_gang_and_its_pod_does_not_stay(tmp_path: Path) -> None:
    async with bed(tmp_path) as on:
        where = await running_gang(on)
        kubelets(on).dead.add(where["train-1"])
        told = await on.told("j-1", Event.INTERRUPTED)
        assert told.reason == f"node {where['train-1']} is lost (no heartbeat for 0.4 s); the job is restarted whole"
        assert nothing_is_left(on)
        # While it went the hub was told why, so that the job did not just stay as it was.
        assert on.events("j-1")[-3:] == [Event.RUNNING, Event.STARTING, Event.INTERRUPTED]
        assert [report.reason for report in on.reports if report.event is Event.STARTING][-1] == told.reason
        assert ("train-1", 0.0) in kubelets(on).asked
        assert not any(pod == "train-0" and grace == 0.0 for pod, grace in kubelets(on).asked)
        # And nothing is promised there, though the cluster still calls the node ready.
        lost = on.agent._inventory.node(where["train-1"])
        assert lost is not None
        assert not lost.ready
        await eventually("it is forgotten once told", lambda: on.agent._jobs.get("j-1") is None)
        assert (await on.run("j-1", job_yaml("train", pods=2, gpus=8), epoch=2)).refused_code == ""
        await on.make_pods("train", range(2))
        await eventually("the next attempt is bound", lambda: len(on.bound("j-1")) == 2)
        assert where["train-1"] not in {at for at, _ in on.bound("j-1").values()}


async def test_a_node_that_comes_back_gets_pods_again(tmp_path: Path) -> None:
    async with bed(tmp_path, ("n1",)) as on:
        await on.run("j-1", job_yaml("train", gpus=8))
        kubelets(on).dead.add("n1")
        await eventually("it is lost", lambda: not on.agent._inventory.node("n1").ready)  # type: ignore[union-attr]
        kubelets(on).dead.clear()
        await eventually("it is back", lambda: on.agent._inventory.node("n1").ready)  # type: ignore[union-attr]
        await on.make_pods("train", [0])
        await eventually("it is bound", lambda: len(on.bound("j-1")) == 1)


async def test_a_deleted_node_interrupts_at_once(tmp_path: Path) -> None:
    async with bed(tmp_path) as on:
        where = await running_gang(on)
        kubelets(on).dead.add(where["train-0"])
        on.cluster.remove(ObjectKey("v1", "Node", "", where["train-0"]))
        told = await on.told("j-1", Event.INTERRUPTED)
        assert "it is no node of the cluster any more" in told.reason
        assert nothing_is_left(on)


async def test_a_node_that_was_deleted_while_the_spoke_was_away(tmp_path: Path) -> None:
    async with bed(tmp_path) as on:
        where = await running_gang(on)
        await on.drop_curtain()
        kubelets(on).dead.add(where["train-0"])
        on.cluster.remove(ObjectKey("v1", "Node", "", where["train-0"]))
        await on.raise_curtain()
        await on.told("j-1", Event.INTERRUPTED)


@pytest.mark.parametrize("seen", ["marked", "vanished"])
async def test_an_evicted_pod_moves_the_gang_and_its_job_has_not_failed(tmp_path: Path, seen: str) -> None:
    async with bed(tmp_path) as on:
        await running_gang(on)
        [pod] = [pod for pod in on.pods("j-1") if pod["metadata"]["name"] == "train-0"]
        if seen == "marked":
            metadata = {**pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
            on.cluster.put({**pod, "metadata": metadata, "status": {**pod["status"], "conditions": DRAINED}})
        failed = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]
        await on.set_status("train", failed=1, conditions=failed)  # its controller is quicker than the watch of pods
        if seen == "vanished":
            on.cluster.put({**pod, "status": {**pod["status"], "conditions": DRAINED}})
            kubelets(on).vanish(key_of(pod))
        told = await on.told("j-1", Event.INTERRUPTED)
        assert "EvictionByEvictionAPI" in told.reason
        assert Event.FAIL not in on.events("j-1")
        assert ("train-1", 0.0) not in kubelets(on).asked
        assert nothing_is_left(on)


async def test_a_pod_deleted_by_hand_is_replaced_alone(tmp_path: Path) -> None:
    async with bed(tmp_path) as on:
        await running_gang(on)
        kubelets(on).vanish(ObjectKey("v1", "Pod", "team", "train-0"))
        await on.make_pods("train", [0], suffix="-again")
        await eventually("the new one is bound too", lambda: len(on.bound("j-1")) == 2)
        assert Event.INTERRUPTED not in on.events("j-1")


async def test_a_pod_that_its_kubelet_does_not_admit_is_a_refusal(tmp_path: Path) -> None:
    async with bed(tmp_path) as on:
        await running_gang(on)
        rejected = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no healthy devices"}
        on.cluster.put({**on.pods("j-1")[0], "status": rejected})
        told = await on.told("j-1", Event.REFUSE)
        assert "does not take pod" in told.reason
        assert nothing_is_left(on)


async def test_a_job_whose_room_is_taken_after_it_was_accepted_goes_back_whole(tmp_path: Path) -> None:
    async with bed(tmp_path, ("n1", "n2"), with_starts=stuck.Patience(no_room_s=0.1)) as on:
        assert (await on.run("j-1", job_yaml("train", pods=2, gpus=8))).refused_code == ""
        on.cluster.put(foreign_pod("quicker", "n2", 8))
        await on.make_pods("train", range(2))
        told = await on.told("j-1", Event.REFUSE)
        assert told.reason.startswith("its room was taken: ")
        assert "1 of 2 pods" in told.reason
        assert nothing_is_left(on)
        assert on.bound("j-1") == {}


# ---- what fails when a node dies, and what fails by itself ----


async def test_ranks_that_fail_because_a_node_died_do_not_fail_the_job(tmp_path: Path) -> None:
    async with bed(tmp_path) as on:
        where = await running_gang(on)
        kubelets(on).dead.add(where["train-1"])
        [rank_0] = [pod for pod in on.pods("j-1") if pod["metadata"]["name"] == "train-0"]
        on.set_phase(rank_0, "Failed")
        await on.set_status("train", failed=1, conditions=[{"type": "Failed", "status": "True"}])
        await on.told("j-1", Event.INTERRUPTED)
        assert Event.FAIL not in on.events("j-1")


async def test_a_failure_is_told_once_the_nodes_have_shown_that_they_live(tmp_path: Path) -> None:
    async with bed(tmp_path) as on:
        await running_gang(on)
        on.set_phase(on.pods("j-1")[0], "Failed")
        await on.set_status("train", failed=1, conditions=[{"type": "Failed", "status": "True"}])
        await on.told("j-1", Event.FAIL)
        assert Event.INTERRUPTED not in on.events("j-1")


# ---- on the way ----


@pytest.mark.parametrize("point", ["before anything is deleted", "before the pods are", "before it is told"])
async def test_killed_on_the_way_it_goes_on_where_it_was(tmp_path: Path, point: str) -> None:
    async with bed(tmp_path) as on:
        where = await running_gang(on)
        dead = where["train-1"]

        def stop_there(verb: str, key: ObjectKey | None) -> ClusterError | None:
            wanted = {"before anything is deleted": "Job", "before the pods are": "Pod", "before it is told": ""}[point]
            return Unavailable("cut off") if verb == "delete" and key is not None and key.kind == wanted else None

        on.acknowledge = point != "before it is told"
        on.cluster.faults.append(stop_there)
        kubelets(on).dead.add(dead)
        last = Event.STARTING if on.acknowledge else Event.INTERRUPTED
        await eventually(f"{last} is said", lambda: on.events("j-1")[-1] is last and "is lost" in on.last("j-1").reason)
        await on.drop_curtain()
        on.cluster.faults.clear()
        on.acknowledge = True
        # The node is well again: what was decided is decided.
        kubelets(on).dead.clear()
        before = len(on.reports)
        await on.raise_curtain()
        await eventually("it is told", lambda: any(r.event is Event.INTERRUPTED for r in on.reports[before:]))
        assert f"node {dead} is lost" in on.last("j-1").reason
        assert nothing_is_left(on)
        await eventually("it is forgotten", lambda: on.agent._jobs.get("j-1") is None)


async def test_a_cancel_on_the_way_is_said_once(tmp_path: Path) -> None:
    async with bed(tmp_path) as on:
        where = await running_gang(on)
        blocked = [True]
        on.cluster.faults.append(lambda verb, key: Unavailable("busy") if verb == "delete" and blocked else None)
        kubelets(on).dead.add(where["train-1"])
        await eventually("it is on its way", lambda: "is lost" in on.last("j-1").reason)
        await on.cancel("j-1")
        blocked.clear()
        await on.told("j-1", Event.INTERRUPTED)
        await eventually("it is forgotten", lambda: on.agent._jobs.get("j-1") is None)
        assert nothing_is_left(on)
        endings = [event for event in on.events("j-1") if event in (Event.INTERRUPTED, Event.STOPPED, Event.FAIL)]
        assert endings == [Event.INTERRUPTED]


async def test_a_cancel_ends_though_a_node_is_dead(tmp_path: Path) -> None:
    async with bed(tmp_path) as on:
        where = await running_gang(on)
        kubelets(on).dead.add(where["train-1"])
        await on.agent.commanded([Command(9, JobRef("j-1", 1), Stop(30.0, "cancelled"))])
        await on.told("j-1", Event.STOPPED)
        assert nothing_is_left(on)
        assert Event.INTERRUPTED not in on.events("j-1")


async def test_a_job_that_won_on_the_way_has_won(tmp_path: Path) -> None:
    async with bed(tmp_path) as on:
        where = await running_gang(on)
        on.cluster.faults.append(lambda verb, key: Unavailable("busy") if verb == "delete" else None)
        kubelets(on).dead.add(where["train-1"])
        await eventually("it is on its way", lambda: "is lost" in on.last("j-1").reason)
        await on.set_status("train", succeeded=2, conditions=[{"type": "Complete", "status": "True"}])
        await on.told("j-1", Event.SUCCEED)


async def test_pods_each_for_themselves_are_replaced(tmp_path: Path) -> None:
    async with bed(tmp_path) as on:
        await on.run("j-1", job_yaml("sweep", pods=2, gpus=8, indexed=False))
        await on.make_pods("sweep", range(2))
        await eventually("both are bound", lambda: len(on.bound("j-1")) == 2)
        dead = on.bound("j-1")["sweep-1"][0]
        kubelets(on).dead.add(dead)
        await eventually("its pod is deleted", lambda: ("sweep-1", None) in kubelets(on).asked)
        await on.make_pods("sweep", [1], suffix="-again")
        await eventually("the new one is bound", lambda: "sweep-1-again" in on.bound("j-1"))
        assert on.bound("j-1")["sweep-1-again"][0] != dead
        assert Event.INTERRUPTED not in on.events("j-1")
        assert kubelets(on).asked == [("sweep-1", None)]


# ---- where nothing is to be believed ----


async def test_an_api_server_that_cannot_be_asked_loses_no_node(tmp_path: Path) -> None:
    async with bed(tmp_path) as on:
        where = await running_gang(on)
        on.cluster.faults.append(lambda verb, key: Unavailable("down") if verb == "list" else None)
        kubelets(on).dead.add(where["train-1"])
        asked = on.cluster.calls.get("list", 0)
        await eventually("it was asked many times", lambda: on.cluster.calls["list"] > asked + 12)
        assert Event.INTERRUPTED not in on.events("j-1")
        on.cluster.faults.clear()
        await on.told("j-1", Event.INTERRUPTED)


async def test_where_leases_cannot_be_read_conditions_count(tmp_path: Path) -> None:
    kinds = DEFAULT_KINDS - {"coordination.k8s.io/v1/Lease"}
    patience = Patience(unknown_s=0.2)
    async with stage(tmp_path, node("n1"), node("n2"), kinds=kinds, look_at_nodes_s=LOOK_S, with_nodes=patience) as on:
        where = await running_gang(on)
        unknown = node(where["train-1"])
        unknown["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
        on.cluster.put(unknown)
        told = await on.told("j-1", Event.INTERRUPTED)
        assert "the cluster has no word of it" in told.reason


async def test_no_leases_are_listed_while_no_job_is_here(tmp_path: Path) -> None:
    async with bed(tmp_path) as on:
        await asyncio.sleep(3 * LOOK_S)
        assert on.cluster.calls.get("list", 0) == 0
