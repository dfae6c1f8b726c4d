"""Kinds of workloads that admins added: /v1/kinds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from hub.api.door import Caller, Served
from hub.api.schemas import Name
from hub.api.services import KnownKind

router = APIRouter(tags=["jobs"])


class KindFileIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(description="The kind file, YAML: see docs/kinds.md.", max_length=1 << 20)]


class KindFileOut(BaseModel):
    name: str
    kinds: list[str] = Field(description="What it is for: example.com/v1/Sweep.")
    text: str
    added_by: str
    added_at: datetime


class KindFileListOut(BaseModel):
    kinds: list[KindFileOut]


@router.get("/kinds")
async def list_kinds(served: Served, actor: Caller) -> KindFileListOut:
    return KindFileListOut(kinds=[shown(one) for one in await served.kinds.list(actor)])


@router.get("/kinds/{name}")
async def show_kind(name: str, served: Served, actor: Caller) -> KindFileOut:
    return shown(await served.kinds.show(actor, name))


@router.put("/kinds/{name}")
async def add_kind(name: Name, body: KindFileIn, served: Served, actor: Caller) -> KindFileOut:
    """Checked before it is taken; in the place of one of that name. Admins only."""
    return shown(await served.kinds.add(actor, name, body.text))


@router.delete("/kinds/{name}", status_code=204)
async def remove_kind(name: str, served: Served, actor: Caller) -> None:
    """Refused while jobs of it live. Admins only."""
    await served.kinds.remove(actor, name)


def shown(one: KnownKind) -> KindFileOut:
    record = one.record
    return KindFileOut(
        name=record.name,
        kinds=list(one.kinds),
        text=record.text,
        added_by=record.added_by,
        added_at=record.added_at,
    )
