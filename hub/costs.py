"""What was spent: sums by queue, user, cluster, job or day, of what the caller may see."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

from hub.errors import Invalid
from hub.records import Actor, CostQuery, CostReport
from hub.store import costs
from hub.store.store import Store

MAX_LINES = 10_000
MAX_DAYS = 1_000


class Costs:
    def __init__(self, store: Store, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def today(self) -> date:
        """The UTC day that the hub's clock shows."""
        return self._clock().astimezone(UTC).date()

    async def report(self, actor: Actor, query: CostQuery) -> CostReport:
        """Running attempts are counted up to now. Raises Invalid."""
        now = self._clock().astimezone(UTC)
        if query.until < query.since:
            raise Invalid(
                f"since is {query.since}, until {query.until}: there is no day between them",
                code="bad-period",
                mend="give the earlier day as since",
            )
        if (query.until - query.since).days >= MAX_DAYS:
            raise Invalid(
                f"{query.since} to {query.until} are more than {MAX_DAYS} days",
                code="bad-period",
                mend="ask for fewer; days older than 13 months are not kept",
            )
        if not 1 <= query.limit <= MAX_LINES:
            raise Invalid(f"limit is {query.limit}", code="bad-limit", mend=f"ask for 1 to {MAX_LINES} lines")
        return await self._store.read(lambda session: costs.report(session, actor, query, now))
