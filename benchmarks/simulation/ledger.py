"""What is counted in a run: what each job cost and when it was done, and how many GPUs were at work in each hour."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks.simulation.copies import HOUR_S
from benchmarks.simulation.jobs import Job


@dataclass(slots=True)
class Account:
    """Of one job, over all its attempts."""

    job: Job
    done_s: float | None = None
    attempts: int = 0
    gpu_usd: float = 0.0
    held_gpu_hours: float = 0.0
    egress_usd: float = 0.0
    egress_gb: float = 0.0
    waiting_for_data_s: float = 0.0  # with its GPUs held
    lost_gpu_hours: float = 0.0  # work done again, or restarted, for want of a checkpoint
    interruptions: int = 0
    sites: list[str] = field(default_factory=list)

    @property
    def usd(self) -> float:
        return self.gpu_usd + self.egress_usd

    @property
    def completion_s(self) -> float:
        if self.done_s is None:
            raise ValueError(f"{self.job.name} is not done")
        return self.done_s - self.job.at_s


@dataclass(slots=True)
class Hour:
    """GPU-seconds of one hour of the day."""

    up: float = 0.0
    held: float = 0.0
    computing: float = 0.0


class Usage:
    """Amounts that stand still between two events, shared out to the hours."""

    def __init__(self) -> None:
        self.hours: dict[int, Hour] = defaultdict(Hour)
        self._since_s = 0.0

    def until(self, now_s: float, *, up: int, held: int, computing: int) -> None:
        while self._since_s < now_s:
            hour = int(self._since_s // HOUR_S)
            end_s = min(now_s, (hour + 1) * HOUR_S)
            took_s, entry = end_s - self._since_s, self.hours[hour]
            entry.up += up * took_s
            entry.held += held * took_s
            entry.computing += computing * took_s
            self._since_s = end_s

    def share(self, from_h: int, to_h: int) -> float:
        """GPUs at work, of those that were up, over these hours."""
        hours = [self.hours[hour] for hour in range(from_h, to_h)]
        up = sum(hour.up for hour in hours)
        return sum(hour.computing for hour in hours) / up if up else 0.0

    def lowest_share(self, from_h: int, to_h: int) -> float:
        """Of the worst of these hours."""
        return min((self.share(hour, hour + 1) for hour in range(from_h, to_h)), default=0.0)
