"""Where named data lies: /v1/datasets."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from hub.api import present
from hub.api.door import Caller, Served
from hub.api.schemas import DatasetIn, DatasetListOut, DatasetOut, DatasetSpec
from hub.records import Actor, UserRole
from placement.data import Dataset, Replica

router = APIRouter()

Force = Annotated[bool, Query(description="Also where it names a cluster or region that is not known.")]
Tenant = Annotated[
    str | None, Query(description="Whose; \"\": everybody's. Without it: the caller's, then everybody's.")
]
Forget = Annotated[bool, Query(description="What was copied counts no more: the next job copies it anew.")]
Learned = Annotated[bool, Query(description="Also what was read off clusters.")]


@router.get("/datasets", tags=["datasets"])
async def list_datasets(served: Served, actor: Caller, learned: Learned = False) -> DatasetListOut:
    return DatasetListOut(datasets=[present.dataset(one) for one in await served.datasets.list(actor, learned=learned)])


@router.post("/datasets", tags=["datasets"], status_code=201)
async def create_dataset(body: DatasetIn, served: Served, actor: Caller, force: Force = False) -> DatasetOut:
    return present.dataset(await served.datasets.create(actor, of_spec(body.name, body, actor), force=force))


@router.get("/datasets/{name:path}", tags=["datasets"])
async def show_dataset(name: str, served: Served, actor: Caller, tenant: Tenant = None) -> DatasetOut:
    return present.dataset(await served.datasets.show(actor, name, tenant=tenant))


@router.put("/datasets/{name:path}", tags=["datasets"])
async def replace_dataset(
    name: str, body: DatasetSpec, served: Served, actor: Caller, force: Force = False, forget_copies: Forget = False
) -> DatasetOut:
    """The whole dataset as given; it must exist. What was copied stays known where its size is the same."""
    changed = of_spec(name, body, actor)
    await served.datasets.show(actor, name, tenant=changed.tenant)
    return present.dataset((await served.datasets.put(actor, [changed], force=force, forget_copies=forget_copies))[0])


@router.delete("/datasets/{name:path}", tags=["datasets"], status_code=204)
async def delete_dataset(name: str, served: Served, actor: Caller, tenant: Tenant = None) -> None:
    """What was copied stays where it is."""
    await served.datasets.delete(actor, name, tenant=tenant)


def of_spec(name: str, spec: DatasetSpec, actor: Actor) -> Dataset:
    tenant = spec.tenant
    if tenant is None:
        tenant = "" if actor.role is UserRole.ADMIN else actor.tenant
    replicas = tuple(Replica(one.region, one.cluster, one.uri) for one in spec.replicas)
    return Dataset(name, spec.size, replicas, tuple(spec.residency), tenant, secret=spec.secret)
