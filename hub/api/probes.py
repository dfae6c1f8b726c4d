"""Whether the hub lives, and whether it can serve: for supervisors, without a token.

/livez and /readyz are where Kubernetes' own servers have theirs; under /v1 they are part of the described API.
"""

from __future__ import annotations

import logging
from importlib.metadata import version

from fastapi import APIRouter
from starlette.exceptions import HTTPException

from hub.api.door import Served
from hub.api.schemas import HealthOut
from hub.api.services import NotReady

router = APIRouter(tags=["health"])
root = APIRouter(include_in_schema=False)
log = logging.getLogger("muster.hub.api")

VERSION = version("muster")


@root.get("/livez")
@router.get("/healthz")
async def healthz() -> HealthOut:
    return HealthOut(status="ok", version=VERSION)


@root.get("/readyz")
@router.get("/readyz")
async def readyz(served: Served) -> HealthOut:
    if served.closing.is_set():
        raise HTTPException(503, "the hub is stopping")
    try:
        await served.check_ready()
    except NotReady as error:
        raise HTTPException(503, str(error)) from error
    except Exception as error:
        log.warning("not ready: %s", error)
        raise HTTPException(503, "the hub cannot reach its store") from error
    return HealthOut(status="ok", version=VERSION)
