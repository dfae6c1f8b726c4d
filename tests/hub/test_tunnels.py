"""Who may reach into a job's pods, and that it was noted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from hub import tunnels as module
from hub.errors import ConflictError, Forbidden, HubError, Invalid, NotFound
from hub.records import Actor, UserRole
from hub.store import audit
from hub.tunnels import Tunnels
from tests.hub.loops.rig import FakeSpoke, FakeTunnel, Hub, a_hub, manifest
from wire import capabilities
from wire.orders import JobRef
from wire.tunnels import Closed, Port, Process, TunnelQuery

ANN = Actor("ann", "red", UserRole.SUBMITTER)
EYE = Actor("eye", "red", UserRole.VIEWER)
BOB = Actor("bob", "blue", UserRole.SUBMITTER)
ROOT = Actor("root", "default", UserRole.ADMIN)
LS = Process(("ls", "-l"))


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    """With ann's job `a` on east, which is connected."""
    async with a_hub(tmp_path / "hub.sqlite") as made:
        spoke = FakeSpoke("east")
        await spoke.join(made)
        await spoke.connect(made)
        await made.jobs.submit(ANN, manifest("a"))
        await made.placing.settle()
        await spoke.obey(made)
        made.streams.tunnels["east"] = FakeTunnel()
        yield made


def tunnels(hub: Hub) -> Tunnels:
    return Tunnels(hub.store, hub.jobs, hub.streams, clock=hub.clock)


async def refused(hub: Hub, actor: Actor, ref: str = "a", to: Process | Port = LS) -> HubError:
    with pytest.raises(HubError) as error:
        async with tunnels(hub).open(actor, ref, to):
            pass
    return error.value


async def test_a_tunnel_is_noted_and_closed(hub: Hub) -> None:
    door = tunnels(hub)
    async with door.open(ANN, "a", LS, rank=1, container="side") as tunnel:
        assert tunnel.closed is None
        assert [(one.user, one.action, one.detail) for one in await door.audit(ANN)] == [("ann", "exec", "ls -l")]
    assert tunnel.closed is not None
    assert tunnel.closed.code == "left"
    job = await hub.jobs.show(ANN, "a")
    query = TunnelQuery(JobRef(job.id, job.epoch), LS, "", 1, "side")
    assert hub.streams.tunnels_asked == [("east", query)]
    assert await door.audit(BOB) == []
    assert len(await door.audit(ROOT)) == 1


async def test_who_may_not(hub: Hub) -> None:
    assert isinstance(await refused(hub, EYE), Forbidden)
    assert isinstance(await refused(hub, BOB), NotFound)
    assert isinstance(await refused(hub, ANN, "b"), NotFound)
    async with tunnels(hub).open(ROOT, "a", LS):
        pass
    assert [one.user for one in await tunnels(hub).audit(ROOT)] == ["root"]


@pytest.mark.parametrize("to", [Process(()), Process(("",)), Process(("a\0",)), Process(("x" * 40_000,)), Port(0)])
async def test_what_cannot_be_asked_for(hub: Hub, to: Process | Port) -> None:
    assert isinstance(await refused(hub, ANN, to=to), Invalid)
    assert await tunnels(hub).audit(ROOT) == []


async def test_why_it_cannot_be_opened(hub: Hub) -> None:
    hub.streams.abilities = frozenset({capabilities.EXEC})
    assert (await refused(hub, ANN, to=Port(80))).message == "the spoke of east is too old for port-forward"
    hub.streams.tunnels["east"] = Closed("forbidden-here", "the owner of this cluster has switched exec off")
    error = await refused(hub, ANN)
    assert (error.code, error.message) == ("forbidden-here", "east: the owner of this cluster has switched exec off")
    del hub.streams.tunnels["east"]
    assert (await refused(hub, ANN)).code == "cluster-not-connected"
    await hub.jobs.submit(ANN, manifest("waits", gpus=64))
    assert (await refused(hub, ANN, "waits")).code == "not-running"


async def test_one_user_holds_so_many_and_no_more(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_TUNNELS", 1)
    door = tunnels(hub)
    async with door.open(ANN, "a", LS):
        with pytest.raises(ConflictError, match="ann has 1 tunnels open"):
            async with door.open(ANN, "a", LS):
                pass
        async with door.open(ROOT, "a", LS):
            pass
    async with door.open(ANN, "a", LS):
        pass


async def test_connections_that_follow_each_other_are_one_entry(hub: Hub) -> None:
    door = tunnels(hub)
    for to in (Port(80), Port(80), Port(81), Port(80, "web")):
        async with door.open(ANN, "a", to):
            pass
    assert [one.detail for one in await door.audit(ANN)] == ["web:80", "81", "80"]
    hub.clock.advance(11 * 60)
    async with door.open(ANN, "a", Port(80)):
        pass
    assert len(await door.audit(ANN)) == 4
    assert [one.detail for one in await door.audit(ANN, limit=1)] == ["80"]
    assert len(await door.audit(ANN, before=2)) == 1


async def test_what_is_old_is_forgotten(hub: Hub) -> None:
    door = tunnels(hub)
    for _ in range(3):
        async with door.open(ANN, "a", LS):
            pass
    later = hub.clock() + timedelta(days=1)
    await hub.store.write(lambda session: audit.forget(session, later, 100))
    assert [one.seq for one in await door.audit(ANN)] == [3]  # the newest number is not given out again
