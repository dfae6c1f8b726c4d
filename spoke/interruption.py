"""Whether the cluster has taken a job's pods away from it, and how the job is to be handed back. Pure.

A gang of which one pod is gone for good cannot go on: its other ranks hang. So a node that is lost or was deleted, a
GPU that is unfit (`gpus`), a drain, an eviction or a kubelet that does not admit a pod interrupt the whole job: what is
left of it is removed, and the hub places it anew. What a program does itself (exit codes, out of memory, more disk than
it said) is between the job and its own controller's retries, and shows in its status.

Jobs whose pods are each for themselves (services, work queues) are not interrupted: their controllers replace a pod.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from placement.kinds import podgroups
from placement.lifecycle import Event
from placement.workload import Workload
from spoke.jobs import Job
from spoke.pods import Life, PodFacts

# On a lost node nothing can be saved, and the other ranks wait for it in vain.
LOST_GRACE_S = 5.0

# A card that has failed may hang whoever uses it, and the other ranks may still save what they have.
SICK_GRACE_S = 15.0

_NOT_REPLACED = frozenset({"v1/Pod", podgroups.RESOURCE_KIND})  # nobody makes their pods again
# Each trial is a gang of its own: Katib counts one that fails and makes another, which is less than all of them anew.
_OF_SEVERAL = frozenset({"kubeflow.org/v1beta1/Experiment"})

WhyLost = Callable[[str], str]  # of a node; "" where it is not lost
WhySick = Callable[[PodFacts], str]  # of a pod: why a GPU of it is unfit; "" where none is


def _nobody_sick(pod: PodFacts) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Interruption:
    event: Event  # INTERRUPTED; REFUSE where the hub had better not send it here again at once
    reason: str
    grace_s: float | None  # for what is left of the job; None: as each pod says


def of(job: Job, why_lost: WhyLost, why_sick: WhySick = _nobody_sick) -> Interruption | None:
    """None where nothing interrupts the job, or it does not matter any more."""
    if not job.runs or job.workload is None or not stands_and_falls_together(job.workload):
        return None
    pods = sorted((pod for pod in job.pods.values() if pod.node), key=lambda pod: pod.name)
    return _lost(pods, why_lost) or _rejected(pods) or _disrupted(pods) or _sick(pods, why_sick)


def stands_and_falls_together(workload: Workload) -> bool:
    if workload.resource_kind in _NOT_REPLACED:
        return True
    if workload.resource_kind in _OF_SEVERAL:
        return False
    starts_with = max(workload.min_pods, *(role.minimum for role in workload.roles if role.stage), 0)
    return not workload.long_running and (starts_with > 1 or workload.pods == 1)


def to_replace(job: Job, why_lost: WhyLost, why_sick: WhySick = _nobody_sick) -> list[PodFacts]:
    """Pods on lost nodes or sick GPUs of a job that goes on without them: deleted, their controller makes others."""
    if not job.runs or job.workload is None or stands_and_falls_together(job.workload):
        return []
    return [pod for pod in job.pods.values() if pod.alive and (why_lost(pod.node) or why_sick(pod))]


def _lost(pods: Iterable[PodFacts], why_lost: WhyLost) -> Interruption | None:
    for pod in pods:
        if not pod.over and (why := why_lost(pod.node)):
            reason = f"node {pod.node} is lost ({why}); the job is restarted whole"
            return Interruption(Event.INTERRUPTED, reason, LOST_GRACE_S)
    return None


def _sick(pods: Iterable[PodFacts], why_sick: WhySick) -> Interruption | None:
    for pod in pods:
        if pod.alive and (why := why_sick(pod)):
            return Interruption(Event.INTERRUPTED, f"{why}; the job is restarted whole", SICK_GRACE_S)
    return None


def _rejected(pods: Iterable[PodFacts]) -> Interruption | None:
    for pod in pods:
        if pod.rejected:
            return Interruption(Event.REFUSE, f"node {pod.node} does not take pod {pod.name}: {pod.rejected}", None)
    return None


def _disrupted(pods: Iterable[PodFacts]) -> Interruption | None:
    for pod in pods:
        # The mark alone is not enough: an eviction that failed half-way leaves it on a pod that runs on.
        if pod.disrupted and (pod.terminating or pod.life is Life.FAILED):
            reason = f"pod {pod.name} was taken from node {pod.node} ({pod.disrupted}); the job is restarted whole"
            return Interruption(Event.INTERRUPTED, reason, None)
    return None
