"""A job's logs as one stream: by role, by tail, followed to the end, taken up again where one breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from placement.lifecycle import Event
from spoke import logs, status
from spoke.cluster.port import ClusterError, ObjectKey, Unavailable
from tests.spoke.stage import Stage, eventually, job_yaml, node, stage
from wire.orders import JobRef, LogQuery

REF = JobRef("j-1", 1)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "HOLD_BACK_S", 0.01)
    monkeypatch.setattr(logs, "_LOOK_S", 0.01)


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Stage]:
    """A gang of two, bound."""
    async with stage(tmp_path, node("n1")) as on:
        await on.run("j-1", job_yaml("train", pods=2))
        await on.make_pods("train", [0, 1])
        await eventually("both are bound", lambda: len(on.bound("j-1")) == 2)
        await eventually("it is seen", lambda: all(p.node for p in on.agent._jobs.of(REF).pods.values()))  # type: ignore[union-attr]
        yield on


async def read(on: Stage, *, role: str = "", follow: bool = False, tail: int = 0, **more: Any) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    async with asyncio.timeout(10):
        async for line in on.agent.logs(LogQuery(REF, role, follow, tail, **more)):
            found[line.pod] = found.get(line.pod, b"") + line.data
    return found


async def test_what_is_there_now(on: Stage) -> None:
    on.cluster.log("team", "train-0", b"a\n", b"b\n")
    on.cluster.log("team", "train-1", b"x\n")
    assert await read(on) == {"train-0": b"a\nb\n", "train-1": b"x\n"}
    assert await read(on, tail=1) == {"train-0": b"b\n", "train-1": b"x\n"}
    assert await read(on, role="worker") == {"train-0": b"a\nb\n", "train-1": b"x\n"}
    assert await read(on, role="master") == {}


async def test_followed_until_the_job_has_ended(on: Stage) -> None:
    on.cluster.log("team", "train-0", b"a\n")
    reading = asyncio.create_task(read(on, follow=True))
    await eventually("both are read", lambda: on.cluster.calls.get("logs", 0) >= 2)
    on.cluster.log("team", "train-1", b"x\n")
    for name in ("train-0", "train-1"):
        on.cluster.log("team", name, b"last\n", end=True)
    await asyncio.sleep(0.05)
    assert not reading.done()  # the job has not ended: more pods may come
    await on.make_pods("train", [1], suffix="-again")
    await eventually("it is bound", lambda: len(on.bound("j-1")) == 3)
    on.cluster.log("team", "train-1-again", b"late\n", end=True)
    await on.finish("train", "j-1")
    await on.told("j-1", Event.SUCCEED)
    assert await reading == {"train-0": b"a\nlast\n", "train-1": b"x\nlast\n", "train-1-again": b"late\n"}


async def test_a_pod_that_has_not_started_is_waited_for(on: Stage) -> None:
    waiting: list[ClusterError] = [Unavailable("container is waiting to start")] * 3

    def not_yet(verb: str, key: ObjectKey | None) -> ClusterError | None:
        return waiting.pop() if verb == "logs" and waiting else None

    on.cluster.faults.append(not_yet)
    on.cluster.log("team", "train-0", b"a\n", end=True)
    on.cluster.log("team", "train-1", b"x\n", end=True)
    await on.finish("train", "j-1")
    await on.told("j-1", Event.SUCCEED)
    reading = asyncio.create_task(read(on, follow=True))
    assert set(await reading) <= {"train-0", "train-1"}


async def test_a_reader_that_goes_away_leaves_nothing_running(on: Stage) -> None:
    for i in range(500):
        on.cluster.log("team", "train-0", b"%d\n" % i)
    before = len(asyncio.all_tasks())
    lines = on.agent.logs(LogQuery(REF, "", True, 0))
    assert (await anext(lines)).pod == "train-0"
    await lines.aclose()  # type: ignore[attr-defined]  # a generator
    await eventually("its readers ended", lambda: len(asyncio.all_tasks()) <= before)


async def test_of_one_rank(on: Stage) -> None:
    on.cluster.log("team", "train-0", b"a\n")
    on.cluster.log("team", "train-1", b"x\n")
    assert await read(on, rank=1) == {"train-1": b"x\n"}
    assert await read(on, role="worker", rank=0) == {"train-0": b"a\n"}
    assert await read(on, rank=2) == {}


async def test_with_the_time_of_each_line(on: Stage) -> None:
    on.cluster.log("team", "train-0", b"a\n", b"b\n")
    at = b"2000-01-01T00:00:00Z "
    assert await read(on, rank=0, timestamps=True) == {"train-0": at + b"a\n" + at + b"b\n"}


async def test_after_the_positions_that_were_read(on: Stage) -> None:
    on.cluster.log("team", "train-0", b"a\n", b"b\n", b"c\n")
    on.cluster.log("team", "train-1", b"x\n")
    positions = [(one.pod, one.position) async for one in on.agent.logs(LogQuery(REF, "", False, 0))]
    second = [position for pod, position in positions if pod == "train-0"][1]
    # The tail was for the beginning; a position of another pod of that name says nothing of this one.
    after = (("train-0", second), ("train-1", "another-uid/o0:9"))
    assert await read(on, tail=1, after=after) == {"train-0": b"c\n", "train-1": b"x\n"}


@pytest.fixture
async def keeping(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, node("n1"), keeps_logs=True) as on:
        await on.run("j-1", job_yaml("train", pods=2))
        await on.make_pods("train", [0, 1])
        await eventually("both are bound", lambda: len(on.bound("j-1")) == 2)
        await eventually("it is seen", lambda: all(p.node for p in on.agent._jobs.of(REF).pods.values()))  # type: ignore[union-attr]
        yield on


async def test_logs_outlive_a_job_that_was_cancelled(keeping: Stage) -> None:
    on = keeping
    on.cluster.log("team", "train-0", b"a\n", b"b\n")
    on.cluster.log("team", "train-1", b"x\n")
    reading = asyncio.create_task(read(on, follow=True))
    await eventually("both are read", lambda: on.cluster.calls.get("logs", 0) >= 2)
    first = await anext(on.agent.logs(LogQuery(REF, "", False, 0)))
    await on.cancel("j-1")
    await on.told("j-1", Event.STOPPED)
    await eventually("it is gone", lambda: on.agent._jobs.of(REF) is None)
    for name in ("train-0", "train-1"):
        on.cluster.log("team", name, end=True)
    expected = {"train-0": b"a\nb\n", "train-1": b"x\n"}
    assert await reading == expected
    await eventually("they are written", lambda: len(on.agent._kept_logs.pods(REF)) == 2)  # type: ignore[union-attr]
    assert await read(on) == await read(on, follow=True) == expected
    assert await read(on, rank=0, tail=1) == {"train-0": b"b\n"}
    assert await read(on, role="worker", rank=1) == {"train-1": b"x\n"}
    assert await read(on, after=((first.pod, first.position),), rank=0) == {"train-0": b"b\n"}
    await on.restart()
    assert await read(on) == expected
    with pytest.raises(KeyError, match="nothing of its logs is kept"):
        on.agent.logs(LogQuery(JobRef("j-1", 2), "", False, 0))
