"""Short requests and short answers over HTTP/1.1, on connections that are kept: what a binding is, thousands of times.

A general client spends several times more on such a request than the socket does, on the CPU that the API server may
share with us. This one knows one server, one path to it (no proxy), and answers of moderate length; whatever else is
asked of an API server (lists, watches, logs) goes through aiohttp, see `rest`.

A connection that breaks under a request is an OSError: the server may have done what it was asked, and who asked knows
whether to ask again. Idle connections that the server closes are dropped silently, and none is used again after a
while: a balancer or a NAT on the way may have forgotten it without a word, and the answer would be waited for in vain.
After anything that is not one clear answer (bytes too many among it) a connection is given up.
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
_IDLE_S = 15.0


class BadAnswer(OSError):
    """It is not HTTP, or too long: the connection is given up."""


class Exchange:
    """Requests to one server. As many connections are open as there were requests at once."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, server_name: str = "", *, idle_s: float = _IDLE_S
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._server_name = server_name or host
        self._idle_s = idle_s
        self._idle: list[_Connection] = []  # the longest first
        self._open: set[_Connection] = set()

    async def ask(self, head: bytes, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Status and body. `head`: the request line and headers, without the body's length and without an empty line.

        Raises OSError, TimeoutError among them.
        """
        connection = self._kept() or await self._connect()
        try:
            request = b"%b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
            status, answer = await connection.ask(request, timeout_s)
        except BaseException:
            connection.close()  # also when the caller is cancelled: the answer would be the next one's
            raise
        if connection.is_open:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        return status, answer

    def close(self) -> None:
        for connection in list(self._open):
            connection.close()

    def _kept(self) -> _Connection | None:
        too_old = asyncio.get_running_loop().time() - self._idle_s
        if self._idle and self._idle[-1].idle_since > too_old:
            return self._idle.pop()
        for connection in list(self._idle):  # the others are older still
            connection.close()
        return None

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
        self.idle_since = 0.0  # the loop's time

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
        if self._asked is None or self._asked.done():
            self.close()  # nobody asked, or not for so much: what it says is nobody's answer
            return
        self._got += data
        try:
            found = _answer(self._got)
        except (ValueError, BadAnswer) as error:
            self._fail(BadAnswer(f"not an answer: {error}"))
            return
        if found is not None:
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
    """Status, body, and whether the connection is of no use after it; None where more is to come."""
    if not b"HTTP/1.".startswith(got[:7]):
        raise BadAnswer(f"it begins with {got[:20]!r}")
    end = got.find(_HEAD_END, 0, _LONGEST_HEAD)
    if len(got) > (_LONGEST if end >= 0 else _LONGEST_HEAD):
        raise BadAnswer(f"it is longer than {len(got)} bytes")
    if end < 0:
        return None
    status, body = int(got[9:12]), got[end + len(_HEAD_END) :]
    if status < 200:  # a word on the way
        return _answer(body)
    headers = _headers(got[:end])
    found = _body(status, headers, body)
    if found is None:
        return None
    whole, length = found
    closes = b"close" in headers.get(b"connection", b"") or got.startswith(b"HTTP/1.0")
    return status, whole, closes or length < len(body)


def _headers(head: bytes) -> dict[bytes, bytes]:
    """Names and values in small letters."""
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n")[1:])
    return {name.strip(): value.strip() for name, _, value in lines}


def _body(status: int, headers: dict[bytes, bytes], body: bytes) -> tuple[bytes, int] | None:
    """The body, and how many of the bytes are its; None where more is to come."""
    if b"transfer-encoding" in headers:  # then a length beside it does not count
        if headers[b"transfer-encoding"] != b"chunked":
            raise BadAnswer(f"it is encoded as {headers[b'transfer-encoding'][:20]!r}")
        return _unchunked(body)
    if b"content-length" in headers:
        length = _size(headers[b"content-length"], 10)
        return (body[:length], length) if len(body) >= length else None
    if status in (204, 304):
        return b"", 0
    raise BadAnswer("it does not say how long it is")


def _unchunked(body: bytes) -> tuple[bytes, int] | None:
    parts: list[bytes] = []
    at = 0
    while (line_end := body.find(b"\r\n", at)) >= 0:
        size = _size(body[at:line_end].partition(b";")[0].strip(), 16)
        begin = line_end + 2
        if len(body) < begin + size + 2:
            return None
        at = begin + size + 2
        if size == 0:
            return b"".join(parts), at
        parts.append(body[begin : begin + size])
    return None


def _size(text: bytes, base: int) -> int:
    """Digits only: a sign would lead back."""
    if not text.isalnum():
        raise BadAnswer(f"{text[:20]!r} is no length")
    return int(text, base)
