"""Whose namespaces are whose, and what a tenant may submit: /v1/tenants."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from hub.api.door import Caller, Served
from hub.api.schemas import Name
from hub.api.tenant_schemas import TenantListOut, TenantOut, TenantSpec
from placement.safety.tenants import Tenant

router = APIRouter(tags=["users"])

Force = Annotated[bool, Query(description="Also where another tenant has the namespace.")]


@router.get("/tenants")
async def list_tenants(served: Served, actor: Caller) -> TenantListOut:
    """All of them for admins, one's own for others."""
    return TenantListOut(tenants=[shown(one) for one in await served.tenants.list(actor)])


@router.get("/tenants/{name}")
async def show_tenant(name: str, served: Served, actor: Caller) -> TenantOut:
    return shown(await served.tenants.show(actor, name))


@router.put("/tenants/{name}")
async def set_tenant(name: Name, body: TenantSpec, served: Served, actor: Caller, force: Force = False) -> TenantOut:
    """The whole tenant as given."""
    return shown((await served.tenants.put(actor, [of_spec(name, body)], force=force))[0])


@router.delete("/tenants/{name}", status_code=204)
async def delete_tenant(name: str, served: Served, actor: Caller) -> None:
    """What was said of it is forgotten; its users and jobs stay."""
    await served.tenants.delete(actor, name)


def of_spec(name: str, spec: TenantSpec) -> Tenant:
    namespaces = (name,) if spec.namespaces is None else spec.namespaces
    return Tenant(name, namespaces, spec.level, spec.kinds, spec.exemptions, spec.queues)


def shown(one: Tenant) -> TenantOut:
    return TenantOut(
        name=one.name,
        namespaces=one.namespaces,
        home=one.home,
        level=one.level,
        kinds=one.kinds,
        exemptions=one.exemptions,
        queues=one.queues,
        described=one.described,
    )
