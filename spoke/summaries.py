"""Keeps the summary that the hub is told up to date: worked out anew when something changed, at most once a second.

Revisions grow across restarts because they begin at the clock's milliseconds. Clocks that are set back more than an
agent was up are the limit of that; the hub takes the summary of a new stream whatever its revision.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from placement.inventory import Summary
from placement.safety.policy import Policy
from placement.summary import Summariser
from spoke.inventory import Inventory
from spoke.jobs import Jobs

INTERVAL_S = 1.0


class Summaries:
    def __init__(
        self,
        inventory: Inventory,
        jobs: Jobs,
        clock: Callable[[], datetime],
        unusable: Callable[[], tuple[int, tuple[str, ...]]] = lambda: (0, ()),
        policy: Policy | None = None,
    ) -> None:
        """`unusable`: how many GPUs are unfit or missing, and why."""
        self._unusable = unusable
        self._inventory = inventory
        self._jobs = jobs
        self._clock = clock
        self._policy = policy
        self._summariser = Summariser(inventory.levels)  # remembers every node that did not change
        self._kinds: frozenset[str] = frozenset()
        self._present: Summary | None = None
        self._say_again = False
        self._stale = asyncio.Event()
        self._renewed = asyncio.Condition()

    def touch(self) -> None:
        """Something that is summed up changed."""
        self._stale.set()

    def say_again(self) -> None:
        """The next revision is said even where it says the same.

        The hub does not ask again for what was refused until the summary has moved on; and what stood in the way may
        have come and gone between two summaries.
        """
        self._say_again = True
        self._stale.set()

    def served(self, kinds: frozenset[str]) -> None:
        if kinds != self._kinds:
            self._kinds = kinds
            self._stale.set()

    async def run(self) -> None:
        while True:
            await self._stale.wait()
            self._stale.clear()
            await self.renew()
            await asyncio.sleep(INTERVAL_S)

    async def renew(self) -> None:
        revision = int(self._clock().timestamp() * 1000)
        present = self._present
        if present is not None:
            revision = max(revision, present.revision + 1)
        counted = tuple(self._jobs.counted())
        summary = self._summariser.summarise(
            self._inventory.actual_nodes(), self._kinds, revision, ((job, epoch) for job, epoch, _ in counted)
        )
        resized = frozenset(one for one in counted if one[2])
        summary = replace(summary, policy=self._policy, resized=resized, resizes=True)
        gpus_unusable, why_unusable = self._unusable()
        if gpus_unusable or why_unusable:
            summary = replace(summary, gpus_unusable=gpus_unusable, why_unusable=why_unusable)
        if present is not None and not self._say_again and summary == replace(present, revision=revision):
            return
        self._say_again = False
        async with self._renewed:
            self._present = summary
            self._renewed.notify_all()

    async def wait(self, after_revision: int) -> Summary:
        async with self._renewed:
            while self._present is None or self._present.revision <= after_revision:
                await self._renewed.wait()
            return self._present
