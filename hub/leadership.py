"""Several replicas of the hub on one PostgreSQL: one leads, the others stand by until it is gone.

The row that decides, and the fence that keeps a leader of yesterday from writing, are `hub.store.leadership`'s; here is
when to reach for it and when to let go. A standby looks at the row every half second; it takes the row when the leader
has given it back, or has not renewed it for as long as it promised to. The leader renews three times in that time, by a
write like any other; one that could not for as long as its lease ends itself, since the spokes connected to it would
otherwise never find the leader after it.

Not promised: that a leader knows at once that it is none any more. Until it writes, or its lease is over by its own
clock, it answers what it last knew; what it sends to spokes is fenced by (job, epoch) as ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from hub.store import leadership
from hub.store.dialect import open_unpooled
from hub.store.leadership import Candidate, Deposed, Tenure, Term
from hub.store.store import OutcomeUnknown, Store, StoreClosed, StoreUnavailable

log = logging.getLogger(__name__)

LOOK_S = 0.5


class AnotherAuthority(Exception):
    """The leader signs with another CA: under this replica, no spoke's certificate would be good any more."""


@dataclass(frozen=True, slots=True)
class Take:
    """Nobody leads."""


@dataclass(frozen=True, slots=True)
class StandBy:
    leader: str
    since: datetime
    same_authority: bool

    def __str__(self) -> str:
        return f"standby; {self.leader} leads since {self.since:%F %T} UTC"


def decide(tenure: Tenure, now: datetime, ca_fingerprint: str) -> Take | StandBy:
    """`now` is the database's."""
    if not tenure.holder or now >= tenure.renewed + timedelta(seconds=tenure.lease_s):
        return Take()
    return StandBy(tenure.holder, tenure.since, tenure.ca_fingerprint == ca_fingerprint)


class Campaign:
    """One replica's way to a term. `lead` once, then `give_back`, once nothing is written any more."""

    def __init__(self, url: str, candidate: Candidate, *, look_s: float = LOOK_S) -> None:
        self._engine: Engine = open_unpooled(url)
        self._candidate = candidate
        self._look_s = look_s
        self._said = ""

    async def lead(self, tell: Callable[[str], None]) -> Term:
        """Returns when this replica leads; `tell` hears, in words, what it waits for until then.

        A database that cannot be reached is waited for. Raises AnotherAuthority, migrate.NewerDatabase.
        """
        while True:
            try:
                found = await asyncio.to_thread(self._try)
            except SQLAlchemyError as error:
                found = f"the database does not answer: {str(error).splitlines()[0]}"
            if isinstance(found, Term):
                return found
            if found != self._said:
                (log.info if found.startswith("standby") else log.warning)("%s", found)
                self._said = found
            tell(found)
            await asyncio.sleep(self._look_s)

    def _try(self) -> Term | str:
        seen, now = leadership.look(self._engine)
        verdict = decide(seen, now, self._candidate.ca_fingerprint)
        if isinstance(verdict, StandBy):
            if not verdict.same_authority:
                raise AnotherAuthority(
                    f"{verdict.leader} leads since {verdict.since:%F %T} UTC and has another CA than this replica"
                )
            return str(verdict)
        if seen.ca_fingerprint not in ("", self._candidate.ca_fingerprint):
            log.warning("the replica that led last had another CA: every cluster must join again")
        return leadership.take(self._engine, seen, self._candidate) or "standby; another replica was quicker"

    async def give_back(self, term: Term) -> None:
        try:
            if await asyncio.to_thread(leadership.release, self._engine, term):
                log.info("gave term %d back", term.number)
        except SQLAlchemyError as error:
            log.warning("could not give term %d back, its lease must run out: %s", term.number, error)


async def keep(
    store: Store, lease_s: float, *, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
) -> str:
    """Renews the term until it is lost, and answers why. `clock` is this process's own, in seconds.

    A renewal is an empty write: the fence at its beginning is what renews.
    """
    renewed = clock()
    while True:
        asked = clock()
        try:
            async with asyncio.timeout(max(0.0, renewed + lease_s - asked)):
                await store.write(_nothing)
            renewed = asked
        except (Deposed, OutcomeUnknown) as error:
            return str(error)
        except StoreClosed:
            return "the store was closed"
        except (StoreUnavailable, SQLAlchemyError, TimeoutError) as error:
            log.warning("the term could not be renewed: %s", error or "no answer in time")
            if clock() >= renewed + lease_s:
                return f"the term was not renewed for {lease_s:g} s, and another replica may lead"
        await sleep(lease_s / 3 if renewed == asked else min(1.0, lease_s / 10))


def _nothing(session: Session) -> None:
    pass
