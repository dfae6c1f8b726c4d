"""A process in a pod, or a connection to a port of it, over an API server's WebSockets.

Exec speaks `v5.channel.k8s.io` (the first byte of each message is its channel: 0 to 2 standard streams, 3 how it ended,
4 the terminal's size, 255 the end of another one) or the version before it, which cannot end its input. Port-forward
speaks `v4.channel.k8s.io`: a channel for data and one for errors, each of which begins with the port's number. It has
no half-closed connections: that the reader here sends no more is not told to the pod.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import orjson

from spoke.cluster.port import Object, PodStream, Refused, Unavailable
from spoke.cluster.rest import Rest
from wire.tunnels import STDERR, STDOUT, Process

_V5, _V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _STATUS, _RESIZE, _END = 0, 1, 2, 3, 4, 255
_PIECE = 32 * 1024


async def execute(rest: Rest, pod: Object, container: str, process: Process) -> PodStream:
    """Raises NotFound, Refused, Unavailable."""
    given: list[tuple[str, str]] = [("container", container), *(("command", word) for word in process.command)]
    given += [("stdout", "true"), ("tty", str(process.tty).lower()), ("stdin", str(process.stdin).lower())]
    if not process.tty:  # a terminal has one output
        given.append(("stderr", "true"))
    socket = await rest.websocket(f"{_path(pod)}/exec?{urlencode(given)}", (_V5, _V4))
    stream = _Process(socket)
    if process.tty and process.columns and process.rows:
        await stream.resize(process.columns, process.rows)
    return stream


async def forward(rest: Rest, pod: Object, port: int) -> PodStream:
    """Raises NotFound, Refused, Unavailable. That nobody listens is told by `read`."""
    socket = await rest.websocket(f"{_path(pod)}/portforward?ports={port}", (_V4,))
    return _Connection(socket, port)


def _path(pod: Object) -> str:
    metadata = pod["metadata"]
    return f"/api/v1/namespaces/{quote(metadata['namespace'], safe='')}/pods/{quote(metadata['name'], safe='')}"


class _Socket:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def close(self) -> None:
        await self._socket.close()

    async def _send(self, channel: int, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            await self._send_one(bytes([channel]) + data[start : start + _PIECE])

    async def _send_one(self, message: bytes) -> None:
        try:
            await self._socket.send_bytes(message)
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"the connection to the pod broke: {error}") from error

    async def _receive(self) -> tuple[int, bytes] | None:
        """None where the connection has ended."""
        while True:
            try:
                message = await self._socket.receive()
            except (aiohttp.ClientError, OSError) as error:
                raise Unavailable(f"the connection to the pod broke: {error}") from error
            if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED):
                return None
            if message.type is aiohttp.WSMsgType.ERROR:
                raise Unavailable(f"the connection to the pod broke: {self._socket.exception()}")
            data = message.data.encode() if isinstance(message.data, str) else message.data
            if isinstance(data, bytes) and len(data) > 1:  # an empty one says that the channel is there
                return data[0], data[1:]


class _Process(_Socket):
    exit_code: int | None = None

    async def write(self, data: bytes) -> None:
        await self._send(_STDIN, data)

    async def write_end(self) -> None:
        if self._socket.protocol == _V5:
            await self._send_one(bytes([_END, _STDIN]))

    async def resize(self, columns: int, rows: int) -> None:
        await self._send_one(bytes([_RESIZE]) + orjson.dumps({"Width": columns, "Height": rows}))

    async def read(self) -> tuple[int, bytes] | None:
        while (received := await self._receive()) is not None:
            channel, data = received
            match channel:
                case 1:
                    return STDOUT, data
                case 2:
                    return STDERR, data
                case 3:
                    self.exit_code = _exit_code(data)
        if self.exit_code is None:
            raise Unavailable("the connection to the pod ended before its process")
        return None


class _Connection(_Socket):
    exit_code: int | None = None

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, port: int) -> None:
        super().__init__(socket)
        self._number = struct.pack("<H", port)
        self._greeted = {0: b"", 1: b""}  # of each channel what came of the port's number
        self._error = b""

    async def write(self, data: bytes) -> None:
        await self._send(0, data)

    async def write_end(self) -> None:
        """This protocol has no word for it."""

    async def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""

    async def read(self) -> tuple[int, bytes] | None:
        while (received := await self._receive()) is not None:
            channel, data = received
            greeted = self._greeted.get(channel)
            if greeted is None:
                continue
            if len(greeted) < 2:
                missing = 2 - len(greeted)
                self._greeted[channel] = greeted + data[:missing]
                data = data[missing:]
            if channel == 1 and data:
                raise Refused(_sentence(data))
            if channel == 0 and data:
                return STDOUT, data
        return None


def _exit_code(data: bytes) -> int:
    """Of the Status that an API server sends last. Raises Refused where the process did not even begin."""
    try:
        status: Any = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Unavailable(f"how the process ended cannot be read: {data[:100]!r}") from error
    if status.get("status") == "Success":
        return 0
    causes: Sequence[Any] = (status.get("details") or {}).get("causes") or ()
    for cause in causes:
        if cause.get("reason") == "ExitCode" and str(cause.get("message", "")).lstrip("-").isdigit():
            return int(cause["message"])
    raise Refused(str(status.get("message") or "the process could not be started"))


def _sentence(data: bytes) -> str:
    text = data.decode(errors="replace").strip()
    return f"the port cannot be reached: {text}"
