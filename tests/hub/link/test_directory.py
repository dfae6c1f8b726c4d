"""Logs across the link, and who is connected."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator

import psutil
import pytest

from hub.link import stream as stream_module
from hub.link.directory import Directory, NotConnected
from hub.link.log_flow import LogBroken, LogFlow
from hub.link.stream import PresenceBroken
from hub.link.usage_flow import UsageBroken
from placement.presence import ObjectName
from tests.hub.link.raw_spoke import RawSpoke
from tests.wire.fakes import FakeAgent, Federation
from wire import capabilities, lanes
from wire import link_pb2 as pb
from wire.orders import JobRef, LogLines, LogQuery

QUERY = LogQuery(JobRef("j-a", 1), role="", follow=True, tail_lines=0)


async def connected_agent(federation: Federation, cluster: str = "a") -> FakeAgent:
    agent, link = federation.spoke(cluster, await federation.listen())
    federation.run(link)
    await federation.hub.until(lambda: cluster in federation.hub.summaries)
    assert federation.streams.connected(cluster)
    return agent


async def test_who_is_not_connected_is_said_at_once() -> None:
    directory = Directory()
    assert not directory.connected("a")
    with pytest.raises(NotConnected, match="cluster a is not connected"):
        directory.open_logs("a", QUERY)
    with pytest.raises(NotConnected):
        await directory.send("a", pb.FromHub())


async def test_what_a_spoke_can_do_is_known_while_it_is_connected(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capabilities, "OURS", frozenset({"juggling"}))
    await connected_agent(federation)
    assert federation.streams.can("a", "juggling")
    assert not federation.streams.can("a", "singing")
    with pytest.raises(NotConnected):
        federation.streams.can("b", "juggling")
    assert federation.server is not None
    async with RawSpoke(federation.server.port, federation.member("old")) as old:
        await old.hello()  # of before there were any
        assert not federation.streams.can("old", "juggling")


async def test_lines_arrive_whole_and_in_order(federation: Federation) -> None:
    agent = await connected_agent(federation)
    seen: list[LogQuery] = []
    lines = [b"line %d\n" % n for n in range(20_000)]

    async def log(query: LogQuery) -> AsyncIterator[LogLines]:
        seen.append(query)
        yield LogLines("w-0", b"".join(lines))  # far beyond one chunk
        yield LogLines("w-1", b"x" * 200_000)  # one line beyond one chunk
        yield LogLines("w-1", b"end, without a newline")

    agent.log = log
    received: dict[str, bytes] = {}
    async for part in federation.streams.open_logs("a", QUERY):
        assert len(part.data) <= lanes.LOG_CHUNK_BYTES
        assert part.pod == "w-1" or part.data.endswith(b"\n")
        received[part.pod] = received.get(part.pod, b"") + part.data
    assert received == {"w-0": b"".join(lines), "w-1": b"x" * 200_000 + b"end, without a newline"}
    assert seen == [QUERY]


async def test_a_log_that_is_not_there_is_a_sentence(federation: Federation) -> None:
    await connected_agent(federation)
    with pytest.raises(LogBroken, match="j-a is not on this cluster"):
        await anext(federation.streams.open_logs("a", QUERY))


async def test_a_log_that_fails_midway_gives_what_there_was(federation: Federation) -> None:
    agent = await connected_agent(federation)

    async def log(query: LogQuery) -> AsyncIterator[LogLines]:
        yield LogLines("w-0", b"one\n")
        raise OSError("the kubelet is away")

    agent.log = log
    received = federation.streams.open_logs("a", QUERY)
    assert (await anext(received)).data == b"one\n"
    with pytest.raises(LogBroken, match="the kubelet is away"):
        await anext(received)


async def test_a_slow_reader_slows_its_log_down_at_the_source_and_nothing_else(federation: Federation) -> None:
    agent = await connected_agent(federation)
    produced = 0
    chunk = b"x" * 1023 + b"\n"

    async def log(query: LogQuery) -> AsyncIterator[LogLines]:
        nonlocal produced
        while True:
            produced += len(chunk)
            yield LogLines("w-0", chunk)
            if produced % 65536 == 0:
                await asyncio.sleep(0)

    agent.log = log
    gc.collect()
    before = psutil.Process().memory_info().rss
    async with contextlib.aclosing(federation.streams.open_logs("a", QUERY)) as received:
        await anext(received)
        # Meanwhile everything else goes its way, often enough for an unbounded log to fill a lot of memory.
        for number in range(200):
            await federation.hub.order("a", JobRef(f"j-{number}", 1))
        await federation.hub.until(lambda: len(federation.hub.applied.get("a", [])) == 400)
        assert produced < lanes.LOG_WINDOW + lanes.LOG_CHUNK_BYTES
        assert psutil.Process().memory_info().rss - before < 64 * 1024 * 1024
        taken = 0
        while taken < 8 * lanes.LOG_WINDOW:  # and it goes on at its reader's pace
            taken += len((await anext(received)).data)
        assert produced < taken + 2 * lanes.LOG_WINDOW


async def test_closing_a_log_stops_it_at_the_source(federation: Federation) -> None:
    agent = await connected_agent(federation)
    closed = asyncio.Event()

    async def log(query: LogQuery) -> AsyncIterator[LogLines]:
        try:
            yield LogLines("w-0", b"one\n")
            await asyncio.Event().wait()
        finally:
            closed.set()

    agent.log = log
    async with contextlib.aclosing(federation.streams.open_logs("a", QUERY)) as received:
        await anext(received)
    await asyncio.wait_for(closed.wait(), 5)


@pytest.mark.parametrize("waiting", [True, False])
async def test_a_lost_connection_ends_the_log_with_an_error(federation: Federation, waiting: bool) -> None:
    agent = await connected_agent(federation)

    async def log(query: LogQuery) -> AsyncIterator[LogLines]:
        yield LogLines("w-0", b"one\n")
        await asyncio.Event().wait()

    agent.log = log
    received = federation.streams.open_logs("a", QUERY)
    assert (await anext(received)).data == b"one\n"
    after = asyncio.ensure_future(anext(received)) if waiting else None
    await asyncio.sleep(0)
    federation.streams.close("a", "removed", "")
    with pytest.raises(LogBroken, match="connection to cluster a was lost"):
        await asyncio.wait_for(after or anext(received), 5)


async def test_the_number_of_open_logs_is_bounded(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "OPEN_LOGS", 2)
    agent = await connected_agent(federation)

    async def log(query: LogQuery) -> AsyncIterator[LogLines]:
        while True:
            yield LogLines("w-0", b"one\n")
            await asyncio.sleep(0.01)

    agent.log = log
    first, second = federation.streams.open_logs("a", QUERY), federation.streams.open_logs("a", QUERY)
    await anext(first)
    await anext(second)
    with pytest.raises(LogBroken, match="2 logs of cluster a are open already"):
        await anext(federation.streams.open_logs("a", QUERY))
    await first.aclose()
    third = federation.streams.open_logs("a", QUERY)
    await anext(third)
    await second.aclose()
    await third.aclose()


async def test_a_spoke_that_ignores_the_window_loses_the_log_only(federation: Federation) -> None:
    port = await federation.listen()
    async with RawSpoke(port, federation.member("a")) as spoke:
        await spoke.hello()
        received = federation.streams.open_logs("a", QUERY)
        first = asyncio.ensure_future(anext(received))
        request = (await spoke.hear()).log_request
        assert request.window == lanes.LOG_WINDOW
        chunk = pb.FromSpoke(log_chunk=pb.LogChunk(id=request.id, pod="p", data=b"x" * 65_000))
        await spoke.say(*[chunk] * 40)
        assert (await spoke.hear()).log_stop.id == request.id
        await first
        with pytest.raises(LogBroken, match="more than it was asked for"):
            async for _ in received:
                pass
        assert federation.streams.connected("a")


async def test_many_tiny_chunks_fill_the_window_as_well() -> None:
    flow = LogFlow(lanes.LOG_WINDOW, lambda amount: None)
    for _ in range(lanes.LOG_WINDOW // 128):
        flow.feed(LogLines("p", b"\n"))
    assert flow.ended


async def test_what_jobs_use_is_asked_across_the_link(federation: Federation) -> None:
    await connected_agent(federation)
    refs = [JobRef("j-a", 1), JobRef("j-b", 2)]
    found = await federation.streams.usage("a", refs)
    assert [use.ref for use in found.jobs] == refs
    assert federation.server is not None
    async with RawSpoke(federation.server.port, federation.member("old")) as old:
        await old.hello()
        with pytest.raises(UsageBroken, match="old: its spoke is too old"):
            await federation.streams.usage("old", refs)
    with pytest.raises(NotConnected):
        await federation.streams.usage("nobody", refs)


async def test_kinds_that_were_added_are_told_after_the_welcome_and_when_they_change(federation: Federation) -> None:
    federation.hub.kind_files = {"sweep": "kind: Sweep"}
    agent = await connected_agent(federation)
    await federation.hub.until(lambda: agent.kind_files == {"sweep": "kind: Sweep"})
    await federation.streams.kinds_changed({"other": "kind: Other"})
    await federation.hub.until(lambda: agent.kind_files == {"other": "kind: Other"})


async def test_a_spoke_that_cannot_is_told_of_no_kinds(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "OURS", frozenset({"juggling"}))
    federation.hub.kind_files = {"sweep": "kind: Sweep"}
    agent = await connected_agent(federation)
    await federation.streams.kinds_changed({"other": "kind: Other"})
    assert agent.kind_files == {}


async def test_what_is_missing_is_asked_across_the_link(federation: Federation) -> None:
    await connected_agent(federation)
    names = [ObjectName("Secret", "team", one) for one in ("missing-1", "there", "missing-2")]
    assert await federation.streams.missing("a", names) == {names[0], names[2]}
    assert federation.server is not None
    async with RawSpoke(federation.server.port, federation.member("old")) as old:
        await old.hello()
        with pytest.raises(PresenceBroken, match="old: its spoke is too old"):
            await federation.streams.missing("old", names)
