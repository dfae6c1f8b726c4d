"""Amounts of data, and the time that moving them takes, in words: `1.2TB` is decimal, `500GiB` binary, a bare number
is bytes."""

from __future__ import annotations

import re
from decimal import Decimal

MOST_BYTES = 1 << 60

_UNITS = {"": 1, "b": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("kmgtp", 1)
    for base, suffix in ((1000, "b"), (1024, "ib"), (1000, ""), (1024, "i"))
}
_TEXT = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def parse(given: object) -> int:
    """Bytes. Raises ValueError."""
    match = _TEXT.fullmatch(given) if isinstance(given, str) else None
    if isinstance(given, bool) or not (isinstance(given, int) or (match and match[2].lower() in _UNITS)):
        raise ValueError(f"{str(given)[:60]!r} is no size: write bytes, or a number and kB, MB, GB, TB, MiB, GiB, TiB")
    size = int(Decimal(match[1]) * _UNITS[match[2].lower()]) if match else int(str(given))
    if not 0 <= size <= MOST_BYTES:
        raise ValueError(f"{given} is no size: give 0 to {words(MOST_BYTES)}")
    return size


def words(size_bytes: float) -> str:
    """`1.2 TB`: three digits at most say enough."""
    for unit, power in (("PB", 5), ("TB", 4), ("GB", 3), ("MB", 2), ("kB", 1)):
        if size_bytes >= 999.5 * 1000 ** (power - 1):
            amount = size_bytes / 1000**power
            return f"{amount:.0f} {unit}" if amount >= 99.95 else f"{amount:.3g} {unit}"
    return f"{size_bytes:.0f} B"


def words_of(done: int, total: int) -> str:
    """`40 of 120 GB`: both in the unit of the whole."""
    amount, unit = words(total).split(" ")
    part = done * float(amount) / total if total else 0.0
    return f"{part:.0f} of {amount} {unit}" if part >= 99.95 else f"{part:.3g} of {amount} {unit}"


def duration(seconds: float) -> str:
    """How long it takes to move so much: `16 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
