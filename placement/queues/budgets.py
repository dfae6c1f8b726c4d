"""Whether a queue's budget has room for a job's expected cost, before it is placed.

Counted against a day or month are the hours that lie in it: those spent, by ended attempts and by running ones so far,
those that running jobs are still expected to need in it, and those that the job would need in it. A job that runs
longer than it said is not stopped; what it spends counts for those that come after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from placement.fleet import Reservation
from placement.queues.reasons import BudgetShort
from placement.queues.spending import Past, Uses, day_of, month_of, next_month, overlap_hours
from placement.queues.tree import CPU_CORES, QueueTree
from placement.queues.usage import of_reservation
from placement.workload import Workload

_SAME = 1e-6


@dataclass(slots=True)
class _Sum:
    """Of one queue and everything under it, in one period."""

    gpu_hours: float = 0.0
    usd: float = 0.0
    committed_gpu_hours: float = 0.0
    committed_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class _Period:
    name: str
    begin: datetime
    end: datetime
    sums: dict[str, _Sum] = field(default_factory=dict)


class BudgetBook:
    """Of one cycle: what is spent and expected, as jobs are placed one after another."""

    def __init__(
        self,
        tree: QueueTree,
        past: Mapping[str, Past],
        running: Iterable[Reservation],
        now: datetime,
        half_life_h: float,
        *,
        every_queue: bool = False,
    ) -> None:
        """`every_queue`: also those without a budget, to be looked at."""
        self._every_queue = every_queue
        day, month = day_of(now), month_of(now)
        self._tree = tree
        self._now = now
        self._day = _Period("day", day, day + timedelta(days=1))
        self._month = _Period("month", month, next_month(now))
        for queue, each in past.items():
            seen = each.at(now, half_life_h)
            for one in self._counted_path(queue):
                self._add(self._day, one, seen.gpu_hours_day, seen.usd_day)
                self._add(self._month, one, seen.gpu_hours_month, seen.usd_month)
        for held in running:
            self.take(held)

    def take(self, held: Reservation) -> None:
        counted = self._counted_path(held.workload.hints.queue)
        if not counted:
            return
        gpus, since = _gpus(of_reservation(held)), held.since or self._now
        expected_end = since + timedelta(hours=held.workload.hints.expected_hours)
        for period in (self._day, self._month):
            spent = overlap_hours(since, self._now, period.begin, period.end)
            coming = _coming(held.workload, self._now, expected_end, period)
            for name in counted:
                found = self._add(period, name, spent * gpus, spent * held.usd_per_hour)
                found.committed_gpu_hours += coming * gpus
                found.committed_usd += coming * held.usd_per_hour

    def refusal(self, cluster: str, workload: Workload, uses: Uses, usd_per_hour: float) -> BudgetShort | None:
        for queue in self._tree.paths[workload.hints.queue]:
            budget = queue.budget
            if not budget.is_limited:
                continue
            for period, gpu_hours, usd in (
                (self._day, budget.gpu_hours_per_day, budget.usd_per_day),
                (self._month, budget.gpu_hours_per_month, budget.usd_per_month),
            ):
                end = self._now + timedelta(hours=workload.hints.expected_hours)
                hours = _coming(workload, self._now, end, period)
                found = period.sums.get(queue.name, _Sum())
                for unit, limit, spent, committed, asks in (
                    ("GPU-hours", gpu_hours, found.gpu_hours, found.committed_gpu_hours, _gpus(uses) * hours),
                    ("$", usd, found.usd, found.committed_usd, usd_per_hour * hours),
                ):
                    if limit is not None and asks > 0 and spent + committed + asks > limit + _SAME:
                        renewed = f"{period.end:%F %H:%M} UTC"
                        return BudgetShort(
                            cluster, queue.name, period.name, unit, limit, spent, committed, asks, renewed
                        )
        return None

    def spent(self, queue: str) -> tuple[float, float, float, float]:
        """GPU-hours and USD of the day so far, then of the month, all parts included."""
        day, month = (period.sums.get(queue, _Sum()) for period in (self._day, self._month))
        return day.gpu_hours, day.usd, month.gpu_hours, month.usd

    def _counted_path(self, queue: str) -> tuple[str, ...]:
        path = self._tree.paths.get(queue, ())
        return tuple(each.name for each in path if self._every_queue or each.budget.is_limited)

    def _add(self, period: _Period, queue: str, gpu_hours: float, usd: float) -> _Sum:
        found = period.sums.setdefault(queue, _Sum())
        found.gpu_hours += gpu_hours
        found.usd += usd
        return found


def _coming(workload: Workload, now: datetime, expected_end: datetime, period: _Period) -> float:
    """Hours of the period that it is still to run; a service runs to the end of it."""
    until = period.end if workload.long_running else expected_end
    return overlap_hours(now, until, period.begin, period.end)


def _gpus(uses: Uses) -> float:
    return sum(amount for device, amount in uses if device != CPU_CORES)
