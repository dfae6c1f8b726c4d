"""Which pods of a job may be placed now, so that a gang starts whole or not at all. Pure.

A gang counts as whole with `min_pods` pods, and of each role its minimum: those that are bound, being bound, or have
succeeded count as there. While the gang is not whole, its unbound pods are placed together, once enough of them exist
to make it whole; after that, pods are placed as they come, each for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from placement.assignment import PodToPlace
from placement.resources import Resources
from placement.workload import Workload
from spoke.jobs import Job, counts_by_role
from spoke.pods import Life, PodFacts


@dataclass(frozen=True, slots=True)
class Batch:
    """Pods to place at one go. With `together`, at least `needed` of them or none; otherwise each for itself."""

    pods: tuple[PodFacts, ...]
    together: bool
    needed: tuple[PodFacts, ...] = ()  # the fewest that make the gang whole, picked by role


def batch(job: Job, being_bound: Callable[[str], bool]) -> Batch | None:
    """None where nothing can be placed now. `being_bound` tells of a pod's uid whether its binding is under way."""
    workload = job.workload
    if workload is None or not job.runs:
        return None
    waiting = [pod for pod in job.pods.values() if pod.unbound and not being_bound(pod.uid) and job.role_of(pod)]
    if not waiting:
        return None
    if len(waiting) > 1:
        waiting.sort(key=lambda pod: (pod.role, len(pod.name), pod.name))
    there = [pod for pod in job.pods.values() if is_there(pod, being_bound)]
    counts = counts_by_role(job, there)
    missing = {role.name: max(role.minimum - counts.get(role.name, 0), 0) for role in workload.roles}
    missing_in_all = workload.min_pods - len(there)
    if missing_in_all <= 0 and not any(missing.values()):
        return Batch(tuple(waiting), together=False)
    needed = _needed(job, waiting, missing, missing_in_all)
    return Batch(tuple(waiting), together=True, needed=needed) if needed else None


def is_there(pod: PodFacts, being_bound: Callable[[str], bool]) -> bool:
    return pod.alive or pod.life is Life.SUCCEEDED or (being_bound(pod.uid) and not pod.over and not pod.terminating)


def is_partial(job: Job, bound: Iterable[PodFacts] | None = None) -> bool:
    """Some pods of a gang hold capacity and the rest does not: only for as long as it takes to bind them.

    `bound` are the pods that are, where more is known than the watches have told.
    """
    workload = job.workload
    if workload is None:
        return False
    if bound is None:
        bound = [pod for pod in job.pods.values() if pod.alive]
    held = {pod.uid: pod for pod in bound}
    there = [*held.values(), *(pod for pod in job.pods.values() if pod.life is Life.SUCCEEDED and pod.uid not in held)]
    counts = counts_by_role(job, there)
    short = len(there) < workload.min_pods or any(counts.get(r.name, 0) < r.minimum for r in workload.roles)
    return bool(held) and short


def _needed(job: Job, waiting: list[PodFacts], missing: dict[str, int], missing_in_all: int) -> tuple[PodFacts, ...]:
    """First what each role lacks, then any others up to the gang's number; () where the pods do not suffice."""
    picked, rest = [], []
    left = dict(missing)
    for pod in waiting:
        role = job.role_of(pod)
        if role is not None and left.get(role.name, 0) > 0:
            left[role.name] -= 1
            picked.append(pod)
        else:
            rest.append(pod)
    picked += rest[: max(missing_in_all - len(picked), 0)]
    if any(left.values()) or len(picked) < missing_in_all:
        return ()
    return tuple(picked)


def described(workload: Workload) -> tuple[PodToPlace, ...]:
    """The pods that the workload will have, under names of their own."""
    return tuple(PodToPlace(f"{role.name}-{i}", role.name, i) for role in workload.roles for i in range(role.replicas))


def as_they_are(job: Job, workload: Workload, pods: Iterable[PodFacts]) -> Workload:
    """The workload with what its pods really ask for: admission may have added to what the manifest says."""
    asked: dict[str, Resources] = {}
    for pod in pods:
        role = job.role_of(pod)
        if role is not None:
            asked[role.name] = _most(asked.get(role.name, pod.requests), pod.requests)
    if all(asked.get(role.name, role.requests) == role.requests for role in workload.roles):
        return workload
    roles = tuple(replace(role, requests=asked.get(role.name, role.requests)) for role in workload.roles)
    return replace(workload, roles=roles)


def _most(one: Resources, other: Resources) -> Resources:
    if one == other:
        return one
    return Resources({name: max(one[name], other[name]) for name in {*one, *other}})
