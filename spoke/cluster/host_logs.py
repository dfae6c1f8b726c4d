"""Reading a container's log file in whole lines, while it grows too.

A process writes its log itself, without times. Its shim notes each second how long the file has become, in `log.times`;
so a line has the time of the note that first covers it, a second late at the most. A position is a run and an offset in
its file, `o<attempt>:<offset>`.
"""

from __future__ import annotations

import asyncio
import os
import re
import struct
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from spoke.cluster.host_runs import Run, RunState
from spoke.cluster.port import LogPart, NotFound, Refused, Unavailable

POLL_S = 0.1
CHUNK = 1 << 15  # of lines; with the time of each it stays below what the link sends in one piece
_POSITION = re.compile(r"o(\d{1,9}):(\d{1,18})")
_NOTE = struct.Struct("<dQ")  # as pod_shim writes it: seconds since the epoch, bytes


async def read(
    newest: Callable[[], Run | None],
    pod: str,
    *,
    follow: bool,
    tail_lines: int = 0,
    since: datetime | None = None,
    previous: bool = False,
    after: str = "",
) -> AsyncGenerator[LogPart, None]:
    """Of the run that is the newest now, or (`previous`) the one before it. Raises Unavailable before there is any.

    Following ends with that run; its last line is given a line end where it has none.
    """
    run = newest()
    if run is None or run.state is RunState.STARTING:
        raise Unavailable(f'pod "{pod}" has not started yet')
    if after:
        attempt, offset = position(after)
        for earlier in range(attempt, run.attempt):
            async for part in _of_ended(run.directory.parent / str(earlier), earlier, offset):
                yield part
            offset = 0
        if attempt > run.attempt:
            raise Refused(f"{after} is no position in the log of this pod")
    elif previous:
        directory = run.directory.parent / str(run.attempt - 1)
        if not directory.is_dir():
            raise NotFound(f'container "{run.container}" of pod "{pod}" has no earlier run')
        async for part in _of_ended(directory, run.attempt - 1, _begin(directory, tail_lines, since)):
            yield part
        return
    else:
        offset = _begin(run.directory, tail_lines, since)
    with closing(_Log(run.directory, run.attempt, offset)) as log:
        while True:
            present = newest()
            # Asked before reading: what the process wrote before it ended is in the file by then.
            ended = present is None or present.attempt != run.attempt or present.exit is not None
            for part in log.parts(ended):
                yield part
            if ended or not follow:
                return
            await asyncio.sleep(POLL_S)


def position(text: str) -> tuple[int, int]:
    """Attempt and offset. Raises Refused."""
    found = _POSITION.fullmatch(text)
    if found is None:
        raise Refused(f"{text[:100]!r} is no position in a log")
    return int(found[1]), int(found[2])


async def _of_ended(directory: Path, attempt: int, offset: int) -> AsyncGenerator[LogPart, None]:
    with closing(_Log(directory, attempt, offset)) as log:
        for part in log.parts(ended=True):
            yield part
            await asyncio.sleep(0)


class _Log:
    """One run's file from an offset on. Held open: what was written can be read when the pod is gone, too."""

    def __init__(self, directory: Path, attempt: int, offset: int) -> None:
        self._directory = directory
        self._attempt = attempt
        self._offset = offset
        self._times = _Times(directory)
        self._file: int | None = None

    def parts(self, ended: bool) -> Iterator[LogPart]:
        while chunk := self._lines(ended):
            begin, self._offset = self._offset, self._offset + len(chunk)
            whole = chunk if chunk.endswith(b"\n") else chunk + b"\n"
            yield LogPart(self._times.stamped(whole, begin), f"o{self._attempt}:{self._offset}")

    def close(self) -> None:
        self._times.close()
        if self._file is not None:
            os.close(self._file)

    def _lines(self, ended: bool) -> bytes:
        """Whole lines, at most CHUNK bytes unless one line is longer; b"" where there is none."""
        if self._file is None:
            try:
                self._file = os.open(self._directory / "log", os.O_RDONLY)
            except FileNotFoundError:  # the container never began, or its pod was removed
                return b""
        chunk = os.pread(self._file, CHUNK, self._offset)
        while len(chunk) % CHUNK == 0 and chunk and b"\n" not in chunk[-CHUNK:]:
            more = os.pread(self._file, CHUNK, self._offset + len(chunk))
            if not more:
                break
            chunk += more
        whole = chunk[: chunk.rfind(b"\n") + 1]
        return chunk if ended and not whole else whole


class _Times:
    """The shim's notes, read as they come."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "log.times"
        self._file: int | None = None
        self._read = 0
        self._notes: list[tuple[float, int]] = []  # those that lie ahead of what was stamped

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)

    def stamped(self, lines: bytes, begin: int) -> bytes:
        """`lines` begin at that offset, and every call begins where the one before it ended."""
        self._notes = [note for note in [*self._notes, *self._more()] if note[1] > begin]
        done: list[bytes] = []
        at = 0
        for when, size in self._notes:
            if at >= len(lines):
                break
            # Lines that begin before the note's size: up to the end of the one that its last byte lies in.
            cut = lines.find(b"\n", max(size - begin - 1, at)) + 1 if size - begin <= len(lines) else len(lines)
            done.append(_with(lines[at:cut], when))
            at = cut
        if at < len(lines):
            done.append(_with(lines[at:], time.time()))
        return b"".join(done)

    def offset_at(self, when: float) -> int:
        """How long the file was before that time: no line before it was written later."""
        size = 0
        for noted, length in self._more():
            if noted >= when:
                break
            size = length
        return size

    def _more(self) -> list[tuple[float, int]]:
        if self._file is None:
            try:
                self._file = os.open(self._path, os.O_RDONLY)
            except FileNotFoundError:
                return []
        found: list[tuple[float, int]] = []
        while data := os.pread(self._file, 4096 * _NOTE.size, self._read):
            whole = len(data) - len(data) % _NOTE.size
            if not whole:
                break
            found += _NOTE.iter_unpack(data[:whole])
            self._read += whole
        return found


def _with(lines: bytes, when: float) -> bytes:
    if not lines:
        return b""
    stamp = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ ").encode()
    return stamp + lines[:-1].replace(b"\n", b"\n" + stamp) + b"\n"


def _begin(directory: Path, tail_lines: int, since: datetime | None) -> int:
    offset = 0
    if since is not None:
        with closing(_Times(directory)) as times:
            offset = _line_from(directory / "log", times.offset_at(since.timestamp()))
    return max(offset, _offset_of_tail(directory / "log", tail_lines)) if tail_lines else offset


def _line_from(log: Path, offset: int) -> int:
    """Where the first line begins that begins at `offset` or later."""
    try:
        with log.open("rb") as file:
            if offset:
                file.seek(offset - 1)
                file.readline()
            return file.tell()
    except FileNotFoundError:
        return 0


def _offset_of_tail(log: Path, lines: int) -> int:
    """Where the last `lines` lines begin."""
    try:
        with log.open("rb") as file:
            end = at = file.seek(0, 2)
            wanted = lines + 1  # line ends to go back over; the last line's own is one of them
            while at > 0:
                size = min(CHUNK, at)
                at -= size
                file.seek(at)
                chunk = file.read(size)
                if at + size == end and not chunk.endswith(b"\n"):
                    wanted -= 1
                for position in range(len(chunk) - 1, -1, -1):
                    if chunk[position] == 0x0A:
                        wanted -= 1
                        if wanted == 0:
                            return at + position + 1
    except FileNotFoundError:
        return 0
    return 0
