"""Conditions that an administrator writes in CEL, for what the comparisons of `conditions` cannot say.

The language is Kubernetes' own for such things; a library evaluates it. It has no loops, names or IO of its own, but a
macro goes over a list: none may stand within another, so that a list in somebody's manifest costs its length and not a
power of it. What cannot be evaluated (a field that is not there, a number that is a string) does not hold: an object's
status is written by somebody else's controller and may lack anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import cel

MAX_LENGTH = 1000
MAX_MACROS = 3
NAMES = frozenset({"object", "status", "spec", "metadata"})
FACTS = frozenset({"gang", "pods"})  # known only where a status is judged

_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_STRING = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""")
_OTHER_STRING = re.compile(r"""(?<!\w)[rRbB]{1,2}["']|\"{3}|'{3}""")  # whose end is told by other rules
_FUNCTIONS = frozenset(
    {"all", "exists", "exists_one", "map", "filter", "has", "size", "contains", "startsWith", "endsWith", "matches"}
    | {"int", "uint", "double", "string", "bool", "bytes", "timestamp", "duration", "type", "min", "max"}
)


def check(text: str) -> None:
    """Raises ValueError where it is no expression, or says what this evaluator does not know."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the expression has {len(text)} characters, at most {MAX_LENGTH} are allowed")
    if _OTHER_STRING.search(text):
        raise ValueError(f"strings are written in plain quotes here, without a prefix and not in three: {text!r}")
    bare = _STRING.sub("''", text)
    bound = _MACRO.findall(bare)
    if len(bound) > MAX_MACROS:
        raise ValueError(f"the expression has {len(bound)} macros (all, exists, map, …), at most {MAX_MACROS}")
    if _is_nested(bare):
        raise ValueError(f"a macro stands within another, whose cost would be the square of a list's length: {text!r}")
    program = _program(text)
    known = NAMES | FACTS
    if clash := sorted(known & set(bound)):
        raise ValueError(f"{clash[0]} is a name of its own, a macro's variable must be called otherwise: {text!r}")
    if unknown := sorted(set(program.variables()) - known - set(bound)):
        raise ValueError(f"{unknown[0]} in {text!r} is no name; known: {', '.join(sorted(known))}")
    called = {name for name in program.functions() if name.isidentifier()}
    if unknown := sorted(called - _FUNCTIONS):
        raise ValueError(f"{unknown[0]}() in {text!r} is no function here; known: {', '.join(sorted(_FUNCTIONS))}")


def _is_nested(bare: str) -> bool:
    """`bare` has no strings, so every parenthesis is one."""
    for macro in _MACRO.finditer(bare):
        depth = 1
        for at in range(macro.end(), len(bare)):
            depth += {"(": 1, ")": -1}.get(bare[at], 0)
            if not depth:
                break
            if _MACRO.match(bare, at):
                return True
    return False


def asks_facts(text: str) -> bool:
    return not FACTS.isdisjoint(_program(text).variables())


def holds(text: str, obj: Mapping[str, Any], facts: Callable[[Any], int]) -> bool:
    """Whether it says true of the object; false where it cannot be evaluated, or answers anything else."""
    return _answer(text, obj, facts) is True


def count(text: str, obj: Mapping[str, Any]) -> int | None:
    """The whole number that it comes to; None where it cannot be evaluated, or answers anything else."""
    answer = _answer(text, obj, _no_facts)
    return answer if isinstance(answer, int) and not isinstance(answer, bool) else None


def _answer(text: str, obj: Mapping[str, Any], facts: Callable[[Any], int]) -> Any:
    program = _program(text)
    named: dict[str, Any] = {}
    for name in program.variables():
        if name == "object":
            named[name] = obj
        elif name in NAMES:
            part = obj.get(name)
            named[name] = part if isinstance(part, dict) else {}
        elif name in FACTS:
            named[name] = facts(name)
    try:
        return program.execute(named)
    except Exception:  # the library has an exception for each sort of mismatch, and the object is not ours
        return None


def _no_facts(name: Any) -> int:
    raise LookupError(f"{name} is not known where the spec itself is being read")


@lru_cache(maxsize=1024)
def _program(text: str) -> cel.Program:
    """Raises ValueError."""
    return cel.compile(text)
