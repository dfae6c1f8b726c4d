"""What is changed of workloads on single clusters: /v1/overrides. Declared by /v1/apply as well."""

from __future__ import annotations

from fastapi import APIRouter

from hub.api import override_schemas
from hub.api.door import Caller, Served
from hub.api.override_schemas import OverrideListOut, OverrideOut, OverrideSpec
from hub.api.schemas import Name
from hub.api.services import KnownOverride, OverridesPort

router = APIRouter(tags=["clusters"])


@router.get("/overrides")
async def list_overrides(served: Served, actor: Caller) -> OverrideListOut:
    found = await served.overrides.list(actor)
    return OverrideListOut(overrides=[shown(served.overrides, one) for one in found])


@router.get("/overrides/{name}")
async def show_override(name: str, served: Served, actor: Caller) -> OverrideOut:
    return shown(served.overrides, await served.overrides.show(actor, name))


@router.put("/overrides/{name}")
async def put_override(name: Name, body: OverrideSpec, served: Served, actor: Caller) -> OverrideOut:
    """The whole override as given. Jobs that have been placed keep what they were started with. Admins only."""
    await served.overrides.put(actor, [override_schemas.of_spec(name, body)])
    return shown(served.overrides, await served.overrides.show(actor, name))


@router.delete("/overrides/{name}", status_code=204)
async def delete_override(name: str, served: Served, actor: Caller) -> None:
    """Admins only."""
    await served.overrides.delete(actor, name)


def shown(book: OverridesPort, one: KnownOverride) -> OverrideOut:
    return OverrideOut(
        name=one.override.name,
        spec=override_schemas.spec_of(one.override),
        selects=list(book.selected(one.override)),
        changes=list(one.override.changes),
        changed_by=one.changed_by,
        changed_at=one.changed_at,
    )
