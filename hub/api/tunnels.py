"""Into a job's pods by WebSocket: a command, or a connection to a port. And who did it.

Each message is binary, its first byte the channel, as Kubernetes' `v5.channel.k8s.io` has it: 0 standard input (or what
goes to the port), 1 standard output (what comes from it), 2 standard error, 3 from the hub, once and last: how it
ended, `{"exit_code": 3}` or `{"error": {…}}` as everywhere in this API; 4 to the hub: `{"Width": 80, "Height": 24}`,
the terminal's new size; 255 and a channel's number: nothing more of that channel. What is refused before the connection
stands is an answer of HTTP with the error in it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Annotated, Any

from fastapi import APIRouter, Query, WebSocket
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from hub.api import failures, standing
from hub.api.door import Caller, Served, caller_of_socket
from hub.api.schemas import AccessOut, AuditOut, ErrorBody, ErrorOut
from hub.api.services import OpenTunnel, Services
from hub.errors import ConflictError, HubError, Invalid
from wire.tunnels import STDIN, Closed, Piece, Port, Process

log = logging.getLogger("muster.hub.api")
router = APIRouter(tags=["watching"])

ENDED, SIZE, LAST = 3, 4, 255
PIECE_BYTES = 64 * 1024  # of one message of a client


class Target(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: str = ""
    rank: int | None = Field(default=None, ge=0, le=2**31)
    container: str = ""


class ExecQuery(Target):
    command: list[str] = Field(min_length=1, max_length=1000)
    tty: bool = False
    stdin: bool = False
    columns: int = Field(default=0, ge=0, le=65_535)
    rows: int = Field(default=0, ge=0, le=65_535)


class ForwardQuery(Target):
    port: int = Field(ge=1, le=65_535)
    service: str = ""


@router.websocket("/jobs/{ref}/exec")
async def execute(socket: WebSocket, ref: str) -> None:
    await _serve(socket, ref, ExecQuery)


@router.websocket("/jobs/{ref}/port-forward")
async def port_forward(socket: WebSocket, ref: str) -> None:
    await _serve(socket, ref, ForwardQuery)


@router.get("/audit")
async def audit(
    served: Served,
    actor: Caller,
    before: Annotated[int | None, Query(ge=1, description="Those before this `seq`.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> AuditOut:
    """Who reached into the pods of the tenant's jobs, the newest first."""
    found = await served.tunnels.audit(actor, before=before, limit=limit)
    names = AccessOut.model_fields
    return AuditOut(accesses=[AccessOut(**{name: getattr(one, name) for name in names}) for one in found])


async def _serve(socket: WebSocket, ref: str, query: type[ExecQuery] | type[ForwardQuery]) -> None:
    served: Services = socket.app.state.services
    try:
        actor = await caller_of_socket(socket, served)
        asked = _asked(socket, query)
        async with served.tunnels.open(
            actor, ref, _to(asked), role=asked.role, rank=asked.rank, container=asked.container
        ) as tunnel:
            await socket.accept(headers=[(b"muster-pod", tunnel.pod.encode())])
            await _carry(socket, tunnel, served)
    except Exception as error:
        await _refuse(socket, error)


def _asked(socket: WebSocket, query: type[ExecQuery] | type[ForwardQuery]) -> ExecQuery | ForwardQuery:
    """Raises Invalid."""
    given: dict[str, Any] = dict(socket.query_params.items())
    if "command" in given:
        given["command"] = socket.query_params.getlist("command")
    try:
        return query.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"{where}: {first['msg']}", code="bad-query", mend="see docs/operating.md") from error


def _to(asked: ExecQuery | ForwardQuery) -> Process | Port:
    if isinstance(asked, ForwardQuery):
        return Port(asked.port, asked.service)
    return Process(tuple(asked.command), asked.tty, asked.stdin, asked.columns, asked.rows)


async def _carry(socket: WebSocket, tunnel: OpenTunnel, served: Services) -> None:
    """Until either end closes, the hub stops, or the caller is not who they were."""
    down = asyncio.ensure_future(_to_client(socket, tunnel))
    up = asyncio.ensure_future(_from_client(socket, tunnel))
    may_not = asyncio.ensure_future(standing.lost(served, socket))
    closing = asyncio.ensure_future(served.closing.wait())
    tasks: list[asyncio.Future[Any]] = [down, up, may_not, closing]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if down.done() and down.exception() is None:
            last = _last(tunnel.closed or Closed())
        elif may_not.done():
            last = ErrorBody(error=failures.describe(may_not.result())).model_dump_json()
        elif closing.done():
            gone = ConflictError("the hub stops", code="hub-stops", mend="begin again in a few seconds")
            last = ErrorBody(error=failures.describe(gone)).model_dump_json()
        else:
            return  # the client has gone
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    try:
        await socket.send_bytes(bytes([ENDED]) + last.encode())
        await socket.close(1000)
    except (WebSocketDisconnect, RuntimeError):  # it has gone meanwhile
        return


async def _to_client(socket: WebSocket, tunnel: OpenTunnel) -> None:
    while (piece := await tunnel.read()) is not None:
        if isinstance(piece, Piece):
            if piece.data:
                await socket.send_bytes(bytes([piece.channel]) + piece.data)
            if piece.end:
                await socket.send_bytes(bytes([LAST, piece.channel]))


async def _from_client(socket: WebSocket, tunnel: OpenTunnel) -> None:
    while True:
        try:
            message = await socket.receive_bytes()
        except (WebSocketDisconnect, KeyError, RuntimeError):  # gone, or not binary
            return
        match message[:1], message[1:]:
            case (b"\x00", data):
                await tunnel.write(STDIN, data)
            case (b"\xff", b"\x00"):
                await tunnel.write(STDIN, b"", end=True)
            case (b"\x04", size):
                if (read := _size(size)) is not None:
                    await tunnel.resize(*read)


def _size(text: bytes) -> tuple[int, int] | None:
    try:
        size = json.loads(text)
        columns, rows = int(size["Width"]), int(size["Height"])
    except (ValueError, TypeError, KeyError):
        return None
    return (columns, rows) if 0 < columns < 65_536 and 0 < rows < 65_536 else None


def _last(closed: Closed) -> str:
    if closed.code:
        error = ErrorOut(code=closed.code, message=closed.message, mend="", problems=[])
        return ErrorBody(error=error).model_dump_json()
    return json.dumps({"exit_code": closed.exit_code if closed.exit_code is not None else 0})


async def _refuse(socket: WebSocket, error: Exception) -> None:
    if socket.client_state is WebSocketState.DISCONNECTED or socket.application_state is not WebSocketState.CONNECTING:
        log.info("a tunnel ended: %s", error)
        return
    described = failures.describe(error)
    await socket.send_denial_response(failures.answer(_status(error, described), described))


def _status(error: Exception, described: ErrorOut) -> int:
    if isinstance(error, HubError):
        return error.http_status
    return 503 if described.code == "not-ready" else 500
