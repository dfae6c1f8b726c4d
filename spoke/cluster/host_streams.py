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
import subprocess
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
        return _with_terminal(words, env, cwd, process) if process.tty else _with_pipes(words, env, cwd, process)
    except (OSError, ValueError) as error:
        raise Refused(f"the process cannot be started: {error}") from error


async def forward(run: Run, port: int) -> PodStream:
    """Raises Refused, Unavailable."""
    if port not in await asyncio.to_thread(listened, run.directory):
        raise Refused(f"no process of container {run.container} listens on port {port}")
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_PIECE)
    except OSError as error:
        raise Refused(f"port {port} cannot be reached: {error}") from error
    return _Connection(reader, writer)


def _with_terminal(words: list[str], env: Mapping[str, str], cwd: str, process: Process) -> PodStream:
    master, slave = pty.openpty()
    try:
        _set_size(master, process.columns or 80, process.rows or 24)
        child = _started(words, env, cwd, stdin=slave, stdout=slave, stderr=slave)
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    return _Child(child, master, {master: STDOUT}, terminal=master)


def _with_pipes(words: list[str], env: Mapping[str, str], cwd: str, process: Process) -> PodStream:
    to_child, stdin_fd = os.pipe() if process.stdin else (subprocess.DEVNULL, None)
    (stdout, to_stdout), (stderr, to_stderr) = os.pipe(), os.pipe()
    ours = [file for file in (stdin_fd, stdout, stderr) if file is not None]
    try:
        child = _started(words, env, cwd, stdin=to_child, stdout=to_stdout, stderr=to_stderr)
    except BaseException:
        for file in ours:
            os.close(file)
        raise
    finally:
        for file in (to_child, to_stdout, to_stderr):
            if file != subprocess.DEVNULL:
                os.close(file)
    return _Child(child, stdin_fd, {stdout: STDOUT, stderr: STDERR})


def _started(
    words: list[str], env: Mapping[str, str], cwd: str, *, stdin: int, stdout: int, stderr: int
) -> subprocess.Popen[bytes]:
    """By Popen and not by the event loop: that forks, and gRPC's handlers of forks end the child now and then."""
    return subprocess.Popen(
        words, env=dict(env), cwd=cwd, start_new_session=True, stdin=stdin, stdout=stdout, stderr=stderr
    )


class _Child:
    """Its descriptors are never waited for in a thread: there may be hundreds, and each may last for days."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        stdin: int | None,
        outputs: dict[int, int],
        *,
        terminal: int | None = None,
    ) -> None:
        """`outputs`: the channel of each descriptor. With a terminal it is the only one, and `stdin` too."""
        self.exit_code: int | None = None
        self._child = child
        self._stdin = stdin
        self._outputs = dict(outputs)
        self._terminal = terminal
        self._loop = asyncio.get_running_loop()
        self._files = {*outputs, *([stdin] if stdin is not None else [])}
        for file in self._files:
            os.set_blocking(file, False)
        self._waiting = asyncio.create_task(self._wait())

    async def write(self, data: bytes) -> None:
        while data and self._stdin is not None:
            try:
                data = data[os.write(self._stdin, data) :]
            except BlockingIOError:
                await self._until({self._stdin}, self._loop.add_writer, self._loop.remove_writer)
            except OSError:  # it reads no more, as a pipe's reader may
                return

    async def write_end(self) -> None:
        if self._terminal is not None:
            await self.write(_END_OF_INPUT)
        elif self._stdin is not None:
            self._close(self._stdin)
            self._stdin = None

    async def resize(self, columns: int, rows: int) -> None:
        if self._terminal is not None and self._terminal in self._files:
            with contextlib.suppress(OSError):
                _set_size(self._terminal, columns, rows)

    async def read(self) -> tuple[int, bytes] | None:
        while self._outputs:
            ended = self._waiting.done()  # asked before reading: what it wrote last is there by then
            for file, channel in list(self._outputs.items()):
                try:
                    data = os.read(file, _PIECE)
                except BlockingIOError:
                    continue
                except OSError:  # nobody has the terminal any more
                    data = b""
                if data:
                    return channel, data
                del self._outputs[file]
            if ended:
                break  # what it left behind in the background may have them still
            if self._outputs:
                await self._until(set(self._outputs), self._loop.add_reader, self._loop.remove_reader)
        await self._waiting
        return None

    async def close(self) -> None:
        self._signal(signal.SIGHUP)
        if not self._waiting.done():
            await asyncio.wait({self._waiting}, timeout=0.5)
        self._signal(signal.SIGKILL)
        await self._waiting
        self._outputs.clear()
        self._stdin = None
        for file in list(self._files):
            self._close(file)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)

    def _close(self, file: int) -> None:
        self._files.discard(file)
        self._loop.remove_reader(file)
        self._loop.remove_writer(file)
        os.close(file)

    async def _wait(self) -> None:
        while (code := self._child.poll()) is None:
            await _child_changed(self._child.pid)
        self.exit_code = code if code >= 0 else 128 - code

    async def _until(
        self, files: set[int], add: Callable[[int, Callable[[], object]], None], remove: Callable[[int], object]
    ) -> None:
        """That one of them can be read, or written; or that the process has ended."""
        ready = asyncio.Event()
        waiting = asyncio.create_task(ready.wait())
        for file in files:
            add(file, ready.set)
        try:
            await asyncio.wait({waiting, self._waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for file in files & self._files:
                remove(file)
            waiting.cancel()


async def _child_changed(pid: int) -> None:
    """Returns when it has ended, or after a moment where the kernel cannot tell."""
    if not hasattr(os, "pidfd_open"):
        await asyncio.sleep(0.05)
        return
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        await asyncio.sleep(0.05)
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


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
