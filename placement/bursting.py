"""When a job may go to a cluster that is rented by the hour: after the wait that its queue asks for.

Clusters that the price book calls public are there for what one's own cannot take in time. A queue says how long its
jobs wait for the others (`burst_after_hours`; one that says nothing does as the cohort above it, and where none does,
they go at once). The wait counts from when the job was submitted, or was put back into the queue.

Not asked: whether the others could ever hold the job. One that only a public cluster can run waits as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from placement.fleet import PendingJob
from placement.money import PriceBook
from placement.queues.spending import hours_between
from placement.queues.tree import QueueTree
from placement.verdict import Reason


@dataclass(frozen=True, slots=True)
class BurstNotYet(Reason):
    """`waited_hours` is told to a tenth: what has waited a little longer is no other reason."""

    code: ClassVar[str] = "burst-not-yet"
    cluster: str
    queue: str
    allowed_hours: float
    waited_hours: float
    opens_at: str  # ISO 8601, UTC

    @property
    def opens(self) -> datetime:
        return datetime.fromisoformat(self.opens_at)

    @property
    def message(self) -> str:
        return (
            f"{self.cluster} is public; queue {self.queue} bursts after {self.allowed_hours:g} h of waiting, this job "
            f"has waited {self.waited_hours:g} h (at {self.opens:%F %H:%M} UTC it may)"
        )


def wait_hours(queue: str, tree: QueueTree) -> float | None:
    """How long jobs of a queue wait before they may burst; None: they need not."""
    said = (each.burst_after_hours for each in tree.paths.get(queue, ()))
    return next((hours for hours in said if hours is not None), None)


def refusal(job: PendingJob, cluster: str, prices: PriceBook, tree: QueueTree, now: datetime) -> BurstNotYet | None:
    if cluster not in prices.public:
        return None
    queue = job.workload.hints.queue
    allowed = wait_hours(queue, tree)
    if allowed is None:
        return None
    since = job.waits_since or job.submitted_at
    opens = since + timedelta(hours=allowed)
    if now >= opens:
        return None
    waited = max(0.0, hours_between(since, now))
    return BurstNotYet(cluster, queue, allowed, int(waited * 10) / 10, opens.isoformat())
