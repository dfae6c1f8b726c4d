"""The REST API: `/v1`, described by itself in `/v1/openapi.json`.

Handlers translate and nothing more: a request becomes a call of a service with the caller's Actor, the answer becomes a
schema. What the API promises beyond that is one form for every error, and streams that end with their reader.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI

from hub.api import (
    clusters,
    costs,
    crons,
    datasets,
    distributions,
    endpoints,
    failures,
    happenings,
    huggingface,
    jobs,
    kinds,
    logs,
    models,
    overrides,
    people,
    probes,
    queues,
    rebalancing,
    tenants,
    tunnels,
    usage,
    watching,
)
from hub.api.journal import Journal
from hub.api.limits import BodyLimit
from hub.api.schemas import API_PREFIX, ErrorBody
from hub.api.services import Services

_TAGS = [
    {"name": "jobs", "description": "Submit any native manifest, follow what becomes of it."},
    {"name": "watching", "description": "Logs and events as they happen."},
    {"name": "clusters", "description": "Member clusters, and how they join."},
    {"name": "users", "description": "Who may call, in which tenant and role."},
    {"name": "distributions", "description": "Objects that configure whole clusters, and how they stand there."},
    {"name": "queues", "description": "Where jobs wait: quota, shares and budgets."},
    {"name": "datasets", "description": "Where named data lies, and where it may go."},
    {"name": "models", "description": "Models in and out, by version, alias and variant."},
    {"name": "prices", "description": "What a GPU-hour costs where."},
    {"name": "costs", "description": "What attempts did cost."},
    {"name": "health", "description": "For supervisors; no token needed."},
]


def create_api(services: Services) -> FastAPI:
    app = FastAPI(
        title="Muster",
        version=probes.VERSION,
        description="One control plane for the GPUs of many clusters.",
        openapi_url=f"{API_PREFIX}/openapi.json",
        docs_url=f"{API_PREFIX}/docs",
        redoc_url=None,
        openapi_tags=_TAGS,
        redirect_slashes=False,
    )
    app.state.services = services
    failures.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(Journal)
    root = APIRouter(prefix=API_PREFIX, responses={"default": {"model": ErrorBody, "description": "Any refusal."}})
    parts = (
        jobs,
        crons,
        logs,
        happenings,
        endpoints,
        watching,
        clusters,
        people,
        kinds,
        distributions,
        overrides,
        tenants,
        queues,
        datasets,
        models,
        costs,
        rebalancing,
        tunnels,
        usage,
        probes,
    )
    for part in parts:
        root.include_router(part.router)
    app.include_router(root)
    app.include_router(probes.root)
    app.include_router(huggingface.root)  # last: names of models are its paths
    app.openapi = partial(_described, app, app.openapi)  # type: ignore[method-assign]  # FastAPI's way to extend it
    return app


def _described(app: FastAPI, generate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Errors are JSON also where the answer is a stream; FastAPI would describe them as one."""
    if app.openapi_schema is None:
        described = generate()
        refusal = {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorBody.__name__}"}}}
        for operations in described["paths"].values():
            for operation in operations.values():
                operation["responses"]["default"]["content"] = refusal
    return generate()
