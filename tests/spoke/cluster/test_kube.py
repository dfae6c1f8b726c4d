"""The Kubernetes port on a real API server: the contract, resumed watches, paging, the rights that it ships with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from uuid import uuid4

import pytest

from e2e import shapes
from e2e.planes.plane import Plane
from spoke.cluster.kube import KubeCluster
from spoke.cluster.port import Conflict, Gone, ObjectKey, Refused, Selection, Unavailable, Upsert
from tests.spoke.cluster.contract import Arena, ClusterContract, following

pytestmark = pytest.mark.planes

POOL = shapes.Pool("node", racks=1, nodes_per_rack=2, product=shapes.A100, gpus=8)


@pytest.fixture(scope="session")
def plane(bare_plane: Plane) -> Plane:
    bare_plane.add_nodes(shapes.nodes(shapes.ClusterShape("bare", "here", (POOL,))))
    return bare_plane


@pytest.fixture
async def cluster(plane: Plane) -> AsyncIterator[KubeCluster]:
    """With the rights of deploy/spoke, which the contract thereby tests too."""
    cluster = await KubeCluster.open(str(plane.spoke_kubeconfig()), rng=Random(1))
    yield cluster
    await cluster.close()


@pytest.fixture
async def admin(plane: Plane) -> AsyncIterator[KubeCluster]:
    cluster = await KubeCluster.open(str(plane.kubeconfig), rng=Random(1))
    yield cluster
    await cluster.close()


@pytest.fixture
def arena(cluster: KubeCluster, plane: Plane) -> Arena:
    first, second = sorted(node["metadata"]["name"] for node in plane.client.list("v1", "Node"))[:2]
    return Arena(cluster, (first, second), f"contract-{uuid4().hex[:8]}")


class TestKubeCluster(ClusterContract):
    pass


async def test_a_watch_survives_a_restart_of_the_api_server(arena: Arena, plane: Plane) -> None:
    changes = arena.port.watch(Selection("v1", "Pod", arena.namespace))
    await arena.port.create(arena.pod("before"))
    await following(changes, Upsert, "before")
    waiting = asyncio.create_task(following(changes, Gone, "before"))
    await asyncio.to_thread(plane.restart_api_server)
    await arena.port.delete(arena.key("Pod", "before"), grace_s=0)
    await waiting


async def test_a_long_list_comes_in_pages(admin: KubeCluster) -> None:
    namespace = f"pages-{uuid4().hex[:8]}"
    configs = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{i}", "namespace": namespace}}
        for i in range(510)
    ]
    await asyncio.gather(*(admin.create(config) for config in configs))
    listed = await admin.list(Selection("v1", "ConfigMap", namespace))
    assert {obj["metadata"]["name"] for obj in listed} >= {f"c{i}" for i in range(510)}


async def test_dependents_are_deleted_with_their_owner(arena: Arena) -> None:
    owner = await arena.made(arena.config("owner"))
    pod = arena.pod("owned")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    pod["metadata"]["ownerReferences"] = [reference]
    await arena.port.create(pod)
    await arena.port.delete(arena.key("ConfigMap", "owner"))
    await arena.gone("Pod", "owned")


async def test_an_api_server_that_is_away_is_unavailable(
    plane: Plane, tmp_path_factory: pytest.TempPathFactory
) -> None:
    away = tmp_path_factory.mktemp("away") / "kubeconfig"
    away.write_text(plane.kubeconfig.read_text().replace(str(plane.port), "1"))
    cluster = await KubeCluster.open(str(away), rng=Random(1))
    with pytest.raises(Unavailable):
        await cluster.get(ObjectKey("v1", "Namespace", "", "default"))
    await cluster.close()


async def test_what_the_role_leaves_out_is_refused(arena: Arena) -> None:
    with pytest.raises(Refused, match="secrets is forbidden"):
        await arena.port.list(Selection("v1", "Secret", "kube-system"))
    with pytest.raises(Refused, match="forbidden"):
        await arena.port.delete(ObjectKey("v1", "Node", "", arena.nodes[0]))


async def test_a_claim_is_allocated_only_as_it_was_read(arena: Arena) -> None:
    """With the rights of the spoke: the finalizer, then the status with the devices."""
    asked = {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu"}}]}
    metadata = {"name": "claim", "namespace": arena.namespace}
    body = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": metadata,
        "spec": {"devices": asked},
    }
    await arena.port.create(body)
    key = ObjectKey("resource.k8s.io/v1", "ResourceClaim", arena.namespace, "claim")
    made = await arena.port.get(key)
    kept = await arena.port.update({**made, "metadata": {**made["metadata"], "finalizers": ["example.com/kept"]}})
    result = {"request": "gpu", "driver": "gpu.example.com", "pool": "n1", "device": "d0"}
    status = {"allocation": {"devices": {"results": [result]}}}
    allocated = await arena.port.update({**kept, "status": status}, subresource="status")
    assert allocated["status"]["allocation"]["devices"]["results"] == [result]
    assert allocated["metadata"]["finalizers"] == ["example.com/kept"]
    with pytest.raises(Conflict, match="modified"):
        await arena.port.update({**kept, "status": status}, subresource="status")
    other = {"allocation": {"devices": {"results": [{**result, "device": "d1"}]}}}
    with pytest.raises(Refused, match="immutable"):
        await arena.port.update({**allocated, "status": other}, subresource="status")
    cleared = await arena.port.update({**allocated, "status": {}}, subresource="status")
    await arena.port.update({**cleared, "metadata": {**cleared["metadata"], "finalizers": []}})
    await arena.port.delete(key)
