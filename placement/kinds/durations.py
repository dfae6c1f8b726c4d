"""Durations as people write them in hints: "30m", "1h30m", "90s"."""

from __future__ import annotations

import re

_PARTS = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,7})s)?")
_SIZES_S = (86_400, 3600, 60, 1)


def seconds(text: str, at_least_s: int = 60) -> float:
    """Raises ValueError, with what to write."""
    match = _PARTS.fullmatch(text.strip())
    total = sum(int(part) * size for part, size in zip(match.groups(), _SIZES_S, strict=True) if part) if match else 0
    if not at_least_s <= total <= 31 * 86_400:
        raise ValueError(f"write a duration such as 30m, 1h30m or 2d, at least {shown(at_least_s)}, at most 31d")
    return float(total)


def shown(seconds_: float) -> str:
    rest, found = int(seconds_), ""
    for unit, size in zip("dhms", _SIZES_S, strict=True):
        amount, rest = divmod(rest, size)
        found += f"{amount}{unit}" if amount else ""
    return found or "0s"
