"""The in-memory cluster keeps the port's contract, and does what only it can: faults, gaps, dependents."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from spoke.cluster.fake import DEFAULT_KINDS, FakeCluster
from spoke.cluster.port import Conflict, Gone, NotFound, ObjectKey, Selection, Snapshot, Unavailable
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
        return [part.plain async for part in cluster.logs("contract", "p", follow=True, tail_lines=1)]

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


async def test_an_object_is_updated_only_as_it_was_read() -> None:
    cluster = FakeCluster(kinds=DEFAULT_KINDS | {"resource.k8s.io/v1/ResourceClaim"})
    claim = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "c"}, "spec": {}}
    first = cluster.put(claim)
    second = await cluster.update({**first, "status": {"reservedFor": []}}, subresource="status")
    with pytest.raises(Conflict, match="modified"):
        await cluster.update({**first, "spec": {"x": 1}})
    third = await cluster.update(
        {**second, "metadata": {**second["metadata"], "finalizers": ["f"]}, "status": {"x": 1}}
    )
    assert third["metadata"]["finalizers"] == ["f"]
    assert third["status"] == {"reservedFor": []}
    with pytest.raises(NotFound):
        await cluster.update({**first, "metadata": {**first["metadata"], "name": "d"}})
