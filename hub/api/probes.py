"""Whether the hub lives, and whether it can serve: for supervisors, without a token."""

from __future__ import annotations

import logging
from importlib.metadata import version

from fastapi import APIRouter
from starlette.exceptions import HTTPException

from hub.api.door import Served
from hub.api.schemas import HealthOut

router = APIRouter(tags=["health"])
log = logging.getLogger("muster.hub.api")

VERSION = version("muster")


@router.get("/healthz")
async def healthz() -> HealthOut:
    return HealthOut(status="ok", version=VERSION)


@router.get("/readyz")
async def readyz(served: Served) -> HealthOut:
    if served.closing.is_set():
        raise HTTPException(503, "the hub is stopping")
    try:
        await served.check_ready()
    except Exception as error:
        log.warning("not ready: %s", error)
        raise HTTPException(503, "the hub cannot reach its store") from error
    return HealthOut(status="ok", version=VERSION)
