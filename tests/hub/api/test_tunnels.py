"""Into pods by WebSocket: the API, the client and the CLI over real sockets, the tunnel itself played."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from hub.api import standing
from hub.api.app import create_api
from hub.store.audit import Access
from tests.hub.api.conftest import As
from tests.hub.api.fakes import FakeHub
from wire.tunnels import STDERR, Closed, Piece, Port, Process

HEADERS = {"Authorization": "Bearer alice-token"}


@pytest.fixture
def client(hub: FakeHub) -> TestClient:
    return TestClient(create_api(hub.services()), headers=HEADERS)


def test_a_command_from_its_query_to_its_exit_code(client: TestClient, hub: FakeHub) -> None:
    path = "/v1/jobs/llama-70b/exec?command=cat&command=-&stdin=true&rank=1&container=side&columns=80&rows=24&tty=true"
    with client.websocket_connect(path) as socket:
        socket.send_bytes(b"\x04" + json.dumps({"Width": 90, "Height": 30}).encode())
        for nonsense in (b"\x04{}", b"\x04x", b"\x07?", b"", b"\xff\x01"):
            socket.send_bytes(nonsense)
        socket.send_bytes(b"\x00hello")
        assert socket.receive_bytes() == b"\x01HELLO"
        hub.tunnels.opened[0].feed(Piece(STDERR, b"oops", end=True))
        assert socket.receive_bytes() == b"\x02oops"
        assert socket.receive_bytes() == b"\xff\x02"
        socket.send_bytes(b"\xff\x00")
        assert json.loads(socket.receive_bytes().removeprefix(b"\x03")) == {"exit_code": 7}
        assert socket.receive()["type"] == "websocket.close"
    process = Process(("cat", "-"), tty=True, stdin=True, columns=80, rows=24)
    assert hub.tunnels.asked == [("alice", "llama-70b", process, "", 1, "side")]
    assert hub.tunnels.opened[0].sizes == [(90, 30)]


def test_a_connection_that_breaks_in_the_pod_is_told(client: TestClient, hub: FakeHub) -> None:
    with client.websocket_connect("/v1/jobs/llama-70b/port-forward?port=80&service=web") as socket:
        hub.tunnels.opened[0].close(Closed("gone", "m-0 has ended"))
        told = json.loads(socket.receive_bytes().removeprefix(b"\x03"))
    assert (told["error"]["code"], told["error"]["message"]) == ("gone", "m-0 has ended")
    assert hub.tunnels.asked[0][2] == Port(80, "web")


def test_who_goes_away_closes_the_tunnel(client: TestClient, hub: FakeHub) -> None:
    with client.websocket_connect("/v1/jobs/llama-70b/exec?command=cat") as socket:
        socket.close()
    assert hub.tunnels.opened[0].closed == Closed("left", "whoever opened it has gone")


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("exec?command=ls", {"Authorization": ""}, 401, "no-token"),
        ("exec?command=ls", {"Authorization": "Basic YTpi"}, 401, "no-token"),
        ("exec?command=ls", {"Authorization": "Bearer nobody"}, 401, "bad-token"),
        ("exec", {}, 422, "bad-query"),
        ("exec?command=ls&rank=-1", {}, 422, "bad-query"),
        ("exec?command=ls&user=root", {}, 422, "bad-query"),
        ("port-forward?port=0", {}, 422, "bad-query"),
    ],
)
def test_what_is_refused_is_an_answer(
    client: TestClient, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    with pytest.raises(WebSocketDenialResponse) as refused:
        client.websocket_connect(f"/v1/jobs/llama-70b/{path}", headers=HEADERS | headers).__enter__()
    assert (refused.value.status_code, refused.value.json()["error"]["code"]) == (status, code)


def test_what_the_cluster_refuses_is_an_answer(client: TestClient) -> None:
    with pytest.raises(WebSocketDenialResponse) as refused:
        client.websocket_connect("/v1/jobs/broken/exec?command=ls").__enter__()
    assert (refused.value.status_code, refused.value.json()["error"]["code"]) == (409, "not-running")


def test_who_may_not_any_more_is_thrown_out(client: TestClient, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "LOOK_S", 0.01)
    with client.websocket_connect("/v1/jobs/llama-70b/exec?command=cat") as socket:
        hub.access.actors.pop("alice-token")
        told = json.loads(socket.receive_bytes().removeprefix(b"\x03"))
    assert told["error"]["code"] == "bad-token"


async def test_who_was_there(as_: As, hub: FakeHub) -> None:
    at = datetime(2026, 11, 26, 8, tzinfo=UTC)
    hub.tunnels.found = [Access(1, at, "ann", "red", "exec", "j-1", "east", "ls -l")]
    answer = await as_("alice-token").get("/audit?limit=5")
    assert answer.json()["accesses"] == [
        {
            "seq": 1,
            "at": "2026-11-26T08:00:00Z",
            "user": "ann",
            "tenant": "red",
            "action": "exec",
            "job": "j-1",
            "cluster": "east",
            "detail": "ls -l",
        }
    ]
