"""Progress and retries as a kind's file finds them in an object: sums of counters, an expression, or "3/10".

progress: {text: status.progress}
progress: {done: {sum: [status.succeeded]}, of: {sum: [spec.completions]}, when: {exists: spec.completions}}
retries: {done: {cel: int(status.attempts) - 1}, of: {sum: [spec.backoffLimit], default: 6}}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from placement.kinds import expressions, fields, paths
from placement.kinds.conditions import STRICT, Condition, asks_facts, spec_holds
from placement.kinds.fields import Object
from placement.kinds.paths import Path
from placement.tally import Tally

_MOST = 1 << 53  # what every reader of JSON takes for a whole number
_FRACTION = re.compile(r"\s*(\d{1,15})\s*(?:/|of)\s*(\d{1,15})\s*")


@dataclass(frozen=True, slots=True)
class Amount:
    """A whole number of the object; paths begin at the object."""

    __pydantic_config__ = STRICT
    sum: tuple[Path, ...] = ()  # of all whole numbers that these lead to; `*` stands for every entry
    each: int | None = None  # with `*`: what an entry counts that names no number
    cel: str = ""  # instead of a sum
    default: int | None = None  # where there is none of it

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if bool(self.cel) == bool(self.sum):
            raise ValueError("an amount is a sum of paths, or computed by cel")
        if self.cel:
            expressions.check(self.cel)
            if expressions.asks_facts(self.cel):
                raise ValueError(f"gang and pods are known only to the rules of `status`: {self.cel!r}")


@dataclass(frozen=True, slots=True)
class TallyRule:
    __pydantic_config__ = STRICT
    done: Amount | None = None
    of: Amount | None = None
    text: Path = ()  # instead of both: a string like "3/10"
    when: Condition | None = None  # None: always
    restarts: bool = False  # of retries: what its pods' containers were restarted counts, too

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if bool(self.text) == (self.done is not None):
            raise ValueError("a tally has `done`, or it is a `text`")
        if asks_facts(self.when):
            raise ValueError("when: gang and pods are known only to the rules of `status`")


def read(rule: TallyRule | None, obj: Object) -> Tally | None:
    """None where the object does not say."""
    if rule is None or (rule.when is not None and not spec_holds(rule.when, obj)):
        return None
    if rule.text:
        return _of_text(paths.find(obj, rule.text))
    done = _amount(rule.done, obj)
    return None if done is None else Tally(done, _amount(rule.of, obj))


def _of_text(text: Any) -> Tally | None:
    found = _FRACTION.fullmatch(text) if isinstance(text, str) else None
    return Tally(int(found[1]), int(found[2])) if found is not None else None


def _amount(rule: Amount | None, obj: Object) -> int | None:
    if rule is None:
        return None
    if rule.cel:
        counted = expressions.count(rule.cel, obj)
    else:
        numbers = [number for path in rule.sum for number in _numbers(obj, path, rule.each)]
        counted = sum(numbers) if numbers else None
    return rule.default if counted is None else min(max(counted, 0), _MOST)


def _numbers(obj: Any, path: Path, each: int | None) -> list[int]:
    if each is None or "*" not in path:
        return list(paths.numbers(obj, path))
    star = path.index("*")
    entries = paths.find(obj, path[:star])
    values = list(entries.values()) if isinstance(entries, dict) else list(fields.dicts(entries))
    return [number for value in values for number in (list(paths.numbers(value, path[star + 1 :])) or [each])]
