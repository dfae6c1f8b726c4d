"""Kubernetes quantities ("500m", "512Gi", "1e3") as whole units of `placement.resources`.

Exact decimal arithmetic; what a pod asks is rounded up and what a node has is rounded down (`round_up=False`), so that
comparing the two never promises what is not there. Extended resources (devices) must be whole.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

MAX_AMOUNT = 1 << 45  # of a resource's unit; sums of these over any file stay within 64 bits

_QUANTITY = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:(Ki|Mi|Gi|Ti|Pi|Ei)|(n|u|m|k|M|G|T|P|E)|[eE]([+-]?\d{1,3}))?")
_BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
# The unit that an amount of the resource is counted in, as a fraction of what the quantity is written in.
_UNITS = {"cpu": Fraction(1, 1000), "memory": Fraction(1 << 20), "ephemeral-storage": Fraction(1 << 20)}
_MAX_LENGTH = 64


def amount(resource: str, value: object, *, round_up: bool = True) -> int:
    """`value` (a string, or a number as YAML gives it) in units of the resource: milli-cores, MiB, pieces.

    Raises ValueError with a sentence: no quantity, negative, too large, or a fraction of something indivisible.
    """
    if type(value) is str:
        return _amount(resource, value.strip(), round_up)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is not a quantity")
    return _amount(resource, str(value).strip(), round_up)


@lru_cache(maxsize=4096)
def _amount(resource: str, text: str, round_up: bool) -> int:
    exact = _parsed(text)
    if exact < 0:
        raise ValueError(f"{text} is negative")
    units = exact / _UNITS.get(resource, 1)
    if units.denominator != 1 and is_extended(resource):
        raise ValueError(f"{text} is not a whole number")
    whole = -(-units.numerator // units.denominator) if round_up else units.numerator // units.denominator
    if whole > MAX_AMOUNT:
        raise ValueError(f"{text} is more than any node has")
    return whole


def exact(text: str) -> Fraction:
    """The quantity as it is written, in no unit. Raises ValueError."""
    return _parsed(text.strip())


def is_extended(resource: str) -> bool:
    """A device or the like: named with a domain, indivisible, never overcommitted."""
    return "/" in resource and not resource.startswith("kubernetes.io/")


def _parsed(text: str) -> Fraction:
    match = _QUANTITY.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None:
        raise ValueError(f'"{text[:40]}" is not a quantity (such as 2, 500m, 16Gi)')
    sign, digits, binary, decimal, exponent = match.groups()
    value = Fraction(digits)
    if binary:
        value *= _BINARY[binary]
    elif decimal or exponent:
        power = _DECIMAL[decimal] if decimal else int(exponent)
        value = value * 10**power if power >= 0 else value / 10**-power
    return -value if sign == "-" else value
