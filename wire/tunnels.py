"""Tunnels through the link: a process in a pod, or a connection to a port of one, carried to somebody at the hub.

A tunnel is opened by the hub. Then both ends send pieces, each of a channel of the tunnel, a channel's last one marked;
how much of them one end may have under way is bounded by what the other one has granted, so that a reader that is slow,
or never reads, holds up nothing else and fills no memory. Whoever closes says why, once; what comes later for a tunnel
that is closed is dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wire.orders import JobRef

STDIN, STDOUT, STDERR = 0, 1, 2  # of a connection: 0 to the pod, 1 from it
WINDOW = 256 * 1024  # bytes under way in one direction of one tunnel
PIECE_BYTES = 32 * 1024
OPEN_TUNNELS = 256  # at a time to one cluster: at WINDOW each way, a bound on memory


@dataclass(frozen=True, slots=True)
class Process:
    command: tuple[str, ...]
    tty: bool = False
    stdin: bool = False
    columns: int = 0  # of the terminal; 0: unknown
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Port:
    number: int
    service: str = ""  # then the number is the service's, and one of its ready pods is taken


@dataclass(frozen=True, slots=True)
class TunnelQuery:
    ref: JobRef
    to: Process | Port
    role: str = ""  # "" means any
    rank: int | None = None  # within the role; without one over all roles
    container: str = ""  # "" means the pod's main one


@dataclass(frozen=True, slots=True)
class Piece:
    channel: int
    data: bytes
    end: bool = False  # nothing more of this channel


@dataclass(frozen=True, slots=True)
class Resize:
    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Closed:
    """`code`: "" where it came to its end, else for programs; with a message for people."""

    code: str = ""
    message: str = ""
    exit_code: int | None = None  # of the process


def cost(piece: Piece) -> int:
    """What it takes of the window: its bytes, and what keeping the piece itself costs."""
    return len(piece.data) + 128


class Tunnel:
    """One end. `send` takes a piece to the other end, `grant` tells it what it may send beyond the first window."""

    def __init__(self, send: Callable[[Piece], Awaitable[None]], grant: Callable[[int], None]) -> None:
        self._send = send
        self._grant = grant
        self._credit = WINDOW
        self._granted = asyncio.Event()
        self._pieces: deque[Piece | Resize] = deque()
        self._arrived = asyncio.Event()
        self._outstanding = 0  # in `_pieces`, or taken and not granted again
        self._taken = 0  # not granted again yet
        self.closed: Closed | None = None

    # ---- for whoever uses it ----

    async def write(self, channel: int, data: bytes, *, end: bool = False) -> None:
        """Waits while the other end is slow. Without effect once it is closed."""
        for start in range(0, max(len(data), 1), PIECE_BYTES):
            piece = Piece(channel, data[start : start + PIECE_BYTES], end and start + PIECE_BYTES >= len(data))
            while self._credit < cost(piece) and self.closed is None:
                self._granted.clear()
                await self._granted.wait()
            if self.closed is not None:
                return
            self._credit -= cost(piece)
            await self._send(piece)

    async def read(self) -> Piece | Resize | None:
        """None once it is closed and everything was read: `closed` says how."""
        while True:
            if self._pieces:
                piece = self._pieces.popleft()
                if isinstance(piece, Piece):
                    self._took(cost(piece))
                return piece
            if self.closed is not None:
                return None
            self._arrived.clear()
            await self._arrived.wait()

    # ---- for the link ----

    def feed(self, piece: Piece | Resize) -> bool:
        """Whether the other end kept to its window."""
        if self.closed is not None:
            return True
        if isinstance(piece, Resize):  # only the newest counts
            self._pieces = deque(one for one in self._pieces if not isinstance(one, Resize))
        else:
            self._outstanding += cost(piece)
            if self._outstanding > WINDOW:
                self.close(Closed("too-much", "the other end sent more than it was allowed to"))
                return False
        self._pieces.append(piece)
        self._arrived.set()
        return True

    def granted(self, amount: int) -> None:
        self._credit += amount
        self._granted.set()

    def close(self, closed: Closed) -> None:
        """What has arrived can still be read. The first one counts."""
        if self.closed is None:
            self.closed = closed
            self._arrived.set()
            self._granted.set()

    def _took(self, amount: int) -> None:
        self._taken += amount
        if self._taken >= WINDOW // 4 and self.closed is None:
            granted, self._taken = self._taken, 0
            self._outstanding -= granted
            self._grant(granted)
