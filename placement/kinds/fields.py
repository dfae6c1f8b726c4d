"""Typed looks into a manifest: what is absent answers a default, what has the wrong type is a problem with its path."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from placement.kinds.problems import Findings

Object = Mapping[str, Any]  # a Kubernetes object as JSON
MAX_INT32 = (1 << 31) - 1

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_EMPTY: Mapping[str, Any] = {}


def join(path: str, key: str | int) -> str:
    """`spec` + `template` = `spec.template`; keys that are no words, and indices, go in brackets."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if (key.isidentifier() and key.isascii()) or _WORD.fullmatch(key):  # the same words; the first way is the fast one
        return f"{path}.{key}" if path else key
    return f'{path}["{key}"]'


def mapping(found: Findings, parent: Object, path: str, key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    if isinstance(value, dict):
        return value
    if value is not None:
        wrong_type(found, join(path, key), "a mapping", value)
    return _EMPTY


def items(found: Findings, parent: Object, path: str, key: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """The mappings of a list, each with its path."""
    values = parent.get(key)
    if values is None:
        return ()
    if not isinstance(values, list):
        wrong_type(found, join(path, key), "a list", values)
        return ()
    answer: list[tuple[str, Mapping[str, Any]]] = []
    whole = join(path, key)
    for index, value in enumerate(values):
        at = f"{whole}[{index}]"
        if isinstance(value, dict):
            answer.append((at, value))
        else:
            wrong_type(found, at, "a mapping", value)
    return answer


def text(found: Findings, parent: Object, path: str, key: str, default: str = "") -> str:
    value = parent.get(key)
    if isinstance(value, str):
        return value
    if value is not None:
        wrong_type(found, join(path, key), "a string", value)
    return default


def strings(found: Findings, parent: Object, path: str, key: str) -> tuple[str, ...]:
    values = parent.get(key)
    if values is None:
        return ()
    if not isinstance(values, list):
        wrong_type(found, join(path, key), "a list", values)
        return ()
    for index, value in enumerate(values):
        if not isinstance(value, str):
            wrong_type(found, f"{join(path, key)}[{index}]", "a string", value)
    return tuple(value for value in values if isinstance(value, str))


def string_map(found: Findings, parent: Object, path: str, key: str) -> Mapping[str, str]:
    """Labels, annotations, selectors: Kubernetes takes strings only."""
    values = mapping(found, parent, path, key)
    for name, value in values.items():
        if not isinstance(value, str):
            wrong_type(found, join(join(path, key), name), "a string", value)
    return {name: value for name, value in values.items() if isinstance(value, str)}


def count(found: Findings, value: Any, path: str) -> int | None:
    """A whole number from 0 to 2**31-1; None where it is absent or wrong."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        wrong_type(found, path, "a whole number", value)
        return None
    if not 0 <= value <= MAX_INT32:
        found.error(path, f"must be from 0 to {MAX_INT32}, is {value}", "give a number in that range")
        return None
    return value


def dicts(values: Any) -> Sequence[dict[str, Any]]:
    """The mappings of what may be a list; anything else is passed over."""
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else ()


def wrong_type(found: Findings, path: str, wanted: str, value: Any) -> None:
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, dict | list):
        found.error(
            path, f"must be {wanted}, is a {'mapping' if isinstance(value, dict) else 'list'}", f"give {wanted}"
        )
    elif wanted == "a string":
        found.error(path, f"must be a string, is {shown[:40]}", f'write it quoted: "{shown[:40]}"')
    else:
        quoted = f'"{shown[:40]}"' if isinstance(value, str) else shown[:40]
        mend = "write it without quotes" if isinstance(value, str) and value.strip().isdigit() else f"give {wanted}"
        found.error(path, f"must be {wanted}, is {quoted}", mend)
