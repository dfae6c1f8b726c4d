"""Which pods of a job may be placed now, so that a gang starts whole or not at all. Pure.

A gang counts as whole with `min_pods` pods, and of each role its minimum: those that are bound, being bound, or have
succeeded count as there. While the gang is not whole, its unbound pods are placed together, once enough of them exist
to make it whole; after that, pods are placed as they come, each for itself.

A workload may be several gangs, its parts: groups that are alike, and stages of roles that come later than others. Each
starts whole when its own pods are there, and waits for no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from placement.assignment import PodToPlace
from placement.resources import Resources
from placement.workload import Workload
from spoke.jobs import Job, counts_by_role
from spoke.pods import Life, PodFacts

PartKey = tuple[int, int]  # stage, group


@dataclass(frozen=True, slots=True)
class Batch:
    """Pods to place at one go. With `together`, at least `needed` of them or none; otherwise each for itself."""

    pods: tuple[PodFacts, ...]
    together: bool
    needed: tuple[PodFacts, ...] = ()  # the fewest that make the gang whole, picked by role
    part: PartKey = (0, 0)


@dataclass(frozen=True, slots=True)
class Need:
    """What one part starts with."""

    pods: int
    minima: Mapping[str, int]  # by role


def batches(job: Job, being_bound: Callable[[str], bool]) -> list[Batch]:
    """What can be placed now, by part. `being_bound` tells of a pod's uid whether its binding is under way."""
    workload = job.workload
    if workload is None or not job.runs:
        return []
    waiting = [pod for pod in job.pods.values() if pod.unbound and not being_bound(pod.uid) and job.role_of(pod)]
    if not waiting:
        return []
    if len(waiting) > 1:
        waiting.sort(key=lambda pod: (pod.role, len(pod.name), pod.name))
    there = [pod for pod in job.pods.values() if is_there(pod, being_bound)]
    if not is_several(workload):
        one = _batch(job, (0, 0), waiting, there)
        return [one] if one is not None else []
    there_by_part = _by_part(job, there)
    found = [
        _batch(job, part, pods, there_by_part.get(part, [])) for part, pods in sorted(_by_part(job, waiting).items())
    ]
    return [one for one in found if one is not None]


def _batch(job: Job, part: PartKey, waiting: list[PodFacts], there: list[PodFacts]) -> Batch | None:
    assert job.workload is not None  # noqa: S101  whoever has pods to place has one
    need = _need(job.workload, part)
    counts = counts_by_role(job, there)
    missing = {role: max(minimum - counts.get(role, 0), 0) for role, minimum in need.minima.items()}
    missing_in_all = need.pods - len(there)
    if missing_in_all <= 0 and not any(missing.values()):
        return Batch(tuple(waiting), together=False, part=part)
    needed = _needed(job, waiting, missing, missing_in_all)
    return Batch(tuple(waiting), together=True, needed=needed, part=part) if needed else None


def is_there(pod: PodFacts, being_bound: Callable[[str], bool]) -> bool:
    return pod.alive or pod.life is Life.SUCCEEDED or (being_bound(pod.uid) and not pod.over and not pod.terminating)


def is_several(workload: Workload) -> bool:
    return workload.groups > 1 or any(role.stage for role in workload.roles)


def part_of(job: Job, pod: PodFacts) -> PartKey:
    """Which of the job's gangs the pod belongs to."""
    role = job.role_of(pod)
    groups = job.workload.groups if job.workload is not None else 1
    return (role.stage if role is not None else 0), (pod.group or 0 if groups > 1 else 0)


def partial(job: Job, bound: Iterable[PodFacts] | None = None) -> list[PodFacts]:
    """The bound pods of gangs that hold capacity and are not whole: only for as long as it takes to bind the rest.

    Of a gang that was whole once, none: what it lacks now is being made again. `bound` are the pods that are, where
    more is known than the watches have told.
    """
    workload = job.workload
    if workload is None:
        return []
    if bound is None:
        bound = [pod for pod in job.pods.values() if pod.alive]
    held = {pod.uid: pod for pod in bound}
    there = [*held.values(), *(pod for pod in job.pods.values() if pod.life is Life.SUCCEEDED and pod.uid not in held)]
    several = is_several(workload)
    found: list[PodFacts] = []
    for part, pods in (_by_part(job, there) if several else {(0, 0): there}).items():
        if part in job.whole_parts if several else job.whole:
            continue
        need, counts = _need(workload, part), counts_by_role(job, pods)
        if len(pods) < need.pods or any(counts.get(role, 0) < minimum for role, minimum in need.minima.items()):
            found += [pod for pod in pods if pod.uid in held]
    return found


def _need(workload: Workload, part: PartKey) -> Need:
    stage, groups = part[0], workload.groups
    if not stage:
        minima = {role.name: role.minimum // groups for role in workload.roles if not role.stage}
        return Need(workload.min_pods // groups, minima)
    minima = {role.name: role.minimum // groups for role in workload.roles if role.stage == stage}
    return Need(sum(minima.values()), minima)


def _by_part(job: Job, pods: Iterable[PodFacts]) -> dict[PartKey, list[PodFacts]]:
    found: dict[PartKey, list[PodFacts]] = {}
    for pod in pods:
        found.setdefault(part_of(job, pod), []).append(pod)
    return found


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
