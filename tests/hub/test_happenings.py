"""What happened to a job, Muster's events and its cluster's in one order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hub import happenings as module
from hub.errors import NotFound
from hub.happenings import Happening, Happenings
from hub.records import Actor, UserRole
from placement.lifecycle import Event
from tests.hub.loops.rig import FakeSpoke, Hub, a_hub, manifest
from wire.orders import EVENTS, LogLines

ANN = Actor("ann", "red", UserRole.SUBMITTER)
BOB = Actor("bob", "blue", UserRole.SUBMITTER)


@pytest.fixture
async def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(module, "_LINGER_S", 0.01)
    monkeypatch.setattr(module, "_LOOK_S", 0.01)
    async with a_hub(tmp_path / "hub.sqlite") as made:
        yield made


async def placed(hub: Hub) -> FakeSpoke:
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.jobs.submit(ANN, manifest("a"))
    await hub.placing.settle()
    await spoke.obey(hub)
    return spoke


def said(hub: Hub, reason: str, after_s: float, **more: Any) -> bytes:
    at = (hub.clock() + timedelta(seconds=after_s)).isoformat()
    known = {"id": reason, "at": at, "type": "Warning", "reason": reason, "object": "Pod a-0", "source": "kubelet"}
    return json.dumps(known | more).encode() + b"\n"


async def read(hub: Hub, *, follow: bool = False) -> list[Happening]:
    return [one async for one in Happenings(hub.jobs, hub.streams, clock=hub.clock).of(ANN, "a", follow=follow)]


async def test_both_in_one_order(hub: Hub) -> None:
    await placed(hub)
    lines = said(hub, "Late", 60, count=3, message="again") + b"nonsense\n{}\n" + said(hub, "Early", -60)
    hub.streams.logs["east"] = [LogLines("", lines)]
    found = await read(hub)
    assert [one.reason for one in found] == ["Early", "submit", "place", "accept", "Late"]
    assert (found[-1].count, found[-1].message, found[-1].warning, found[-1].source) == (3, "again", True, "kubelet")
    assert hub.streams.asked[0][1].of == EVENTS


async def test_without_the_cluster_muster_says_what_it_knows(hub: Hub) -> None:
    await placed(hub)
    assert "east is not connected" in (await read(hub))[-1].message
    hub.streams.logs["east"] = []
    hub.streams.abilities = frozenset()
    assert "too old" in (await read(hub))[-1].message
    with pytest.raises(NotFound):
        await anext(Happenings(hub.jobs, hub.streams, clock=hub.clock).of(BOB, "a", follow=False))


async def test_followed_to_the_end_of_the_job(hub: Hub) -> None:
    spoke = await placed(hub)
    hub.streams.logs["east"] = [LogLines("", said(hub, "Pulled", 1)), LogLines("", said(hub, "Pulled", 2, count=2))]
    found: list[Happening] = []
    async for one in Happenings(hub.jobs, hub.streams, clock=hub.clock).of(ANN, "a", follow=True):
        found.append(one)
        if one.count == 2 and one.reason == "Pulled":
            (ref,) = spoke.live
            spoke.advance(ref, Event.SUCCEED)
            await spoke.send_reports(hub)
    assert [(one.reason, one.count) for one in found if one.source == "kubelet"] == [("Pulled", 1), ("Pulled", 2)]
    assert found[-1].reason == "succeed"
    assert len({(one.id, one.count) for one in found}) == len(found)
