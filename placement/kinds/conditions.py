"""The few comparisons that kind files may make about an object: data, which every reader of a kind file understands.

{exists: spec.elasticPolicy}                        the field is there and not null
{path: spec.completionMode, one_of: [Indexed]}      its value, or `default` where it is absent, is one of these
{condition: Complete}                               status.conditions holds that type with status "True"
{sum: [status.ready, status.succeeded], at_least: gang}   counters (`*` sums a map) reach a number, `gang` or `pods`
{all_of: [...]} {any_of: [...]} {negate: ...}
{cel: status.phase == "Ready"}                      for what these cannot say; see `expressions` for its names
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict

from placement.kinds import expressions
from placement.kinds.fields import Object
from placement.kinds.paths import Path, find, numbers

STRICT = ConfigDict(extra="forbid")
Fact = Literal["gang", "pods"]
Facts = Callable[[Fact], int]  # what the object's own spec says: how many pods start together, how many there are


@dataclass(frozen=True, slots=True)
class Exists:
    __pydantic_config__ = STRICT
    exists: Path


@dataclass(frozen=True, slots=True)
class OneOf:
    __pydantic_config__ = STRICT
    path: Path
    one_of: tuple[str | bool | int, ...]
    default: str | bool | int | None = None


@dataclass(frozen=True, slots=True)
class HasCondition:
    __pydantic_config__ = STRICT
    condition: str
    status: str = "True"


@dataclass(frozen=True, slots=True)
class AtLeast:
    __pydantic_config__ = STRICT
    sum: tuple[Path, ...]
    at_least: Fact | int


@dataclass(frozen=True, slots=True)
class AllOf:
    __pydantic_config__ = STRICT
    all_of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    __pydantic_config__ = STRICT
    any_of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Negate:
    __pydantic_config__ = STRICT
    negate: Condition


@dataclass(frozen=True, slots=True)
class Cel:
    __pydantic_config__ = STRICT
    cel: str

    def __post_init__(self) -> None:
        """Raises ValueError."""
        expressions.check(self.cel)


Condition = Exists | OneOf | HasCondition | AtLeast | AllOf | AnyOf | Negate | Cel


def holds(condition: Condition, obj: Object, facts: Facts) -> bool:
    match condition:
        case Exists(path):
            return find(obj, path) is not None
        case OneOf(path, one_of, default):
            value = find(obj, path)
            return (default if value is None else value) in one_of
        case HasCondition(name, status):
            found = condition_of(obj, name)
            return found is not None and found.get("status") == status
        case AtLeast(paths, at_least):
            enough = at_least if isinstance(at_least, int) else facts(at_least)
            return sum(sum(numbers(obj, path)) for path in paths) >= enough
        case AllOf(inner):
            return all(holds(each, obj, facts) for each in inner)
        case AnyOf(inner):
            return any(holds(each, obj, facts) for each in inner)
        case Negate(inner_condition):
            return not holds(inner_condition, obj, facts)
        case Cel(text):
            return expressions.holds(text, obj, facts)


def asks_facts(condition: Condition | bool | None) -> bool:
    """Whether it compares with `gang` or `pods`, which only the rules of a status may."""
    match condition:
        case AtLeast(_, at_least):
            return not isinstance(at_least, int)
        case AllOf(inner) | AnyOf(inner):
            return any(map(asks_facts, inner))
        case Negate(inner_condition):
            return asks_facts(inner_condition)
        case Cel(text):
            return expressions.asks_facts(text)
        case _:
            return False


def spec_holds(condition: Condition | None, obj: Object) -> bool:
    """For conditions on the spec, which need no facts; none at all never holds."""
    return condition is not None and holds(condition, obj, _no_facts)


def condition_of(obj: Object, name: str) -> dict[str, Any] | None:
    conditions = find(obj, ("status", "conditions"))
    for each in conditions if isinstance(conditions, list) else ():
        if isinstance(each, dict) and each.get("type") == name:
            return each
    return None


def _no_facts(fact: Fact) -> int:
    raise LookupError(f"{fact} is not known where the spec itself is being read")
