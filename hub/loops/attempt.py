"""One round of deciding, as a function of values: plans, checks the plan by independent eyes, renders what was placed.

Nothing a single job does may stop the others. Where planning all of them raises, they are planned one by one and the
culprit fails alone; where the plan breaks an invariant, the decisions that break it are dropped and the rest stands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from hub.records import Object
from placement.data import DataMove, DataPlace, places
from placement.elastic import sizes
from placement.fleet import Fleet, Leaving, PendingJob
from placement.preemption.invariants import check as faults_of_evictions
from placement.preemption.invariants import check_shrinks as faults_of_shrinks
from placement.preemption.invariants import sound, sound_shrinks
from placement.verdict import Decision, Eviction, Placed, Plan, Shrink
from placement.workload import Workload

log = logging.getLogger(__name__)

Planner = Callable[[Fleet, Sequence[PendingJob], datetime], Plan]
Checker = Callable[[Plan, Fleet], Sequence[str]]


class Renderer(Protocol):
    def __call__(
        self,
        objects: Sequence[Object],
        *,
        job: str,
        epoch: int,
        data: Sequence[DataPlace] = (),
        pods: Mapping[str, int] | None = None,
    ) -> Sequence[Object]: ...


class Override(Protocol):
    def __call__(self, objects: Sequence[Object], workload: Workload, cluster: str) -> Sequence[Object]:
        """As overrides of the cluster have them."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that cannot be decided or rendered, ever: it is the hub's or the manifest's fault, and it ends here."""

    job: str
    epoch: int
    message: str


@dataclass(frozen=True, slots=True)
class Round:
    decisions: tuple[Decision, ...]
    failures: tuple[Failure, ...] = ()
    dropped: tuple[str, ...] = ()  # jobs whose decision broke an invariant: they stay queued
    evictions: tuple[Eviction, ...] = ()
    shrinks: tuple[Shrink, ...] = ()


def decide(plan: Planner, check: Checker, fleet: Fleet, pending: Sequence[PendingJob], now: datetime) -> Round:
    failures: tuple[Failure, ...] = ()
    try:
        planned = plan(fleet, pending, now)
    except Exception:
        log.exception("planning %d jobs together failed; planning them one by one", len(pending))
        planned, failures = _one_by_one(plan, fleet, pending, now)
    kept, dropped = _checked(check, fleet, planned.decisions)
    undecided = {job.job for job in pending} - {one.job for one in planned.decisions} - {one.job for one in failures}
    if undecided:
        log.error("the planner left out %s", sorted(undecided))
    kept, evictions, unkept = _checked_evictions(Plan(kept, planned.evictions), fleet)
    kept, shrinks, unshrunk = _checked_shrinks(Plan(kept, evictions, planned.shrinks), fleet)
    return Round(kept, failures, (*dropped, *unkept, *unshrunk, *sorted(undecided)), evictions, shrinks)


def _one_by_one(
    plan: Planner, fleet: Fleet, pending: Sequence[PendingJob], now: datetime
) -> tuple[Plan, tuple[Failure, ...]]:
    """Each sees what those before it took; those first for which room is kept, since nobody keeps it for them now."""
    decisions: list[Decision] = []
    evictions: list[Eviction] = []
    shrinks: list[Shrink] = []
    failures: list[Failure] = []
    for job in sorted(pending, key=lambda one: not one.promised):
        try:
            found = plan(fleet, [job], now)
        except Exception as error:
            log.exception("planning %s failed", job.job)
            failures.append(Failure(job.job, job.epoch, f"the hub cannot plan this job: {_words(error)}"))
            continue
        decisions.extend(found.decisions)
        evictions.extend(found.evictions)
        shrinks.extend(found.shrinks)
        held = tuple(one.verdict.reservation for one in found.decisions if isinstance(one.verdict, Placed))
        gone = {one.job: Leaving(one.epoch, one.for_job) for one in found.evictions}
        smaller = {one.job for one in found.shrinks}
        staying = tuple(replace(one, settles=True) if one.job in smaller else one for one in fleet.reservations)
        fleet = replace(fleet, reservations=staying + held, leaving={**fleet.leaving, **gone})
    return Plan(tuple(decisions), tuple(evictions), tuple(shrinks)), tuple(failures)


def _checked(check: Checker, fleet: Fleet, decisions: tuple[Decision, ...]) -> tuple[tuple[Decision, ...], list[str]]:
    violations = check(Plan(decisions), fleet)
    if not violations:
        return decisions, []
    log.error("the plan breaks invariants, and what breaks them is dropped: %s", "; ".join(violations))
    kept: list[Decision] = []
    dropped: list[str] = []
    for decision in decisions:
        if check(Plan((*kept, decision)), fleet):
            dropped.append(decision.job)
        else:
            kept.append(decision)
    return tuple(kept), dropped


def _checked_evictions(plan: Plan, fleet: Fleet) -> tuple[tuple[Decision, ...], tuple[Eviction, ...], tuple[str, ...]]:
    """And, dropped with its evictions, whoever would wait for them for ever."""
    kept = sound(plan, fleet)
    if len(kept) == len(plan.evictions):
        return plan.decisions, kept, ()
    log.error("evictions that are wrong are dropped: %s", "; ".join(faults_of_evictions(plan, fleet)))
    lost = {one.for_job for one in plan.evictions} - {one.for_job for one in kept}
    decisions = tuple(one for one in plan.decisions if one.job not in lost)
    return decisions, kept, tuple(one.job for one in plan.decisions if one.job in lost)


def _checked_shrinks(plan: Plan, fleet: Fleet) -> tuple[tuple[Decision, ...], tuple[Shrink, ...], tuple[str, ...]]:
    """As evictions are."""
    kept = sound_shrinks(plan, fleet)
    if len(kept) == len(plan.shrinks):
        return plan.decisions, kept, ()
    log.error("shrinks that are wrong are dropped: %s", "; ".join(faults_of_shrinks(plan, fleet)))
    lost = {one.for_job for one in plan.shrinks} - {one.for_job for one in kept}
    decisions = tuple(one for one in plan.decisions if one.job not in lost)
    return decisions, kept, tuple(one.job for one in plan.decisions if one.job in lost)


def render(
    renderer: Renderer,
    override: Override,
    placed: Sequence[Placed],
    objects: Mapping[str, Sequence[Object]],
    fleet: Fleet,
) -> tuple[dict[str, tuple[Object, ...]], tuple[Failure, ...]]:
    """Every placed job's objects as its cluster is to get them; failures for those that cannot be rendered."""
    rendered: dict[str, tuple[Object, ...]] = {}
    failures: list[Failure] = []
    for one in placed:
        held = one.reservation
        try:
            changed = override(objects[held.job], held.workload, held.cluster)
            changed = served_there(changed, held.workload, held.cluster, fleet)
            data, pods = data_of(held.workload, held.cluster, one.moves, fleet), sizes.pods_of(held.workload)
            rendered[held.job] = tuple(renderer(changed, job=held.job, epoch=held.epoch, data=data, pods=pods))
        except Exception as error:
            log.exception("rendering %s failed", held.job)
            failures.append(Failure(held.job, held.epoch, f"the hub cannot render this job's objects: {_words(error)}"))
    return rendered, tuple(failures)


def served_there(objects: Sequence[Object], workload: Workload, cluster: str, fleet: Fleet) -> Sequence[Object]:
    """Without what the workload does not need, and is of a kind that the cluster does not serve."""
    if not workload.brings:
        return objects
    summary = fleet.clusters[cluster].summary
    absent = {one.kind for one in workload.brings if not one.needed and summary and one.kind not in summary.kinds}
    return [one for one in objects if f"{one.get('apiVersion')}/{one.get('kind')}" not in absent]


def data_of(workload: Workload, cluster: str, moves: Sequence[DataMove], fleet: Fleet) -> tuple[DataPlace, ...]:
    """Where its pods will find what it names."""
    there = workload.at(cluster)
    return places(fleet.data, there, cluster, fleet.clusters[cluster].region, moves) if there.data else ()


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
