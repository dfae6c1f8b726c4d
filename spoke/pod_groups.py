"""Pods that are one job together, with no object in the cluster that stands for them (`placement.kinds.podgroups`).

The spoke is their controller: it makes each of them once, counts them for the job's status, and, when too few are left
for the gang, ends those that still run. One that somebody else removes is not made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from placement.kinds import podgroups
from placement.kinds.conditions import Fact
from placement.kinds.kind import Kind
from placement.kinds.observe import Observation, observe
from placement.workload import Workload
from spoke.cluster.port import Object, ObjectKey
from spoke.jobs import Job, key_of
from spoke.pods import Life, PodFacts

POD = "v1/Pod"


def is_group(workload: Workload | None) -> bool:
    return workload is not None and workload.resource_kind == podgroups.RESOURCE_KIND


def served(kinds: frozenset[str]) -> frozenset[str]:
    """With pod groups, where there are pods."""
    return kinds | {podgroups.RESOURCE_KIND} if POD in kinds else kinds


def is_watched(kind: Kind) -> bool:
    """Whether there are objects of the kind in the cluster to watch."""
    return kind.resource_kind != podgroups.RESOURCE_KIND


def made_of(workload: Object) -> Sequence[Object]:
    """What is made in the cluster: the workload object, or the pods of a group."""
    if (workload["apiVersion"], workload["kind"]) == (podgroups.API_VERSION, podgroups.KIND):
        return podgroups.pods(workload)
    return (workload,)


def missing(job: Job, workload: Object) -> list[ObjectKey]:
    """The pods that no watch has told of."""
    there = {pod.name for pod in job.pods.values()}
    return [key_of(pod) for pod in made_of(workload) if pod["metadata"]["name"] not in there]


def left_running(job: Job) -> list[PodFacts]:
    """Once the group has ended: those that have not."""
    return [pod for pod in job.pods.values() if not pod.over and not pod.terminating]


def observed(kind: Kind, job: Job, workload: Workload) -> Observation:
    """What its pods say of the whole, by the rules of its kind."""
    counts = Counter(_state(pod) for pod in job.pods.values())
    status = {"running": counts["running"], "succeeded": counts["succeeded"], "failed": counts["failed"]}
    failed = _named(pod for pod in job.pods.values() if pod.life is Life.FAILED)

    def facts(fact: Fact) -> int:
        return max(workload.min_pods if fact == "gang" else workload.pods, 1)

    return observe(kind, {"status": {**status, "message": failed}}, facts)


def _state(pod: PodFacts) -> str:
    if pod.life is Life.RUNNING:
        return "running" if pod.ready else "starting"
    return str(pod.life.value).lower()


def _named(failed: Iterable[PodFacts]) -> str:
    names = sorted(pod.name for pod in failed)
    if not names:
        return ""
    return f"pod {names[0]} failed" + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")
