"""When queued jobs want a decision by the passing of time alone.

The moments of a job are those that its last decision named, and no earlier ones: some lie a little later with every
decision, and would otherwise gather for as long as the job waits. What is kept is in proportion to the jobs.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from datetime import datetime

_SLACK = 64  # outdated entries that are not worth clearing away


class Timers:
    def __init__(self) -> None:
        self._moments: dict[str, list[datetime]] = {}  # of each job, ascending
        self._heap: list[tuple[datetime, str]] = []  # of each job the first one, and some that are outdated

    def __len__(self) -> int:
        """Of entries kept, outdated ones too."""
        return len(self._heap)

    def set(self, job: str, moments: Iterable[datetime]) -> None:
        """These, in the place of those it had."""
        before, now = self._moments.get(job), sorted(set(moments))
        if not now:
            self._moments.pop(job, None)
            return
        self._moments[job] = now
        if before is None or before[0] != now[0]:
            heapq.heappush(self._heap, (now[0], job))
            if len(self._heap) > 2 * len(self._moments) + _SLACK:
                self._heap = [(theirs[0], each) for each, theirs in self._moments.items()]
                heapq.heapify(self._heap)

    @property
    def next(self) -> datetime | None:
        while self._heap and not self._counts(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def rung(self, now: datetime) -> list[str]:
        """The jobs of which a moment has come; it counts no more."""
        found: list[str] = []
        while (first := self.next) is not None and first <= now:
            _, job = heapq.heappop(self._heap)
            found.append(job)
            self.set(job, [moment for moment in self._moments.pop(job) if moment > now])
        return found

    def _counts(self, moment: datetime, job: str) -> bool:
        theirs = self._moments.get(job)
        return theirs is not None and theirs[0] == moment
