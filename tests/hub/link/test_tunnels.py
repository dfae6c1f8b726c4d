"""Tunnels across the link, over real TLS on the loopback."""

from __future__ import annotations

import asyncio

import pytest

from hub.link.directory import NotConnected
from hub.link.tunnel_failed import TunnelFailed
from spoke import tunnel_server
from spoke.cluster.fake import FakeStream
from spoke.cluster.port import Unavailable
from spoke.reaching import Reached, TunnelRefused
from tests.hub.link.raw_spoke import RawSpoke
from tests.hub.link.test_directory import connected_agent
from tests.wire.fakes import Federation, eventually
from wire import link_pb2 as pb
from wire.orders import JobRef
from wire.tunnels import WINDOW, Closed, Piece, Process, TunnelQuery

QUERY = TunnelQuery(JobRef("j-a", 1), Process(("cat",), stdin=True))


class Pod:
    """An agent's one pod: what it is asked for, and what it gives."""

    def __init__(self) -> None:
        self.there = True
        self.streams: list[FakeStream] = []
        self.asked: list[TunnelQuery] = []

    async def reach(self, query: TunnelQuery) -> Reached:
        self.asked.append(query)
        self.streams.append(FakeStream())
        return Reached(self.streams[-1], "w-0", lambda: self.there)


@pytest.fixture
async def pod(federation: Federation) -> Pod:
    agent = await connected_agent(federation)
    pod = Pod()
    agent.reached = pod.reach
    return pod


async def test_both_ways_and_an_end(federation: Federation, pod: Pod) -> None:
    tunnel = await federation.streams.open_tunnel("a", QUERY)
    assert tunnel.pod == "w-0"
    assert pod.asked == [QUERY]
    data = b"0123456789abcdef" * 64 * 1024  # four windows

    async def write() -> None:
        await tunnel.write(0, data, end=True)

    writing = asyncio.create_task(write())
    await tunnel.resize(80, 24)
    received = b""
    while isinstance(piece := await tunnel.read(), Piece):
        received += piece.data
    await writing
    assert received == data
    assert tunnel.closed == Closed(exit_code=0)
    await eventually(lambda: pod.streams[0].is_closed)
    assert (80, 24) in pod.streams[0].sizes


async def test_who_leaves_ends_what_runs(federation: Federation, pod: Pod) -> None:
    tunnel = await federation.streams.open_tunnel("a", QUERY)
    tunnel.close(Closed("left", "has gone"))
    await eventually(lambda: pod.streams[0].is_closed)


async def test_a_pod_that_goes_ends_its_tunnels(
    federation: Federation, pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel_server, "LOOK_S", 0.01)
    tunnel = await federation.streams.open_tunnel("a", QUERY)
    pod.there = False
    assert await tunnel.read() is None
    assert tunnel.closed == Closed("gone", "w-0 has ended")


async def test_a_lost_connection_ends_both_ends(federation: Federation, pod: Pod) -> None:
    tunnel = await federation.streams.open_tunnel("a", QUERY)
    federation.streams.close("a", "displaced", "for this test")
    assert await tunnel.read() is None
    assert tunnel.closed is not None
    assert tunnel.closed.code == "lost"
    await eventually(lambda: pod.streams[0].is_closed)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TunnelRefused("forbidden-here", "by its owner"), "forbidden-here"),
        (Unavailable("the kubelet is away"), "cluster"),
        (RuntimeError("a bug"), "failed"),
    ],
)
async def test_what_is_refused_is_told(federation: Federation, error: Exception, code: str) -> None:
    agent = await connected_agent(federation)

    async def refuse(query: TunnelQuery) -> Reached:
        raise error

    agent.reached = refuse
    with pytest.raises(TunnelFailed, match=str(error)) as refused:
        await federation.streams.open_tunnel("a", QUERY)
    assert refused.value.closed.code == code


async def test_a_spoke_that_floods_loses_the_tunnel_alone(federation: Federation) -> None:
    port = await federation.listen()
    async with RawSpoke(port, federation.member("a")) as spoke:
        await spoke.hello()
        opening = asyncio.create_task(federation.streams.open_tunnel("a", QUERY))
        asked = (await spoke.hear()).tunnel_open
        await spoke.say(pb.FromSpoke(tunnel_opened=pb.TunnelOpened(id=asked.id, pod="w-0")))
        tunnel = await opening
        flood = pb.FromSpoke(tunnel_data=pb.TunnelData(id=asked.id, channel=1, data=b"x" * 32_768))
        await spoke.say(*[flood] * (2 * WINDOW // 32_768))
        await eventually(lambda: tunnel.closed is not None)
        assert tunnel.closed is not None
        assert tunnel.closed.code == "too-much"
        assert (await spoke.hear()).tunnel_close.id == asked.id
        assert federation.streams.connected("a")
        await spoke.say(pb.FromSpoke(tunnel_data=pb.TunnelData(id=asked.id, channel=9)))  # late, and nonsense


async def test_who_is_not_connected(federation: Federation) -> None:
    with pytest.raises(NotConnected):
        await federation.streams.open_tunnel("nowhere", QUERY)
