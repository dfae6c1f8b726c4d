"""Whose turn it is: hierarchical dominant-resource fairness with a memory that fades.

A queue's share is the largest part that it has of any device class, divided by its weight: what it uses now, and the
steady use that its decayed past amounts to, over what there is. Queues that keep within their own quota go before those
that borrow, and those are compared by what they borrow first. Siblings are compared with each other, from the roots
down, so that a cohort with many queues gets no more than one with few. Within a queue, and between
queues whose shares are the same: priority, then age, then id.

Shares move with every placement, so turns are taken one at a time. During a cycle they only grow: an old key is never
too high, and a heap that checks what it takes out is enough.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from math import inf

from placement.fleet import PendingJob, Reservation
from placement.queues.quota import Limits
from placement.queues.spending import Past, Uses, hours_between, mean_use
from placement.queues.tree import Queue
from placement.queues.usage import of_reservation

# What one queue is compared by with its siblings: (share borrowed, share).
Key = tuple[float, float]


class Shares:
    """Of one cycle: what every queue has, with all that are under it."""

    def __init__(
        self,
        limits: Limits,
        capacity: Mapping[str, float],
        past: Mapping[str, Past],
        running: Iterable[Reservation],
        now: datetime,
        half_life_h: float,
    ) -> None:
        """`capacity`: by product in cards, `cpu` in cores, of the whole fleet."""
        self._tree, self._limits, self._capacity = limits.tree, limits, capacity
        self._had: dict[str, dict[str, float]] = {}  # queue -> product -> used now and mean of the past
        self._has: dict[str, dict[str, float]] = {}  # queue -> class under its quota -> used now
        for queue, each in past.items():
            decayed = each.at(now, half_life_h).decayed_hours
            self._note(queue, [(product, mean_use(hours, half_life_h)) for product, hours in decayed.items()])
        for held in running:
            uses = of_reservation(held)
            age_h = hours_between(held.since, now) if held.since else 0.0
            faded = 1.0 - 0.5 ** (max(0.0, age_h) / half_life_h)
            self._note(held.workload.hints.queue, [(product, amount * faded) for product, amount in uses])
            self.take(held.workload.hints.queue, uses)

    def take(self, queue: str, uses: Uses) -> None:
        self._note(queue, uses)
        for each in self._tree.paths.get(queue, ()):
            has = self._has.setdefault(each.name, {})
            for product, amount in uses:
                device = self._tree.class_of(queue, product)
                if device is not None:
                    has[device] = has.get(device, 0.0) + amount

    def key(self, queue: str) -> tuple[Key, ...]:
        """From the root down; the lowest is next. A queue that is not known comes last."""
        path = self._tree.paths.get(queue)
        return tuple(self._key(each) for each in reversed(path)) if path else ((inf, inf),)

    def _key(self, queue: Queue) -> Key:
        had = max((amount / self._of(product, amount) for product, amount in self._had_by(queue)), default=0.0)
        borrowed = max((self._borrowed(queue.name, *one) for one in self._has.get(queue.name, {}).items()), default=0.0)
        if queue.weight <= 0:
            return inf if borrowed else 0.0, inf
        return borrowed / queue.weight, had / queue.weight

    def _borrowed(self, queue: str, device: str, amount: float) -> float:
        root = self._tree.paths[queue][-1].name
        beyond = amount - self._limits.subtree(queue, device)
        # Summed floats: what is as good as nothing is nothing.
        return beyond / max(self._limits.subtree(root, device), 1.0) if beyond > 1e-6 else 0.0

    def _had_by(self, queue: Queue) -> Iterable[tuple[str, float]]:
        return self._had.get(queue.name, {}).items()

    def _of(self, product: str, amount: float) -> float:
        """All of it that there is; what is used and not seen anywhere is all there is."""
        return max(self._capacity.get(product, 0.0), amount, 1e-9)

    def _note(self, queue: str, uses: Uses) -> None:
        for each in self._tree.paths.get(queue, ()):
            had = self._had.setdefault(each.name, {})
            for product, amount in uses:
                had[product] = had.get(product, 0.0) + amount


def turns(pending: Iterable[PendingJob], shares: Shares | None) -> Iterator[PendingJob]:
    """Every job once. What the caller tells `shares` between two jobs counts for the next. None: all are alike."""
    waiting: dict[str, list[PendingJob]] = {}
    for job in pending:
        waiting.setdefault(job.workload.hints.queue if shares else "", []).append(job)
    for jobs in waiting.values():
        jobs.sort(key=rank, reverse=True)
    if shares is None or len(waiting) < 2:
        for jobs in waiting.values():
            yield from reversed(jobs)
        return
    heap = [(shares.key(queue), rank(jobs[-1]), queue) for queue, jobs in waiting.items()]
    heapq.heapify(heap)
    while heap:
        known, first, queue = heapq.heappop(heap)
        key = shares.key(queue)
        if key > known:
            heapq.heappush(heap, (key, first, queue))
            continue
        yield waiting[queue].pop()
        if waiting[queue]:
            heapq.heappush(heap, (shares.key(queue), rank(waiting[queue][-1]), queue))


def rank(job: PendingJob) -> tuple[int, datetime, str]:
    """Within one queue: priority, then age, then id."""
    return -job.workload.hints.priority, job.submitted_at, job.job
