"""Why a queue, or the room kept for another job, makes a job wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from placement.queues.tree import ANY_GPU, CPU_CORES
from placement.verdict import Reason


@dataclass(frozen=True, slots=True)
class QueueUnknown(Reason):
    code: ClassVar[str] = "queue-unknown"
    queue: str
    known: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"there is no queue {self.queue}; there are: {', '.join(self.known) or 'none'}"


@dataclass(frozen=True, slots=True)
class QueueIsCohort(Reason):
    code: ClassVar[str] = "queue-is-cohort"
    queue: str
    parts: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"{self.queue} is a cohort, in which no job waits; its queues are: {', '.join(self.parts)}"


@dataclass(frozen=True, slots=True)
class QuotaShort(Reason):
    """Amounts in cards, or cores of `cpu`. `left` is what the queue could still take now, with what others lend."""

    code: ClassVar[str] = "quota-short"
    cluster: str
    queue: str
    device: str
    nominal: float
    may_borrow: float
    uses: float
    asks: float
    left: float

    @property
    def ever(self) -> bool:
        """Whether the queue could hold the job if nothing else ran."""
        return self.asks <= self.nominal + self.may_borrow

    @property
    def message(self) -> str:
        own = self.nominal + self.may_borrow
        text = (
            f"queue {self.queue} may use {_amount(own, self.device)} (nominal {self.nominal:g}, "
            f"borrowed at most {self.may_borrow:g}), uses {self.uses:g}, asks {self.asks:g}"
        )
        if self.left < own - self.uses:
            text += f"; its cohort has {max(self.left, 0):g} left for it"
        return text if self.ever else f"{text}; it can never use so many"


@dataclass(frozen=True, slots=True)
class BudgetShort(Reason):
    """`unit` is "GPU-hours" or "$"; `committed` is what running jobs are still expected to take in the period."""

    code: ClassVar[str] = "budget-short"
    cluster: str
    queue: str
    period: str  # "day" | "month"
    unit: str
    limit: float
    spent: float
    committed: float
    asks: float
    renewed: str  # when the next period begins: "2026-02-01 00:00 UTC"

    @property
    def message(self) -> str:
        def say(amount: float) -> str:
            return f"${amount:,.2f}" if self.unit == "$" else f"{amount:,.1f}"

        unit = "" if self.unit == "$" else f" {self.unit}"
        return (
            f"queue {self.queue} may spend {say(self.limit)}{unit} a {self.period}: {say(self.spent)} is spent, "
            f"{say(self.committed)} expected of running jobs, this job on {self.cluster} {say(self.asks)}; "
            f"renewed {self.renewed}"
        )


@dataclass(frozen=True, slots=True)
class KeptForAnother(Reason):
    """There is room now, which a job ahead needs at its reserved start, before this one is expected to end."""

    code: ClassVar[str] = "kept-for-another"
    cluster: str
    job: str
    start: str  # of the other
    end: str  # of this one, if it began now; "" for one that does not end

    @property
    def message(self) -> str:
        until = f"would run until {self.end}" if self.end else "has no end"
        return f"{self.cluster} has room until {self.start}, when {self.job} is to start there; this job {until}"


@dataclass(frozen=True, slots=True)
class GaveUp(Reason):
    code: ClassVar[str] = "gave-up"
    waited_hours: float
    limit_hours: float

    @property
    def message(self) -> str:
        return f"given up after waiting {self.waited_hours:.2f} h, as the job asks (give-up-hours {self.limit_hours:g})"


def _amount(amount: float, device: str) -> str:
    if device == CPU_CORES:
        return f"{amount:g} cores"
    return f"{amount:g} {'other GPUs' if device == ANY_GPU else device}"
