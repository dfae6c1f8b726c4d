from __future__ import annotations

import asyncio

import pytest

from wire.lanes import Mailbox, Outbox, until_one_ends


async def test_a_mailbox_hands_out_all_that_gathered() -> None:
    box: Mailbox[int] = Mailbox(10)
    await box.put([1, 2])
    await box.put([3])
    assert await box.take() == [1, 2, 3]
    taking = asyncio.ensure_future(box.take(at_most=1))
    await asyncio.sleep(0)
    assert not taking.done()
    await box.put([4, 5])
    assert await taking == [4]
    assert await box.take() == [5]


async def test_a_full_mailbox_makes_its_feeder_wait() -> None:
    box: Mailbox[int] = Mailbox(2)
    await box.put([1, 2, 3])
    putting = asyncio.ensure_future(box.put([4]))
    await asyncio.sleep(0)
    assert not putting.done()
    assert await box.take() == [1, 2, 3]
    await putting
    assert await box.take() == [4]


async def test_replace_keeps_only_the_newest() -> None:
    box: Mailbox[int] = Mailbox(1)
    box.replace(1)
    box.replace(2)
    assert await box.take() == [2]


async def test_a_cancelled_take_takes_nothing() -> None:
    box: Mailbox[int] = Mailbox(2)
    taking = asyncio.ensure_future(box.take())
    await asyncio.sleep(0)
    await box.put([1])
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    assert len(box) == 1


async def test_the_outbox_has_an_order_and_bounds() -> None:
    box: Outbox[str] = Outbox(control_limit=1, bulk_limit=1)
    await box.send_bulk("bulk")
    await box.send("control")
    for waits in (box.send("more control"), box.send_bulk("more bulk")):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waits, 0.01)
    box.push("urgent")
    assert [await box.next() for _ in range(3)] == [("urgent", False), ("control", False), ("bulk", False)]


async def test_after_finish_nothing_else_comes() -> None:
    box: Outbox[str] = Outbox()
    box.push("urgent")
    box.finish("goodbye")
    box.finish("another")
    assert await box.next() == ("goodbye", True)


async def test_until_one_ends_cancels_the_rest_and_passes_its_error_on() -> None:
    ended = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("forever")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("it")

    with pytest.raises(ValueError, match="it"):
        await until_one_ends(forever(), fail())
    assert ended == ["forever"]
