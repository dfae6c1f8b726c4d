"""What the agent needs of a pod, read once from its JSON: whose it is, where it runs, what it takes, how it fares.

Pods of every scheduler are read, for their usage; those that carry Muster's labels belong to a job's gang besides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from placement import marks
from placement.kinds import claims, requests
from placement.kinds.problems import Findings
from placement.resources import Resources
from placement.workload import DeviceNeed
from spoke import checkpoints
from spoke.cluster.port import Object
from wire.orders import JobRef

JOB_LABEL = marks.JOB
EPOCH_LABEL = marks.EPOCH
ROLE_LABEL = marks.ROLE
OWNER_ANNOTATION = marks.OWNER
DEPENDENCIES_ANNOTATION = marks.TRAVELS_ALONG
GPUS_ANNOTATION = marks.GPUS
NICS_ANNOTATION = marks.NICS
SHARED_CARD_ANNOTATION = "ALIYUN_COM_GPU_MEM_IDX"  # written by the gpushare scheduler and read by its device plugin
SCHEDULER = "muster"
# Where controllers write a pod's number within its role.
_INDEX_KEYS = (
    "batch.kubernetes.io/job-completion-index",
    "apps.kubernetes.io/pod-index",
    "training.kubeflow.org/replica-index",
    "volcano.sh/task-index",
    "leaderworkerset.sigs.k8s.io/worker-index",
)
# Where the index is within one of several groups of a role: which one, and of how many (without: as the workload has).
_GROUP_KEYS = (
    ("leaderworkerset.sigs.k8s.io/group-index", ""),
    ("jobset.sigs.k8s.io/job-index", "jobset.sigs.k8s.io/replicatedjob-replicas"),
)

_NOTHING = Resources()


class Life(Enum):
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class PodFacts:
    namespace: str
    name: str
    uid: str
    generation: int
    ref: JobRef | None  # of the job it belongs to
    role: str
    node: str  # "" until bound
    life: Life
    ready: bool
    terminating: bool
    schedulable: bool  # by us and now: it names our scheduler, has no gates, and its claims are made
    owner_kind: str  # of its controller
    requests: Resources
    devices: tuple[DeviceNeed, ...]
    gpus: tuple[int, ...]
    claims: tuple[str, ...] = ()  # ResourceClaims in its namespace; those made of templates once they are made
    nics: tuple[tuple[str, int], ...] = ()  # (resource, index)
    trouble: str = ""  # why it does not run, as far as its containers tell
    waits: str = ""  # what its containers wait for, where that may pass by itself: ContainerCreating
    disrupted: str = ""  # why the cluster takes it from its node; what its program did is no such reason
    rejected: str = ""  # why its node's kubelet would not take it
    sick: str = ""  # which of its devices its kubelet calls unhealthy
    index: int | None = None  # within its role, or its group, where its controller says it
    restarts: int = 0  # of its containers, in place
    group: int | None = None  # of a workload that is several gangs, or of a role that is several Jobs: which one
    groups: int | None = None  # of how many, where the role is that
    checkpoint_at: datetime | None = None  # as it says

    @property
    def over(self) -> bool:
        return self.life in (Life.SUCCEEDED, Life.FAILED)

    @property
    def unbound(self) -> bool:
        return not self.node and not self.over and not self.terminating and self.schedulable

    @property
    def alive(self) -> bool:
        """Bound, and holding what it asked for in its gang's name."""
        return bool(self.node) and not self.over and not self.terminating


def read(obj: Object, before: PodFacts | None = None) -> PodFacts:
    """Facts of a pod. `before` are its earlier ones: what cannot have changed is taken from there."""
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    generation = metadata.get("generation", 0)
    annotations = metadata.get("annotations") or {}
    labels = metadata.get("labels") or {}
    life = _life(status.get("phase"))
    group, groups = _group(labels)
    named, all_named = _claims(spec, status)
    if before is not None and before.uid == metadata["uid"] and before.generation == generation:
        need, devices = before.requests, before.devices
    else:
        # A pod that exists has passed the API server's validation: what is odd in it counts as nothing.
        need, devices = requests.of_pod(Findings(), spec, "spec")
    return PodFacts(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata["uid"],
        generation=generation,
        ref=ref_of(labels),
        role=labels.get(ROLE_LABEL, ""),
        node=spec.get("nodeName") or "",
        life=life,
        ready=_is_true(status.get("conditions"), "Ready"),
        terminating="deletionTimestamp" in metadata,
        schedulable=spec.get("schedulerName") == SCHEDULER and not spec.get("schedulingGates") and all_named,
        owner_kind=_controller(metadata),
        requests=need,
        devices=devices,
        claims=named,
        gpus=_indices(annotations.get(GPUS_ANNOTATION) or annotations.get(SHARED_CARD_ANNOTATION)),
        nics=_nics(annotations.get(NICS_ANNOTATION)),
        trouble="" if life is Life.SUCCEEDED else _trouble(status),
        waits=_waits(status) if life is Life.PENDING else "",
        disrupted="" if life is Life.SUCCEEDED else _disruption(status, life),
        rejected=_rejection(status) if life is Life.FAILED else "",
        sick=_sick(status) if life is Life.RUNNING else "",
        index=_index(labels, annotations),
        restarts=sum(container.get("restartCount") or 0 for container in _containers(status)),
        group=group,
        groups=groups,
        checkpoint_at=checkpoints.told(metadata),
    )


def _claims(spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
    """(the claims by name, whether all of them are known). One of a template may turn out not to be needed."""
    if not spec.get("resourceClaims"):
        return (), True
    asked = claims.of_pod(spec)
    made = {each["name"]: each.get("resourceClaimName") for each in status.get("resourceClaimStatuses") or ()}
    names = [each.object if each.kind == claims.CLAIM else made.get(each.name) for each in asked]
    missing = any(each.kind == claims.TEMPLATE and each.name not in made for each in asked)
    return tuple(dict.fromkeys(name for name in names if name)), not missing


def ref_of(labels: Mapping[str, str]) -> JobRef | None:
    job, epoch = labels.get(JOB_LABEL), labels.get(EPOCH_LABEL, "")
    return JobRef(job, int(epoch)) if job and epoch.isascii() and epoch.isdigit() else None


def _index(labels: Mapping[str, Any], annotations: Mapping[str, Any]) -> int | None:
    for key in _INDEX_KEYS:
        number = _number(labels.get(key) or annotations.get(key))
        if number is not None:
            return number
    return None


def _group(labels: Mapping[str, Any]) -> tuple[int | None, int | None]:
    for key, count in _GROUP_KEYS:
        if (group := _number(labels.get(key))) is not None:
            return group, _number(labels.get(count)) if count else None
    return None, None


def _number(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10 else None


def _controller(metadata: Mapping[str, Any]) -> str:
    return next((owner["kind"] for owner in metadata.get("ownerReferences") or () if owner.get("controller")), "")


def _life(phase: object) -> Life:
    match phase:
        case "Running":
            return Life.RUNNING
        case "Succeeded":
            return Life.SUCCEEDED
        case "Failed":
            return Life.FAILED
    return Life.PENDING  # also "Unknown": whatever it is, it holds its place


def _is_true(conditions: Any, kind: str) -> bool:
    return any(c.get("type") == kind and c.get("status") == "True" for c in conditions or ())


def _indices(text: object) -> tuple[int, ...]:
    if not isinstance(text, str) or not text:
        return ()
    parts = text.split(",")
    return tuple(int(part) for part in parts) if all(p.isascii() and p.isdigit() for p in parts) else ()


def _nics(text: object) -> tuple[tuple[str, int], ...]:
    if not isinstance(text, str) or not text:
        return ()
    parts = [part.strip().rpartition("=") for part in text.split(",")]
    return tuple((name, int(index)) for name, _, index in parts if name and index.isascii() and index.isdigit())


# Reasons for which a container waits that do not pass by themselves.
_STUCK = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)


def _trouble(status: Mapping[str, Any]) -> str:
    for container in _containers(status):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason") in _STUCK:
            last = (container.get("lastState") or {}).get("terminated") or {}
            detail = _last_end(last) if "exitCode" in last else waiting.get("message", "")
            return _spelled(f"container {container.get('name')}: {waiting['reason']}", detail)
        if ended.get("exitCode") and container.get("restartCount") and status.get("phase") in ("Pending", "Running"):
            # It will be started again. Its kubelet calls it so a moment later, or never where it is busy.
            return f"container {container.get('name')}: CrashLoopBackOff: {_last_end(ended)}"
        if ended.get("exitCode"):
            reason = ended.get("reason") or "Error"
            detail = ended.get("message", "").strip().splitlines()[-1:] or [""]
            return _spelled(f"container {container.get('name')}: {reason}, exit code {ended['exitCode']}", detail[0])
        last = (container.get("lastState") or {}).get("terminated") or {}
        if last.get("reason") == "OOMKilled" and not container.get("ready"):
            return f"container {container.get('name')}: {_last_end(last)}"
    if status.get("reason"):  # Evicted, NodeLost, UnexpectedAdmissionError
        return _spelled(str(status["reason"]), str(status.get("message", "")))
    return ""


def _last_end(ended: Mapping[str, Any]) -> str:
    if ended.get("reason") in (None, "", "Error", "Completed"):
        return f"last exit code {ended['exitCode']}"
    return f"last ended by {ended['reason']}, exit code {ended.get('exitCode')}"


def _waits(status: Mapping[str, Any]) -> str:
    waiting = ((container.get("state") or {}).get("waiting") or {} for container in _containers(status))
    return next((str(found["reason"]) for found in waiting if found.get("reason") not in (None, *_STUCK)), "")


# Reasons that a kubelet or a controller gives for a pod that failed through no doing of its program.
_TAKEN = frozenset({"Evicted", "NodeLost", "NodeShutdown", "Shutdown", "Terminated", "Preempting", "Preempted"})
# Evicted for more than the pod said it would use: it would be again, wherever it goes.
_OWN_LIMIT = re.compile(r"exceed(s|ed) (the|its)", re.IGNORECASE)
_REJECTED = frozenset(
    {"UnexpectedAdmissionError", "TopologyAffinityError", "NodeAffinity", "NodeName", "NodePorts", "TaintToleration"}
)


def _disruption(status: Mapping[str, Any], life: Life) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return _spelled(str(condition.get("reason") or "disrupted"), str(condition.get("message") or ""))
    reason, message = status.get("reason"), str(status.get("message") or "")
    if life is Life.FAILED and reason in _TAKEN and not (reason == "Evicted" and _OWN_LIMIT.search(message)):
        return _spelled(str(reason), message)
    return ""


def _rejection(status: Mapping[str, Any]) -> str:
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if reason in _REJECTED or reason.startswith("OutOf") or message.startswith("Pod was rejected"):
        return _spelled(reason, message)
    return ""


def _sick(status: Mapping[str, Any]) -> str:
    """Kubelets tell it since Kubernetes 1.31 (ResourceHealthStatus), by what the device plugin or DRA driver says."""
    for container in _containers(status):
        for resource in container.get("allocatedResourcesStatus") or ():
            for device in resource.get("resources") or ():
                if device.get("health") == "Unhealthy":
                    return (
                        f"device {device.get('resourceID')} ({resource.get('name')}) is called unhealthy by its kubelet"
                    )
    return ""


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for group in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(group) or ()


def _spelled(what: str, detail: str) -> str:
    return f"{what}: {detail[:300]}" if detail else what
