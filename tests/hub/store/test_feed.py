from __future__ import annotations

import asyncio

import pytest

from hub.records import Actor, JobEvent
from hub.store.feed import Feed
from placement.lifecycle import Phase
from tests.hub.loops.rig import ADMIN, ANN, BOB, Hub, manifest


async def read(hub: Hub, actor: Actor = ADMIN, *, feed: Feed | None = None, after: int = 0) -> list[JobEvent]:
    source = (feed or hub.copies.feed).read(hub.store, actor, after=after, job=None, follow=False)
    return [event async for event in source]


async def submit(hub: Hub, *names: str) -> None:
    for name in names:
        await hub.jobs.submit(ANN, manifest(name))


async def test_a_follower_sees_what_was_and_what_comes_once_each(hub: Hub) -> None:
    await submit(hub, "a", "b")
    seen: list[int] = []

    async def follow() -> None:
        async for event in hub.copies.feed.read(hub.store, ADMIN, after=None, job=None, follow=True):
            seen.append(event.seq)
            if len(seen) == 40:
                return

    following = asyncio.ensure_future(follow())
    await asyncio.gather(*(hub.jobs.submit(ANN, manifest(f"c{number}")) for number in range(38)))
    await asyncio.wait_for(following, 10)
    assert seen == list(range(1, 41))


@pytest.mark.parametrize("tail", [1, 3, 1000])
@pytest.mark.parametrize("after", [0, 1, 5, 9, 10, 99])
async def test_the_tail_and_the_table_tell_the_same_story(hub: Hub, tail: int, after: int) -> None:
    short = Feed(tail=tail)
    hub.store.subscribe(short.on_change)
    await submit(hub, *"abcdefghij")
    found = await read(hub, feed=short, after=after)
    assert [event.seq for event in found] == list(range(after + 1, 11))


async def test_a_follower_that_fell_behind_the_tail_misses_nothing(hub: Hub) -> None:
    short = Feed(tail=2)
    hub.store.subscribe(short.on_change)
    await submit(hub, "a")
    source = short.read(hub.store, ADMIN, after=0, job=None, follow=True)
    seen = [(await anext(source)).seq]
    await submit(hub, *"bcdefgh")
    seen += [(await asyncio.wait_for(anext(source), 10)).seq for _ in range(7)]
    assert seen == list(range(1, 9))


async def test_tenants_see_their_own_events_only(hub: Hub) -> None:
    await submit(hub, "a")
    await hub.jobs.submit(BOB, manifest("b"))
    short = Feed(tail=1)  # what came before it was subscribed, it reads from the table
    hub.store.subscribe(short.on_change)
    await submit(hub, "c")
    for feed in (hub.copies.feed, short):
        assert [event.seq for event in await read(hub, ANN, feed=feed)] == [1, 3]
        assert [event.seq for event in await read(hub, BOB, feed=feed)] == [2]


async def test_one_jobs_events(hub: Hub) -> None:
    await submit(hub, "a", "b")
    job = await hub.jobs.cancel(ANN, "b")
    found = [event async for event in hub.jobs.events(ANN, after=None, job=job.id, follow=False)]
    assert [(event.seq, event.phase) for event in found] == [(2, Phase.QUEUED), (3, Phase.CANCELLED)]
    assert [event async for event in hub.jobs.events(BOB, after=None, job=job.id, follow=False)] == []
