"""Whose jobs a waiting job may have evicted. Three rights, each a field of the waiting job's queue:

`within_queue`: jobs of the same queue with a lower priority.
`reclaim`: where the queue stays within its own quota with the job, jobs of queues of its cohorts that use more than
    theirs, and so run on what they borrowed. Of each such queue only as much as it borrows: a job is taken while the
    queue, without the other victims, still borrows.
`fair_share`: jobs of another queue that has the larger share, also after they left and this job came: shares by what is
    used now, over what the fleet has, divided by the weights, compared where the ways to the two queues part. What a
    queue uses of its own quota is out of reach.

None of them leads back: a victim that waits again has no right to evict whom it made room for. By the first because
its priority is lower; by the second because the other queue is within its own; by the third because shares do not
cross. Quota and budget of the waiting job's own queue are not looked at here (`queues.admission`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf

from placement.fleet import PendingJob, Reservation
from placement.queues.quota import Limits, QuotaBook
from placement.queues.spending import Uses
from placement.queues.tree import Queue, QueueTree, Reach
from placement.queues.usage import of_reservation

_SAME = 1e-6  # parts of cards are summed as floats


class Standing:
    """What every queue uses now. Jobs that are being stopped count no more; those for which room is made do."""

    def __init__(self, limits: Limits, capacity: Mapping[str, float], running: Iterable[tuple[str, Uses]]) -> None:
        """`running`: (queue, what it uses). `capacity`: by product, of the whole fleet."""
        self.limits = limits
        self.tree: QueueTree = limits.tree
        self.quota = QuotaBook(limits)
        self._capacity = capacity
        self._has: dict[str, dict[str, float]] = {}
        for queue, uses in running:
            self.add(queue, uses)

    def add(self, queue: str, uses: Uses) -> None:
        if queue not in self.tree.queues:
            return
        self.quota.take(queue, uses)
        for each in self.tree.paths[queue]:
            has = self._has.setdefault(each.name, {})
            for product, amount in uses:
                has[product] = has.get(product, 0.0) + amount

    def remove(self, queue: str, uses: Uses) -> None:
        self.add(queue, [(product, -amount) for product, amount in uses])

    def share(self, queue: Queue, more: Mapping[str, float]) -> float:
        """Of a queue with all its parts, with `more` of each product (or less, where below zero)."""
        has = self._has.get(queue.name, {})
        most = max(
            ((has.get(name, 0.0) + more.get(name, 0.0)) / self._of(name) for name in has.keys() | more.keys()),
            default=0.0,
        )
        if queue.weight <= 0:
            return inf if most > _SAME else 0.0
        return most / queue.weight

    def _of(self, product: str) -> float:
        return max(self._capacity.get(product, 0.0), 1e-9)


class Rights:
    """Of one waiting job, that would use so much."""

    def __init__(self, standing: Standing, job: PendingJob, uses: Uses) -> None:
        self._standing = standing
        self._queue = job.workload.hints.queue
        self._priority = job.workload.hints.priority
        self._uses = dict(uses)
        tree = standing.tree
        self._path = tree.paths.get(self._queue, ())
        self._rules = tree.queues[self._queue].preemption if self._path else None
        self._within_own = bool(self._path) and self._stays_within_own()

    def over(self, victims: Sequence[Reservation]) -> tuple[str, ...] | None:
        """By which right each of them may be evicted together with the others; None where one of them may not.

        What may be evicted together may also be evicted in part.
        """
        found = []
        for number, victim in enumerate(victims):
            right = self._right(victim, [*victims[:number], *victims[number + 1 :]])
            if not right:
                return None
            found.append(right)
        return tuple(found)

    def _right(self, victim: Reservation, others: Sequence[Reservation]) -> str:
        """In words; "" for none."""
        theirs = victim.workload.hints
        shared = [product for product, _ in of_reservation(victim) if product in self._uses]
        if self._rules is None or not shared or theirs.queue not in self._standing.tree.queues:
            return ""
        if theirs.queue == self._queue:
            lower = theirs.priority < self._priority and self._rules.within_queue is not Reach.NEVER
            return f"priority {theirs.priority} is below {self._priority}" if lower else ""
        if self._reaches(self._rules.reclaim, victim) and self._within_own and self._borrows(victim, shared, others):
            return f"queue {theirs.queue} runs it on what {self._queue} lent"
        if (
            self._reaches(self._rules.fair_share, victim)
            and self._has_too_much(victim, [*others, victim])
            and self._is_not_its_own(victim, shared, others)
        ):
            return f"queue {theirs.queue} has more than its share, and {self._queue} less"
        return ""

    def _reaches(self, reach: Reach, victim: Reservation) -> bool:
        return reach is Reach.ANY or (reach is Reach.LOWER_PRIORITY and victim.workload.hints.priority < self._priority)

    # ---- what was lent ----

    def _stays_within_own(self) -> bool:
        """With the job, in every class of it that is limited; and one is."""
        quota, limits = self._standing.quota, self._standing.limits
        asks = quota.counted(self._queue, tuple(self._uses.items()))
        return bool(asks) and all(
            quota.used(self._queue, device) + amount <= limits.subtree(self._queue, device) + _SAME
            for device, amount in asks.items()
        )

    def _borrows(self, victim: Reservation, shared: Iterable[str], others: Sequence[Reservation]) -> bool:
        """Something that the job needs, from cohorts that both are in."""
        theirs, _, common = self._ways(victim)
        return common and any(self._is_beyond(theirs, product, others) is True for product in shared)

    def _is_not_its_own(self, victim: Reservation, shared: Iterable[str], others: Sequence[Reservation]) -> bool:
        theirs, _, _ = self._ways(victim)
        return all(self._is_beyond(theirs, product, others) is not False for product in shared)

    def _is_beyond(self, theirs: Sequence[Queue], product: str, others: Sequence[Reservation]) -> bool | None:
        """Whether their queue, and every cohort of it below the common one, uses more than its own, without the
        other victims. None where the product is not limited there."""
        standing = self._standing
        device = standing.tree.class_of(theirs[0].name, product) if theirs else None
        if device is None:
            return None
        then = standing.quota.without((one.workload.hints.queue, of_reservation(one)) for one in others)
        return all(then.used(each.name, device) > standing.limits.subtree(each.name, device) + _SAME for each in theirs)

    # ---- shares ----

    def _has_too_much(self, victim: Reservation, victims: Sequence[Reservation]) -> bool:
        theirs, ours, _ = self._ways(victim)
        if not theirs or not ours:
            return False  # one is a cohort of the other by now: they have no shares that could be compared
        there, here = theirs[-1], ours[-1]
        after = self._standing.share(there, self._less(there, victims))
        gained = self._less(here, victims)
        for product, amount in self._uses.items():
            gained[product] = gained.get(product, 0.0) + amount
        return self._standing.share(here, gained) <= after + _SAME

    def _less(self, queue: Queue, victims: Sequence[Reservation]) -> dict[str, float]:
        gone: dict[str, float] = {}
        for victim in victims:
            if queue in self._standing.tree.paths[victim.workload.hints.queue]:
                for product, amount in of_reservation(victim):
                    gone[product] = gone.get(product, 0.0) - amount
        return gone

    def _ways(self, victim: Reservation) -> tuple[Sequence[Queue], Sequence[Queue], bool]:
        """From each queue up to where the two meet, that not included; and whether they meet at all."""
        theirs = self._standing.tree.paths[victim.workload.hints.queue]
        mine = {each.name for each in self._path}
        up = [each for each in theirs if each.name not in mine]
        common = len(up) < len(theirs)
        meeting = theirs[len(up)].name if common else ""
        ours = []
        for each in self._path:
            if each.name == meeting:
                break
            ours.append(each)
        return up, ours, common
