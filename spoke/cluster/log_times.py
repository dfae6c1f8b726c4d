"""Where in a log of stamped lines a reader is, so that another one goes on exactly after it.

An API server hands out a container's log with a timestamp before each line, from a given second on (`sinceTime`, of
which kubelets keep whole seconds). Lines of that second and later come in the same order each time; stamps are almost
in order, for standard output and error are stamped side by side. So a place is a second, and how many lines stamped in
it or later were handed on: `t<restart>:<second>:<lines>:<newest stamp>:<oldest stamp>`. Lines beyond the newest stamp
are never passed over, whatever was counted: a log that was rotated meanwhile begins later. Lines before the oldest one
do not count: the reader began there (by a tail, or a time).

Not promised: two lines of the same nanosecond at the very beginning of a tail are told apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_OUT_OF_ORDER_S = 1  # stamps may be out of order by less than this


class BadPosition(ValueError):
    """It was not given out here."""


@dataclass(frozen=True, slots=True)
class Place:
    instance: int  # how often the container had been restarted
    second: int = 0  # since the epoch; 0: from the beginning of the instance
    lines: int = 0
    newest: str = ""
    oldest: str = ""

    def text(self) -> str:
        return f"t{self.instance}|{self.second}|{self.lines}|{self.newest}|{self.oldest}"

    @classmethod
    def read(cls, text: str) -> Place:
        """Raises BadPosition."""
        try:
            instance, second, lines, newest, oldest = text.removeprefix("t").split("|")
            for stamp in (newest, oldest):
                if stamp:
                    _key(stamp.encode())
            return cls(int(instance), int(second), int(lines), newest, oldest)
        except ValueError as error:
            raise BadPosition(f"{text[:100]!r} is no place in a log") from error


class Counted:
    """Lines of one instance of a container as they come, those after `place` handed on."""

    def __init__(self, place: Place, since: datetime | None = None, *, from_tail: bool = False) -> None:
        self._instance = place.instance
        self._skip = place.lines
        self._skip_until = _key(place.newest.encode()) if place.newest else None
        self._newest, self._oldest = place.newest.encode(), place.oldest.encode()
        if since is not None and not place.second:
            self._oldest = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
        self._floor = _key(self._oldest) if self._oldest else None
        self._from_tail = from_tail and not place.second
        self._base = place.second
        self._counts: dict[int, int] = {}
        self._newest_key = self._skip_until or (0, b"")

    @property
    def since(self) -> str:
        """What to ask the API server for; "" where from the beginning."""
        second = self._base or (self._floor[0] if self._floor else 0)
        return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if second else ""

    def fresh(self, lines: bytes) -> bytes:
        """Of whole stamped lines those that were not handed on yet."""
        if self._from_tail and lines:
            self._oldest = lines[: lines.find(b" ")]
            self._floor, self._from_tail = _key(self._oldest), False
        if not self._skip and self._all_of_one_second(lines):
            return lines
        return b"".join(line for line in lines.splitlines(keepends=True) if self._is_fresh(line))

    def place(self) -> Place:
        if not self._newest:
            return Place(self._instance)
        second = max(self._newest_key[0] - _OUT_OF_ORDER_S, self._base)
        self._counts = {at: count for at, count in self._counts.items() if at >= second}
        oldest = self._oldest if self._floor is not None and self._floor[0] >= second else b""
        return Place(self._instance, second, sum(self._counts.values()), self._newest.decode(), oldest.decode())

    def _all_of_one_second(self, lines: bytes) -> bool:
        """The usual case of a log that is written fast, counted at once."""
        first = lines[: lines.find(b" ")]
        count = lines.count(b"\n")
        if not first or lines.count(b"\n" + first[:20]) != count - 1 or not lines.endswith(b"\n"):
            return False
        at = _key(first)[0]
        if at < self._base:
            return False
        if self._floor is not None and at <= self._floor[0]:
            return False
        self._counts[at] = self._counts.get(at, 0) + count
        self._note_newest(max(_STAMPS.findall(lines), key=_key))
        return True

    def _is_fresh(self, line: bytes) -> bool:
        stamp = line[: line.find(b" ")]
        try:
            key = _key(stamp)
        except ValueError:
            return True  # not stamped: shown rather than lost
        if key[0] < self._base or (self._floor is not None and key < self._floor):
            return False
        self._counts[key[0]] = self._counts.get(key[0], 0) + 1
        if self._skip and self._skip_until is not None and key <= self._skip_until:
            self._skip -= 1
            return False
        self._note_newest(stamp)
        return True

    def _note_newest(self, stamp: bytes) -> None:
        key = _key(stamp)
        if key > self._newest_key:
            self._newest_key, self._newest = key, stamp


_STAMPS = re.compile(rb"(?m)^\S+")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_last: tuple[bytes, bytes, int] = (b"", b"", 0)  # of the stamp read last: many of one second follow each other


def _key(stamp: bytes) -> tuple[int, bytes]:
    """Seconds since the epoch and the fraction's nine digits. Raises ValueError."""
    global _last
    whole, rest = stamp[:19], stamp[19:]
    fraction = rest[1:10] if rest[:1] == b"." else b""
    digits = len(fraction) - len(fraction.lstrip(b"0123456789"))
    fraction, zone = fraction[:digits], rest[1 + digits :] if rest[:1] == b"." else rest
    if (whole, zone) == _last[:2]:
        return _last[2], fraction.ljust(9, b"0")
    at = datetime.fromisoformat((whole + zone).decode("ascii"))
    if at.tzinfo is None:
        raise ValueError(f"{stamp!r} has no time zone")
    second = (at - _EPOCH) // timedelta(seconds=1)
    _last = (whole, zone, second)
    return second, fraction.ljust(9, b"0")
