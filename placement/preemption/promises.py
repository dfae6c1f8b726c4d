"""Room that was made for a job by evictions, and is kept for it until it is placed.

What is known of it is in the fleet and with the job: running attempts that leave for it, and the cluster it was
promised. Both are on disk, so that a hub that starts anew keeps its promises.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from placement.capacity import Capacity
from placement.elastic.shrinking import part_of
from placement.fleet import Fleet, Health, PendingJob, Reservation
from placement.preemption.emptied import Emptying
from placement.queues.backfill import Holds


def made(fleet: Fleet, pending: Sequence[PendingJob]) -> Mapping[str, str]:
    """Of those that wait: job -> cluster."""
    found = {job.job: job.promised for job in pending if job.promised}
    waiting = {job.job for job in pending}
    for one in fleet.reservations:
        leaving = fleet.leave_of(one) if fleet.leaving else None
        for_job = leaving.for_job if leaving is not None else one.shrinks_for
        if for_job and for_job in waiting:
            found.setdefault(for_job, one.cluster)
    return found


# A cluster tells of room that came free at most once a second, and its watches take a moment.
SETTLES = timedelta(seconds=5)


def behind_until(fleet: Fleet, cluster: str, now: datetime) -> datetime | None:
    """Until when room that has come free there may not be told yet; None where all is told, as far as one can know.

    So it is for a while after an evicted job left it, while the last summary counts an attempt that has ended, and
    while the cluster is away for a moment, as all of them are when the hub has begun anew.
    """
    known = fleet.clusters.get(cluster)
    if known is not None and known.health is Health.DISCONNECTED:
        return now + SETTLES
    emptied = fleet.emptied.get(cluster)
    if emptied is not None and now < emptied + SETTLES:
        return emptied + SETTLES
    return now + SETTLES if _counts_what_ended(fleet, cluster) else None


def _counts_what_ended(fleet: Fleet, cluster: str) -> bool:
    known = fleet.clusters.get(cluster)
    summary = known.summary if known is not None else None
    if summary is None or not summary.counted:
        return False
    held = {(one.job, one.epoch) for one in fleet.reservations if one.cluster == cluster}
    return not summary.counted <= held


def keep(holds: Holds, fleet: Fleet, pending: Sequence[PendingJob], capacities: Mapping[str, Capacity | None]) -> None:
    """Before anybody is placed: so that those whose turn comes earlier do not take it either."""
    by_cluster: dict[str, list[PendingJob]] = {}
    kept = made(fleet, pending)
    for job in pending:
        if job.job in kept:
            by_cluster.setdefault(kept[job.job], []).append(job)
    emptying = Emptying(fleet)
    for cluster, jobs in by_cluster.items():
        capacity = capacities.get(cluster)
        if capacity is not None:
            then = emptying.without(capacity, leaving_for(fleet, cluster, {job.job for job in jobs}))
            holds.keep(cluster, {job.job: job.workload for job in jobs}, then)


def leaving_for(fleet: Fleet, cluster: str, jobs: Collection[str]) -> list[Reservation]:
    """With the parts that elastic jobs give up for them."""
    here = [one for one in fleet.reservations if one.cluster == cluster]
    gone = [one for one in here if (leaving := fleet.leave_of(one)) is not None and leaving.for_job in jobs]
    return gone + [
        part_of(one, one.shrinks_to) for one in here if one.shrinks_to is not None and one.shrinks_for in jobs
    ]
