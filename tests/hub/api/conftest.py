from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from hub.api.app import create_api
from placement.lifecycle import Phase
from tests.hub.api.fakes import ALICE, BOB, FakeHub, cluster, event, job

As = Callable[[str], httpx.AsyncClient]


@pytest.fixture
def hub() -> FakeHub:
    made = FakeHub()
    running, waiting = job(1), job(2, phase=Phase.QUEUED, name="mistral", cluster=None)
    foreign = job(3, BOB, name="gemma")
    made.jobs.jobs = {one.id: one for one in (running, waiting, foreign)}
    made.jobs.happened = [
        event(1, running, Phase.QUEUED, "submit"),
        event(2, running, Phase.PLACED, "place", "placed on onprem-a"),
        event(3, foreign, Phase.QUEUED, "submit"),
        event(4, running, Phase.RUNNING, "running"),
    ]
    made.clusters.clusters = {"onprem-a": cluster(), "edge-c": cluster("edge-c", jobs=0, health="lost")}
    assert running.tenant == ALICE.tenant
    return made


@pytest.fixture
async def as_(hub: FakeHub) -> AsyncIterator[As]:
    """A client that speaks as the bearer of a token; "" sends none."""
    transport = httpx.ASGITransport(create_api(hub.services()))
    made: list[httpx.AsyncClient] = []

    def client(token: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        made.append(httpx.AsyncClient(transport=transport, base_url="https://hub.test:8443/v1", headers=headers))
        return made[-1]

    yield client
    for one in made:
        await one.aclose()
