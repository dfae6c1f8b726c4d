"""Credentials and answers of an API server that is played by a few lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from spoke.cluster import rest
from spoke.cluster.discovery import Served
from spoke.cluster.port import Unavailable
from spoke.cluster.rest import Rest, connect


class Server:
    def __init__(self) -> None:
        self.tokens: list[bytes] = []
        self.answer = b"{}"
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                return
            headers = dict(line.split(b": ", 1) for line in head.strip().split(b"\r\n")[1:])
            await reader.readexactly(int(headers.get(b"Content-Length", b"0")))
            self.tokens.append(headers.get(b"Authorization", b""))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self.answer), self.answer))
            await writer.drain()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()


async def connected(directory: Path, server: Server, user: dict[str, Any]) -> Rest:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.port}"}}],
        "users": [{"name": "u", "user": user}],
    }
    (directory / "config").write_text(yaml.safe_dump(config))
    return await connect(str(directory / "config"))


async def test_a_token_file_that_rotates_is_read_again(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "_READ_AGAIN_S", 0.0)
    (tmp_path / "token").write_text("one\n")
    api = await connected(tmp_path, server, {"tokenFile": "token"})
    await api.request("POST", "/x", {})
    (tmp_path / "token").write_text("two\n")
    await api.request("POST", "/x", {})
    await api.get("/x")
    (tmp_path / "token").unlink()
    for call in (lambda: api.get("/x"), lambda: api.request("POST", "/x", {})):
        with pytest.raises(Unavailable, match="token"):
            await call()
    assert server.tokens == [b"Bearer one", b"Bearer two", b"Bearer two"]
    await api.close()


@pytest.mark.parametrize("ask", [lambda api: api.get("/x"), lambda api: api.get("/y", accept="*/*")])
async def test_what_is_no_json_is_not_the_api_servers(
    tmp_path: Path, server: Server, ask: Callable[[Rest], Any]
) -> None:
    server.answer = b"<html>please log in</html>"
    api = await connected(tmp_path, server, {"token": "t"})
    with pytest.raises(Unavailable, match=r"no JSON: .*please log in"):
        await ask(api)
    await api.close()


def test_no_namespace_leads_elsewhere() -> None:
    pods = Served("v1", "Pod", "pods", namespaced=True)
    assert pods.path("a/../b\r\nX: y", "p/q") == "/api/v1/namespaces/a%2F..%2Fb%0D%0AX%3A%20y/pods/p%2Fq"
