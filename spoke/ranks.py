"""Which of a job's pods has which rank, and which of them somebody means.

A pod's number within its role is what its controller says (a Job's completion index, a StatefulSet's ordinal, a
training operator's replica index); where it says none, the pods of the role are counted in the order of their names,
numbers in them by their value. The rank over all roles counts the roles in the workload's order, each with as many pods
as it is to have: the master of a PyTorchJob is 0, its first worker 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from spoke.jobs import Job
from spoke.pods import PodFacts

_NUMBERS = re.compile(r"(\d+)")


def chosen(job: Job, role: str = "", rank: int | None = None) -> list[PodFacts]:
    """In the order of their names. With `rank`, several where a pod was made again."""
    known = ranks(job, within_role=bool(role))
    pods = [pod for pod in job.pods.values() if role in ("", role_name(job, pod))]
    return sorted((pod for pod in pods if rank is None or known.get(pod.uid) == rank), key=lambda pod: pod.name)


def ranks(job: Job, *, within_role: bool) -> Mapping[str, int]:
    """By the pods' uid."""
    roles = job.workload.roles if job.workload is not None else ()
    found: dict[str, int] = {}
    base = 0
    for role in roles:
        pods = [pod for pod in job.pods.values() if role_name(job, pod) == role.name]
        for uid, index in _indices(job, pods).items():
            found[uid] = index if within_role else base + index
        base += role.replicas
    return found


def role_name(job: Job, pod: PodFacts) -> str:
    role = job.role_of(pod)
    return role.name if role is not None else ""


def _indices(job: Job, pods: Iterable[PodFacts]) -> dict[str, int]:
    pods = list(pods)
    told = {pod.uid: index for pod in pods if (index := job.index_of(pod)) is not None}
    if len(told) == len(pods):
        return told
    return {pod.uid: number for number, pod in enumerate(sorted(pods, key=lambda pod: _natural(pod.name)))}


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _NUMBERS.split(name) if part]
