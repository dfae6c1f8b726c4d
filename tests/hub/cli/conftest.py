from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest
import uvicorn
from typer.testing import CliRunner, Result

from hub.api.app import create_api
from hub.cli.context import Connection, Dialer
from hub.cli.main import app
from hub.client import MusterClient
from placement.lifecycle import Phase
from tests.hub.api.fakes import BOB, FakeHub, cluster, event, job


class InProcess(httpx.BaseTransport):
    """The real API over fake services, without a socket. Streams come when they have ended."""

    def __init__(self, hub: FakeHub) -> None:
        self._asgi = httpx.ASGITransport(create_api(hub.services()))
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run_coroutine_threadsafe(self._answer(request), self._loop).result(20)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        again = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        answer = await self._asgi.handle_async_request(again)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


@dataclass
class Muster:
    """The CLI as a person uses it; `as_` is whose token it has."""

    hub: FakeHub
    transport: httpx.BaseTransport
    as_: str = "alice"

    def __call__(self, *args: str, stdin: bytes | None = None, columns: int = 80) -> Result:
        env = {"COLUMNS": str(columns), "TERM": "dumb", "NO_COLOR": "1"}
        return CliRunner().invoke(app, list(args), obj=Dialer(self._dial), input=stdin, env=env)

    def _dial(self, connection: Connection) -> MusterClient:
        return MusterClient("http://hub.test", f"{self.as_}-token", transport=self.transport, sleep=lambda _: None)


@pytest.fixture
def hub() -> FakeHub:
    made = FakeHub()
    running = job(1)
    waiting = job(
        2,
        phase=Phase.QUEUED,
        name="mistral-7b-continued-pretraining-run-12",
        cluster=None,
        pods=(),
        roles=(),
        reason="largest rack of cloud-b fits 3 of 4 pods (40 GPUs free in all, 32 needed)",
        placed_at=None,
        started_at=None,
        usd_per_hour=None,
    )
    done = job(3, phase=Phase.SUCCEEDED, name="warm-up", reason="")
    foreign = job(4, BOB, name="gemma")
    made.jobs.jobs = {one.id: one for one in (running, waiting, done, foreign)}
    made.jobs.happened = [
        event(1, running, Phase.QUEUED, "submit", "by alice"),
        event(2, running, Phase.PLACED, "place", "placed on onprem-a"),
        event(3, running, Phase.STARTING, "accept"),
        event(4, running, Phase.RUNNING, "running", "all 4 pods run"),
    ]
    lost = cluster("edge-c", region="", health="lost", cordoned=True, jobs=0, gpus_total=4, gpus_free=4, nodes=2)
    made.clusters.clusters = {"onprem-a": cluster(), "edge-c": lost}
    return made


@pytest.fixture
def muster(hub: FakeHub) -> Muster:
    return Muster(hub, InProcess(hub))


@pytest.fixture
def live(hub: FakeHub) -> Iterator[str]:
    """The same API on a socket, for what streams; its URL."""
    hub.jobs.events_go_on = True
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(create_api(hub.services()), lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)


Call = Callable[..., Result]
