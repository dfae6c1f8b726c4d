"""Where a job can be reached, in all clusters that it is in."""

from __future__ import annotations

from fastapi import APIRouter

from hub.api.door import Caller, Served
from hub.api.schemas import EndpointOut, EndpointsOut

router = APIRouter(tags=["jobs"])


@router.get("/jobs/{ref}/endpoints")
async def endpoints(ref: str, served: Served, actor: Caller) -> EndpointsOut:
    """Its Services and Ingresses, and the address that its own object tells; of a divided work those of all parts."""
    found = await served.endpoints.of(actor, ref)
    return EndpointsOut(
        endpoints=[
            EndpointOut(
                cluster=one.cluster,
                region=one.region,
                job=one.job,
                kind=one.kind,
                name=one.name,
                namespace=one.namespace,
                type=one.type,
                addresses=list(one.addresses),
                ports=list(one.ports),
            )
            for one in found.endpoints
        ],
        notes=list(found.notes),
    )
