"""Reading a container's log file in whole lines, while it grows too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from spoke.cluster.host_runs import Run, RunState
from spoke.cluster.port import Unavailable

POLL_S = 0.1
CHUNK = 1 << 16


async def read(newest: Callable[[], Run | None], pod: str, follow: bool, tail_lines: int) -> AsyncIterator[bytes]:
    """Chunks of whole lines of the run that is the newest now. Raises Unavailable before there is any.

    Following ends with that run; its last line is given a line end where it has none.
    """
    run = newest()
    if run is None or run.state is RunState.STARTING:
        raise Unavailable(f'pod "{pod}" has not started yet')
    offset = _offset_of_tail(run.log, tail_lines) if tail_lines else 0
    while True:
        present = newest()
        # Asked before reading: what the process wrote before it ended is in the file by then.
        ended = present is None or present.attempt != run.attempt or present.exit is not None
        while chunk := _lines(run.log, offset, ended):
            offset += len(chunk)
            yield chunk if chunk.endswith(b"\n") else chunk + b"\n"
        if ended or not follow:
            return
        await asyncio.sleep(POLL_S)


def _lines(log: Path, offset: int, ended: bool) -> bytes:
    """Whole lines from `offset` on, at most CHUNK bytes unless one line is longer; b"" where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            chunk = file.read(CHUNK)
            if len(chunk) == CHUNK and b"\n" not in chunk:
                chunk += file.readline()
    except FileNotFoundError:  # the container never began, or its pod was removed
        return b""
    whole = chunk[: chunk.rfind(b"\n") + 1]
    return chunk if ended and not whole else whole


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
