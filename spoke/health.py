"""Whether this spoke lives and can serve, for a kubelet: GET /livez and /readyz over plain HTTP, and nothing else.

Alive is what answers: the answer comes from the agent's own event loop, and a loop of the agent that fails ends the
process. Ready is a spoke that would take a command now: it joined, has read its cluster, and the hub has welcomed it on
the stream that is open. So a spoke whose hub is away is not ready, and becomes so again by itself: nothing is gained by
restarting it, and its pods run on. A reconnection that takes less than a probe's failures allow is not seen at all.

Not promised: HTTP beyond that. One request a connection, its head within a few KiB and seconds, and the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

HEAD_LIMIT = 8192
PATIENCE_S = 5.0
AT_A_TIME = 16


@dataclass(frozen=True, slots=True)
class Facts:
    """`apart_since`: when the last welcomed stream ended, or the spoke began; `why`: what the link says of it."""

    joined: bool
    cluster_read: bool
    connected: bool
    apart_since: datetime
    why: str = ""


def missing(facts: Facts) -> tuple[str, ...]:
    """What a spoke that could serve would have; nothing for one that can."""
    found = []
    if not facts.joined:
        found.append("not joined yet")
    elif not facts.connected:
        because = f": {facts.why}" if facts.why else ""
        found.append(f"not connected to the hub since {facts.apart_since:%F %T} UTC{because}")
    if not facts.cluster_read:
        found.append("the cluster is not read yet")
    return tuple(found)


def answer(method: str, path: str, lacks: Sequence[str]) -> tuple[int, dict[str, object]]:
    """The status and the JSON for a request."""
    if method != "GET" or path not in ("/livez", "/readyz"):
        return 404, {"error": "there are GET /livez and GET /readyz"}
    if path == "/readyz" and lacks:
        return 503, {"status": "not ready", "missing": list(lacks)}
    return 200, {"status": "ok"}


def listen(port: int) -> socket.socket:
    """On every address of this machine or pod. Raises OSError, with the mend."""
    try:
        with contextlib.suppress(OSError):  # no IPv6 here
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise OSError(f"the health port {port} cannot be used: {error.strerror}; give another --health-port") from error


@contextlib.asynccontextmanager
async def served(listener: socket.socket, facts: Callable[[], Facts]) -> AsyncIterator[None]:
    """Answers while the block runs."""
    talks: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Beyond so many they are hung up on: a probe tries again, and who keeps them open gets nowhere.
        if len(talks) >= AT_A_TIME:
            writer.close()
            return
        talks.add(writer)
        broken = (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
        try:
            with contextlib.suppress(*broken):
                async with asyncio.timeout(PATIENCE_S):
                    await _talk(reader, writer, facts)
        finally:
            talks.discard(writer)
            writer.close()

    server = await asyncio.start_server(talk, sock=listener, limit=HEAD_LIMIT)
    try:
        yield
    finally:
        server.close()
        for writer in talks:
            writer.transport.abort()


async def _talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, facts: Callable[[], Facts]) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    method, _, rest = head.decode("latin-1").partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    status, body = answer(method, path, missing(facts()))
    text = json.dumps(body).encode() + b"\n"
    phrase = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}[status]
    writer.write(
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode()
        + text
    )
    await writer.drain()
