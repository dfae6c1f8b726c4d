"""Which failures end the agent, and which do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from spoke.crew import Crew
from spoke.ledger import LedgerUnusable


@pytest.fixture
async def crew() -> AsyncIterator[Crew]:
    made = Crew()
    yield made
    await made.close()


async def fails(error: Exception) -> None:
    raise error


async def test_one_bad_object_ends_nothing(crew: Crew) -> None:
    await asyncio.wait([crew.spawn(fails(ValueError("bad")), "one object")])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await crew.broken()


async def test_a_vital_loop_that_fails_ends_the_agent(crew: Crew) -> None:
    crew.spawn(fails(ValueError("bad")), "scheduling", vital=True)
    with pytest.raises(ValueError, match="bad"):
        await crew.broken()


async def test_a_ledger_that_cannot_be_written_ends_the_agent(crew: Crew) -> None:
    crew.spawn(fails(LedgerUnusable("disk full")), "one object")
    with pytest.raises(LedgerUnusable):
        await crew.broken()
