"""One cycle's view of the queues: who is next, and whether a queue may have what a job would take somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from placement.fleet import Fleet, PendingJob, Reservation
from placement.queues.budgets import BudgetBook
from placement.queues.fair_share import Shares, turns
from placement.queues.quota import Limits, QuotaBook
from placement.queues.reasons import GaveUp, QueueIsCohort, QueueUnknown
from placement.queues.spending import HOUR, Uses
from placement.queues.usage import of_reservation
from placement.verdict import Reason
from placement.workload import Workload


class Admission:
    """Changes with every placement (`take`). What is not limited, and alone, costs nothing."""

    def __init__(
        self, fleet: Fleet, limits: Limits, capacity: Mapping[str, float], pending: Sequence[PendingJob], now: datetime
    ) -> None:
        tree, self._now = fleet.queues, now
        self._tree = tree
        self._limited = tree.limited
        self._quota = self._budgets = self._shares = None
        running, half_life_h = fleet.reservations, fleet.half_life_h
        if self._limited:
            self._quota = QuotaBook(limits, ((one.workload.hints.queue, of_reservation(one)) for one in running))
        if any(queue.budget.is_limited for queue in tree.queues.values()):
            self._budgets = BudgetBook(tree, fleet.past, running, now, half_life_h)
        if len({job.workload.hints.queue for job in pending}) > 1:
            self._shares = Shares(limits, capacity, fleet.past, running, now, half_life_h)

    def turns(self, pending: Sequence[PendingJob]) -> Iterator[PendingJob]:
        return turns(pending, self._shares)

    def closed(self, queue: str) -> Reason | None:
        """Why no job may wait there at all."""
        if queue in self._tree.open:
            return None
        if queue in self._tree.queues:
            return QueueIsCohort(queue, self._tree.children[queue])
        return QueueUnknown(queue, tuple(sorted(self._tree.open)))

    def limits(self, queue: str) -> bool:
        return queue in self._limited

    def refusal(self, cluster: str, workload: Workload, uses: Uses, usd_per_hour: float) -> Reason | None:
        queue = workload.hints.queue
        found: Reason | None = None
        if self._quota is not None:
            found = self._quota.refusal(queue, cluster, uses)
        return found if found is not None else self.over_budget(cluster, workload, uses, usd_per_hour)

    def over_budget(self, cluster: str, workload: Workload, uses: Uses, usd_per_hour: float) -> Reason | None:
        return None if self._budgets is None else self._budgets.refusal(cluster, workload, uses, usd_per_hour)

    def take(self, held: Reservation) -> None:
        queue, uses = held.workload.hints.queue, held.uses
        if self._quota is not None:
            self._quota.take(queue, uses)
        if self._budgets is not None:
            self._budgets.take(held)
        if self._shares is not None:
            self._shares.take(queue, uses)


def given_up(job: PendingJob, now: datetime) -> GaveUp | None:
    limit = job.workload.hints.give_up_hours
    waited = now - (job.waits_since or job.submitted_at)
    if limit is None or waited < timedelta(hours=limit):
        return None
    return GaveUp(waited / HOUR, limit)


def gives_up_at(job: PendingJob) -> datetime | None:
    limit = job.workload.hints.give_up_hours
    return None if limit is None else (job.waits_since or job.submitted_at) + timedelta(hours=limit)
