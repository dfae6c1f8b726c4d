"""The one place that knows which database it is.

SQLite: WAL, `synchronous=FULL` (what was committed survives the loss of power), `BEGIN IMMEDIATE` for the writer,
readers that cannot write, a lock file, since two processes on one file would both believe their copies in memory, and
a file that only its owner reads.

PostgreSQL: the writer reads what is committed (only one replica writes, hub.store.leadership sees to that), each reader
sees one snapshot and cannot write, either end of a dead connection notices within seconds, and a transaction that its
client has left lying is ended by the server, so that its locks are in nobody's way. Durability is the server's own
`synchronous_commit`. Not promised: a pooler in between that hands out connections by the transaction.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

BUSY_TIMEOUT_MS = 10_000
POSTGRESQL = "postgresql+psycopg"
# What libpq is told unless the URL says otherwise: a server that has vanished is noticed within some ten seconds.
_LIBPQ = {
    "application_name": "muster-hub",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 11_000,  # ms
}
# The same for the server, about a hub that has vanished or stands still.
_SESSION = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "11s",
    "idle_in_transaction_session_timeout": "10s",
}


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
        reading = _postgresql(url, readers, "REPEATABLE READ")
        event.listen(reading, "begin", _begin_read_only)
        return Engines(_postgresql(url, 1, "READ COMMITTED"), reading)
    _make_private(_file_of(url))
    writer = _sqlite(url, 1)
    event.listen(writer, "begin", _begin_immediate)
    reading = _sqlite(url, readers)
    event.listen(reading, "connect", _read_only)
    event.listen(reading, "begin", _begin)
    return Engines(writer, reading)


def scrub(engines: Engines) -> None:
    """What was written over is in SQLite's log until that is empty. Waits for readers, and holds up the writer."""
    if engines.readers.dialect.name == "sqlite":
        connection = engines.readers.raw_connection()  # outside of any transaction
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()


def is_sqlite(url: str) -> bool:
    """Raises ValueError for what is neither SQLite nor PostgreSQL."""
    backend = make_url(url).get_backend_name()
    if backend not in ("sqlite", "postgresql", "postgres"):
        raise ValueError(f"the hub keeps its tables in SQLite or PostgreSQL, not in {backend}")
    return backend == "sqlite"


def is_lost(error: BaseException) -> bool:
    """There is no connection to the database any more, or none can be had: the transaction is not going on."""
    if not isinstance(error, DBAPIError):
        return False
    # What libpq itself says, and not the server, has no code; the server's codes 57P.. are those of its shutdown.
    broken = isinstance(error.orig, psycopg.OperationalError) and (error.orig.sqlstate or "57P").startswith("57P")
    return error.connection_invalidated or broken


def open_unpooled(url: str) -> Engine:
    """For PostgreSQL alone: a fresh connection each time, for what is asked now and then."""
    return _postgresql(url, 0, "READ COMMITTED")


def _postgresql(url: str, connections: int, isolation: str) -> Engine:
    said = make_url(url)
    engine = create_engine(
        said.set(drivername=POSTGRESQL),
        isolation_level=isolation,
        connect_args={key: value for key, value in _LIBPQ.items() if key not in said.query},
        # A connection that the server's restart has cut is noticed before it is used.
        **({"pool_size": connections, "max_overflow": 0, "pool_pre_ping": True} if connections else _UNPOOLED),
    )
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


_UNPOOLED: dict[str, Any] = {"poolclass": NullPool}


class _WithoutNul(StrDumperUnknown):
    """PostgreSQL's text holds every character but NUL. What a spoke or a person sent must not stop a transaction."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))


def _prepare_postgresql(connection: psycopg.Connection[Any], record: object) -> None:
    connection.adapters.register_dumper(str, _WithoutNul)
    settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SESSION.items())
    connection.execute(f"SELECT {settings}")
    connection.commit()


def _begin_read_only(connection: Connection) -> None:
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")


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
        "secure_delete=ON",  # what is deleted or written over is zeroed
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
