"""Takes what the watches tell into the inventory and the jobs, and wakes whoever has something to do about it.

Runs in the watches' own tasks and never waits. Objects are read and dropped: what is kept of each is a few facts. An
update that changes none of them wakes nobody, and most updates are of that sort.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from placement.kinds.kind import Kind
from placement.kinds.observe import observe
from spoke import checkpoints, pod_groups, pods
from spoke.cluster.port import Object, ObjectKey
from spoke.inventory import Inventory
from spoke.jobs import OVER, Job, Jobs, key_of
from spoke.pods import PodFacts
from spoke.watch import Sink, take_each
from wire.orders import JobRef

POD_KIND = "v1/Pod"


@dataclass(frozen=True, slots=True)
class Unowned:
    """A workload object with the labels of a job, or of an epoch of one, that is not known here."""

    key: ObjectKey
    uid: str
    ref: JobRef
    maker: str  # the spoke that made it; "" where it does not say


class Ingest:
    """`schedule`, `report` and `reconcile` take a job's id; `room` and `inventory_changed` take nothing."""

    def __init__(self, inventory: Inventory, jobs: Jobs, pod_kind: Kind | None, group_kind: Kind | None = None) -> None:
        self._inventory = inventory
        self._jobs = jobs
        self._pod_kind = pod_kind
        self._group_kind = group_kind
        self._pods: dict[str, PodFacts] = {}
        self._unowned: dict[ObjectKey, Unowned] = {}
        self._version = -1
        self.schedule: Callable[[str], None] = _nobody
        self.report: Callable[[str], None] = _nobody
        self.reconcile: Callable[[str], None] = _nobody
        self.pods_told: Callable[[Job], None] = lambda job: None  # of a job: before anybody is woken by that
        self.nodes_gone: Callable[[], None] = lambda: None
        self.nodes_reset: Callable[[Sequence[Object]], None] = lambda objects: None
        self.node_told: Callable[[Object], None] = lambda obj: None  # after the inventory has taken it
        self.node_gone: Callable[[str], None] = lambda name: None
        self.room: Callable[[], None] = lambda: None
        self.inventory_changed: Callable[[], None] = lambda: None
        self.unowned_found: Callable[[Unowned], None] = lambda found: None

    def nodes(self) -> Sink:
        return Sink(self._reset_nodes, self._put_node, self._drop_node, needed=True)

    def pods(self) -> Sink:
        return Sink(self._reset_pods, self._put_pod, self._drop_pod, needed=True)

    def workloads(self, kind: Kind) -> Sink:
        return Sink(
            lambda objects: self._reset_workloads(kind, objects),
            lambda obj: self._put_workload(kind, obj),
            lambda obj: self._drop_workload(kind, obj),
        )

    def adopt(self, job: Job) -> None:
        """A job became known after its pods were: after a restart, or in a new epoch."""
        job.pods = {uid: pod for uid, pod in self._pods.items() if pod.ref == job.ref}
        self._observe_group(job)

    @property
    def unowned(self) -> Sequence[Unowned]:
        return tuple(self._unowned.values())

    # ---- nodes ----

    def _reset_nodes(self, objects: Sequence[Object]) -> None:
        self._inventory.keep_nodes({obj["metadata"]["name"] for obj in objects})
        self.nodes_reset(objects)
        self.nodes_gone()
        take_each(self._put_node, objects)
        self._tell_inventory()

    def _put_node(self, obj: Object) -> None:
        self._inventory.put_node(obj)
        self.node_told(obj)
        self._tell_inventory()

    def _drop_node(self, obj: Object) -> None:
        self._inventory.drop_node(obj["metadata"]["name"])
        self.node_gone(obj["metadata"]["name"])
        self.nodes_gone()
        self._tell_inventory()

    # ---- pods ----

    def _reset_pods(self, objects: Sequence[Object]) -> None:
        present = {obj["metadata"]["uid"] for obj in objects}
        for pod in [pod for uid, pod in self._pods.items() if uid not in present]:
            self._forget_pod(pod)
        take_each(self._put_pod, objects)
        if self._pod_kind is not None:
            self._reset_workloads(self._pod_kind, [obj for obj in objects if self._is_workload(obj)])

    def _put_pod(self, obj: Object) -> None:
        before = self._pods.get(obj["metadata"]["uid"])
        pod = pods.read(obj, before)
        if pod != before:
            self._pods[pod.uid] = pod
            self._inventory.put_pod(pod)
            job = self._jobs.of(pod.ref)
            if job is not None:
                job.pods[pod.uid] = pod
                self.pods_told(job)
                self._observe_group(job)
                self._wake(job)
            self._tell_inventory()
        if self._pod_kind is not None and pod.ref is not None and self._is_workload(obj):
            self._put_workload(self._pod_kind, obj)

    def _drop_pod(self, obj: Object) -> None:
        pod = self._pods.get(obj["metadata"]["uid"])
        if pod is not None:
            self._take_last_words(pods.read(obj, pod))
            self._forget_pod(pod)
        if self._pod_kind is not None and self._is_workload(obj):
            self._drop_workload(self._pod_kind, obj)

    def _take_last_words(self, pod: PodFacts) -> None:
        """Why it went is known from itself only, and only now."""
        job = self._jobs.of(pod.ref)
        if job is not None and pod.uid in job.pods:
            job.pods[pod.uid] = replace(pod, terminating=True)
            self.pods_told(job)

    def _forget_pod(self, pod: PodFacts) -> None:
        del self._pods[pod.uid]
        self._inventory.drop_pod(pod.uid)
        job = self._jobs.of(pod.ref)
        if job is not None:
            job.pods.pop(pod.uid, None)
            if job.runs and pod_groups.is_group(job.workload):
                self.reconcile(job.ref.job)  # it may have been removed by somebody else
            self._wake(job)
        self._tell_inventory()

    def _observe_group(self, job: Job) -> None:
        """Of a group whose pods are all that there is of it. What ended stays so: pods may be removed after it."""
        if self._group_kind is None or job.workload is None or not pod_groups.is_group(job.workload):
            return
        if job.event not in OVER:
            seen = pod_groups.observed(self._group_kind, job, job.workload)
            job.event, job.event_reason = seen.event, seen.reason

    def _wake(self, job: Job) -> None:
        name = job.ref.job
        if job.runs:
            self.schedule(name)
            self.report(name)
        else:
            self.reconcile(name)

    def _is_workload(self, obj: Object) -> bool:
        """A bare pod with a job's labels is a job's workload; one that somebody made belongs to its maker."""
        metadata = obj["metadata"]
        return pods.JOB_LABEL in (metadata.get("labels") or {}) and not metadata.get("ownerReferences")

    # ---- workloads ----

    def _reset_workloads(self, kind: Kind, objects: Sequence[Object]) -> None:
        uids = {obj["metadata"]["uid"] for obj in objects}
        for job in self._of_kind(kind):
            if job.object_uid not in uids:
                job.object_uid = ""
                self.reconcile(job.ref.job)
        for key in [key for key, known in self._unowned.items() if _is_of(kind, key) and known.uid not in uids]:
            del self._unowned[key]
        take_each(lambda obj: self._put_workload(kind, obj), objects)

    def _put_workload(self, kind: Kind, obj: Object) -> None:
        ref = pods.ref_of(obj["metadata"].get("labels") or {})
        if ref is None:
            return
        key, metadata = key_of(obj), obj["metadata"]
        job = self._jobs.of(ref)
        if job is None:
            maker = (metadata.get("annotations") or {}).get(pods.OWNER_ANNOTATION, "")
            self._unowned[key] = Unowned(key, metadata["uid"], ref, maker)
            self.unowned_found(self._unowned[key])
        elif job.key == key:
            self._unowned.pop(key, None)
            self._observe(kind, job, obj)

    def _observe(self, kind: Kind, job: Job, obj: Object) -> None:
        seen = observe(kind, obj)
        before = _seen(job)
        job.object_uid, job.object_checkpoint_at = obj["metadata"]["uid"], checkpoints.told(obj["metadata"])
        job.progress, job.object_retries = seen.progress or job.progress, seen.retries or job.object_retries
        job.restarts_count = kind.rules.retries is not None and kind.rules.retries.restarts
        job.not_understood = seen.not_understood
        if not seen.not_understood:
            job.event, job.event_reason = seen.event, seen.reason
        elif job.event is None:
            job.event = job.last_reported  # it is what it was, also for an agent that has just been started
        if before != _seen(job):
            self.report(job.ref.job)

    def _drop_workload(self, kind: Kind, obj: Object) -> None:
        self._unowned.pop(key_of(obj), None)
        job = self._jobs.of(pods.ref_of(obj["metadata"].get("labels") or {}))
        if job is None or job.object_uid != obj["metadata"]["uid"]:
            return
        self._observe(kind, job, obj)  # its last words: it may have ended well, and been cleaned up for it
        job.object_uid = ""
        self.reconcile(job.ref.job)

    def _of_kind(self, kind: Kind) -> Iterable[Job]:
        return [job for job in self._jobs if job.key is not None and _is_of(kind, job.key)]

    def tell_inventory(self) -> None:
        """The inventory may have changed by what others read: devices and their claims."""
        self._tell_inventory()

    def _tell_inventory(self) -> None:
        if self._inventory.version != self._version:
            self._version = self._inventory.version
            self.room()
            self.inventory_changed()


def _seen(job: Job) -> tuple[object, ...]:
    """What its object said of it."""
    said = (job.object_uid, job.event, job.event_reason, job.not_understood, job.object_checkpoint_at)
    return *said, job.progress, job.object_retries


def _is_of(kind: Kind, key: ObjectKey) -> bool:
    return (key.api_version, key.kind) == (kind.api_version, kind.kind)


def _nobody(job: str) -> None:
    return None
