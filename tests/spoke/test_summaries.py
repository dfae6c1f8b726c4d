"""The summary: fresh where something changed, silent where nothing did, revisions that only grow."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

from placement.inventory import DEFAULT_LEVELS
from spoke import pods
from spoke.inventory import Inventory
from spoke.jobs import Jobs
from spoke.summaries import Summaries
from tests.spoke.stage import NOW, foreign_pod, node


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


async def test_revisions_grow_even_when_the_clock_does_not() -> None:
    inventory, clock = Inventory(DEFAULT_LEVELS), Clock()
    inventory.put_node(node("n1"))
    summaries = Summaries(inventory, Jobs(), clock)
    await summaries.renew()
    first = await summaries.wait(-1)
    clock.now -= timedelta(hours=1)
    inventory.put_pod(pods.read(foreign_pod("p", "n1", 3, uid="p")))
    await summaries.renew()
    second = await summaries.wait(first.revision)
    assert second.revision == first.revision + 1
    assert (first.gpus_free, second.gpus_free) == (8, 5)
    later = Summaries(inventory, Jobs(), lambda: NOW + timedelta(minutes=1))
    await later.renew()
    assert (await later.wait(-1)).revision > second.revision


async def test_nothing_new_is_no_new_revision() -> None:
    inventory, clock = Inventory(DEFAULT_LEVELS), Clock()
    inventory.put_node(node("n1"))
    summaries = Summaries(inventory, Jobs(), clock)
    await summaries.renew()
    first = await summaries.wait(-1)
    waiting = asyncio.create_task(summaries.wait(first.revision))
    await summaries.renew()
    await asyncio.sleep(0)
    assert not waiting.done()
    summaries.served(frozenset({"batch/v1/Job"}))
    await summaries.renew()
    assert (await waiting).kinds == {"batch/v1/Job"}


async def test_after_a_refusal_the_same_summary_is_said_again() -> None:
    inventory, clock = Inventory(DEFAULT_LEVELS), Clock()
    inventory.put_node(node("n1"))
    summaries = Summaries(inventory, Jobs(), clock)
    await summaries.renew()
    first = await summaries.wait(-1)
    summaries.say_again()
    await summaries.renew()
    second = await summaries.wait(first.revision)
    assert replace(second, revision=first.revision) == first
    await summaries.renew()
    waiting = asyncio.create_task(summaries.wait(second.revision))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
