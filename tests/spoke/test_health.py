"""What a kubelet is told of a spoke, and that nobody else can trouble it there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from spoke import health
from spoke.health import Facts

SINCE = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WELL = Facts(joined=True, cluster_read=True, connected=True, apart_since=SINCE)


def test_a_spoke_that_is_welcome_and_has_read_its_cluster_lacks_nothing() -> None:
    assert health.missing(WELL) == ()
    assert health.answer("GET", "/readyz", ()) == (200, {"status": "ok"})


def test_what_is_missing_is_said() -> None:
    apart = replace(WELL, connected=False, why="UNAVAILABLE: no route")
    assert health.missing(apart) == ("not connected to the hub since 2026-03-01 12:00:00 UTC: UNAVAILABLE: no route",)
    assert health.missing(replace(WELL, cluster_read=False)) == ("the cluster is not read yet",)
    new = Facts(joined=False, cluster_read=False, connected=False, apart_since=SINCE)
    assert health.missing(new) == ("not joined yet", "the cluster is not read yet")


def test_a_hub_that_is_away_makes_it_unready_and_not_dead() -> None:
    lacks = health.missing(replace(WELL, connected=False))
    assert health.answer("GET", "/readyz", lacks)[0] == 503
    assert health.answer("GET", "/livez", lacks)[0] == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/metrics"), ("POST", "/livez"), ("GET", "/livez/x")]
)
def test_there_is_nothing_else(method: str, path: str) -> None:
    assert health.answer(method, path, ())[0] == 404


@asynccontextmanager
async def server(facts: Callable[[], Facts]) -> AsyncIterator[int]:
    listener = health.listen(0)
    async with health.served(listener, facts):
        yield listener.getsockname()[1]


async def ask(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    answer = await reader.read()
    writer.close()
    return answer


async def get(port: int, path: str) -> tuple[int, Any]:
    head, _, body = (await ask(port, f"GET {path} HTTP/1.1\r\nHost: pod\r\n\r\n".encode())).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


async def test_over_a_socket_it_follows_the_facts() -> None:
    now = [replace(WELL, cluster_read=False)]
    async with server(lambda: now[0]) as port:
        assert await get(port, "/livez?verbose=1") == (200, {"status": "ok"})
        assert await get(port, "/readyz") == (
            503,
            {"status": "not ready", "missing": ["the cluster is not read yet"]},
        )
        now[0] = WELL
        assert await get(port, "/readyz") == (200, {"status": "ok"})


async def test_a_head_without_end_is_hung_up_on() -> None:
    async with server(lambda: WELL) as port:
        assert await ask(port, b"GET /livez HTTP/1.1\r\nX: " + b"x" * 2 * health.HEAD_LIMIT) == b""
        assert (await get(port, "/livez"))[0] == 200


async def test_who_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE_S", 0.01)
    async with server(lambda: WELL) as port:
        assert await ask(port, b"") == b""


async def test_too_many_at_once_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "AT_A_TIME", 1)
    async with server(lambda: WELL) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /livez")  # and no end of it
        await writer.drain()
        with contextlib.suppress(ConnectionError):  # with a request of its own unread, hanging up is a reset
            assert await ask(port, b"GET /livez HTTP/1.1\r\n\r\n") == b""
        writer.write(b" HTTP/1.1\r\n\r\n")
        assert await reader.read(12) == b"HTTP/1.1 200"
        writer.close()


def test_a_port_that_is_taken_is_told_with_its_number() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"health port {port} cannot be used: .*--health-port"):
            health.listen(port)
