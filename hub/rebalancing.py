"""What moving running jobs could win: asked by an admin, since it speaks of every tenant's jobs. Nothing is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from hub.federation import Federation
from hub.loops.backlog import Backlog
from hub.records import Actor
from hub.roles import admins_only
from placement.rebalance.planning import propose
from placement.rebalance.proposals import Proposal


class Rebalancing:
    def __init__(self, federation: Federation, backlog: Backlog, *, clock: Callable[[], datetime]) -> None:
        self._federation = federation
        self._backlog = backlog
        self._clock = clock

    async def plan(self, actor: Actor) -> Sequence[Proposal]:
        """The best first. Raises Forbidden."""
        admins_only(actor, "see every tenant's jobs")
        return await asyncio.to_thread(
            propose, self._federation.fleet(), self._backlog.decided_waiting(), self._clock()
        )
