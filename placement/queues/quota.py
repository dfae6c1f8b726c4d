"""How much of each device class every queue uses, and how much more it may take, with what its cohort lends.

A queue's subtree holds its own nominal quota and what its parts lend. What a queue does not lend is guaranteed to it;
what it uses beyond that counts in its cohort, and so on upwards. It may take what is left of its guarantee, and of its
cohort as much as the cohort has left and its borrowing limit allows. (The rules of Kueue's hierarchical cohorts.)

Used beyond what is allowed, because quota was lowered below its use, nothing breaks: what is left is below zero, and
nobody whose way it is on gets more until it is used less.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from placement.queues.reasons import QuotaShort
from placement.queues.spending import Uses
from placement.queues.tree import Queue, QueueTree, Quota

_NONE = Quota()
# Parts of cards are summed as floats.
_SAME = 1e-6


class Limits:
    """What does not change while jobs come and go: each queue's subtree and guarantee by class."""

    def __init__(self, tree: QueueTree) -> None:
        self.tree = tree
        self._subtree: dict[tuple[str, str], float] = {}

    def subtree(self, queue: str, device: str) -> float:
        """Its nominal quota and what its parts lend it."""
        known = self._subtree.get((queue, device))
        if known is None:
            own = self.quota(queue, device).nominal
            lent = (self.subtree(part, device) - self.guaranteed(part, device) for part in self.tree.children[queue])
            known = self._subtree[queue, device] = own + sum(lent)
        return known

    def guaranteed(self, queue: str, device: str) -> float:
        """What only it may use."""
        lending = self.quota(queue, device).lending_limit
        return 0.0 if lending is None else max(0.0, self.subtree(queue, device) - lending)

    def quota(self, queue: str, device: str) -> Quota:
        return self.tree.queues[queue].quotas.get(device, _NONE)

    def may_use(self, path: tuple[Queue, ...], device: str) -> float:
        """The most that the first of the path could use if nobody else used anything."""
        queue, *above = path
        subtree = self.subtree(queue.name, device)
        if not above:
            return subtree
        guaranteed, limit = self.guaranteed(queue.name, device), self.quota(queue.name, device).borrowing_limit
        shared = self.may_use(tuple(above), device)
        return guaranteed + min(shared, subtree - guaranteed + (inf if limit is None else limit))


class QuotaBook:
    """Of one cycle: what is used, as jobs are placed one after another."""

    def __init__(self, limits: Limits, used: Iterable[tuple[str, Uses]] = ()) -> None:
        """`used`: (queue, what one reservation of it uses). Of a queue that is gone, nothing counts."""
        self._limits = limits
        self._tree = limits.tree
        self._used: dict[tuple[str, str], float] = {}
        for queue, uses in used:
            if queue in self._tree.queues:
                self.take(queue, uses)

    def used(self, queue: str, device: str) -> float:
        """By itself and, beyond their guarantees, by its parts."""
        return self._used.get((queue, device), 0.0)

    def take(self, queue: str, uses: Uses) -> None:
        for device, amount in self.counted(queue, uses).items():
            for each in self._tree.paths[queue]:
                before = self.used(each.name, device)
                self._used[each.name, device] = before + amount
                guaranteed = self._limits.guaranteed(each.name, device)
                amount = max(0.0, before + amount - guaranteed) - max(0.0, before - guaranteed)

    def without(self, gone: Iterable[tuple[str, Uses]]) -> QuotaBook:
        """As it would be once these have ended."""
        then = QuotaBook(self._limits)
        then._used = dict(self._used)
        for queue, uses in gone:
            if queue in self._tree.queues:
                then.take(queue, [(product, -amount) for product, amount in uses])
        return then

    def left(self, path: tuple[Queue, ...], device: str) -> float:
        """How much more the first of the path may take now."""
        queue, *above = path
        used, subtree = self.used(queue.name, device), self._limits.subtree(queue.name, device)
        if not above:
            return subtree - used
        guaranteed = self._limits.guaranteed(queue.name, device)
        shared, limit = self.left(tuple(above), device), self._limits.quota(queue.name, device).borrowing_limit
        if limit is not None:
            shared = min(shared, subtree - guaranteed - max(0.0, used - guaranteed) + limit)
        return max(0.0, guaranteed - used) + shared

    def refusal(self, queue: str, cluster: str, uses: Uses) -> QuotaShort | None:
        path = self._tree.paths[queue]
        for device, asks in sorted(self.counted(queue, uses).items()):
            left = self.left(path, device)
            if asks > left + _SAME:
                nominal = self._limits.quota(queue, device).nominal
                may_borrow = max(0.0, self._limits.may_use(path, device) - nominal)
                return QuotaShort(
                    cluster, queue, device, nominal, may_borrow, _tidy(self.used(queue, device)), asks, _tidy(left)
                )
        return None

    def counted(self, queue: str, uses: Uses) -> dict[str, float]:
        """By class, what is limited of it."""
        found: dict[str, float] = {}
        for product, amount in uses:
            device = self._tree.class_of(queue, product)
            if device is not None and amount:
                found[device] = found.get(device, 0.0) + amount
        return found


def _tidy(amount: float) -> float:
    return round(amount, 6) + 0.0
