"""The few comparisons that kind files may make about an object: data, which every reader of a kind file understands.

{exists: spec.elasticPolicy}                        the field is there and not null
{path: spec.completionMode, one_of: [Indexed]}      its value, or `default` where it is absent, is one of these
{condition: Complete}                               status.conditions holds that type with status "True"
{sum: [status.ready, status.succeeded], at_least: gang}   counters (`*` sums a map) reach a number, `gang` or `pods`
{mentions: [Created, Running]}                      status.conditions holds one of those types, whatever its status
{every: spec.replicatedJobs, counted: status.replicatedJobsStatus, ...}   each entry of a list is up by another's count
{all_of: [...]} {any_of: [...]} {negate: ...}
{cel: status.phase == "Ready"}                      for what these cannot say; see `expressions` for its names
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict

from placement.kinds import expressions
from placement.kinds.fields import Object, dicts
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
class Mentions:
    __pydantic_config__ = STRICT
    mentions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Where an entry of a list says which others it comes after. Those stand before it."""

    __pydantic_config__ = STRICT
    at: Path  # from the entry: a list
    name: Path  # from an item of that list: whom it waits for
    ended: Condition | None = None  # of an item: it waits for the end, and not only for the beginning

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if asks_facts(self.ended):
            raise ValueError("after.ended: gang and pods are known only to the rules of `status`")


@dataclass(frozen=True, slots=True)
class Every:
    """Of every entry of one list, as many are up as it asks for, by the counters of another list; one entry at least.

    Entries that wait for the end of others (`after`) are not asked for before those have ended.
    """

    __pydantic_config__ = STRICT
    every: Path
    counted: Path  # a list, too: its entries have the same names
    name: Path  # from an entry of either
    sum: tuple[Path, ...]  # from an entry of `counted`
    ended: Path  # likewise: how many have ended well
    at_least: Path  # from an entry of `every`; 1 where it is absent
    after: Dependencies | None = None


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


Condition = Exists | OneOf | HasCondition | Mentions | AtLeast | Every | AllOf | AnyOf | Negate | Cel


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
        case Mentions(names):
            return any(condition_of(obj, name) is not None for name in names)
        case Every():
            return _every_is_up(condition, obj)
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


def _every_is_up(rule: Every, obj: Object) -> bool:
    counted = {_name(each, rule.name): each for each in dicts(find(obj, rule.counted))}
    up: dict[str, bool] = {}
    over: dict[str, bool] = {}
    begins: dict[str, bool] = {}  # those that are not waiting for the end of others
    for entry in dicts(find(obj, rule.every)):
        name = _name(entry, rule.name)
        asked, counters = find(entry, rule.at_least), counted.get(name, {})
        wanted = 1 if asked is None else asked if isinstance(asked, int) else 0
        up[name] = sum(sum(numbers(counters, path)) for path in rule.sum) >= wanted
        over[name] = sum(numbers(counters, rule.ended)) >= wanted
        begins[name] = all(
            begins.get(other, False) and (over.get(other, False) or not whole)
            for other, whole in waits_for(rule.after, entry)
        )
    return any(begins.values()) and all(up[name] for name, due in begins.items() if due)


def waits_for(rule: Dependencies | None, entry: Object) -> Iterator[tuple[str, bool]]:
    """Whom the entry names, and whether it waits for that one's end."""
    if rule is not None:
        for item in dicts(find(entry, rule.at)):
            yield _name(item, rule.name), spec_holds(rule.ended, item)


def _name(entry: Object, path: Path) -> str:
    name = find(entry, path)
    return name if isinstance(name, str) else ""


def _no_facts(fact: Fact) -> int:
    raise LookupError(f"{fact} is not known where the spec itself is being read")
