"""What must hold of any plan's evictions, checked without a look at how they were found. The hub asks it, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from placement.fleet import Fleet, Health
from placement.queues.reasons import QuotaShort
from placement.verdict import Eviction, Plan, ResourcesShort, Shrink, TopologyShort, Waiting


def sound(plan: Plan, fleet: Fleet) -> tuple[Eviction, ...]:
    """The evictions for every job of which none is wrong: for the others nobody is evicted."""
    wrong = {eviction.for_job for eviction, _ in _faults(plan, fleet)}
    return tuple(one for one in plan.evictions if one.for_job not in wrong)


def check(plan: Plan, fleet: Fleet) -> tuple[str, ...]:
    return tuple(f"evicting {one.job} for {one.for_job}: {fault}" for one, fault in _faults(plan, fleet))


def _faults(plan: Plan, fleet: Fleet) -> Iterator[tuple[Eviction, str]]:
    held = {(one.job, one.epoch): one for one in fleet.reservations}
    waiting = {one.job: one.verdict for one in plan.decisions if isinstance(one.verdict, Waiting)}
    some = {one.for_job for one in plan.evictions}
    told = {
        (one.job, each.cluster): each.reasons for one in plan.decisions if one.job in some for each in one.candidates
    }
    taken: set[str] = set()
    for one in plan.evictions:
        victim = held.get((one.job, one.epoch))
        if victim is None:
            yield one, "it holds nothing"
            continue
        if victim.cluster != one.cluster:
            yield one, f"it is on {victim.cluster}, not on {one.cluster}"
        if not victim.workload.hints.preemptible:
            yield one, "it says that it is not preemptible"
        if one.job in fleet.leaving and fleet.leaving[one.job].epoch == one.epoch:
            yield one, "it leaves already"
        if one.job in taken:
            yield one, "it is evicted twice"
        taken.add(one.job)
        cluster = fleet.clusters.get(one.cluster)
        if cluster is None or cluster.health is not Health.READY or cluster.cordoned:
            yield one, f"nothing may be started on {one.cluster}"
        verdict = waiting.get(one.for_job)
        if verdict is None or verdict.room is None:
            yield one, "the job that it is for does not wait for it"
        elif verdict.room.cluster != one.cluster:
            yield one, f"that job waits for room on {verdict.room.cluster}"
        elif one.job not in verdict.room.victims:
            yield one, "that job does not know of it"
        for reason in told.get((one.for_job, one.cluster), ()):
            if not isinstance(reason, ResourcesShort | TopologyShort | QuotaShort):
                yield one, f"more than room is missing there: {reason.message}"
    yield from _unkept(plan.evictions, waiting)


def sound_shrinks(plan: Plan, fleet: Fleet) -> tuple[Shrink, ...]:
    """The shrinks for every job of which none is wrong."""
    wrong = {shrink.for_job for shrink, _ in _faults_of_shrinks(plan, fleet)}
    return tuple(one for one in plan.shrinks if one.for_job not in wrong)


def check_shrinks(plan: Plan, fleet: Fleet) -> tuple[str, ...]:
    found = _faults_of_shrinks(plan, fleet)
    return tuple(f"making {one.job} smaller for {one.for_job}: {fault}" for one, fault in found)


def _faults_of_shrinks(plan: Plan, fleet: Fleet) -> Iterator[tuple[Shrink, str]]:
    held = {(one.job, one.epoch): one for one in fleet.reservations}
    waiting = {one.job: one.verdict for one in plan.decisions if isinstance(one.verdict, Waiting)}
    evicted = {one.job for one in plan.evictions}
    seen: set[str] = set()
    for one in plan.shrinks:
        victim, verdict = held.get((one.job, one.epoch)), waiting.get(one.for_job)
        if victim is None or victim.cluster != one.cluster:
            yield one, f"it holds nothing on {one.cluster}"
            continue
        if victim.settles:
            yield one, "its size is being changed already"
        if one.job in evicted or one.job in seen or fleet.leave_of(victim) is not None:
            yield one, "it leaves, or is made smaller twice"
        seen.add(one.job)
        if verdict is None or verdict.room is None or one.job not in verdict.room.shrinking:
            yield one, "the job that it is for does not wait for it"
        left = {role.name: one.pods.get(role.name, role.replicas) for role in victim.workload.roles}
        if sum(left.values()) < victim.workload.min_pods:
            yield one, f"{sum(left.values())} pods are left, it needs {victim.workload.min_pods}"
        for role in victim.workload.roles:
            may = role.sizes is not None and role.sizes.running and role.sizes.least <= left[role.name] <= role.replicas
            if left[role.name] != role.replicas and not may:
                yield one, f"{role.name} cannot go from {role.replicas} to {left[role.name]} pods"


def _unkept(evictions: Iterable[Eviction], waiting: dict[str, Waiting]) -> Iterator[tuple[Eviction, str]]:
    """Where some of a job's victims would be evicted and others not, it would be for nothing."""
    by_job: dict[str, list[Eviction]] = {}
    for one in evictions:
        by_job.setdefault(one.for_job, []).append(one)
    for job, theirs in by_job.items():
        room = waiting[job].room if job in waiting else None
        if room is not None and set(room.victims) != {one.job for one in theirs}:
            yield theirs[0], "not all of that job's victims are evicted"
