"""Objects that configure whole clusters: /v1/distributions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from hub.api import manifests
from hub.api.door import Caller, Served
from hub.api.schemas import Name, Namespace, Wire
from hub.api.services import KnownDistribution
from placement.distribution.states import State

router = APIRouter(tags=["distributions"])

To = Annotated[
    str,
    Query(
        max_length=2000,
        description="Which clusters: labels as in kubectl -l, `name` and `region` among them; * is every cluster.",
    ),
]
Adopt = Annotated[bool, Query(description="Also take over what exists there and is not Muster's.")]
For = Annotated[Namespace | None, Query(description="For objects that are of a namespace and name none.")]
Dry = Annotated[bool, Query(description="Only say what would be distributed, and to which clusters.")]


class DistributedObjectOut(Wire):
    api_version: str
    kind: str
    namespace: str = Field(description="Empty where it is of the whole cluster.")
    name: str
    state: State
    reason: str


class DistributionClusterOut(Wire):
    cluster: str
    state: State
    reason: str
    objects: list[DistributedObjectOut]


class DistributionOut(Wire):
    name: str
    to: str
    revision: int = Field(description="Grows with each change of the file; 0: a dry run.")
    objects: list[str] = Field(description="What it holds: StorageClass fast, ConfigMap gpu/mig.")
    adopt: bool
    deleting: bool
    changed_by: str
    changed_at: datetime
    clusters: list[DistributionClusterOut] = Field(
        description="Those that are to have it, and those that still have it."
    )


class DistributionListOut(Wire):
    distributions: list[DistributionOut]


@router.get("/distributions")
async def list_distributions(served: Served, actor: Caller) -> DistributionListOut:
    """Admins only, as all of this."""
    return DistributionListOut(distributions=[shown(one) for one in await served.distributions.list(actor)])


@router.get("/distributions/{name}")
async def show_distribution(name: str, served: Served, actor: Caller) -> DistributionOut:
    return shown(await served.distributions.show(actor, name))


@router.put("/distributions/{name}", openapi_extra=manifests.BODY)
async def distribute(
    name: Name,
    request: Request,
    served: Served,
    actor: Caller,
    to: To,
    namespace: For = None,
    adopt: Adopt = False,
    dry: Dry = False,
) -> DistributionOut:
    """Gives the objects to every cluster that is selected, now or later; in the place of the one of that name."""
    text = await manifests.read_one(request)
    made = await served.distributions.put(actor, name, text, to=to, namespace=namespace or "", adopt=adopt, dry=dry)
    return shown(made)


@router.delete("/distributions/{name}", responses={204: {"description": "Nothing of it is left."}})
async def delete_distribution(name: str, served: Served, actor: Caller, response: Response) -> DistributionOut | None:
    """Removes what was distributed from every cluster. Answers what is still to be removed, or 204."""
    left = await served.distributions.delete(actor, name)
    if left is None:
        response.status_code = 204
        return None
    return shown(left)


def shown(one: KnownDistribution) -> DistributionOut:
    record = one.record
    clusters = [
        DistributionClusterOut(
            cluster=cluster,
            state=found.state,
            reason=found.reason,
            objects=[
                DistributedObjectOut(
                    api_version=each.key.api_version,
                    kind=each.key.kind,
                    namespace=each.key.namespace,
                    name=each.key.name,
                    state=each.state,
                    reason=each.reason,
                )
                for each in found.objects
            ],
        )
        for cluster, found in sorted(one.clusters.items())
    ]
    return DistributionOut(
        name=record.name,
        to=record.selector,
        revision=record.revision,
        objects=[str(key) for key in record.keys],
        adopt=record.adopt,
        deleting=record.deleting,
        changed_by=record.changed_by,
        changed_at=record.changed_at,
        clusters=clusters,
    )
