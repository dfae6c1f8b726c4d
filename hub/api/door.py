"""Who is calling: the bearer token of a request becomes an Actor, or the request ends with 401."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, WebSocket
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from hub.api.services import Services
from hub.errors import Unauthenticated
from hub.records import Actor

_bearer = HTTPBearer(auto_error=False, description="A token of `muster user add`; shown once, stored hashed.")


def services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


Served = Annotated[Services, Depends(services)]


async def caller(
    request: Request, served: Served, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Actor:
    actor = await _actor(served, credentials)
    request.state.user = actor.user  # for the journal
    return actor


async def _actor(served: Services, credentials: HTTPAuthorizationCredentials | None) -> Actor:
    if credentials is None:
        raise Unauthenticated(
            "the request has no bearer token",
            code="no-token",
            mend="send the header Authorization: Bearer TOKEN (muster login)",
        )
    return await served.access.authenticate(credentials.credentials)


async def caller_of_socket(socket: WebSocket, served: Services) -> Actor:
    """As `caller`, for what is no request. Raises Unauthenticated."""
    scheme, _, token = socket.headers.get("authorization", "").partition(" ")
    credentials = HTTPAuthorizationCredentials(scheme=scheme, credentials=token.strip()) if token else None
    return await _actor(served, credentials if scheme.lower() == "bearer" else None)


Caller = Annotated[Actor, Depends(caller)]
