"""Waiting for locality: for `wait_for_locality_hours` a preferred level counts as required, and only then as preferred.

A gang that would rather be in one rack, and can afford to wait for one, is not spread at once because the racks are
full at this moment. While it waits, it is decided as a gang that requires the level, and its spoke is sent it as one;
when the time is over, as what it is. Not promised: that the wait is of use; where nothing ends, it only passes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta

from placement.capacity import Fit
from placement.fleet import PendingJob
from placement.verdict import Candidate, Decision, Placed, Reason, TopologyShort
from placement.workload import IfTooLarge, TopologyMode, TopologyRequest, Workload


def waits_until(job: PendingJob) -> datetime | None:
    """When its preferred levels are relaxed; None where it prefers none, or does not wait."""
    hours = job.workload.hints.wait_for_locality_hours
    if hours <= 0 or not preferred_levels(job.workload):
        return None
    return (job.waits_since or job.submitted_at) + timedelta(hours=hours)


def preferred_levels(workload: Workload) -> tuple[str, ...]:
    requests = [workload.topology, *(role.topology for role in workload.roles)]
    return tuple(one.level for one in requests if one is not None and one.mode is TopologyMode.PREFERRED)


def relaxed(fit: object) -> int:
    """By how many levels what the roles of a gang prefer was relaxed to make it fit so."""
    return fit.relaxed if isinstance(fit, Fit) else 0


def for_now(job: PendingJob, now: datetime) -> PendingJob:
    """The job as it is to be decided now: insisting while it waits."""
    until = waits_until(job)
    return job if until is None or now >= until else _insisting(job)


def _insisting(job: PendingJob) -> PendingJob:
    """Nothing is too large for what it would rather not insist on."""
    workload = _requiring(job.workload)
    variants = {
        name: one if one.workload is None else replace(one, workload=_requiring(one.workload))
        for name, one in workload.variants.items()
    }
    return replace(job, workload=replace(workload, variants=variants))


def _requiring(workload: Workload) -> Workload:
    return replace(
        workload,
        topology=_required(workload.topology),
        roles=tuple(replace(role, topology=_required(role.topology)) for role in workload.roles),
        hints=replace(workload.hints, if_too_large=IfTooLarge.WAIT),
    )


def told(decision: Decision, job: PendingJob, levels: Callable[[str], Collection[str]]) -> Decision:
    """The decision on the insisting job as one on the job itself: what is short of a preferred level says until when
    it is waited for. `levels` are a cluster's names for those levels."""
    until = waits_until(job)
    marked: dict[Reason, Reason] = {}

    def mark(candidate: Candidate) -> Candidate:
        known = levels(candidate.cluster)
        for reason in candidate.reasons:
            if isinstance(reason, TopologyShort) and reason.level in known:
                marked[reason] = replace(reason, wanted_until=f"{until:%F %H:%M} UTC")
        return replace(candidate, reasons=tuple(marked.get(reason, reason) for reason in candidate.reasons))

    candidates = tuple(mark(candidate) for candidate in decision.candidates)
    verdict = decision.verdict
    if isinstance(verdict, Placed):
        sent = replace(verdict.reservation.workload, hints=job.workload.hints)
        verdict = replace(verdict, reservation=replace(verdict.reservation, workload=sent))
    else:
        verdict = replace(verdict, reasons=tuple(marked.get(reason, reason) for reason in verdict.reasons))
    return replace(decision, verdict=verdict, candidates=candidates)


def _required(request: TopologyRequest | None) -> TopologyRequest | None:
    return None if request is None else replace(request, mode=TopologyMode.REQUIRED)
