from __future__ import annotations

import asyncio

from hub.store.changes import Closed, Ordered
from hub.store.outbox import Outbox
from wire.orders import Command, JobRef, Stop


def command(id_: int) -> Command:
    return Command(id_, JobRef("j", 1), Stop(5, ""))


async def test_what_is_open_is_answered_at_once_and_by_number() -> None:
    outbox = Outbox()
    outbox.load([("east", command(3)), ("west", command(4))])
    outbox.on_change(Ordered("east", command(7)))
    assert [one.id for one in outbox.pending("east")] == [3, 7]
    assert [one.id for one in await outbox.wait("east", 3)] == [7]


async def test_who_waits_is_woken_by_its_own_clusters_commands_only() -> None:
    outbox = Outbox()
    east, west = (asyncio.ensure_future(outbox.wait(name, 0)) for name in ("east", "west"))
    other = asyncio.ensure_future(outbox.wait("east", 0))  # a newer stream of the same cluster
    await asyncio.sleep(0)
    outbox.on_change(Ordered("east", command(1)))
    assert [one.id for one in await east] == [1]
    assert [one.id for one in await other] == [1]
    await asyncio.sleep(0)
    assert not west.done()
    west.cancel()


async def test_a_closed_command_is_sent_no_more() -> None:
    outbox = Outbox()
    outbox.on_change(Ordered("east", command(1)))
    outbox.on_change(Closed("east", 1))
    outbox.on_change(Closed("east", 99))
    assert outbox.pending("east") == ()
    waiting = asyncio.ensure_future(outbox.wait("east", 0))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
