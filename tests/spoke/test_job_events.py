"""A cluster's events of one job: its own and nobody else's, also those that come before what they are about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from placement.lifecycle import Event
from spoke import job_events, status
from spoke.cluster.port import ObjectKey
from tests.spoke.stage import Stage, eventually, job_yaml, node, stage
from wire.orders import EVENTS, JobRef, LogQuery

REF = JobRef("j-1", 1)


@pytest.fixture
async def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(status, "HOLD_BACK_S", 0.01)
    monkeypatch.setattr(job_events, "_LOOK_S", 0.01)
    monkeypatch.setattr(job_events, "_LINGER_S", 0.05)
    async with stage(tmp_path, node("n1")) as on:
        await on.run("j-1", job_yaml("train", pods=2))
        await on.make_pods("train", [0])
        await eventually("it is seen", lambda: on.agent._jobs.of(REF).pods)  # type: ignore[union-attr]
        yield on


def happens(on: Stage, name: str, uid: str, reason: str, at: str, count: int = 1, **more: Any) -> None:
    about = {"kind": "Pod", "name": "train", "uid": uid}
    event = {"type": "Warning", "reason": reason, "message": "so it is", "count": count, "lastTimestamp": at, **more}
    metadata = {"name": name, "namespace": "team"}
    on.cluster.put({"apiVersion": "v1", "kind": "Event", "metadata": metadata, "involvedObject": about, **event})


def uid_of(on: Stage, kind: str, name: str) -> str:
    api_version = "v1" if kind == "Pod" else "batch/v1"
    return str(on.cluster._objects[ObjectKey(api_version, kind, "team", name)]["metadata"]["uid"])


async def read(on: Stage, found: list[dict[str, Any]], *, follow: bool) -> None:
    async with asyncio.timeout(10):
        async for lines in on.agent.logs(LogQuery(REF, "", follow, 0, of=EVENTS)):
            found += [orjson.loads(line) for line in lines.data.splitlines()]


async def test_its_own_by_time(on: Stage) -> None:
    happens(on, "b", uid_of(on, "Pod", "train-0"), "BackOff", "2026-03-01T12:00:09Z", 3)
    happens(on, "a", uid_of(on, "Job", "train"), "FailedCreate", "2026-03-01T12:00:05Z")
    happens(on, "c", "somebody-elses", "Evicted", "2026-03-01T12:00:07Z")
    found: list[dict[str, Any]] = []
    await read(on, found, follow=False)
    assert [(one["reason"], one["count"]) for one in found] == [("FailedCreate", 1), ("BackOff", 3)]
    assert found[1] == found[1] | {"type": "Warning", "message": "so it is", "at": "2026-03-01T12:00:09Z"}


async def test_followed_with_those_that_come_before_their_pod(on: Stage) -> None:
    found: list[dict[str, Any]] = []
    reading = asyncio.create_task(read(on, found, follow=True))
    await eventually("it watches", lambda: len(on.cluster._watchers) > 0)
    happens(on, "early", "uid-of-the-second", "Scheduled", "2026-03-01T12:00:01Z")
    happens(on, "foreign", "somebody-elses", "Evicted", "2026-03-01T12:00:02Z")
    pod = on.cluster._objects[ObjectKey("v1", "Pod", "team", "train-0")]
    second = {**pod["metadata"], "name": "train-1", "uid": "uid-of-the-second"}
    on.cluster.put({**pod, "metadata": second})
    await eventually("it is told", lambda: [one["reason"] for one in found] == ["Scheduled"])
    happens(on, "early", "uid-of-the-second", "Scheduled", "2026-03-01T12:00:03Z", 2)
    await eventually("its new count too", lambda: [one["count"] for one in found] == [1, 2])
    on.cluster.remove(ObjectKey("v1", "Pod", "team", "train-1"))
    happens(on, "late", "uid-of-the-second", "Killing", "2026-03-01T12:00:04Z")
    await eventually("of a pod that is gone", lambda: len(found) == 3)
    await on.finish("train", "j-1")
    await on.told("j-1", Event.SUCCEED)
    await reading


async def test_of_a_job_that_is_not_here_there_is_nothing(on: Stage) -> None:
    assert [one async for one in on.agent.logs(LogQuery(JobRef("j-2", 1), "", True, 0, of=EVENTS))] == []
