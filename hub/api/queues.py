"""Where jobs wait: /v1/queues, and /v1/apply for what is declared in files."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from hub.api import datasets, declared, manifests, override_schemas, present, pricebook, tenants
from hub.api.door import Caller, Served
from hub.api.override_schemas import OverrideSpec
from hub.api.schemas import AppliedOut, DatasetSpec, PriceBookDoc, QueueIn, QueueListOut, QueueOut, QueueSpec
from hub.api.tenant_schemas import TenantSpec
from hub.errors import Invalid
from placement.kinds.problems import ManifestError
from placement.queues.tree import Budget, Preemption, Queue, Quota, Reach

router = APIRouter()

Force = Annotated[
    bool,
    Query(description="Also where quota falls below use, data lies where nobody knows, a namespace is another's."),
]


@router.get("/queues", tags=["queues"])
async def list_queues(served: Served, actor: Caller) -> QueueListOut:
    return QueueListOut(queues=[present.queue(one) for one in await served.queues.list(actor)])


@router.post("/queues", tags=["queues"], status_code=201)
async def create_queue(body: QueueIn, served: Served, actor: Caller) -> QueueOut:
    return present.queue(await served.queues.create(actor, _queue(body.name, body)))


@router.get("/queues/{name}", tags=["queues"])
async def show_queue(name: str, served: Served, actor: Caller) -> QueueOut:
    return present.queue(await served.queues.show(actor, name))


@router.put("/queues/{name}", tags=["queues"])
async def replace_queue(name: str, body: QueueSpec, served: Served, actor: Caller, force: Force = False) -> QueueOut:
    """The whole queue as given; it must exist."""
    await served.queues.show(actor, name)
    changed = await served.queues.put(actor, [_queue(name, body)], force=force)
    return present.queue(changed[0])


@router.delete("/queues/{name}", tags=["queues"], status_code=204)
async def delete_queue(name: str, served: Served, actor: Caller) -> None:
    await served.queues.delete(actor, name)


@router.post("/apply", tags=["queues"], openapi_extra=manifests.BODY)
async def apply(request: Request, served: Served, actor: Caller, force: Force = False) -> AppliedOut:
    """Makes what the documents declare, or changes it to that; all of them or none."""
    try:
        found = declared.parse(await manifests.read_one(request))
    except ManifestError as error:
        raise Invalid(
            f"this cannot be applied: {error}",
            code="invalid-declaration",
            mend="mend what is named; nothing was changed",
            problems=error.problems,
        ) from error
    queues = [_queue(one.name, one.spec) for one in found if isinstance(one.spec, QueueSpec)]
    books = [pricebook.read(one.spec) for one in found if isinstance(one.spec, PriceBookDoc)]
    data = [datasets.of_spec(one.name, one.spec, actor) for one in found if isinstance(one.spec, DatasetSpec)]
    changes = [override_schemas.of_spec(one.name, one.spec) for one in found if isinstance(one.spec, OverrideSpec)]
    people = [tenants.of_spec(one.name, one.spec) for one in found if isinstance(one.spec, TenantSpec)]
    warnings: list[str] = []
    if people:
        await served.tenants.check(actor, people, force=force)
    if changes:
        warnings += served.overrides.check(actor, changes)
    for book in books:
        warnings += await served.prices.check(actor, book)  # so that nothing is changed where this is refused
    regions = frozenset(region for book in books for region in book.regions)
    served.datasets.check(actor, data, force=force, regions=regions)
    if queues:
        await served.queues.put(actor, queues, force=force)
    if people:
        await served.tenants.put(actor, people, force=force)
    if data:
        # Before the book: without its routes, a region that is known now may be unknown.
        await served.datasets.put(actor, data, force=force, regions=regions)
    if changes:
        await served.overrides.put(actor, changes)
    for book in books:
        await served.prices.replace(actor, book)
    return AppliedOut(applied=[(one.kind, one.name) for one in found], warnings=warnings)


def _queue(name: str, spec: QueueSpec) -> Queue:
    quotas = {
        device: Quota(quota.nominal, quota.borrowing_limit, quota.lending_limit)
        for device, quota in spec.quotas.items()
    }
    preemption = Preemption(**{field: Reach(word) for field, word in spec.preemption.model_dump().items()})
    budget = Budget(**spec.budget.model_dump())
    return Queue(name, spec.cohort, quotas, spec.weight, budget, spec.burst_after_hours, preemption)
