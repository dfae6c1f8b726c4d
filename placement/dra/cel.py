"""Values of CEL expressions: a tree is turned into a function of the variables once, and called for each device.

What CEL calls an error (a field that is not there, an order between unlike types) is CelError; `&&` and `||` pass one
over where the other side decides alone, as CEL has it. Functions and macros are those that selectors of devices use:
`cel_functions` has them. An unknown one is an error when the expression is compiled, before any device is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from placement.dra import cel_functions
from placement.dra.cel_functions import Optional
from placement.dra.cel_syntax import Call, CelError, Expression, Field, Index, ListOf, Literal, Name, parse

Value = Any  # bool, int, float, str, None, list, dict, Quantity, Semver, Optional
Variables = Mapping[str, Value]
Evaluate = Callable[[Variables], Value]

_LARGEST = (1 << 63) - 1
_COMPARED = ("<", "<=", ">", ">=")
_MACROS = frozenset({"exists", "exists_one", "all", "filter", "map"})


class OfDomains(dict[str, Value]):
    """A map that has an empty map for what it does not have, as `device.attributes` is: `in` tells the truth."""

    def __missing__(self, key: str) -> Value:
        return {}


def compiled(text: str) -> Evaluate:
    """Raises CelError, and so does what it answers."""
    return _of(parse(text), frozenset({"device"}))


def _of(tree: Expression, names: frozenset[str]) -> Evaluate:
    match tree:
        case Literal(value):
            return lambda variables: value
        case Name(name):
            if name not in names:
                raise CelError(f"{name} is not defined")
            return lambda variables: variables[name]
        case Field(target, name, optional):
            return _field(_of(target, names), name, optional)
        case Index(target, key, optional):
            return _index(_of(target, names), _of(key, names), optional)
        case ListOf(items):
            inside = [_of(item, names) for item in items]
            return lambda variables: [item(variables) for item in inside]
        case Call():
            return _call(tree, names)


def _call(tree: Call, names: frozenset[str]) -> Evaluate:
    name, arguments = tree.function, tree.arguments
    if tree.target is not None:
        if isinstance(tree.target, Name) and tree.target.name == "cel" and name == "bind":
            return _bound(arguments, names)
        if name in _MACROS:
            return _over(tree.target, name, arguments, names)
        return _called(name, (tree.target, *arguments), names, cel_functions.METHODS)
    match name:
        case "&&" | "||":
            return _both(_of(arguments[0], names), _of(arguments[1], names), decides=name == "||")
        case "?:":
            condition, yes, no = (_of(argument, names) for argument in arguments)
            return lambda variables: (yes if truth(condition(variables)) else no)(variables)
        case "has":
            return _has(arguments, names)
    if name in _OPERATORS:
        operate, inner = _OPERATORS[name], [_of(argument, names) for argument in arguments]
        return lambda variables: operate(*(argument(variables) for argument in inner))
    return _called(name, arguments, names, cel_functions.FUNCTIONS)


def _called(
    name: str, arguments: tuple[Expression, ...], names: frozenset[str], known: Mapping[str, cel_functions.Function]
) -> Evaluate:
    function = known.get(name)
    if function is None:
        raise CelError(f"the function {name}() is not known")
    inner = [_of(argument, names) for argument in arguments]
    given = len(inner) - (known is cel_functions.METHODS)
    if not function.least <= given <= function.most:
        raise CelError(f"{name}() takes {function.least} arguments, not {given}")
    return lambda variables: function.call(*(argument(variables) for argument in inner))


def truth(value: Value) -> bool:
    if not isinstance(value, bool):
        raise CelError(f"{shown(value)} is neither true nor false")
    return value


def _both(left: Evaluate, right: Evaluate, *, decides: bool) -> Evaluate:
    """`decides` is the value of one side that settles it, whatever the other is, be it an error."""

    def evaluate(variables: Variables) -> bool:
        error = None
        for side in (left, right):
            try:
                if truth(side(variables)) is decides:
                    return decides
            except CelError as found:
                error = error or found
        if error is not None:
            raise error
        return not decides

    return evaluate


def _field(target: Evaluate, name: str, optional: bool) -> Evaluate:
    return _index(target, lambda variables: name, optional)


def _index(target: Evaluate, key: Evaluate, optional: bool) -> Evaluate:
    def evaluate(variables: Variables) -> Value:
        holder, wanted = target(variables), key(variables)
        if isinstance(holder, Optional):
            if not holder.present:
                return holder
            return Optional.of(holder.value, wanted)
        return Optional.of(holder, wanted) if optional else _item(holder, wanted)

    return evaluate


def _item(holder: Value, key: Value) -> Value:
    if isinstance(holder, dict) and isinstance(key, str):
        try:
            return holder[key]
        except KeyError:
            raise CelError(f"no such key: {key}") from None
    if isinstance(holder, list) and isinstance(key, int) and not isinstance(key, bool):
        if not 0 <= key < len(holder):
            raise CelError(f"index {key} is out of range")
        return holder[key]
    raise CelError(f"{shown(holder)} has no {shown(key)}")


def _has(arguments: tuple[Expression, ...], names: frozenset[str]) -> Evaluate:
    if len(arguments) != 1 or not isinstance(arguments[0], Field):
        raise CelError("has() takes one field, such as has(device.attributes[...].name)")
    target, name = _of(arguments[0].target, names), arguments[0].name

    def evaluate(variables: Variables) -> bool:
        holder = target(variables)
        if isinstance(holder, Optional):
            return holder.present and name in holder.value
        if not isinstance(holder, dict):
            raise CelError(f"{shown(holder)} has no fields")
        return name in holder

    return evaluate


def _bound(arguments: tuple[Expression, ...], names: frozenset[str]) -> Evaluate:
    if len(arguments) != 3 or not isinstance(arguments[0], Name):
        raise CelError("cel.bind() takes a name, its value, and an expression")
    name = arguments[0].name
    value, inner = _of(arguments[1], names), _of(arguments[2], names | {name})
    return lambda variables: inner({**variables, name: value(variables)})


def _any_decides(inner: Evaluate, cases: Iterable[Variables], *, decides: bool) -> bool:
    error = None
    for variables in cases:
        try:
            if truth(inner(variables)) is decides:
                return decides
        except CelError as found:
            error = error or found
    if error is not None:
        raise error
    return not decides


def _over(target: Expression, macro: str, arguments: tuple[Expression, ...], names: frozenset[str]) -> Evaluate:
    """Macros over the items of a list or the keys of a map."""
    if len(arguments) != 2 or not isinstance(arguments[0], Name):
        raise CelError(f"{macro}() takes a name and an expression")
    name, holder = arguments[0].name, _of(target, names)
    inner = _of(arguments[1], names | {name})

    def evaluate(variables: Variables) -> Value:
        items = holder(variables)
        if not isinstance(items, list | dict):
            raise CelError(f"{shown(items)} has no items")
        match macro:
            case "map":
                return [inner({**variables, name: item}) for item in items]
            case "filter":
                return [item for item in items if truth(inner({**variables, name: item}))]
            case "exists_one":
                return sum(truth(inner({**variables, name: item})) for item in items) == 1
        return _any_decides(inner, ({**variables, name: item} for item in items), decides=macro == "exists")

    return evaluate


# ---- operators ----


def _equal(one: Value, other: Value) -> bool:
    """Unlike types are unequal, but for the two kinds of numbers."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(_are_numbers(one, other) or type(one) is type(other)) and one == other


def _ordered(sign: str) -> Callable[[Value, Value], bool]:
    def compare(one: Value, other: Value) -> bool:
        alike = type(one) is type(other) and isinstance(one, bool | str)
        if not (alike or _are_numbers(one, other)):
            raise CelError(f"{shown(one)} {sign} {shown(other)} has no meaning")
        match sign:
            case "<":
                return bool(one < other)
            case "<=":
                return bool(one <= other)
            case ">":
                return bool(one > other)
        return bool(one >= other)

    return compare


def _calculated(sign: str) -> Callable[[Value, Value], Value]:
    def calculate(one: Value, other: Value) -> Value:
        if sign == "+" and type(one) is type(other) and isinstance(one, str | list):
            return one + other
        if type(one) is not type(other) or not _are_numbers(one, other):
            raise CelError(f"{shown(one)} {sign} {shown(other)} has no meaning")
        if sign in "/%" and not other:
            if isinstance(one, float):
                raise CelError(f"{shown(one)} {sign} 0 has no value here")
            raise CelError("division by zero")
        return _in_range(_arithmetic(sign, one, other))

    return calculate


def _arithmetic(sign: str, one: Value, other: Value) -> Value:
    match sign:
        case "+":
            return one + other
        case "-":
            return one - other
        case "*":
            return one * other
    if isinstance(one, float):
        if sign == "%":
            raise CelError("% takes whole numbers")
        return one / other
    quotient = abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1)  # towards zero
    return quotient if sign == "/" else one - other * quotient


def _in_range(value: Value) -> Value:
    if isinstance(value, int) and not -_LARGEST - 1 <= value <= _LARGEST:
        raise CelError("the number is beyond 64 bits")
    return value


def _negative(value: Value) -> Value:
    if not _are_numbers(value, 0):
        raise CelError(f"-{shown(value)} has no meaning")
    return _in_range(-value)


def _within(item: Value, holder: Value) -> bool:
    if isinstance(holder, dict):
        return isinstance(item, str) and item in holder
    if isinstance(holder, list):
        return any(_equal(item, other) for other in holder)
    raise CelError(f"nothing is in {shown(holder)}")


def _are_numbers(one: Value, other: Value) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in (one, other))


def shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value[:40]}"' if isinstance(value, str) else f"a {type(value).__name__}" if value is not None else "null"


_OPERATORS: Mapping[str, Callable[..., Value]] = {
    "==": _equal,
    "!=": lambda one, other: not _equal(one, other),
    "!": lambda value: not truth(value),
    "neg": _negative,
    "in": _within,
    **{sign: _ordered(sign) for sign in _COMPARED},
    **{sign: _calculated(sign) for sign in "+-*/%"},
}
