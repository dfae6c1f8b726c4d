"""The two types that Kubernetes adds to CEL for devices: quantities and semantic versions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import total_ordering

from placement.dra.cel_syntax import CelError
from placement.kinds import quantity as quantities

_CORE = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
_SEMVER = re.compile(rf"{_CORE}(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?")


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    amount: Fraction


@total_ordering
@dataclass(frozen=True, slots=True)
class Semver:
    """Ordered as semver.org says: a pre-release comes before its release, and numbers before words."""

    major: int
    minor: int
    patch: int
    pre: tuple[tuple[int, int, str], ...] = ()  # each part as (0, number, "") or (1, 0, word)

    def __lt__(self, other: Semver) -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]:
        return self.major, self.minor, self.patch, not self.pre, self.pre


def quantity(text: str) -> Quantity:
    """Raises CelError."""
    try:
        return Quantity(quantities.exact(text))
    except ValueError as error:
        raise CelError(str(error)) from error


def semver(text: str, *, normalize: bool = False) -> Semver:
    """`normalize` forgives a leading v, missing minor and patch, and leading zeros. Raises CelError."""
    match = _SEMVER.fullmatch(_normalized(text) if normalize else text)
    if match is None:
        raise CelError(f'"{text[:40]}" is no semantic version (such as 1.2.3)')
    parts = [part for part in (match[4] or "").split(".") if part]
    if any(part.isdigit() and len(part) > 1 and part[0] == "0" for part in parts):
        raise CelError(f'"{text[:40]}" is no semantic version: a number begins with 0')
    pre = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
    return Semver(int(match[1]), int(match[2]), int(match[3]), pre)


def _normalized(text: str) -> str:
    core, sign, rest = re.fullmatch(r"v?([^-+]*)([-+]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]  # matches anything
    numbers = [number.lstrip("0") or "0" if number.isdigit() else number for number in core.split(".")]
    return ".".join([*numbers, *["0"] * (3 - len(numbers))]) + sign + rest
