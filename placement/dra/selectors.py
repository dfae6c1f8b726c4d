"""Whether a device meets selectors: each expression compiled once, and asked once of each device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from placement.dra import cel
from placement.dra.cel_syntax import CelError
from placement.dra.cel_values import Quantity
from placement.dra.devices import Device
from placement.dra.requests import Alternative, ClassSpec

_ANSWERS_KEPT = 256
_LONGEST_SHOWN = 200


def meets(device: Device, expressions: Iterable[str]) -> bool:
    """A device for which a selector has no answer (an attribute that it lacks) does not meet it."""
    return all(answer(device, expression) is True for expression in expressions)


def suits(device: Device, alternative: Alternative, classes: Mapping[str, ClassSpec]) -> bool:
    """Whether the device may be given for the request, whoever has it now."""
    known = classes.get(alternative.device_class)
    return (
        known is not None
        and meets(device, known.selectors)
        and meets(device, alternative.selectors)
        and device.admits(alternative.tolerations)
        and all(_has(device, name, least) for name, least in alternative.capacity)
    )


def answer(device: Device, expression: str) -> bool | str:
    """A text where there is no answer: why."""
    known = device.answers.get(expression)
    if known is None:
        if len(device.answers) >= _ANSWERS_KEPT:  # users write new selectors for ever
            device.answers.clear()
        known = device.answers[expression] = _asked(device, expression)
    return known


def unreadable(expression: str) -> str:
    """Why the expression can be asked of no device; "" where it can."""
    compiled = _compiled(expression)
    return compiled if isinstance(compiled, str) else ""


def shown(expression: str) -> str:
    one_line = " ".join(expression.split())
    return one_line if len(one_line) <= _LONGEST_SHOWN else f"{one_line[:_LONGEST_SHOWN]}…"


def _asked(device: Device, expression: str) -> bool | str:
    compiled = _compiled(expression)
    if isinstance(compiled, str):
        return compiled
    variables = {
        "device": {
            "driver": device.driver,
            "attributes": device.attributes,
            "capacity": device.capacity,
            "allowMultipleAllocations": False,
        }
    }
    try:
        return cel.truth(compiled(variables))
    except CelError as error:
        return str(error)
    except RecursionError:
        return "it is nested too deep"


def _has(device: Device, qualified: str, least: object) -> bool:
    domain, _, name = qualified.rpartition("/")
    amount = device.capacity.get(domain or device.driver, {}).get(name)
    return isinstance(amount, Quantity) and amount.amount >= least  # type: ignore[operator]  # a Fraction


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> cel.Evaluate | str:
    try:
        return cel.compiled(expression)
    except CelError as error:
        return str(error)
