"""Why nobody is evicted for a job that waits: what is the matter with each of those that run where it could go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from placement.capacity import Capacity
from placement.fleet import Fleet, PendingJob, Reservation
from placement.preemption.losses import safe_until
from placement.preemption.planning import where_short
from placement.preemption.rights import Rights, Standing
from placement.queues.quota import Limits
from placement.queues.usage import of_reservation, of_workload
from placement.verdict import Candidate


def why_nobody(
    job: PendingJob,
    candidates: Sequence[Candidate],
    fleet: Fleet,
    there: Mapping[str, float],
    capacities: Mapping[str, Capacity],
    now: datetime,
) -> str:
    """For people; "" where nobody runs on a cluster that could hold it. `there`: cards by product, of all clusters."""
    places = set(where_short(job, candidates, fleet, now)[0]).intersection(capacities)
    running = [one for one in fleet.reservations if one.cluster in places]
    if not running:
        return ""
    standing = Standing(
        Limits(fleet.queues), there, ((one.workload.hints.queue, of_reservation(one)) for one in fleet.reservations)
    )
    asked = of_workload(job.workload)
    why = Counter(_what_protects(one, job, asked, standing, fleet, now) for one in running)
    words = "; ".join(f"{count} {reason}" for reason, count in why.most_common())
    jobs = "1 job runs" if len(running) == 1 else f"{len(running)} jobs run"
    return f"nobody is evicted for it: {jobs} where it could go; {words}"


def _what_protects(
    held: Reservation,
    job: PendingJob,
    asked: tuple[tuple[str, float], ...],
    standing: Standing,
    fleet: Fleet,
    now: datetime,
) -> str:
    hints, mine = held.workload.hints, job.workload.hints
    if fleet.leave_of(held) is not None:
        return "already being stopped"
    if not hints.preemptible:
        return "not preemptible, as it says"
    until = safe_until(held, fleet.progress.get(held.job), now)
    if until is not None:
        return f"protected by min-runtime until {until:%F %H:%M} UTC"
    uses = dict(of_reservation(held))
    # A job that takes any product is compared by what the other has.
    meant = tuple((product or next(iter(uses), ""), amount) for product, amount in asked)
    if Rights(standing, job, meant).over([held]) is not None:
        return "could go, but not enough of them in one place"
    if hints.queue == mine.queue:
        return f"of no lower priority than {mine.priority} in queue {mine.queue}"
    return f"out of reach in queue {hints.queue}, which has no more than its own or its share"
