"""What follows a job's size: an autoscaler whose range the hub divided anew, and nothing else of the cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoke.cluster.fake import DEFAULT_KINDS
from spoke.cluster.port import Object, ObjectKey, Refused
from tests.spoke.stage import Stage, eventually, job_yaml, node, stage
from wire import translate
from wire.orders import Command, CommandAck, JobRef, Scale, replaced

KINDS = DEFAULT_KINDS | {"autoscaling/v2/HorizontalPodAutoscaler"}
SCALER = ObjectKey("autoscaling/v2", "HorizontalPodAutoscaler", "team", "train")


def autoscaler(most: int, name: str = "train") -> dict[str, Any]:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"maxReplicas": most, "scaleTargetRef": {"kind": "Job", "name": "train"}},
    }


def manifest() -> str:
    return (
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: train, namespace: team}\n"
        "spec: {maxReplicas: 4, scaleTargetRef: {kind: Job, name: train}}\n---\n"
    ) + job_yaml("train", pods=2, indexed=False)


async def scaled(on: Stage, revision: int, pods: int, *objects: Object) -> CommandAck:
    order = Scale(revision, {"worker": pods}, "another share", objects)
    [ack] = await on.agent.commanded([Command(90 + revision, JobRef("j-1", 1), order)])
    return ack


def most(on: Stage) -> int:
    found = on.cluster._objects[SCALER]
    return int(found["spec"]["maxReplicas"])


async def test_its_range_is_changed_with_the_size_and_stays_so_after_a_restart(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), kinds=KINDS) as on:
        await on.run("j-1", manifest())
        await on.workload("train")
        assert most(on) == 4
        ack = await scaled(on, 1, 1, autoscaler(8))
        assert not ack.refused_code
        await eventually("the autoscaler follows", lambda: most(on) == 8)
        entry = await on.ledger.entry("j-1")
        assert entry is not None
        assert [one["spec"].get("maxReplicas") for one in entry.objects[:-1]] == [8]
        await on.restart()
        entry = await on.ledger.entry("j-1")
        assert entry is not None
        assert entry.objects[0]["spec"]["maxReplicas"] == 8


async def test_what_somebody_else_made_stays_as_it_is(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), kinds=KINDS) as on:
        on.cluster.put(autoscaler(4))
        await on.run("j-1", manifest())
        await on.workload("train")
        await scaled(on, 1, 1, autoscaler(8))
        key = ObjectKey("batch/v1", "Job", "team", "train")
        await eventually("the job has its size", lambda: on.cluster._objects[key]["spec"]["parallelism"] == 1)
        assert most(on) == 4


@pytest.mark.parametrize(
    "other", [autoscaler(8, name="somebody-elses"), {**autoscaler(8), "apiVersion": "v1", "kind": "ConfigMap"}]
)
async def test_only_what_came_with_the_job_and_follows_its_size(tmp_path: Path, other: Object) -> None:
    async with stage(tmp_path, node("n1"), kinds=KINDS) as on:
        await on.run("j-1", manifest())
        await on.workload("train")
        ack = await scaled(on, 1, 2, other)
        assert ack.refused_code == "invalid"
        assert "does not follow its size" in ack.refused_message


def test_it_goes_over_the_wire_with_the_order() -> None:
    order = Scale(2, {"worker": 3}, "why", (autoscaler(8),))
    command = Command(7, JobRef("j-1", 1), order)
    assert translate.command_from_wire(translate.command_to_wire(command)) == command
    plain = replace(command, order=replace(order, objects=()))
    assert translate.command_from_wire(translate.command_to_wire(plain)) == plain


def test_an_object_takes_the_place_of_its_namesake_alone() -> None:
    before = (autoscaler(4), {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "train"}})
    assert replaced(before, (autoscaler(8), autoscaler(9, "other"))) == (autoscaler(8), before[1])


async def test_an_autoscaler_that_may_not_be_changed_does_not_hold_the_size_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, node("n1"), kinds=KINDS) as on:
        await on.run("j-1", manifest())
        await on.workload("train")
        update = on.cluster.update

        async def forbidding(obj: Object, *, subresource: str = "") -> Object:
            if obj["kind"] == "HorizontalPodAutoscaler":
                raise Refused("horizontalpodautoscalers is forbidden")
            return await update(obj, subresource=subresource)

        monkeypatch.setattr(on.cluster, "update", forbidding)
        await scaled(on, 1, 1, autoscaler(8))
        await eventually("its size is told", lambda: on.reports and on.last("j-1").size == 1)
        assert most(on) == 4
