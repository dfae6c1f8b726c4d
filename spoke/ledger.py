"""The spoke's durable memory: which jobs it was told to run or stop, where it meant to bind them, what it reported.

Everything the agent does can be found out again from the cluster, except these; so they are on disk before anybody acts
on them, and a `kill -9` at any moment loses nothing that was acknowledged. All entries live in memory as well (a spoke
has thousands of jobs, not millions): a change is made there first, and the call returns once it is on disk. One thread
writes, and everything that changed while it was busy goes into its next transaction, so that a burst of calls costs a
few fsyncs. If the disk fails, the ledger fails for good and the agent must end: memory then knows more than the disk.

SQLite, one connection, WAL, synchronous=FULL, locked for this process. Not promised: two agents on one file (the
second one is told), and memory of ended jobs beyond the newest TOMBSTONES of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import orjson

from placement.lifecycle import Event
from placement.objects import ObjectKey
from placement.tally import Tally
from spoke import entry as rules
from spoke.distribution import standing
from spoke.distribution.standing import Standing
from spoke.entry import Desired, Entry, StartOrder
from wire import link_pb2 as pb
from wire.distribution import DistributionAck, DistributionOrder, DistributionRef
from wire.orders import Command, CommandAck, JobRef, PodPlace, Report, ReportAck, RoleCount, Staging
from wire.translate import (
    moves_from_wire,
    moves_to_wire,
    report_from_wire,
    report_to_wire,
    workload_from_wire,
    workload_to_wire,
)

TOMBSTONES = 20_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    job TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL, desired TEXT NOT NULL, started INTEGER NOT NULL,
    grace_s REAL NOT NULL, stop_reason TEXT NOT NULL, assignment BLOB NOT NULL, bound INTEGER NOT NULL,
    seq INTEGER NOT NULL, acked_seq INTEGER NOT NULL, reports BLOB NOT NULL,
    created INTEGER NOT NULL DEFAULT 0, hand_back TEXT NOT NULL DEFAULT '',
    size INTEGER NOT NULL DEFAULT 0, pods TEXT NOT NULL DEFAULT '{}',
    pods_before TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS starts (
    job TEXT PRIMARY KEY, objects BLOB NOT NULL, workload BLOB NOT NULL, spot INTEGER NOT NULL,
    moves BLOB NOT NULL DEFAULT x'') WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS distributions (
    name TEXT PRIMARY KEY, generation INTEGER NOT NULL, objects BLOB NOT NULL, adopt INTEGER NOT NULL,
    remaining BLOB NOT NULL) WITHOUT ROWID;
"""
# REPLACE gives a job a new rowid, so that rowids tell which tombstones are the oldest.
_INSERT_JOB = "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_START = "INSERT OR REPLACE INTO starts VALUES (?, ?, ?, ?, ?)"
_INSERT_DISTRIBUTION = "INSERT OR REPLACE INTO distributions VALUES (?, ?, ?, ?, ?)"
_OWN_GRACE = -1.0  # in grace_s: as each pod says itself
_VERSION = 5
_HAND_BACK = "ALTER TABLE jobs ADD COLUMN hand_back TEXT NOT NULL DEFAULT '';"
_WAS_LOST = "UPDATE jobs SET hand_back = 'refuse' WHERE lost; ALTER TABLE jobs DROP COLUMN lost;"
_MOVES = "ALTER TABLE starts ADD COLUMN moves BLOB NOT NULL DEFAULT x'';"
_SIZES = (
    "ALTER TABLE jobs ADD COLUMN size INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE jobs ADD COLUMN pods TEXT NOT NULL DEFAULT '{}';"
    "ALTER TABLE jobs ADD COLUMN pods_before TEXT NOT NULL DEFAULT '{}';"
)
# What the tables of each earlier version lack.
_MIGRATIONS = {
    1: "ALTER TABLE jobs ADD COLUMN created INTEGER NOT NULL DEFAULT 0;" + _HAND_BACK + _MOVES + _SIZES,
    2: _HAND_BACK + _WAS_LOST + _MOVES + _SIZES,
    3: _MOVES + _SIZES,
    4: _SIZES,
}

Row = tuple[object, ...]


class LedgerUnusable(Exception):
    """The file cannot be opened or written. The agent cannot go on without it."""


class Ledger:
    """Made by `open`. Every method that changes something returns once the change is durable."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._entries: dict[str, Entry] = {}
        self._gone: dict[str, Entry] = {}  # tombstones, oldest first
        self._dirty_jobs: dict[str, Row | None] = {}  # None: to be deleted
        self._dirty_starts: dict[str, Row | None] = {}
        self._distributions: dict[str, Standing] = {one.ref.name: one for one in _load_distributions(connection)}
        self._dirty_distributions: dict[str, Row | None] = {}
        self._changes = 0
        self._written = 0
        self._flush: asyncio.Task[None] | None = None
        self._failure: LedgerUnusable | None = None
        for entry in _load(connection):
            (self._gone if entry.desired is Desired.GONE else self._entries)[entry.ref.job] = entry

    @staticmethod
    def open(path: Path) -> Ledger:
        """Raises LedgerUnusable."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _make_private(path)
            return Ledger(_connect(path))
        except (sqlite3.Error, OSError) as error:
            hint = "; another agent uses it" if "locked" in str(error) else ""
            raise LedgerUnusable(f"the ledger {path} cannot be opened: {error}{hint}") from error

    async def close(self) -> None:
        try:
            await self._durable()
        finally:
            self._thread.shutdown()
            self._db.close()

    async def accept(self, commands: Sequence[Command], first_seq: int = 0) -> tuple[CommandAck, ...]:
        """One answer per command, in order. Reports of what is not known here are numbered from `first_seq` on."""
        acks = []
        for command in commands:
            job = command.ref.job
            before = self._entries.get(job) or self._gone.get(job)
            after, ack = rules.accept(before, command, first_seq)
            acks.append(ack)
            if after is not None and after is not before:
                self._put(after, with_start=before is None or before.start is not after.start)
        await self._durable()
        return tuple(acks)

    async def entries(self) -> tuple[Entry, ...]:
        """Every job that is to run or to be stopped; no tombstones."""
        present = tuple(self._entries.values())
        await self._durable()
        return present

    async def entry(self, job: str) -> Entry | None:
        present = self._entries.get(job)
        await self._durable()
        return present

    async def save_assignment(self, ref: JobRef, pods: Sequence[PodPlace]) -> bool:
        """Before the first pod is bound. False where this epoch is not to run any more: then bind nothing."""
        entry = self._current(ref)
        if entry is None or entry.desired is not Desired.START:
            return False
        self._put(replace(entry, assignment=tuple(pods), bound=False, created=True))
        await self._durable()
        return True

    async def mark_created(self, ref: JobRef) -> None:
        """The workload object was made. Before the first pod is bound: until then nothing ran, and it is made anew."""
        entry = self._current(ref)
        if entry is not None and not entry.created:
            self._put(replace(entry, created=True))
        await self._durable()

    def unknown(self, live: Iterable[JobRef]) -> frozenset[JobRef]:
        """What the hub counts as holding capacity here and this ledger never heard of."""
        return frozenset(ref for ref in live if self._newest_epoch(ref.job) < ref.epoch)

    async def note_lost(self, refs: Iterable[JobRef], reason: str, first_seq: int) -> tuple[Entry, ...]:
        """Entries for those of them that are still unknown: to be stopped, and refused then."""
        found = tuple(rules.lost(ref, reason, first_seq) for ref in self.unknown(refs))
        for entry in found:
            self._put(entry, with_start=True)
        await self._durable()
        return found

    async def hand_back(self, ref: JobRef, event: Event, reason: str, grace_s: float | None) -> bool:
        """The cluster took it away. False where it is not to run any more, or has ended."""
        entry = self._current(ref)
        after = rules.handed_back(entry, event, reason, grace_s) if entry is not None else None
        if after is None or after is entry:
            return False
        self._put(after)
        await self._durable()
        return True

    async def keep_size(self, ref: JobRef, revision: int) -> None:
        """The cluster does not take the size of that revision."""
        entry = self._current(ref)
        if entry is not None and entry.size == revision:
            self._put(rules.kept_size(entry))
        await self._durable()

    async def mark_bound(self, ref: JobRef) -> None:
        """Every pod of the saved assignment is bound."""
        entry = self._current(ref)
        if entry is not None and not entry.bound:
            self._put(replace(entry, bound=True))
            await self._durable()

    async def record_report(
        self,
        ref: JobRef,
        event: Event,
        reason: str,
        roles: Sequence[RoleCount],
        pods: Sequence[PodPlace],
        now: datetime,
        *,
        staging: Staging | None = None,
        checkpoint_at: datetime | None = None,
        stalled_since: datetime | None = None,
        progress: Tally | None = None,
        retries: Tally | None = None,
        size: int = 0,
        size_refused: str = "",
    ) -> Report | None:
        """The report to send, numbered; None where it says nothing new or the epoch is not the present one here."""
        entry = self._current(ref)
        if entry is None:
            return None
        more = (staging, checkpoint_at, stalled_since, progress, retries, size, size_refused)
        after = rules.reported(entry, event, reason, roles, pods, now, *more)
        if after is entry:
            return None
        self._put(after)
        await self._durable()
        return after.report

    async def reports_acked(self, acks: Iterable[ReportAck]) -> None:
        for ack in acks:
            entry = self._current(ack.ref)
            if entry is not None:
                after = rules.acknowledged(entry, ack)
                if after is not entry:
                    self._put(after)
        await self._durable()

    async def unacked(self) -> tuple[Report, ...]:
        """Every report that the hub has not acknowledged and that no later one replaces, by job oldest first."""
        waiting = tuple(report for entry in self._entries.values() for report in entry.unacked)
        # A report may only leave once its number is on disk: after a crash the number would be given again.
        await self._durable()
        return waiting

    async def forget(self, ref: JobRef) -> None:
        """Once nothing of the epoch is left in the cluster and the hub knows it (or has no interest in it)."""
        entry = self._current(ref)
        if entry is not None:
            self._put(rules.tombstone(entry), with_start=True)
            await self._durable()

    async def orphans(self, live: Iterable[JobRef]) -> tuple[JobRef, ...]:
        """What is here beyond what the hub counts as holding capacity here."""
        wanted = set(live)
        beyond = tuple(entry.ref for entry in self._entries.values() if entry.ref not in wanted)
        await self._durable()
        return beyond

    # ---- what configures the cluster ----

    async def distributions(self) -> tuple[Standing, ...]:
        present = tuple(self._distributions.values())
        await self._durable()
        return present

    async def accept_distributions(self, orders: Sequence[DistributionOrder]) -> tuple[DistributionAck, ...]:
        """One answer per order, in order."""
        acks = []
        for order in orders:
            before = self._distributions.get(order.ref.name)
            after, ack = standing.accept(before, order)
            acks.append(ack)
            if after is not before:
                self._put_distribution(after)
        await self._durable()
        return tuple(acks)

    async def distribution_removed(self, ref: DistributionRef, keys: Collection[ObjectKey]) -> Standing | None:
        """These are gone from the cluster. What stands then; None where another order came meanwhile."""
        before = self._distributions.get(ref.name)
        if before is None or before.ref != ref:
            return None
        after = replace(before, left=tuple(key for key in before.left if key not in keys))
        self._put_distribution(after)
        await self._durable()
        return after

    async def forget_distribution(self, ref: DistributionRef) -> None:
        """A tombstone that the hub waits for no more."""
        before = self._distributions.get(ref.name)
        if before is not None and before.ref == ref and before.is_over:
            del self._distributions[ref.name]
            self._dirty_distributions[ref.name] = None
            self._changes += 1
            await self._durable()

    def _put_distribution(self, one: Standing) -> None:
        self._dirty_distributions[one.ref.name] = _distribution_row(one)
        self._distributions[one.ref.name] = one
        self._changes += 1

    def _newest_epoch(self, job: str) -> int:
        known = self._entries.get(job) or self._gone.get(job)
        return known.ref.epoch if known is not None else 0

    def _current(self, ref: JobRef) -> Entry | None:
        entry = self._entries.get(ref.job)
        return entry if entry is not None and entry.ref == ref else None

    def _put(self, entry: Entry, *, with_start: bool = False) -> None:
        job = entry.ref.job
        # Encoded before anything is changed: a value that cannot be stored is its caller's failure, not the ledger's.
        row, start = _job_row(entry), _start_row(entry) if with_start else None
        gone = entry.desired is Desired.GONE
        (self._entries if gone else self._gone).pop(job, None)
        (self._gone if gone else self._entries)[job] = entry
        self._dirty_jobs[job] = row
        if with_start:
            self._dirty_starts[job] = start
        while len(self._gone) > TOMBSTONES:
            oldest = next(iter(self._gone))
            del self._gone[oldest]
            self._dirty_jobs[oldest] = None
        self._changes += 1

    async def _durable(self) -> None:
        """Returns when everything changed until now is on disk. Raises LedgerUnusable, from then on always."""
        wanted = self._changes
        while self._written < wanted:
            if self._failure is not None:
                raise self._failure
            if self._flush is None:
                self._flush = asyncio.ensure_future(self._flush_dirty())
            # Shielded: others wait for the same transaction.
            await asyncio.shield(self._flush)

    async def _flush_dirty(self) -> None:
        reached, jobs, starts = self._changes, self._dirty_jobs, self._dirty_starts
        tables = (
            (_INSERT_JOB, "DELETE FROM jobs WHERE job = ?", jobs),
            (_INSERT_START, "DELETE FROM starts WHERE job = ?", starts),
            (_INSERT_DISTRIBUTION, "DELETE FROM distributions WHERE name = ?", self._dirty_distributions),
        )
        self._dirty_jobs, self._dirty_starts, self._dirty_distributions = {}, {}, {}
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, _write, self._db, tables)
            self._written = reached
        except Exception as error:
            self._failure = LedgerUnusable(f"the ledger cannot be written: {error}")
            self._failure.__cause__ = error
        finally:
            self._flush = None


def _make_private(path: Path) -> None:
    """It holds what users keep in Secrets. SQLite gives the files beside it the mode that it has itself."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    for made in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        with contextlib.suppress(FileNotFoundError):
            made.chmod(0o600)


def _connect(path: Path) -> sqlite3.Connection:
    # Used by one thread at a time: the one that opens it, then the writer.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
    db.execute("PRAGMA locking_mode=EXCLUSIVE")  # before WAL: then no second process can open the file at all
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version not in (0, *_MIGRATIONS, _VERSION):
        raise sqlite3.DatabaseError(f"it is of version {version}, this agent knows {_VERSION}; use the newer agent")
    db.executescript(f"BEGIN; {_MIGRATIONS.get(version, '')} {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;")
    return db


def _load(db: sqlite3.Connection) -> Iterable[Entry]:
    starts = {
        job: StartOrder(
            objects, workload_from_wire(pb.Workload.FromString(workload)), bool(spot), moves_from_wire(moves)
        )
        for job, objects, workload, spot, moves in db.execute("SELECT job, objects, workload, spot, moves FROM starts")
    }
    columns = (
        "job, epoch, desired, started, grace_s, stop_reason, assignment, bound, seq, acked_seq, reports, created, "
        "hand_back, size, pods, pods_before"
    )
    for row in db.execute(f"SELECT {columns} FROM jobs ORDER BY rowid"):  # noqa: S608 - names of our own
        job, epoch, desired, started, grace_s, stop_reason, assignment, bound, seq, acked_seq, reports, *marks = row
        yield Entry(
            ref=JobRef(job, epoch),
            desired=Desired(desired),
            start=starts.get(job),
            started=bool(started),
            grace_s=None if grace_s == _OWN_GRACE else grace_s,
            stop_reason=stop_reason,
            assignment=tuple(
                PodPlace(pod, role, node, tuple(gpus)) for pod, role, node, gpus in orjson.loads(assignment)
            ),
            bound=bool(bound),
            seq=seq,
            acked_seq=acked_seq,
            reports=tuple(report_from_wire(report) for report in pb.Reports.FromString(reports).reports),
            created=bool(marks[0]),
            hand_back=Event(marks[1]) if marks[1] else None,
            size=marks[2],
            pods=orjson.loads(marks[3]),
            pods_before=orjson.loads(marks[4]),
        )


def _write(db: sqlite3.Connection, tables: Iterable[tuple[str, str, Mapping[str, Row | None]]]) -> None:
    """Of each table: how a row is put, how one is deleted, and the rows by key; None is one to be deleted."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for insert, delete, rows in tables:
            db.executemany(insert, [row for row in rows.values() if row is not None])
            db.executemany(delete, [(key,) for key, row in rows.items() if row is None])
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _load_distributions(db: sqlite3.Connection) -> Iterable[Standing]:
    query = "SELECT name, generation, objects, adopt, remaining FROM distributions ORDER BY name"
    for name, generation, objects, adopt, left in db.execute(query):
        keys = tuple(ObjectKey(*key) for key in orjson.loads(left))
        yield Standing(DistributionRef(name, generation), objects, bool(adopt), keys)


def _distribution_row(one: Standing) -> Row:
    left = orjson.dumps([[key.api_version, key.kind, key.namespace, key.name] for key in one.left])
    return one.ref.name, one.ref.generation, one.objects_json, one.adopt, left


def _job_row(entry: Entry) -> Row:
    pods = [(place.pod, place.role, place.node, place.gpus) for place in entry.assignment]
    return (
        entry.ref.job,
        entry.ref.epoch,
        entry.desired,
        entry.started,
        _OWN_GRACE if entry.grace_s is None else entry.grace_s,
        entry.stop_reason,
        orjson.dumps(pods),
        entry.bound,
        entry.seq,
        entry.acked_seq,
        pb.Reports(reports=[report_to_wire(report) for report in entry.reports]).SerializeToString(),
        entry.created,
        entry.hand_back or "",
        entry.size,
        orjson.dumps(entry.pods).decode(),
        orjson.dumps(entry.pods_before).decode(),
    )


def _start_row(entry: Entry) -> Row | None:
    start = entry.start
    if start is None:
        return None
    workload = workload_to_wire(start.workload).SerializeToString()
    return entry.ref.job, start.objects_json, workload, start.spot, moves_to_wire(start.moves)
