"""Functions and methods of CEL, and of Kubernetes' additions to it, that selectors of devices may call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from placement.dra.cel_syntax import CelError
from placement.dra.cel_values import Quantity, Semver, quantity, semver
from placement.dra.regular import pattern

Value = Any


@dataclass(frozen=True, slots=True)
class Function:
    call: Callable[..., Value]
    least: int  # arguments, a method's target not counted
    most: int


@dataclass(frozen=True, slots=True)
class Optional:
    """What `.?` and `[?]` answer."""

    present: bool
    value: Value = None

    @classmethod
    def of(cls, holder: Value, key: Value) -> Optional:
        if isinstance(holder, dict):
            return cls(True, holder[key]) if key in holder else cls(False)
        if isinstance(holder, list) and isinstance(key, int):
            return cls(True, holder[key]) if 0 <= key < len(holder) else cls(False)
        return cls(False)


def _text(method: Callable[..., Value], *kinds: type) -> Callable[..., Value]:
    """A method of strings whose arguments are of these kinds."""

    def call(target: Value, *arguments: Value) -> Value:
        given = (target, *arguments)
        if not all(isinstance(value, kind) for value, kind in zip(given, (str, *kinds), strict=False)):
            raise CelError("a method of strings was called with something else")
        return method(*given)

    return call


def _size(value: Value) -> int:
    if not isinstance(value, str | list | dict):
        raise CelError("size() is of strings, lists and maps")
    return len(value)


def _compare(one: Value, other: Value) -> int:
    _alike(one, other)
    return int(one > other) - int(one < other)


def _alike(one: Value, other: Value) -> None:
    if type(one) is not type(other) or not isinstance(one, Quantity | Semver):
        raise CelError("quantities are compared with quantities, and versions with versions")


def _is_greater(one: Value, other: Value) -> bool:
    return _compare(one, other) > 0


def _is_less(one: Value, other: Value) -> bool:
    return _compare(one, other) < 0


def _sum(sign: int) -> Callable[[Value, Value], Quantity]:
    def call(one: Value, other: Value) -> Quantity:
        more = Quantity(Fraction(other)) if isinstance(other, int) and not isinstance(other, bool) else other
        _alike(one, more)
        if not isinstance(one, Quantity):
            raise CelError("add() and sub() are of quantities")
        return Quantity(one.amount + sign * more.amount)

    return call


def _of_quantity(read: Callable[[Fraction], Value]) -> Callable[[Value], Value]:
    def call(value: Value) -> Value:
        if not isinstance(value, Quantity):
            raise CelError("a method of quantities was called with something else")
        return read(value.amount)

    return call


def _as_integer(amount: Fraction) -> int:
    if amount.denominator != 1:
        raise CelError("the quantity is no whole number")
    return amount.numerator


def _part(name: str) -> Callable[[Value], int]:
    def call(value: Value) -> int:
        if not isinstance(value, Semver):
            raise CelError(f"{name}() is of versions")
        return int(getattr(value, name))

    return call


def _checked(make: Callable[..., Value]) -> Callable[..., bool]:
    def call(*arguments: Value) -> bool:
        try:
            make(*arguments)
        except CelError:
            return False
        return True

    return call


def _to_quantity(text: Value) -> Quantity:
    if not isinstance(text, str):
        raise CelError("quantity() takes a string")
    return quantity(text)


def _to_semver(text: Value, normalize: Value = False) -> Semver:
    if not isinstance(text, str) or not isinstance(normalize, bool):
        raise CelError("semver() takes a string")
    return semver(text, normalize=normalize)


def _to_int(value: Value) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise CelError("int() takes a number, or a string of digits") from None


def _to_double(value: Value) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise CelError("double() takes a number, or a string with one") from None


def _to_string(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise CelError("string() takes a number, a truth value or a string")


def _or_value(target: Value, instead: Value) -> Value:
    if not isinstance(target, Optional):
        raise CelError("orValue() is of what .? and [?] answer")
    return target.value if target.present else instead


def _has_value(target: Value) -> bool:
    if not isinstance(target, Optional):
        raise CelError("hasValue() is of what .? and [?] answer")
    return target.present


def _includes(target: Value, wanted: Value) -> bool:
    values = target if isinstance(target, list) else [target]
    return any(type(value) is type(wanted) and value == wanted for value in values)


def _upper(text: str) -> str:
    return "".join(c.upper() if c.isascii() else c for c in text)


def _lower(text: str) -> str:
    return "".join(c.lower() if c.isascii() else c for c in text)


def _matches(text: Value, wanted: Value) -> bool:
    if not isinstance(text, str) or not isinstance(wanted, str):
        raise CelError("matches() is of strings and takes a string")
    return pattern(wanted).found_in(text)


FUNCTIONS: Mapping[str, Function] = {
    "quantity": Function(_to_quantity, 1, 1),
    "isQuantity": Function(_checked(_to_quantity), 1, 1),
    "semver": Function(_to_semver, 1, 2),
    "isSemver": Function(_checked(_to_semver), 1, 2),
    "size": Function(_size, 1, 1),
    "matches": Function(_matches, 2, 2),
    "int": Function(_to_int, 1, 1),
    "double": Function(_to_double, 1, 1),
    "string": Function(_to_string, 1, 1),
}

METHODS: Mapping[str, Function] = {
    "lowerAscii": Function(_text(_lower), 0, 0),
    "upperAscii": Function(_text(_upper), 0, 0),
    "trim": Function(_text(str.strip), 0, 0),
    "startsWith": Function(_text(str.startswith, str), 1, 1),
    "endsWith": Function(_text(str.endswith, str), 1, 1),
    "contains": Function(_text(lambda text, part: part in text, str), 1, 1),
    "replace": Function(_text(str.replace, str, str), 2, 2),
    "split": Function(_text(lambda text, at: text.split(at) if at else list(text), str), 1, 1),
    "matches": Function(_matches, 1, 1),
    "size": Function(_size, 0, 0),
    "compareTo": Function(_compare, 1, 1),
    "isGreaterThan": Function(_is_greater, 1, 1),
    "isLessThan": Function(_is_less, 1, 1),
    "add": Function(_sum(1), 1, 1),
    "sub": Function(_sum(-1), 1, 1),
    "sign": Function(_of_quantity(lambda amount: (amount > 0) - (amount < 0)), 0, 0),
    "isInteger": Function(_of_quantity(lambda amount: amount.denominator == 1), 0, 0),
    "asInteger": Function(_of_quantity(_as_integer), 0, 0),
    "asApproximateFloat": Function(_of_quantity(float), 0, 0),
    "major": Function(_part("major"), 0, 0),
    "minor": Function(_part("minor"), 0, 0),
    "patch": Function(_part("patch"), 0, 0),
    "orValue": Function(_or_value, 1, 1),
    "hasValue": Function(_has_value, 0, 0),
    "includes": Function(_includes, 1, 1),
}
