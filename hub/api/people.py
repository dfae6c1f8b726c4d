"""Who may call, and what a GPU-hour costs: /v1/users, /v1/whoami, /v1/prices."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from hub.api import present, pricebook
from hub.api.door import Caller, Served
from hub.api.schemas import PriceBookDoc, PricesSetOut, UserIn, UserListOut, UserTokenOut, WhoamiOut
from hub.errors import Invalid
from hub.records import UserRole
from placement.kinds.problems import ManifestError

router = APIRouter()

_BOOK: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            media: {"schema": {"$ref": "#/components/schemas/PriceBookDoc"}}
            for media in ("application/yaml", "application/json")
        },
    }
}


@router.get("/whoami", tags=["users"])
async def whoami(actor: Caller) -> WhoamiOut:
    return present.whoami(actor)


@router.get("/users", tags=["users"])
async def list_users(served: Served, actor: Caller) -> UserListOut:
    return UserListOut(users=[present.user(one) for one in await served.access.users(actor)])


@router.post("/users", tags=["users"], status_code=201)
async def add_user(body: UserIn, served: Served, actor: Caller) -> UserTokenOut:
    token = await served.access.add_user(actor, body.name, body.tenant, UserRole(body.role))
    return UserTokenOut(name=body.name, tenant=body.tenant, role=body.role, token=token)


@router.delete("/users/{name}", tags=["users"], status_code=204)
async def remove_user(name: str, served: Served, actor: Caller) -> None:
    await served.access.remove_user(actor, name)


@router.get("/prices", tags=["prices"])
async def show_prices(served: Served, actor: Caller) -> PriceBookDoc:
    return pricebook.render(await served.prices.book(actor))


@router.put("/prices", tags=["prices"], openapi_extra=_BOOK)
async def replace_prices(request: Request, served: Served, actor: Caller) -> PricesSetOut:
    """The whole book at once, or nothing of it where anything in it is wrong."""
    try:
        book = pricebook.parse(await request.body())
    except ManifestError as error:
        raise Invalid(
            f"this is no price book: {error}",
            code="invalid-prices",
            mend="mend what is named; nothing was changed",
            problems=error.problems,
        ) from error
    warnings = await served.prices.replace(actor, book)
    return PricesSetOut(**dict(pricebook.render(book)), warnings=list(warnings))
