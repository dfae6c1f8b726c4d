"""What a status says in its own words, for people: where nothing here knows what they mean.

The words stay the same while nothing of note changes: moments, counters and free text are left out, so that the same
thing is not said again and again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_MAX_WORDS = 6
_MAX_LENGTH = 60  # of one value
_MAX_DEPTH = 3
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")  # how controllers call the states of things
_NAMES = ("name", "id", "uid", "url", "address", "hash", "version", "revision", "selector", "message")


def says_nothing(status: Any) -> bool:
    """Whether everything in it is empty or zero: what a controller writes before it has looked."""
    if isinstance(status, dict):
        return all(says_nothing(value) for key, value in status.items() if key != "observedGeneration")
    if isinstance(status, list):
        return all(map(says_nothing, status))
    return not status or status == "0"


def words(status: Any) -> str:
    """`phase Paused, condition Frozen`: single words and the conditions that are true, the first few of them."""
    if not isinstance(status, dict):
        return f"it is {_short(status)}, and no mapping"
    found = list(dict.fromkeys(_words(status, "", 0)))
    if not found:
        return "it has " + ", ".join(_short(name) for name in sorted(map(str, status))[:_MAX_WORDS])
    return ", ".join(found[:_MAX_WORDS]) + (" …" if len(found) > _MAX_WORDS else "")


def _words(value: Any, key: str, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        return
    if key == "conditions" and isinstance(value, list):
        for each in value:
            if isinstance(each, dict) and isinstance(each.get("type"), str) and each.get("status") == "True":
                yield f"condition {_short(each['type'])}"
    elif isinstance(value, Mapping):
        # What is nearer to the top comes first.
        for name in sorted(value, key=lambda name: (isinstance(value[name], dict | list), str(name))):
            yield from _words(value[name], str(name), depth + 1)
    elif isinstance(value, str) and _WORD.fullmatch(value) and not key.lower().endswith(_NAMES):
        yield f"{_short(key)} {_short(value)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 1] + "…"
