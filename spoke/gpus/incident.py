"""How many nodes' jobs are moved away for sick GPUs before it counts as one incident of the whole cluster. Pure.

A driver that was rolled out badly, a monitor gone wrong or a switch that fails make many nodes look sick at once.
Moving every job away would cost all of them their progress, and there would be nowhere to go. So within `within_s` the
jobs of at most a `share` of the cluster's GPU nodes are moved, and of `at_least` nodes in any case. The cards beyond
that are marked all the same, and given to nobody; what runs on them goes on, and is moved as the time goes on if they
are still marked.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    share: float = 0.2
    at_least: int = 2
    within_s: float = 600.0

    def nodes(self, gpu_nodes: int) -> int:
        return max(self.at_least, math.floor(self.share * gpu_nodes))


LIMIT = Limit()


class Incident:
    """`now` is in seconds of a clock that never goes back."""

    def __init__(self, limit: Limit = LIMIT) -> None:
        self.limit = limit
        self._moved: deque[tuple[float, str]] = deque()
        self._granted: dict[str, int] = {}  # node -> entries of it in `_moved`

    def may_move(self, node: str, gpu_nodes: int, now: float) -> bool:
        """Whether jobs may be moved away from the node; asking for it is doing it."""
        while self._moved and self._moved[0][0] <= now - self.limit.within_s:
            _, gone = self._moved.popleft()
            self._granted[gone] -= 1
            if not self._granted[gone]:
                del self._granted[gone]
        if node in self._granted:
            return True
        if len(self._granted) >= self.limit.nodes(gpu_nodes):
            return False
        self._moved.append((now, node))
        self._granted[node] = self._granted.get(node, 0) + 1
        return True
