"""Against a REST door of our own making, over real TLS: the hub's rules about tokens are tested at the hub."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from hub.pki import Authority
from spoke import identity, join
from spoke.join import HubUnreachable, JoinRefused


def now() -> datetime:
    return datetime.now(UTC)


class Door:
    """/v1/ca and /v1/join, and what a test wants them to get wrong."""

    def __init__(self, directory: Path, names: list[str]) -> None:
        self.authority = Authority.open(directory / "pki", now())
        self.certificate = self.authority.server_certificate(names, now())
        self.ca_answer = self.authority.ca_pem
        self.seen: list[str] = []
        self.status = 200
        self.not_serving = 0  # so often
        self.error: dict[str, object] = {}
        self.extra: dict[str, object] = {}
        self.app = FastAPI()
        self.app.get("/v1/ca")(self.ca)
        self.app.post("/v1/join")(self.join)
        self.port = 0
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    def token(self, fingerprint: str = "", name: str = "t1") -> str:
        return f"{name}.s3cr-et_.{fingerprint or self.authority.ca_fingerprint}"

    async def ca(self) -> Response:
        if self.not_serving:
            self.not_serving -= 1
            return JSONResponse({"error": {"code": "not-leading", "message": "the hub is starting"}}, 503)
        return Response(self.ca_answer, media_type="application/x-pem-file")

    async def join(self, request: Request) -> Response:
        body = await request.json()
        self.seen.append(body["token"])
        if self.status != 200:
            return JSONResponse(self.error, self.status)
        signed = self.authority.sign_spoke(body["csr_pem"].encode(), "onprem-a", now())
        answer = {
            "certificate_pem": signed.pem.decode(),
            "ca_pem": self.authority.ca_pem.decode(),
            "cluster": "onprem-a",
        }
        return JSONResponse(answer | self.extra)

    async def open(self, listening: socket.socket) -> None:
        config = uvicorn.Config(self.app, ssl_certfile=str(self.certificate.path), log_level="critical")
        self._server = uvicorn.Server(config)
        self._task = asyncio.ensure_future(self._server.serve([listening]))

    async def close(self) -> None:
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task


@pytest.fixture
def listening() -> socket.socket:
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made


@pytest.fixture
async def door(tmp_path: Path, listening: socket.socket) -> AsyncIterator[Door]:
    made = Door(tmp_path, ["localhost"])
    made.port = listening.getsockname()[1]
    listening.listen()
    await made.open(listening)
    yield made
    await made.close()


def url(door: Door, host: str = "localhost") -> str:
    return f"https://{host}:{door.port}/"


async def test_a_token_becomes_an_identity(door: Door, tmp_path: Path) -> None:
    door.extra = {"grpc_address": "hub.example.com:7443"}
    own = await join.identity_for(tmp_path / "state", hub_url=url(door), token=f" {door.token()}\n", now=now())
    assert (own.cluster, own.grpc_address, own.ca_pem) == ("onprem-a", "hub.example.com:7443", door.authority.ca_pem)
    assert identity.load(tmp_path / "state") == own
    # From now on no token is needed, nor used.
    for token in ("", door.token()):
        assert await join.identity_for(tmp_path / "state", hub_url=url(door), token=token, now=now()) == own
    assert door.seen == [door.token()]


async def test_another_token_is_a_wish_to_join_anew(door: Door, tmp_path: Path) -> None:
    first = await join.identity_for(tmp_path, hub_url=url(door), token=door.token(), now=now())
    second = await join.identity_for(tmp_path, hub_url=url(door), token=door.token(name="t2"), now=now())
    assert second.certificate.serial != first.certificate.serial
    assert identity.load(tmp_path) == second
    door.status = 401
    assert await join.identity_for(tmp_path, hub_url=url(door), token=door.token(name="t3"), now=now()) == second
    with pytest.raises(JoinRefused):
        await join.identity_for(tmp_path, hub_url=url(door), token=door.token(name="t3"), now=now() + timedelta(2))


async def test_an_expired_identity_needs_a_new_token(door: Door, tmp_path: Path) -> None:
    await join.identity_for(tmp_path, hub_url=url(door), token=door.token(), now=now())
    tomorrow = now() + timedelta(hours=25)
    with pytest.raises(JoinRefused, match=r"expired at .*muster cluster token"):
        await join.identity_for(tmp_path, hub_url=url(door), token="", now=tomorrow)
    await join.identity_for(tmp_path, hub_url=url(door), token=door.token(), now=tomorrow)
    assert len(door.seen) == 2


@pytest.mark.parametrize("token", ["", "abc", "a.b", "a.b.c", f"a.b.{'0' * 63}", f"a..{'0' * 64}", f"a.b.{'0' * 64}.d"])
async def test_a_token_that_is_none_is_refused_before_anything_is_sent(token: str) -> None:
    with pytest.raises(JoinRefused, match=r"ID\.SECRET\.HASH"):
        await join.join("https://localhost:1", token)


@pytest.mark.parametrize("address", ["", "hub:8443", "http://hub:8443", "https://"])
async def test_a_url_that_is_not_https_is_refused(address: str) -> None:
    with pytest.raises(JoinRefused, match="must be https"):
        await join.join(address, f"a.b.{'0' * 64}")


async def test_another_hub_gets_nothing(door: Door) -> None:
    with pytest.raises(JoinRefused, match="not the hub that made this token"):
        await join.join(url(door), door.token("0" * 64))
    assert door.seen == []


async def test_a_certificate_slipped_in_beside_the_ca_is_not_trusted(door: Door, tmp_path: Path) -> None:
    """Somebody in between serves the true CA, which is no secret, and its own after it; and then itself."""
    genuine = Authority.open(tmp_path / "genuine", now())
    door.ca_answer = genuine.ca_pem + door.authority.ca_pem
    with pytest.raises(JoinRefused, match="does not prove"):
        await join.join(url(door), door.token(genuine.ca_fingerprint), patience_s=1)
    assert door.seen == []


async def test_a_name_that_the_certificate_lacks_is_refused(door: Door) -> None:
    with pytest.raises(JoinRefused, match=r"does not prove to be 127\.0\.0\.1.*names"):
        await join.join(url(door, "127.0.0.1"), door.token())
    assert door.seen == []


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (
            401,
            {"error": {"code": "token-used", "message": "the token was used", "mend": "make another"}},
            "was used; make",
        ),
        (401, {"error": {"code": "token-expired", "message": "it expired"}}, "it expired; make a new one"),
        (500, {"oops": 1}, "status 500"),
    ],
)
async def test_the_hubs_own_words_are_passed_on(door: Door, status: int, error: dict[str, object], said: str) -> None:
    door.status, door.error = status, error
    with pytest.raises(JoinRefused, match=said):
        await join.join(url(door), door.token())
    assert len(door.seen) == 1  # asked once: a token is not for trying


async def test_what_is_no_hub_is_said_so(door: Door) -> None:
    door.ca_answer = b"<html>hello</html>"
    with pytest.raises(JoinRefused, match="is this a Muster hub"):
        await join.join(url(door), door.token())


async def test_a_hub_that_is_not_there_yet_is_waited_for(tmp_path: Path, listening: socket.socket) -> None:
    door = Door(tmp_path, ["localhost"])
    door.port = listening.getsockname()[1]
    joining = asyncio.ensure_future(join.join(url(door), door.token()))
    await asyncio.sleep(0.5)  # refused meanwhile: the port is bound and nobody listens
    listening.listen()
    await door.open(listening)
    assert (await joining).cluster == "onprem-a"
    await door.close()


async def test_a_hub_that_does_not_serve_yet_is_asked_again(door: Door) -> None:
    door.not_serving = 2
    assert (await join.join(url(door), door.token())).cluster == "onprem-a"
    assert len(door.seen) == 1


async def test_patience_with_a_hub_that_stands_by_ends(door: Door) -> None:
    door.not_serving = 10**6
    with pytest.raises(HubUnreachable, match="does not serve yet"):
        await join.join(url(door), door.token(), patience_s=0.3)
    assert door.seen == []


async def test_patience_ends(tmp_path: Path, listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    with pytest.raises(HubUnreachable, match=f"no connection to the hub at https://localhost:{port}"):
        await join.join(f"https://localhost:{port}", f"a.b.{'0' * 64}", patience_s=0.5)
    listening.close()


def test_a_token_does_not_print_its_secret() -> None:
    assert "s3cret" not in repr(join.read_token(f"a.s3cret.{'0' * 64}"))
