"""Names with `*` in them: whether one means a name, and whether two could mean the same one."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable


def matches(pattern: str, name: str) -> bool:
    return pattern == name or ("*" in pattern and _compiled(pattern).fullmatch(name) is not None)


def any_matches(patterns: Iterable[str], name: str) -> bool:
    return any(matches(pattern, name) for pattern in patterns)


@functools.lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    # One `.*` for several stars in a row: they mean the same, and a regular expression would try every split.
    return re.compile(".*".join(re.escape(part) for part in re.sub(r"\*+", "*", pattern).split("*")), re.DOTALL)


def overlap(one: str, other: str) -> bool:
    """Whether there is a name that both mean."""
    reached = {(0, 0)}
    waiting = [(0, 0)]
    while waiting:
        left, right = waiting.pop()
        if left == len(one) and right == len(other):
            return True
        a, b = one[left : left + 1], other[right : right + 1]
        steps = []
        if a == "*":
            steps.append((left + 1, right))
            if b:
                steps.append((left, right + 1))
        if b == "*":
            steps.append((left, right + 1))
            if a:
                steps.append((left + 1, right))
        if a and a == b:
            steps.append((left + 1, right + 1))
        for step in steps:
            if step not in reached:
                reached.add(step)
                waiting.append(step)
    return False
