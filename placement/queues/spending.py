"""What attempts used, hour by hour, and what is left of it to know: decayed use, and the spending of a day or month.

An attempt is charged from its placing to its release, however it ended: preempted and failed hours are spent like all
others. `Past` is a running sum: it takes new records in and never looks at old ones again. Within an hour nothing is
told apart, so a decayed use is exact to half an hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import log

from placement.queues.tree import CPU_CORES

HOUR = timedelta(hours=1)
Uses = Sequence[tuple[str, float]]  # by product in cards, `cpu` in cores


@dataclass(frozen=True, slots=True)
class Spending:
    """Of one queue in one hour, by one product. `amount_hours`: cards (cores) times hours."""

    queue: str
    hour: datetime  # its beginning, UTC
    device: str
    amount_hours: float
    usd: float


@dataclass(frozen=True, slots=True)
class Past:
    """Of one queue, as of a moment. The sums are of the UTC day and month of `as_of`."""

    as_of: datetime
    decayed_hours: Mapping[str, float] = field(default_factory=dict)  # by product, halved with every half-life
    gpu_hours_day: float = 0.0
    usd_day: float = 0.0
    gpu_hours_month: float = 0.0
    usd_month: float = 0.0

    def at(self, now: datetime, half_life_h: float) -> Past:
        """The same past, seen later: sums of a day or month that is over are zero."""
        if now <= self.as_of:
            return self
        kept = 0.5 ** (hours_between(self.as_of, now) / half_life_h)
        same_day, same_month = (begin(now) <= self.as_of for begin in (day_of, month_of))
        return Past(
            now,
            {device: hours * kept for device, hours in self.decayed_hours.items()},
            self.gpu_hours_day if same_day else 0.0,
            self.usd_day if same_day else 0.0,
            self.gpu_hours_month if same_month else 0.0,
            self.usd_month if same_month else 0.0,
        )

    def plus(self, record: Spending, half_life_h: float) -> Past:
        """With one more hour, which may lie before `as_of`."""
        age = max(0.0, hours_between(record.hour + HOUR / 2, self.as_of))
        decayed = dict(self.decayed_hours)
        decayed[record.device] = decayed.get(record.device, 0.0) + record.amount_hours * 0.5 ** (age / half_life_h)
        gpu_hours = 0.0 if record.device == CPU_CORES else record.amount_hours
        in_day, in_month = record.hour >= day_of(self.as_of), record.hour >= month_of(self.as_of)
        return Past(
            self.as_of,
            decayed,
            self.gpu_hours_day + gpu_hours * in_day,
            self.usd_day + record.usd * in_day,
            self.gpu_hours_month + gpu_hours * in_month,
            self.usd_month + record.usd * in_month,
        )


def past_with(
    past: Mapping[str, Past], records: Iterable[Spending], now: datetime, half_life_h: float
) -> dict[str, Past]:
    """Every queue's past as of `now`, with new records."""
    found = {queue: each.at(now, half_life_h) for queue, each in past.items()}
    for record in records:
        found[record.queue] = found.get(record.queue, Past(now)).plus(record, half_life_h)
    return found


def spendings(queue: str, uses: Uses, usd_per_hour: float, since: datetime, until: datetime) -> Iterator[Spending]:
    """One attempt's hours. Its dollars are shared among what it used by amount; nothing used counts as `cpu` 0."""
    uses = uses or ((CPU_CORES, 0.0),)
    total = sum(amount for _, amount in uses)
    hour = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while hour < until:
        part = overlap_hours(since, until, hour, hour + HOUR)
        for device, amount in uses:
            share = amount / total if total else 1 / len(uses)
            yield Spending(queue, hour, device, amount * part, usd_per_hour * part * share)
        hour += HOUR


def mean_use(decayed_hours: float, half_life_h: float) -> float:
    """The steady use whose decayed sum this is: the integral of 0.5^(t/h) over all time is h/ln 2."""
    return decayed_hours * log(2) / half_life_h


def day_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def month_of(moment: datetime) -> datetime:
    return day_of(moment).replace(day=1)


def next_month(moment: datetime) -> datetime:
    return month_of(month_of(moment) + timedelta(days=32))


def hours_between(earlier: datetime, later: datetime) -> float:
    return (later - earlier) / HOUR


def overlap_hours(since: datetime, until: datetime, begin: datetime, end: datetime) -> float:
    return max(0.0, hours_between(max(since, begin), min(until, end)))
