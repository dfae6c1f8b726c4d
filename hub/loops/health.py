"""What only the passing of time brings about: silent clusters, sightings worth keeping, tokens nobody used, and jobs
that ended long ago."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from hub.federation import Federation
from hub.loops.resume import REMEMBERED
from hub.store import attempts, audit, clusters, cost_days, retention
from hub.store.store import Store, StoreClosed

log = logging.getLogger(__name__)

# Expired tokens are kept for a day, so that who comes late is told "expired" and not "unknown".
TOKENS_KEPT = timedelta(days=1)
# For who looks into what went wrong; the spoke's ledger and the job's events say more.
ACKNOWLEDGED_KEPT = timedelta(days=1)
KEEP_ENDED_DAYS = 30.0
# Thirteen months and a few days: a month is told beside the same one of the year before.
AUDIT_KEPT = timedelta(days=400)
COST_DAYS_KEPT = timedelta(days=400)
# A tick's share, so that other writes never wait long: every five seconds, that is fifty million jobs a month.
JOBS_A_TICK = 100
SCRUBBED_EVERY = timedelta(minutes=10)
COMMANDS_A_TICK = 1000


class HealthLoop:
    def __init__(
        self,
        store: Store,
        federation: Federation,
        *,
        clock: Callable[[], datetime],
        keep_ended_days: float = KEEP_ENDED_DAYS,
    ) -> None:
        self._store = store
        self._federation = federation
        self._clock = clock
        self._keep_ended = timedelta(days=keep_ended_days)
        self._scrubbed = clock()

    async def run(self) -> None:
        """Every heartbeat interval, for ever; ends when cancelled or when the store is closed."""
        while True:
            try:
                await self.tick()
            except StoreClosed:
                return
            except Exception:
                log.exception("a health check failed")
            await asyncio.sleep(self._federation.heartbeat_s)

    async def tick(self) -> None:
        now = self._clock()
        for cluster, health in self._federation.tick(now):
            log.warning("cluster %s is %s", cluster, health.value)
        unsaved = self._federation.take_unsaved()

        def keep(session: Session) -> None:
            clusters.keep(session, unsaved)
            clusters.forget_tokens(session, now - TOKENS_KEPT)

        def forget(session: Session) -> None:
            retention.forget_jobs(session, now - self._keep_ended, JOBS_A_TICK)
            retention.forget_commands(session, now - ACKNOWLEDGED_KEPT, COMMANDS_A_TICK)
            audit.forget(session, now - max(self._keep_ended, AUDIT_KEPT), COMMANDS_A_TICK)
            attempts.forget(session, now - max(self._keep_ended, REMEMBERED))
            cost_days.forget(session, now - max(self._keep_ended, COST_DAYS_KEPT))

        await self._store.write(keep)
        await self._store.write(forget)
        if now - self._scrubbed >= SCRUBBED_EVERY:
            self._scrubbed = now
            await self._store.scrub()
