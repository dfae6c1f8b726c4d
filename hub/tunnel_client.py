"""The client's end of tunnels into a job's pods: the WebSockets of `hub.api.tunnels`, refusals as MusterClient's.

    with process(muster, "train", ["nvidia-smi"]) as remote:
        for channel, data in remote: ...
        remote.exit_code

A connection to a port is for programs with an event loop (`connection`); a command is for a terminal's threads. Neither
is taken up again where it breaks: what a process had written is not numbered.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from pydantic import ValidationError
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import connect as connect_sync

from hub.api import schemas
from hub.client import ApiError, HubNotReady, HubUnreachable, MusterClient

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection
    from websockets.sync.client import ClientConnection as SyncConnection

STDIN, STDOUT, STDERR = 0, 1, 2
_ENDED, _SIZE, _LAST = 3, 4, 255
_OPEN_S = 45.0  # the spoke, its API server and a kubelet answer in between
_PIECE = 32 * 1024


class Remote:
    """A command that runs in a pod. One thread reads it, others may write."""

    def __init__(self, socket: SyncConnection, url: str) -> None:
        self._socket = socket
        self._url = url
        self.exit_code: int | None = None
        response = socket.response
        self.pod = response.headers.get("muster-pod", "") if response is not None else ""

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Channels and what came there, until its end. Raises ApiError, HubUnreachable."""
        try:
            for message in self._socket:
                data = message if isinstance(message, bytes) else message.encode()
                if data[:1] == bytes([_ENDED]):
                    self.exit_code = _exit_code(data[1:], self._url)
                elif data and data[0] in (STDOUT, STDERR):
                    yield data[0], data[1:]
        except ConnectionClosed as error:
            raise HubUnreachable(self._url, f"the connection broke: {error}") from error
        if self.exit_code is None:
            raise HubUnreachable(self._url, "the connection ended before the command")

    def write(self, data: bytes) -> None:
        """Waits while the pod is slow. Without effect once it has ended."""
        for start in range(0, len(data), _PIECE):
            self._send(bytes([STDIN]) + data[start : start + _PIECE])

    def write_end(self) -> None:
        self._send(bytes([_LAST, STDIN]))

    def resize(self, columns: int, rows: int) -> None:
        self._send(bytes([_SIZE]) + json.dumps({"Width": columns, "Height": rows}).encode())

    def _send(self, message: bytes) -> None:
        try:
            self._socket.send(message)
        except ConnectionClosed:
            return  # its reader says why


@contextmanager
def process(
    muster: MusterClient,
    ref: str,
    command: Sequence[str],
    *,
    role: str = "",
    rank: int | None = None,
    container: str = "",
    tty: bool = False,
    stdin: bool = False,
    size: tuple[int, int] = (0, 0),
) -> Iterator[Remote]:
    """`size`: columns and rows of the terminal. Raises ApiError, HubUnreachable."""
    asked = [("command", word) for word in command]
    asked += [("tty", str(tty).lower()), ("stdin", str(stdin).lower())]
    asked += [("columns", str(size[0])), ("rows", str(size[1]))]
    url = _url(muster, ref, "exec", asked, role, rank, container)
    with _told(muster.url):
        socket = connect_sync(url, **_options(muster, url))
    try:
        yield Remote(socket, muster.url)
    finally:
        socket.close()


class Connection:
    """One connection to a port of a pod."""

    def __init__(self, socket: ClientConnection, url: str) -> None:
        self._socket = socket
        self._url = url
        response = socket.response
        self.pod = response.headers.get("muster-pod", "") if response is not None else ""

    async def read(self) -> bytes:
        """b"" at its end. Raises ApiError (nobody listens there), HubUnreachable."""
        while True:
            try:
                message = await self._socket.recv()
            except ConnectionClosed as error:
                raise HubUnreachable(self._url, f"the connection broke: {error}") from error
            data = message if isinstance(message, bytes) else message.encode()
            if data[:1] == bytes([STDOUT]):
                return data[1:]
            if data[:1] == bytes([_ENDED]):
                _exit_code(data[1:], self._url)
                return b""

    async def write(self, data: bytes) -> None:
        """Raises HubUnreachable."""
        try:
            for start in range(0, len(data), _PIECE):
                await self._socket.send(bytes([STDIN]) + data[start : start + _PIECE])
        except ConnectionClosed as error:
            raise HubUnreachable(self._url, f"the connection broke: {error}") from error

    async def write_end(self) -> None:
        try:
            await self._socket.send(bytes([_LAST, STDIN]))
        except ConnectionClosed:
            return


@asynccontextmanager
async def connection(
    muster: MusterClient,
    ref: str,
    port: int,
    *,
    service: str = "",
    role: str = "",
    rank: int | None = None,
    container: str = "",
) -> AsyncIterator[Connection]:
    """Raises ApiError, HubUnreachable."""
    asked = [("port", str(port)), *([("service", service)] if service else [])]
    url = _url(muster, ref, "port-forward", asked, role, rank, container)
    with _told(muster.url):
        socket = await connect_async(url, **_options(muster, url))
    try:
        yield Connection(socket, muster.url)
    finally:
        await socket.close()


def _url(
    muster: MusterClient, ref: str, verb: str, asked: list[tuple[str, str]], role: str, rank: int | None, container: str
) -> str:
    target = [("role", role), ("rank", "" if rank is None else str(rank)), ("container", container)]
    query = urlencode([*asked, *((name, value) for name, value in target if value)])
    base = "ws" + muster.url.removeprefix("http")
    return f"{base}{schemas.API_PREFIX}/jobs/{quote(ref, safe='')}/{verb}?{query}"


def _options(muster: MusterClient, url: str) -> dict[str, Any]:
    """Of both kinds of sockets."""
    return {
        "ssl": muster.tls if url.startswith("wss") else None,
        "additional_headers": muster.headers,
        "open_timeout": _OPEN_S,
        "ping_timeout": 60,
        "compression": None,
        "max_size": 1 << 20,
    }


@contextmanager
def _told(url: str) -> Iterator[None]:
    """What the handshake raises, as MusterClient says it."""
    try:
        yield
    except InvalidStatus as error:
        raise _refusal(url, error.response.status_code, bytes(error.response.body or b"")) from error
    except (OSError, InvalidHandshake, TimeoutError, EOFError) as error:
        raise HubUnreachable(url, str(error) or type(error).__name__) from error


def _refusal(url: str, status: int, body: bytes) -> ApiError | HubUnreachable:
    try:
        told = schemas.ErrorBody.model_validate_json(body, extra="ignore")
    except ValidationError:
        words = f"HTTP {status} that is not the hub's; is it older than this client, or a proxy in between?"
        return HubUnreachable(url, words)
    if told.error.code == schemas.NOT_LEADING:
        return HubNotReady(url, told.error.message)
    return ApiError(status, told.error)


def _exit_code(text: bytes, url: str) -> int:
    """Raises ApiError, HubUnreachable."""
    try:
        last: Any = json.loads(text)
        if "error" in last:
            raise ApiError(409, schemas.ErrorBody.model_validate(last, extra="ignore").error)
        return int(last["exit_code"])
    except (ValueError, TypeError, KeyError) as error:
        raise HubUnreachable(url, f"how it ended cannot be read: {text[:100]!r}") from error
