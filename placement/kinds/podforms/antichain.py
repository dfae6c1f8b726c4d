"""The most that may run at once of tasks that wait for each other: the heaviest antichain of their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Set

EXACT_UP_TO = 128  # tasks; beyond, the sum of all is the answer, which is never too little


def heaviest(weights: Mapping[str, int], waits_for: Mapping[str, Set[str]]) -> int:
    """The largest total weight of tasks none of which waits for another, directly or not. `waits_for` has no cycle.

    By Dilworth's theorem with weights: the total, less the most that chains can share, which is a maximum flow.
    """
    tasks = [name for name, weight in weights.items() if weight > 0]
    total = sum(weights[name] for name in tasks)
    if len(tasks) > EXACT_UP_TO:
        return total
    before = closure(waits_for)
    after = {name: [each for each in tasks if name in before.get(each, ())] for name in tasks}
    left, right = {name: weights[name] for name in tasks}, {name: weights[name] for name in tasks}
    flow: dict[tuple[str, str], int] = {}
    for start in tasks:
        while left[start] and (path := _augmenting(start, after, right, flow)):
            amount = min(
                left[start], right[path[-1]], *(flow[path[i + 1], path[i]] for i in range(1, len(path) - 1, 2))
            )
            for i in range(0, len(path) - 1, 2):
                flow[path[i], path[i + 1]] = flow.get((path[i], path[i + 1]), 0) + amount
            for i in range(1, len(path) - 1, 2):
                flow[path[i + 1], path[i]] -= amount
            left[start] -= amount
            right[path[-1]] -= amount
    return total - sum(weights[name] - left[name] for name in tasks)


def closure(waits_for: Mapping[str, Set[str]]) -> dict[str, frozenset[str]]:
    """Everything that each task waits for; a cycle is cut where it is found."""
    found: dict[str, frozenset[str]] = {}
    for name in waits_for:
        seen: set[str] = set()
        waiting = list(waits_for[name])
        while waiting:
            each = waiting.pop()
            if each in seen:
                continue
            seen.add(each)
            if each in found:
                seen |= found[each]
            else:
                waiting += waits_for.get(each, ())
        found[name] = frozenset(seen - {name})
    return found


def _augmenting(
    start: str, after: Mapping[str, list[str]], right: Mapping[str, int], flow: Mapping[tuple[str, str], int]
) -> list[str]:
    """Left, right, left, right …: the last has something to spare; [] where there is no such way."""
    came: dict[str, str] = {}  # right -> left
    back: dict[str, str] = {}  # left -> right that it was reached from
    waiting = deque([start])
    while waiting:
        name = waiting.popleft()
        for each in after[name]:
            if each in came:
                continue
            came[each] = name
            if right[each]:
                return _way(each, start, came, back)
            for other in after:
                if flow.get((other, each)) and other not in back and other != start:
                    back[other] = each
                    waiting.append(other)
    return []


def _way(end: str, start: str, came: Mapping[str, str], back: Mapping[str, str]) -> list[str]:
    way = [end]
    while True:
        name = came[way[-1]]
        way.append(name)
        if name == start:
            return way[::-1]
        way.append(back[name])
