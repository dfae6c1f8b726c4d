"""The answer to one question for usage, gathered from the parts that a spoke sends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wire import link_pb2 as pb
from wire import usage
from wire.usage import JobUse, Usage

OPEN_USAGES = 16  # at a time from one cluster
MOST_JOBS = 20_000  # of one answer


class UsageBroken(Exception):
    """No answer will come: a sentence says why."""


class UsageFlow:
    def __init__(self) -> None:
        self._jobs: list[JobUse] = []
        self._answer: asyncio.Future[Usage] = asyncio.get_running_loop().create_future()

    def feed(self, message: pb.Usage) -> None:
        self._jobs += usage.jobs_from_wire(message.jobs)[: MOST_JOBS - len(self._jobs)]
        if message.end and not self._answer.done():
            notes: Sequence[str] = message.notes[: usage.MOST_NOTES]
            self._answer.set_result(Usage(tuple(self._jobs), tuple(notes)))

    def broken(self, why: str) -> None:
        if not self._answer.done():
            self._answer.set_exception(UsageBroken(why))

    async def answer(self) -> Usage:
        """Raises UsageBroken."""
        return await self._answer
