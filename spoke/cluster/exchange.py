"""Short requests and short answers over HTTP/1.1, on connections that are kept: what a binding is, thousands of times.

A general client spends several times more on such a request than the socket does, on the CPU that the API server may
share with us. This one knows one server, one path to it (no proxy), and answers of moderate length; whatever else is
asked of an API server (lists, watches, logs) goes through aiohttp, see `rest`.

A connection that breaks under a request is an OSError: the server may have done what it was asked, and who asked knows
whether to ask again. Idle connections that the server closes are dropped silently.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

_HEAD_END = b"\r\n\r\n"
_LONGEST_HEAD = 1 << 16  # bytes
_LONGEST = 1 << 25  # of a whole answer; an API server keeps no object of more than a few MiB
_CONNECT_S = 10.0


class BadAnswer(OSError):
    """It is not HTTP, or too long: the connection is given up."""


class Exchange:
    """Requests to one server. As many connections are open as there were requests at once."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, server_name: str = "") -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._server_name = server_name or host
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    async def ask(self, head: bytes, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Status and body. `head`: the request line and headers, without the body's length and without an empty line.

        Raises OSError, TimeoutError among them.
        """
        connection = self._idle.pop() if self._idle else await self._connect()
        try:
            request = b"%b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
            status, answer = await connection.ask(request, timeout_s)
        except BaseException:
            connection.close()  # also when the caller is cancelled: the answer would be the next one's
            raise
        if connection.is_open:
            self._idle.append(connection)
        return status, answer

    def close(self) -> None:
        for connection in list(self._open):
            connection.close()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            _, connection = await loop.create_connection(
                lambda: _Connection(loop, self._lost),
                self._host,
                self._port,
                ssl=self._tls,
                server_hostname=self._server_name if self._tls else None,
            )
        self._open.add(connection)
        return connection

    def _lost(self, connection: _Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


class _Connection(asyncio.Protocol):
    """One request at a time. `lost` is called once it is of no use any more."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lost: Callable[[_Connection], None]) -> None:
        self._loop = loop
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._asked: asyncio.Future[tuple[int, bytes]] | None = None
        self._got = b""

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, timeout_s: float) -> tuple[int, bytes]:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the server closed the connection")
        self._got = b""
        self._asked = self._loop.create_future()
        expiry = self._loop.call_later(timeout_s, self._fail, TimeoutError(f"no answer for {timeout_s:g} s"))
        try:
            self._transport.write(request)
            return await self._asked
        finally:
            expiry.cancel()
            self._asked = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._lost(self)

    # ---- what the event loop calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not of that class

    def data_received(self, data: bytes) -> None:
        if self._asked is None:
            self.close()  # nobody asked: what it says is nobody's answer
            return
        self._got += data
        try:
            found = _answer(self._got)
        except (ValueError, BadAnswer) as error:
            self._fail(BadAnswer(f"not an answer: {error}"))
            return
        if found is not None and not self._asked.done():
            status, body, is_last = found
            self._asked.set_result((status, body))
            if is_last:
                self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or ConnectionResetError("the server closed the connection"))
        self._lost(self)

    def _fail(self, error: Exception) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(error)


def _answer(got: bytes) -> tuple[int, bytes, bool] | None:
    """Status, body, and whether the server closes the connection after it; None where more is to come."""
    if not b"HTTP/1.".startswith(got[:7]):
        raise BadAnswer(f"it begins with {got[:20]!r}")
    end = got.find(_HEAD_END, 0, _LONGEST_HEAD)
    if len(got) > (_LONGEST if end >= 0 else _LONGEST_HEAD):
        raise BadAnswer(f"it is longer than {len(got)} bytes")
    if end < 0:
        return None
    status, head, body = int(got[9:12]), got[:end].lower() + b"\r\n", got[end + len(_HEAD_END) :]
    if status < 200:  # a word on the way
        return _answer(body)
    closes = b"\r\nconnection: close\r\n" in head
    if (at := head.find(b"\r\ncontent-length:")) >= 0:
        length = int(head[at + 17 : head.index(b"\r\n", at + 2)])
        return (status, body[:length], closes) if len(body) >= length else None
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        whole = _unchunked(body)
        return (status, whole, closes) if whole is not None else None
    if status in (204, 304):
        return status, b"", closes
    raise BadAnswer("it does not say how long it is")


def _unchunked(body: bytes) -> bytes | None:
    parts: list[bytes] = []
    at = 0
    while (line_end := body.find(b"\r\n", at)) >= 0:
        size = int(body[at:line_end].partition(b";")[0], 16)
        begin = line_end + 2
        if len(body) < begin + size + 2:
            return None
        if size == 0:
            return b"".join(parts)
        parts.append(body[begin : begin + size])
        at = begin + size + 2
    return None
