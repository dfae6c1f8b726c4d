"""The in-memory cluster keeps the port's contract, and does what only it can: faults, gaps, dependents."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from spoke.cluster.fake import FakeCluster
from spoke.cluster.port import Gone, ObjectKey, Selection, Snapshot, Unavailable
from tests.spoke.cluster.contract import Arena, ClusterContract, following, snapshot


def node(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster([node("node-a"), node("node-b")])


@pytest.fixture
def arena(cluster: FakeCluster) -> Arena:
    return Arena(cluster, ("node-a", "node-b"), "contract")


class TestFakeCluster(ClusterContract):
    pass


async def test_logs_follow_until_they_end(arena: Arena, cluster: FakeCluster) -> None:
    await cluster.create(arena.pod("p"))
    cluster.log("contract", "p", b"one\n", b"two\n")

    async def read() -> list[bytes]:
        return [line async for line in cluster.logs("contract", "p", follow=True, tail_lines=1)]

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    cluster.log("contract", "p", b"three\n", end=True)
    assert await reading == [b"two\n", b"three\n"]


async def test_dependents_go_with_their_owner(arena: Arena, cluster: FakeCluster) -> None:
    owner = await arena.made(arena.config("owner"))
    pod = arena.pod("owned")
    pod["metadata"]["ownerReferences"] = [{"uid": owner["metadata"]["uid"]}]
    changes = cluster.watch(Selection("v1", "Pod"))
    await snapshot(changes)
    await cluster.create(pod)
    await cluster.delete(arena.key("ConfigMap", "owner"))
    await following(changes, Gone, "owned")


async def test_a_fault_happens_before_the_call(arena: Arena, cluster: FakeCluster) -> None:
    def refuse_creates(verb: str, key: ObjectKey | None) -> Unavailable | None:
        return Unavailable("injected") if verb == "create" and key is not None and key.name == "p" else None

    cluster.faults.append(refuse_creates)
    with pytest.raises(Unavailable, match="injected"):
        await cluster.create(arena.pod("p"))
    await cluster.create(arena.pod("q"))
    assert [pod["metadata"]["name"] for pod in cluster.objects("v1", "Pod")] == ["q"]


async def test_a_gap_begins_anew_with_a_snapshot(arena: Arena, cluster: FakeCluster) -> None:
    changes = cluster.watch(Selection("v1", "Node"))
    await snapshot(changes)
    cluster.gap()
    assert isinstance(await anext(changes), Snapshot)
