"""A whole number split in proportion to weights, by largest remainder, within bounds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Bounds:
    weight: Fraction | int
    least: int
    most: int


def apportion(total: int, parts: Mapping[str, Bounds]) -> dict[str, int]:
    """Sums up to `total` where the bounds allow it, else to what is nearest to it; a weight of 0 gets its least.

    Each part is its weight times one common factor, held to its bounds; what is lost by rounding down goes to the
    largest remainders. Of equals the first by name gets more.
    """
    whole = {name: part.least for name, part in parts.items()}
    able = {name: part for name, part in parts.items() if part.weight > 0 and part.most > part.least}
    left = total - sum(whole[name] for name in parts if name not in able)
    exact = _held(left, able)
    whole.update({name: int(share) for name, share in exact.items()})
    rest = min(total, sum(part.most if name in able else part.least for name, part in parts.items()))
    rest -= sum(whole.values())
    by_remainder = sorted(exact, key=lambda name: (-(exact[name] - whole[name]), -able[name].weight, name))
    for name in by_remainder[: max(rest, 0)]:
        whole[name] += 1
    return whole


def _held(total: int, parts: Mapping[str, Bounds]) -> dict[str, Fraction]:
    """The exact shares: every one is weight × factor within its bounds, and they sum up to `total` if they can."""
    turns = sorted({Fraction(bound) / part.weight for part in parts.values() for bound in (part.least, part.most)})
    place = bisect_left(turns, Fraction(total), key=lambda turn: _sum(turn, parts))
    below = turns[place - 1] if place else Fraction(0)
    if place == len(turns):
        return _at(below, parts)
    # Between two turns the sum grows evenly, by the weights of those within their bounds.
    turn, start = turns[place], _sum(below, parts)
    within = (p for p in parts.values() if p.least <= below * p.weight and turn * p.weight <= p.most)
    growing = sum((Fraction(part.weight) for part in within), Fraction(0))
    return _at(below + (total - start) / growing if growing and start < total else below, parts)


def _at(factor: Fraction, parts: Mapping[str, Bounds]) -> dict[str, Fraction]:
    return {
        name: min(max(factor * part.weight, Fraction(part.least)), Fraction(part.most)) for name, part in parts.items()
    }


def _sum(factor: Fraction, parts: Mapping[str, Bounds]) -> Fraction:
    return sum(_at(factor, parts).values(), Fraction(0))
