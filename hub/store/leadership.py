"""Which replica leads, as one row of the database, and the fence that the row is.

The row has a term, which grows with each change. A replica takes it by writing over exactly what it has seen, so of
several that try at once one succeeds. The leader begins every transaction by updating the row under its own term: from
then to the commit nobody else can take it, and a replica that was paused or cut off while another took over finds a
later term there and writes nothing, however late it wakes up. All times are the database's.

Each of the leader's transactions leaves its number in the row. A commit whose answer was lost with the connection is
therefore no riddle: the next look at the row, which waits for the one before to be over, says whether it was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, func, inspect, select, update

from hub.store import migrate, rows

# A transaction of the present leader is under way; it is over soon, or the server ends it.
_LOCK_TIMEOUT = "2s"


class Deposed(Exception):
    """Another replica has taken over: nothing of this transaction was done, and nothing of a later one will be."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """The row. It is held until `renewed` + `lease_s`, and not at all where there is no holder."""

    term: int
    holder: str
    ca_fingerprint: str
    since: datetime
    renewed: datetime
    lease_s: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a replica writes into the row when it takes it."""

    name: str
    ca_fingerprint: str
    lease_s: float


_row = rows.leadership.c
_NOW = func.clock_timestamp(type_=rows.Utc())


def look(engine: Engine) -> tuple[Tenure, datetime]:
    """The row, and the database's time. Makes the tables where there are none yet. Raises migrate.NewerDatabase."""
    with engine.connect() as connection:
        made = inspect(connection).has_table(rows.leadership.name)
        if made:
            migrate.check(connection)
    if not made:
        migrate.upgrade(engine)
    query = select(_row.term, _row.holder, _row.ca_fingerprint, _row.since, _row.renewed, _row.lease_s, _NOW)
    with engine.connect() as connection:
        *tenure, now = connection.execute(query).one()
    return Tenure(*tenure), now


def take(engine: Engine, seen: Tenure, candidate: Candidate) -> Term | None:
    """None where the row is no longer what was seen."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        taken = connection.execute(
            update(rows.leadership)
            .where(_row.term == seen.term, _row.holder == seen.holder, _row.renewed == seen.renewed)
            .values(
                term=seen.term + 1,
                holder=candidate.name,
                ca_fingerprint=candidate.ca_fingerprint,
                since=_NOW,
                renewed=_NOW,
                lease_s=candidate.lease_s,
                written=0,
            )
        )
        return Term(seen.term + 1) if taken.rowcount == 1 else None


def release(engine: Engine, term: Term) -> bool:
    """So that the next one need not wait for the lease to run out. False where it was another's already."""
    with engine.begin() as connection:
        given_back = connection.execute(update(rows.leadership).where(_row.term == term.number).values(holder=""))
        return given_back.rowcount == 1


class Term:
    """A term that was taken: the fence of the writer's transactions, one after the other."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._begun = 0

    def begin(self, connection: Connection) -> None:
        """First of all in every writing transaction. Raises Deposed."""
        number = self._begun + 1
        self._update(connection, renewed=_NOW, written=number)
        self._begun = number

    def was_committed(self, connection: Connection) -> bool:
        """Whether the transaction begun last was. Waits until it is over, one way or the other. Raises Deposed."""
        self._update(connection, renewed=_NOW)
        written: int = connection.execute(select(_row.written)).scalar_one()
        return written == self._begun

    def _update(self, connection: Connection, **values: object) -> None:
        mine = update(rows.leadership).where(_row.term == self.number, _row.holder != "")
        held = connection.execute(mine.values(**values))
        if held.rowcount != 1:
            raise Deposed(f"another replica has taken over from this one, which led in term {self.number}")
