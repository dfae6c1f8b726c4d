"""The one place that knows which database it is.

SQLite: WAL, `synchronous=FULL` (what was committed survives the loss of power), `BEGIN IMMEDIATE` for the writer,
readers that cannot write, a lock file, since two processes on one file would both believe their copies in memory, and
a file that only its owner reads. PostgreSQL: its own defaults; which replica leads is another matter.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.pool import QueuePool

BUSY_TIMEOUT_MS = 10_000


class DatabaseInUse(Exception):
    """Another hub process has this database open."""


@dataclass(frozen=True, slots=True)
class Engines:
    writer: Engine
    readers: Engine

    def dispose(self) -> None:
        self.readers.dispose()
        self.writer.dispose()


def open_engines(url: str, readers: int) -> Engines:
    """A writer with one connection, and the readers'. PostgreSQL shares nothing between them either."""
    if not is_sqlite(url):
        return Engines(
            create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True),
            create_engine(url, pool_size=readers, max_overflow=0, pool_pre_ping=True),
        )
    _make_private(_file_of(url))
    writer = _sqlite(url, 1)
    event.listen(writer, "begin", _begin_immediate)
    reading = _sqlite(url, readers)
    event.listen(reading, "connect", _read_only)
    event.listen(reading, "begin", _begin)
    return Engines(writer, reading)


def is_sqlite(url: str) -> bool:
    return make_url(url).get_backend_name() == "sqlite"


def _make_private(database: Path) -> None:
    """SQLite gives a new file, whatever is in it, the mode that the umask leaves; -wal and -shm take the file's own."""
    os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _sqlite(url: str, connections: int) -> Engine:
    engine = create_engine(
        url, poolclass=QueuePool, pool_size=connections, max_overflow=0, connect_args={"check_same_thread": False}
    )
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, record: object) -> None:
    # The driver must not open transactions by itself: `begin` below does.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-65536",  # KiB
        "temp_store=MEMORY",
        # Checkpoints cost several syncs; the log may grow to 32 MiB between them.
        "wal_autocheckpoint=8192",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _read_only(connection: Any, record: object) -> None:
    connection.execute("PRAGMA query_only=ON")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


class FileLock:
    """Held while the store is open; the kernel gives it back when the process dies, however it dies."""

    def __init__(self, url: str) -> None:
        self._file: int | None = None
        if is_sqlite(url):
            self._file = _lock(_file_of(url))

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _file_of(url: str) -> Path:
    name = make_url(url).database
    if not name or name == ":memory:":
        raise ValueError(f"{url}: SQLite in memory is not a store (readers have connections of their own); name a file")
    return Path(name)


def _lock(database: Path) -> int:
    database.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(database.with_name(database.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise DatabaseInUse(f"{database} is open in another hub process; stop that one first") from error
    return file
