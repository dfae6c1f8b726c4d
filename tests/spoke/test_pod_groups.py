"""A labelled pod group on a cluster in memory: the spoke makes its pods, and they start, end and go together."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from placement.lifecycle import Event
from spoke import pod_groups, status
from spoke.cluster.fake import DEFAULT_KINDS
from spoke.cluster.port import ClusterError, ObjectKey, Refused, Unavailable
from spoke.pods import OWNER_ANNOTATION
from tests.spoke.stage import OWNER, Stage, eventually, foreign_pod, node, stage
from wire.orders import JobRef


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "HOLD_BACK_S", 0.01)
    monkeypatch.setattr(status, "FAIL_HOLD_BACK_S", 0.01)


def group(pods: int = 2, gpus: int = 8) -> str:
    container = {"name": "main", "image": "train:1", "resources": {"limits": {"nvidia.com/gpu": gpus}}}
    labels = {"scheduling.x-k8s.io/pod-group": "train"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "team"}}
    return yaml.safe_dump_all(
        [
            config,
            *(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": f"train-{number}", "namespace": "team", "labels": labels},
                    "spec": {"restartPolicy": "Never", "containers": [container]},
                }
                for number in range(pods)
            ),
        ]
    )


def key(number: int) -> ObjectKey:
    return ObjectKey("v1", "Pod", "team", f"train-{number}")


def names(on: Stage) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in on.pods("j-1"))


async def started(on: Stage, pods: int = 2) -> None:
    ack = await on.run("j-1", group(pods))
    assert not ack.refused_code, ack.refused_message
    await eventually("all pods are bound", lambda: len(on.bound("j-1")) == pods)
    for pod in on.pods("j-1"):
        on.set_phase(pod, "Running")
    await on.told("j-1", Event.RUNNING)


async def test_its_pods_are_made_bound_together_and_succeed_together(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await started(on)
        assert set(on.bound("j-1").values()) == {("n1", "0,1,2,3,4,5,6,7"), ("n2", "0,1,2,3,4,5,6,7")}
        assert {pod["metadata"]["annotations"][OWNER_ANNOTATION] for pod in on.pods("j-1")} == {OWNER}
        first, second = on.pods("j-1")
        on.set_phase(first, "Succeeded")
        await eventually("it is counted", lambda: on.last("j-1").roles[0].succeeded == 1)
        assert on.last("j-1").event is Event.RUNNING
        on.set_phase(second, "Succeeded")
        done = await on.told("j-1", Event.SUCCEED)
        assert [count.succeeded for count in done.roles] == [2]
        assert names(on) == ["train-0", "train-1"]  # for their logs


async def test_one_that_fails_fails_the_whole_and_the_others_are_ended(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await started(on)
        on.set_phase(next(pod for pod in on.pods("j-1") if pod["metadata"]["name"] == "train-1"), "Failed")
        failed = await on.told("j-1", Event.FAIL)
        assert failed.reason == "pod train-1 failed"
        await eventually("the other one is gone", lambda: names(on) == ["train-1"])


async def test_cancelled_nothing_is_left(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await started(on)
        await on.cancel("j-1")
        await on.told("j-1", Event.STOPPED)
        assert names(on) == []
        assert on.cluster.objects("v1", "ConfigMap") == []


@pytest.mark.parametrize("pods", [1, 3])
async def test_a_spoke_that_dies_between_two_pods_makes_the_others(tmp_path: Path, pods: int) -> None:
    async with stage(tmp_path, *(node(f"n{number}") for number in range(3))) as on:

        def away(verb: str, asked: ObjectKey | None) -> ClusterError | None:
            is_late = asked is not None and asked.kind == "Pod" and len(on.cluster.objects("v1", "Pod")) >= pods
            return Unavailable("the API server is away") if verb in ("create", "get") and is_late else None

        on.cluster.faults.append(away)
        await on.run("j-1", group(3))
        await eventually("some are made", lambda: len(names(on)) == pods)
        on.cluster.faults.clear()
        await on.restart()
        await eventually("all pods are bound", lambda: len(on.bound("j-1")) == 3)
        assert names(on) == ["train-0", "train-1", "train-2"]


async def test_a_pod_that_may_not_be_made_fails_it_and_leaves_none(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:

        def full(verb: str, asked: ObjectKey | None) -> ClusterError | None:
            return Refused("exceeded quota: pods") if (verb, asked) == ("create", key(1)) else None

        on.cluster.faults.append(full)
        await on.run("j-1", group())
        failed = await on.told("j-1", Event.FAIL)
        assert "exceeded quota: pods" in failed.reason
        await eventually("nothing is left", lambda: names(on) == [])


async def test_a_pod_of_somebody_else_with_that_name_is_left_alone(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        theirs = foreign_pod("train-1", "n1", 0)
        on.cluster.put({**theirs, "metadata": {"name": "train-1", "namespace": "team"}})
        await on.run("j-1", group(gpus=4))
        failed = await on.told("j-1", Event.FAIL)
        assert "it is not this job's" in failed.reason
        await eventually("only theirs is left", lambda: [p["metadata"]["name"] for p in pods_of(on)] == ["train-1"])


async def test_a_pod_that_somebody_removes_is_not_made_again(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await started(on)
        on.cluster.remove(key(0))
        failed = await on.told("j-1", Event.FAIL)
        assert failed.reason == "pod team/train-0 was removed from the cluster by somebody else"
        await eventually("the other one is ended", lambda: names(on) == [])


async def test_a_node_that_goes_takes_the_whole_group_with_it(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await started(on)
        on.cluster.remove(ObjectKey("v1", "Node", "", "n1"))
        await on.told("j-1", Event.INTERRUPTED)
        assert names(on) == []


async def test_the_hub_is_told_of_groups_where_there_are_pods(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        assert "muster.dev/v1/PodGroup" in (await on.agent.wait_for_summary(-1)).kinds
    assert "muster.dev/v1/PodGroup" not in pod_groups.served(DEFAULT_KINDS - {"v1/Pod"})


@pytest.mark.parametrize("known_to_the_hub", [True, False])
async def test_of_a_ledger_that_was_lost_its_pods_and_what_came_along_are_removed(
    tmp_path: Path, known_to_the_hub: bool
) -> None:
    async with stage(tmp_path / "first", node("n1"), node("n2"), lost_after_s=0.02) as on:
        await started(on)
        await on.drop_curtain()
        on.directory = tmp_path / "second"
        await on.raise_curtain()
        await on.agent.welcomed([JobRef("j-1", 1)] if known_to_the_hub else [], 60.0)
        await eventually("its pods are removed", lambda: names(on) == [])
        if known_to_the_hub:
            await on.told("j-1", Event.REFUSE)
            assert on.cluster.objects("v1", "ConfigMap") == []


def pods_of(on: Stage) -> list[dict[str, dict[str, str]]]:
    return [dict(pod) for pod in on.cluster.objects("v1", "Pod") if pod["metadata"]["namespace"] == "team"]
