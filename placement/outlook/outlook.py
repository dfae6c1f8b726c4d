"""What a person wants to know of a job that waits, beyond the planner's reasons; worked out when asked, never before.

Which of the free GPUs it could use and why not the others; when it may start, and on what that is founded; what would
help; why nobody is evicted for it. Read from the fleet and the planner's last decision, so it never says anything else
than what is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from placement import free, locality
from placement.bursting import BurstNotYet
from placement.capacity import Capacity
from placement.fleet import Fleet, PendingJob
from placement.outlook.mends import mends
from placement.outlook.usable import GpuUse, gpu_use
from placement.preemption.emptied import Emptying
from placement.preemption.refusals import why_nobody
from placement.queues.backfill import may_fit_later
from placement.queues.forecast import earliest_start
from placement.queues.reasons import BudgetShort
from placement.verdict import Candidate, Decision, Waiting


@dataclass(frozen=True, slots=True)
class Eta:
    """`at` is None where only the occasion is known. `reserved`: room is kept for it."""

    at: datetime | None
    cluster: str
    basis: str  # for people: "when j-x and j-y have ended as they said"
    reserved: bool = False


@dataclass(frozen=True, slots=True)
class Outlook:
    gpus: tuple[GpuUse, ...] = ()
    eta: Eta | None = None
    mends: tuple[str, ...] = ()
    preemption: str = ""  # why nobody is evicted for it
    place: int = 0  # in its queue, from 1; 0 where it does not wait there
    ahead: tuple[str, ...] = field(default=())  # the first of those before it


def outlook(
    job: PendingJob, decision: Decision, fleet: Fleet, now: datetime, *, place: int = 0, ahead: Sequence[str] = ()
) -> Outlook:
    """Of one that waits; of any other only which GPUs it could use."""
    capacities = free.capacities(fleet)
    asked, job = job, locality.for_now(job, now)
    reasons = {one.cluster: one.reasons for one in decision.candidates}
    uses = (gpu_use(job.workload, capacity, reasons.get(name, ())) for name, capacity in sorted(capacities.items()))
    gpus = tuple(use for use in uses if use is not None)
    verdict = decision.verdict
    if not isinstance(verdict, Waiting):
        return Outlook(gpus)
    preemption = ""
    if verdict.room is None:
        preemption = why_nobody(job, decision.candidates, fleet, free.there(fleet), capacities, now)
    return Outlook(
        gpus,
        _eta(job, verdict, decision.candidates, fleet, capacities, now, place),
        mends(job, asked.workload, decision.candidates, fleet, capacities, now),
        preemption,
        place,
        tuple(ahead),
    )


def _eta(
    job: PendingJob,
    verdict: Waiting,
    candidates: Sequence[Candidate],
    fleet: Fleet,
    capacities: Mapping[str, Capacity],
    now: datetime,
    place: int,
) -> Eta | None:
    if verdict.room is not None:
        basis = "when the jobs that are evicted for it have had their grace"
        return Eta(verdict.room.at, verdict.room.cluster, basis, reserved=True)
    if verdict.start is not None:
        return Eta(verdict.start.at, verdict.start.cluster, _when_ended(verdict.start.after), reserved=True)
    best: Eta | None = None
    emptying = Emptying(fleet)
    for one in candidates:
        if one.cluster not in capacities or not may_fit_later(one):
            continue
        held = [each for each in fleet.reservations if each.cluster == one.cluster]
        inventory, before = capacities[one.cluster].inventory, best.at if best else None
        found = earliest_start(job.workload, inventory, held, now, before, emptying.without)
        if found is not None and (best is None or best.at is None or found.start.at < best.at):
            behind = f"; not before the {place - 1} ahead of it" if place > 1 else ""
            best = Eta(found.start.at, one.cluster, _when_ended(found.start.after) + behind)
    bursts = _when_it_bursts(candidates)
    if bursts is not None and (best is None or best.at is None or (bursts.at or now) < best.at):
        return bursts
    return best or _with_the_budget(candidates)


def _when_it_bursts(candidates: Sequence[Candidate]) -> Eta | None:
    closed = [reason for one in candidates for reason in one.reasons if isinstance(reason, BurstNotYet)]
    if not closed:
        return None
    first = min(closed, key=lambda reason: (reason.opens, reason.cluster))
    return Eta(first.opens, first.cluster, f"when queue {first.queue} lets it go there, if there is room still")


def _with_the_budget(candidates: Sequence[Candidate]) -> Eta | None:
    for one in candidates:
        for reason in one.reasons:
            if isinstance(reason, BudgetShort):
                return Eta(None, one.cluster, f"when the {reason.period}'s budget is renewed, {reason.renewed}")
    return None


def _when_ended(jobs: Sequence[str]) -> str:
    names = " and ".join([", ".join(jobs[:-1]), jobs[-1]] if len(jobs) > 1 else list(jobs))
    return f"when {names} {'has' if len(jobs) == 1 else 'have'} ended as {'it' if len(jobs) == 1 else 'they'} said"
