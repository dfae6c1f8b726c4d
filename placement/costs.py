"""What attempts cost: dollars by kind, for any stretch of time, and what of it came to nothing.

An attempt is charged from its placing to its release by the price that held when it was placed, however it ended. The
money of attempts that failed, or were taken from where they ran, counts as lost: all of it, though a checkpoint may
have saved a part. What was moved for an attempt is charged at its beginning; that it ended, and how far its cost was
from what was foreseen, at its end. So whatever stretches time is cut into, their costs add up to the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from placement.lifecycle import Event, Phase
from placement.queues.spending import Uses, day_of, overlap_hours
from placement.queues.tree import CPU_CORES

_DAY = timedelta(days=1)
DAWN = datetime(1970, 1, 1, tzinfo=UTC)
DUSK = datetime(9999, 1, 1, tzinfo=UTC)


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EVICTED = "evicted"  # stopped on purpose: a drain, or room for another
    INTERRUPTED = "interrupted"  # taken away: a node, or spot capacity
    REFUSED = "refused"  # by the cluster's spoke


LOST = frozenset({Outcome.FAILED, Outcome.EVICTED, Outcome.INTERRUPTED, Outcome.REFUSED})
_BACK_IN_THE_QUEUE = {Event.INTERRUPTED: Outcome.INTERRUPTED, Event.REFUSE: Outcome.REFUSED}
_ENDED = {
    Phase.SUCCEEDED: Outcome.SUCCEEDED,
    Phase.FAILED: Outcome.FAILED,
    Phase.CANCELLED: Outcome.CANCELLED,
}


def outcome_of(after: Phase, event: Event) -> Outcome:
    """Of an attempt that `event` released; `after` is the job's phase then."""
    return _ENDED.get(after) or _BACK_IN_THE_QUEUE.get(event, Outcome.EVICTED)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One stay of a job on a cluster, at one size."""

    job: str
    epoch: int
    name: str
    queue: str
    tenant: str
    owner: str
    cluster: str
    uses: Uses
    usd_per_hour: float
    cpu_usd_per_hour: float  # of `usd_per_hour`, for pods without devices
    egress_usd: float
    foreseen_usd: float | None  # what it was to cost from its placing to its end, without what is moved
    since: datetime
    until: datetime  # of one that runs: now
    outcome: Outcome | None  # None: it runs, or ended before outcomes were noted
    runs: bool = False
    whole: str | None = None  # the divided work that the job is a part of
    part: int = 0  # of one whose size was changed: 0 its last size, the others those before, charged for themselves

    @property
    def work(self) -> str:
        """What people submitted."""
        return self.whole or self.job

    @property
    def hours(self) -> float:
        return overlap_hours(self.since, self.until, DAWN, DUSK)

    @property
    def gpus(self) -> float:
        return sum(amount for device, amount in self.uses if device != CPU_CORES)

    @property
    def cores(self) -> float:
        """Of pods without devices."""
        return sum(amount for device, amount in self.uses if device == CPU_CORES)


@dataclass(frozen=True, slots=True)
class Cost:
    gpu_hours: float = 0.0
    cpu_hours: float = 0.0  # cores of pods without devices, times hours
    gpu_usd: float = 0.0
    cpu_usd: float = 0.0
    egress_usd: float = 0.0
    lost_usd: float = 0.0  # of the three before
    foreseen_usd: float = 0.0  # of attempts that succeeded and whose cost was foreseen
    foreseen_real_usd: float = 0.0  # what those did cost
    attempts: int = 0  # that ended
    running: int = 0  # that run at the end of the time

    @property
    def usd(self) -> float:
        return self.gpu_usd + self.cpu_usd + self.egress_usd

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, name) + getattr(other, name) for name in _FIELDS))

    def __sub__(self, other: Cost) -> Cost:
        return Cost(*(getattr(self, name) - getattr(other, name) for name in _FIELDS))


_FIELDS = tuple(field.name for field in fields(Cost))


def total(costs: Iterable[Cost]) -> Cost:
    return sum(costs, Cost())


def cost(attempt: Attempt, begin: datetime = DAWN, end: datetime = DUSK) -> Cost:
    """Of the part of an attempt that lies in [begin, end)."""
    hours = overlap_hours(attempt.since, attempt.until, begin, end)
    egress = attempt.egress_usd if begin <= attempt.since < end else 0.0
    ended = begin <= attempt.until < end and not attempt.runs
    foreseen = attempt.foreseen_usd if ended and attempt.outcome is Outcome.SUCCEEDED else None
    return Cost(
        gpu_hours=attempt.gpus * hours,
        cpu_hours=attempt.cores * hours,
        gpu_usd=(attempt.usd_per_hour - attempt.cpu_usd_per_hour) * hours,
        cpu_usd=attempt.cpu_usd_per_hour * hours,
        egress_usd=egress,
        lost_usd=attempt.usd_per_hour * hours + egress if attempt.outcome in LOST else 0.0,
        foreseen_usd=foreseen or 0.0,
        foreseen_real_usd=0.0 if foreseen is None else attempt.usd_per_hour * attempt.hours,
        attempts=int(ended and attempt.part == 0),
        running=int(attempt.runs and begin <= attempt.until < end),
    )


def by_day(attempt: Attempt) -> Iterator[tuple[datetime, Cost]]:
    """Each UTC day (its beginning) that the attempt has a part in, with that part's cost."""
    day = day_of(attempt.since)
    while day <= attempt.until:
        yield day, cost(attempt, day, day + _DAY)
        day += _DAY
