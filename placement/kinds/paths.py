"""Dotted paths into an object, as kind files write them: `spec.minAvailable`, `metadata.labels["a.b/c"]`.

`*` stands for every value of a mapping or list on the way; only `numbers` follows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator

from placement.kinds import fields
from placement.kinds.fields import MAX_INT32, join, wrong_type
from placement.kinds.problems import Findings

_STEP = re.compile(r'\.?([A-Za-z0-9_*-]+)|\["([^"\]]+)"\]')


def compiled(path: Any) -> Any:
    """The steps of a path; raises ValueError where it is malformed."""
    if not isinstance(path, str):
        return path
    steps: list[str] = []
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise ValueError(f"{path!r} is not a path: stopped at {path[at:]!r}")
        steps.append(step[1] or step[2])
        at = step.end()
    return tuple(steps)


Path = Annotated[tuple[str, ...], BeforeValidator(compiled)]


def shown(path: tuple[str, ...], root: str = "") -> str:
    for step in path:
        root = join(root, step)
    return root


def find(value: Any, path: tuple[str, ...]) -> Any:
    """What is there; None where nothing is, or where the way is barred by something that is no mapping."""
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def reach(found: Findings, value: Any, path: tuple[str, ...], root: str = "") -> Any:
    """As `find`, but something on the way that is no mapping is a problem."""
    reached = value
    for step in path:
        if isinstance(reached, dict):
            reached = reached.get(step)
        elif reached is None:
            return None
        else:
            return _barred(found, value, path, root)
    return reached


def _barred(found: Findings, value: Any, path: tuple[str, ...], root: str) -> None:
    """Says where on the way there is something that is no mapping."""
    for at, step in enumerate(path):
        if not isinstance(value, dict):
            return wrong_type(found, shown(path[:at], root), "a mapping", value)
        value = value.get(step)
    return None


def count(found: Findings, value: Any, path: tuple[str, ...], root: str = "") -> int | None:
    """The whole number that is there; None where there is none. Something else is a problem, also on the way to it."""
    at = reach(found, value, path, root)
    if at is None or (type(at) is int and 0 <= at <= MAX_INT32):
        return at
    return fields.count(found, at, shown(path, root))


def numbers(value: Any, path: tuple[str, ...]) -> Iterator[int]:
    """Every whole number that the path, with its `*`, leads to."""
    if not path:
        if isinstance(value, int) and not isinstance(value, bool):
            yield value
        return
    if path[0] == "*":
        inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        for each in inner:
            yield from numbers(each, path[1:])
    elif isinstance(value, dict):
        yield from numbers(value.get(path[0]), path[1:])
