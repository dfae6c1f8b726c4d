"""A process beside those of a pod of the host cluster, or a connection to a port that they listen on.

The process gets the environment and the working directory that the container's own has, in a session of its own; all of
that session ends with the stream. Ports are this machine's, and shared by everything on it: only those that the pod's
processes listen on can be reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from spoke.cluster import exec_shim, pod_shim
from spoke.cluster.host_runs import Run, RunState
from spoke.cluster.port import PodStream, Refused, Unavailable
from wire.tunnels import STDERR, STDOUT, Process

_PIECE = 32 * 1024
_LISTENS = "0A"
_END_OF_INPUT = b"\x04"


async def execute(run: Run, process: Process) -> PodStream:
    """Raises Refused, Unavailable."""
    if run.state is not RunState.RUNNING:
        raise Refused(f'container "{run.container}" does not run: it has {"ended" if run.exit else "not started yet"}')
    try:
        spec = json.loads((run.directory / "spec.json").read_text())
    except (OSError, ValueError) as error:
        raise Unavailable(f'what container "{run.container}" was started with cannot be read: {error}') from error
    words = [sys.executable, "-I", "-S", exec_shim.__file__, str(os.getpid()), *process.command]
    env, cwd = {**spec["env"], **({"TERM": "xterm"} if process.tty else {})}, spec["cwd"]
    try:
        if process.tty:
            return await _with_terminal(words, env, cwd, process)
        started = await asyncio.create_subprocess_exec(
            *words,
            env=env,
            cwd=cwd,
            stdin=asyncio.subprocess.PIPE if process.stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_PIECE,
        )
    except (OSError, ValueError) as error:
        raise Refused(f"the process cannot be started: {error}") from error
    return _Piped(started)


async def forward(run: Run, port: int) -> PodStream:
    """Raises Refused, Unavailable."""
    if port not in await asyncio.to_thread(listened, run.directory):
        raise Refused(f"no process of container {run.container} listens on port {port}")
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_PIECE)
    except OSError as error:
        raise Refused(f"port {port} cannot be reached: {error}") from error
    return _Connection(reader, writer)


async def _with_terminal(words: list[str], env: Mapping[str, str], cwd: str, process: Process) -> PodStream:
    master, slave = pty.openpty()
    try:
        os.set_blocking(master, False)
        _set_size(master, process.columns or 80, process.rows or 24)
        started = await asyncio.create_subprocess_exec(
            *words, env=env, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return _Terminal(started, master)


class _Child:
    exit_code: int | None = None

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child

    async def close(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGHUP)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5 if self._child.returncode is None else 0.0):
                await self._child.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        await self._child.wait()

    async def _ended(self) -> None:
        code = await self._child.wait()
        self.exit_code = code if code >= 0 else 128 - code


class _Piped(_Child):
    def __init__(self, child: asyncio.subprocess.Process) -> None:
        super().__init__(child)
        self._pieces: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(2)
        self._readers = [
            asyncio.create_task(self._pump(STDOUT, child.stdout)),
            asyncio.create_task(self._pump(STDERR, child.stderr)),
        ]
        self._open = len(self._readers)

    async def write(self, data: bytes) -> None:
        if self._child.stdin is not None:
            with contextlib.suppress(ConnectionError):  # it reads no more, as a pipe's reader may
                self._child.stdin.write(data)
                await self._child.stdin.drain()

    async def write_end(self) -> None:
        if self._child.stdin is not None:
            self._child.stdin.close()

    async def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""

    async def read(self) -> tuple[int, bytes] | None:
        while self._open:
            channel, data = await self._pieces.get()
            if data:
                return channel, data
            self._open -= 1
        await self._ended()
        return None

    async def close(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        if self._child.stdin is not None:
            self._child.stdin.close()
        await super().close()

    async def _pump(self, channel: int, source: asyncio.StreamReader | None) -> None:
        data = b"-"
        while data and source is not None:
            data = await source.read(_PIECE)
            await self._pieces.put((channel, data))


class _Terminal(_Child):
    def __init__(self, child: asyncio.subprocess.Process, master: int) -> None:
        super().__init__(child)
        self._master = master
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._waiting = asyncio.create_task(self._ended())

    async def write(self, data: bytes) -> None:
        while data and not self._is_closed:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                await self._until(self._loop.add_writer, self._loop.remove_writer)
            except OSError:  # nobody has the terminal any more
                return

    async def write_end(self) -> None:
        await self.write(_END_OF_INPUT)

    async def resize(self, columns: int, rows: int) -> None:
        with contextlib.suppress(OSError):
            _set_size(self._master, columns, rows)

    async def read(self) -> tuple[int, bytes] | None:
        while not self._is_closed:
            ended = self._waiting.done()  # asked before reading: what it wrote last is there by then
            try:
                data = os.read(self._master, _PIECE)
            except BlockingIOError:
                if ended:
                    break  # what it left behind in the background has the terminal still
                await self._until(self._loop.add_reader, self._loop.remove_reader)
                continue
            except OSError:  # nobody has the terminal any more
                break
            if not data:
                break
            return STDOUT, data
        await self._waiting
        return None

    async def close(self) -> None:
        await super().close()
        self._waiting.cancel()
        if not self._is_closed:
            self._is_closed = True
            os.close(self._master)

    async def _until(self, add: Callable[[int, Callable[[], object]], None], remove: Callable[[int], object]) -> None:
        """That the terminal can be read, or written; or that its process has ended."""
        ready = asyncio.Event()
        waiting = asyncio.create_task(ready.wait())
        add(self._master, ready.set)
        try:
            await asyncio.wait({waiting, self._waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            remove(self._master)
            waiting.cancel()


class _Connection:
    exit_code: int | None = None

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise Unavailable(f"the connection broke: {error}") from error

    async def write_end(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    async def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""

    async def read(self) -> tuple[int, bytes] | None:
        try:
            data = await self._reader.read(_PIECE)
        except OSError as error:
            raise Unavailable(f"the connection broke: {error}") from error
        return (STDOUT, data) if data else None

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def listened(directory: Path) -> frozenset[int]:
    """The TCP ports that a run's processes listen on, as far as /proc tells."""
    try:
        shim = int(json.loads((directory / "shim.json").read_text())["pid"])
    except (OSError, ValueError, KeyError):
        return frozenset()
    sockets = {link for pid in pod_shim.descendants(shim) for link in _sockets(pid)}
    return frozenset(port for port, inode in _listening() if f"socket:[{inode}]" in sockets)


def _sockets(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                link = str(entry.readlink())
                if link.startswith("socket:"):
                    yield link


def _listening() -> Iterator[tuple[int, str]]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if len(fields) > 9 and fields[3] == _LISTENS:
                    yield int(fields[1].rpartition(":")[2], 16), fields[9]


def _set_size(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", min(rows, 65_535), min(columns, 65_535), 0, 0))
