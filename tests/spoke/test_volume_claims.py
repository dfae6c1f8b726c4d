from __future__ import annotations

import asyncio
from typing import Any

from spoke.cluster.fake import DEFAULT_KINDS
from spoke.volume_claims import AT_MOST, VolumeClaims
from tests.spoke.stage import eventually, node, stage
from wire.orders import DataFound

GI = 1 << 30


def claim(name: str, storage: str | None = "10Gi", namespace: str = "ml", **more: Any) -> dict[str, Any]:
    status = {"phase": "Bound", "capacity": {"storage": storage}} if storage else {"phase": "Pending"}
    metadata = {"name": name, "namespace": namespace, **more.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "status": status | more}


def fluid(name: str, total: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ml"}
    return {
        "apiVersion": "data.fluid.io/v1alpha1",
        "kind": "Dataset",
        "metadata": metadata,
        "status": {"ufsTotal": total},
    }


def test_claims_are_found_with_their_sizes() -> None:
    claims = VolumeClaims()
    asyncio.run(fill(claims))
    assert claims.found() == [
        DataFound("pvc://ml/dataset-x", 10 * GI),
        DataFound("pvc://ml/big", 100 << 40),
        DataFound("pvc://ml/fluid", 5 * GI),
        DataFound("pvc://ml/images", GI),
        DataFound("pvc://ml/unbound", 0),
    ]


async def fill(claims: VolumeClaims) -> None:
    claims.claims().reset(
        [
            claim("images", "1Gi"),
            claim("big", "100Ti"),
            claim("unbound", None),
            claim("fluid", "1Pi"),
            claim("broken", "many"),
            claim("lost", phase="Lost"),
            claim("dataset-x"),
            claim("etcd", namespace="kube-system"),
        ]
    )
    claims.fluid().reset([fluid("fluid", "5.00GiB"), fluid("images", "[Calculating]")])


async def test_only_what_changed_is_told_and_no_more_than_so_much() -> None:
    claims = VolumeClaims()
    sink = claims.claims()
    sink.reset([])
    assert await claims.wait(0) == (1, [])
    sink.upsert(claim("a"))
    revision, found = await claims.wait(1)
    assert found == [DataFound("pvc://ml/a", 10 * GI)]
    sink.upsert(claim("a", metadata={"labels": {"new": "label"}}))
    sink.reset([claim("a")])
    sink.gone(claim("never-there"))
    waiting = asyncio.create_task(claims.wait(revision))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    sink.upsert(claim("a", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))
    assert (await waiting)[1] == []
    sink.gone(claim("a"))
    sink.reset([claim(f"c{number}") for number in range(AT_MOST + 1)])
    assert len(claims.found()) == AT_MOST


async def test_the_agent_watches_claims_and_fluids_datasets_where_there_are_any(tmp_path: Any) -> None:
    kinds = DEFAULT_KINDS | {"data.fluid.io/v1alpha1/Dataset"}
    async with stage(tmp_path, node("n1"), kinds=kinds) as s:
        s.cluster.put(claim("images"))
        await eventually("the claim is seen", lambda: s.agent._claims.found())
        assert (await s.agent.wait_for_data(0))[1] == [DataFound("pvc://ml/images", 10 * GI)]
        s.cluster.put(fluid("images", "5GiB"))
        size = 5 * GI
        await eventually("Fluid's word counts", lambda: s.agent._claims.found()[0].size_bytes == size)


async def test_nothing_is_told_before_the_claims_were_read() -> None:
    """The hub forgets what is not told."""
    claims = VolumeClaims()
    claims.fluid().reset([fluid("images", "5GiB")])
    told = asyncio.create_task(claims.wait(0))
    for _ in range(5):
        await asyncio.sleep(0)
    claims.claims().reset([claim("images", "1Gi")])
    assert await told == (1, [DataFound("pvc://ml/images", 5 * GI)])
