"""Makes the cluster hold what each job's order says: its objects while it is to run, nothing of it once it is to stop.

Level-triggered: a step looks at what is wanted and at what is there, does what is missing, and is done again whenever
something about the job changed. So a step that was cut off, or done twice, does no harm.

The workload object is created, and of it nothing but its size is ever changed: an object of that name that is not this
job's own is left alone, and the job fails saying so. What travels along with it is `dependencies`' concern. Once made,
a workload that is missing was removed by somebody; it is not made again, since what it ran would run twice. That it was
made is on disk before any of its pods is bound: where a crash comes earlier nothing ran, and it is made anew.

A job that the ledger does not know the objects of (its disk was lost) is found by its labels.

One step at a time per job, so many jobs at once; what fails for now is done again after a growing wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import Any

import orjson

from placement.elastic import sizes
from placement.kinds import sizing
from placement.kinds.kind import Kind
from placement.lifecycle import Event
from spoke import pod_groups, runtimes
from spoke.cluster.backoff import Backoff
from spoke.cluster.port import (
    ClusterError,
    ClusterPort,
    Conflict,
    NotFound,
    Object,
    ObjectKey,
    Refused,
    Selection,
)
from spoke.crew import Crew
from spoke.dependencies import Dependencies, NameTaken, noted, noted_in
from spoke.entry import Desired, Entry
from spoke.jobs import OVER, Assessment, Job, Jobs, key_of
from spoke.ledger import Ledger
from spoke.pods import DEPENDENCIES_ANNOTATION, JOB_LABEL, OWNER_ANNOTATION, ref_of
from spoke.runtimes import RuntimeMissing
from spoke.staging.staging import Staging
from spoke.status import Reporter

log = logging.getLogger(__name__)

AT_ONCE = 32
LOST = "the spoke of this cluster lost its state; what ran of the job was removed"
_LOOK_AGAIN_S = 2.0  # whether what was deleted is gone: events tell sooner


class Reconciler:
    def __init__(
        self,
        port: ClusterPort,
        ledger: Ledger,
        jobs: Jobs,
        reporter: Reporter,
        crew: Crew,
        rng: Random,
        owner: str,
        kinds: Callable[[], Iterable[Kind]],
        is_lost: Callable[[str], bool],
        staging: Staging,
    ) -> None:
        """`kinds` are those that a workload here may be of; `is_lost` tells of a node that its kubelet ends nothing."""
        self._port = port
        self._ledger = ledger
        self._jobs = jobs
        self._reporter = reporter
        self._crew = crew
        self._rng = rng
        self._owner = owner
        self._kinds = kinds
        self._is_lost = is_lost
        self._staging = staging
        self._dependencies = Dependencies(port, jobs, owner)
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._backoff: dict[str, Backoff] = {}
        self.not_here: Callable[[Job, str], None] = lambda job, why: None  # another cluster may have what it needs
        self.forbidden: Callable[[Job, Sequence[Object]], str] = lambda job, objects: ""  # by the cluster's owner
        self.before_deletion: Callable[[Job], Awaitable[None]] = _at_once
        self.kept_size: Callable[[Job], None] = lambda job: None  # room that was held for more pods is not needed

    def poke(self, name: str) -> None:
        """Look at the job; where it is being looked at already, once more after that."""
        if name in self._busy:
            self._again.add(name)
        else:
            self._busy.add(name)
            self._crew.spawn(self._work(name), f"reconciling {name}")

    async def _work(self, name: str) -> None:
        try:
            while True:
                self._again.discard(name)
                async with self._at_once:
                    wait_s = await self._step_safely(name)
                if wait_s:
                    self._poke_later(name, wait_s)
                if name not in self._again:
                    return
        finally:
            self._busy.discard(name)

    def _poke_later(self, name: str, wait_s: float) -> None:
        asyncio.get_running_loop().call_later(wait_s, self.poke, name)

    async def _step_safely(self, name: str) -> float:
        """Answers after how long to look again; 0 where an event will tell."""
        job = self._jobs.get(name)
        if job is None:
            self._backoff.pop(name, None)
            return 0.0
        try:
            wait_s = await self._step(job)
        except Refused as error:
            log.error("%s: the cluster refuses: %s", job.ref, error)
            self._problem(job, str(error))
            return self._backoff.setdefault(name, Backoff(self._rng, first_s=5, most_s=300)).next_s()
        except ClusterError as error:  # it is away, or things changed under the step: a namespace that was deleted
            self._problem(job, str(error))
            return self._backoff.setdefault(name, Backoff(self._rng)).next_s()
        if not wait_s:
            self._backoff.pop(name, None)
        return wait_s

    def _problem(self, job: Job, problem: str) -> None:
        if job.problem != problem:
            job.problem = problem
            self._reporter.poke(job.ref.job)

    async def _step(self, job: Job) -> float:
        if job.stopped:
            return 0.0
        if job.desired is not Desired.START or job.silent:
            return await self._stop(job)
        if job.outcome is not None:
            return await self._end_the_rest(job)
        if not job.created:
            return await self._start(job)
        await self._look_for_it(job)
        await self._resize(job)
        return 0.0

    # ---- to run ----

    async def _start(self, job: Job) -> float:
        entry = await self._ledger.entry(job.ref.job)
        if entry is None or entry.ref != job.ref or not entry.objects:
            return 0.0
        dependencies, keys = entry.objects[:-1], runtimes.keys(entry.objects)
        # It was made, by us, and the crash came before that was on disk; of a group, some of it was.
        if job.pods and not pod_groups.is_group(job.workload):
            await self._made(job)
            return await self._look_for_it(job)
        try:
            for dependency in dependencies:
                await self._dependencies.bring(job, dependency)
            # After them: what reading the data takes may be among them. It pokes when it is done.
            if entry.start is not None and not self._staging.is_done(job, entry.start.moves):
                return 0.0
            size = job.size
            copy, workload = await runtimes.own(self._port, job, entry.objects, self.forbidden)
            if copy is not None:
                await self._dependencies.bring(job, copy)
            for made in pod_groups.made_of(self._sized(entry, workload)):
                if not await self._create(job, made, keys):
                    return _LOOK_AGAIN_S
            job.size_written = size
        except (Refused, NameTaken) as error:
            await self._dependencies.remove(job, reversed(keys))
            reason = f"the cluster refused it: {error}" if isinstance(error, Refused) else str(error)
            await self._reporter.tell(job, Assessment(Event.FAIL, reason))
            return 0.0
        except RuntimeMissing as error:
            self.not_here(job, str(error))
            return 0.0
        await self._made(job)
        return 0.0

    async def _made(self, job: Job) -> None:
        await self._ledger.mark_created(job.ref)
        job.created = True
        self._problem(job, "")
        self._reporter.poke(job.ref.job)

    async def _create(self, job: Job, workload: Object, dependencies: Iterable[ObjectKey]) -> bool:
        """False where an earlier attempt of the job is still there, and on its way out."""
        try:
            await self._port.create(_owned(workload, self._owner, dependencies))
            return True
        except Conflict as error:
            present = await self._get(key_of(workload))
            if present is None:
                return False
            owner = ref_of(present["metadata"].get("labels") or {})
            if owner == job.ref:
                return True  # by us, before a restart or in an attempt whose answer was lost
            if owner is not None and owner.job == job.ref.job:
                await self._port.delete(key_of(workload), uid=present["metadata"]["uid"])
                return False
            raise Refused(
                f"{error}; it is not this job's: delete it, or submit the workload under another name"
            ) from error

    async def _look_for_it(self, job: Job) -> float:
        """The watch does not have it: removed, or newer than the watch."""
        if pod_groups.is_group(job.workload):
            return await self._look_for_pods(job)
        if job.key is None or job.object_uid:
            return 0.0
        gone = await self._get(job.key) is None
        if gone and not job.object_uid and job.outcome is None and job.event not in OVER:
            reason = f"{job.key.kind} {job.key.namespace}/{job.key.name} was removed from the cluster by somebody else"
            await self._reporter.tell(job, Assessment(Event.FAIL, reason, job.role_counts()))
        return 0.0

    # ---- another size ----

    def _sized(self, entry: Entry, workload: Object) -> Object:
        """As it is to be made: with the size that it got meanwhile, where it did."""
        if not entry.size:
            return workload
        made: dict[str, Any] = orjson.loads(orjson.dumps(workload))
        sizing.write(self._kind_of(workload), made, entry.pods)
        return made

    async def _resize(self, job: Job) -> None:
        """Writes the size that it is to have into its object, and nothing else. Its controller makes and ends pods."""
        size, workload = job.size, job.workload
        if job.size_written == size or workload is None or job.key is None or job.outcome is not None:
            return
        present = await self._get(job.key)
        if present is None or ref_of(present["metadata"].get("labels") or {}) != job.ref:
            return
        changed = orjson.loads(orjson.dumps(present))
        try:
            sizing.write(self._kind_of(present), changed, sizes.pods_of(workload))
            if changed != present:
                await self._port.update(changed)
        except (Refused, ValueError, LookupError, TypeError, AttributeError) as error:
            # By its rights, by an admission webhook, or since somebody has changed it: as it was, then.
            log.warning("%s: its size cannot be changed: %s", job.ref, error)
            await self._ledger.keep_size(job.ref, size)
            if job.size == size:
                job.workload, job.was, job.size_refused = job.was or workload, None, str(error)
                self.kept_size(job)
        else:
            entry = await self._ledger.entry(job.ref.job)
            for dependency in entry.objects[:-1] if entry is not None and entry.ref == job.ref else ():
                await self._dependencies.resize(job, dependency)
        job.size_written = size
        self._problem(job, "")
        self._reporter.poke(job.ref.job)

    def _kind_of(self, obj: Object) -> Kind:
        api_version, name = obj["apiVersion"], obj["kind"]
        for kind in self._kinds():
            if (kind.api_version, kind.kind) == (api_version, name):
                return kind
        raise ValueError(f"{api_version} {name} is no kind of workload here")

    async def _look_for_pods(self, job: Job) -> float:
        """Of a group: one that is gone will not come again."""
        entry = await self._ledger.entry(job.ref.job)
        if entry is None or entry.ref != job.ref or not entry.objects or not job.runs or job.event in OVER:
            return 0.0
        for key in pod_groups.missing(job, entry.objects[-1]):
            if await self._get(key) is None and key in pod_groups.missing(job, entry.objects[-1]):
                reason = f"pod {key.namespace}/{key.name} was removed from the cluster by somebody else"
                await self._reporter.tell(job, Assessment(Event.FAIL, reason, job.role_counts()))
                break
        return 0.0

    async def _end_the_rest(self, job: Job) -> float:
        """What has no controller to end its pods once the job has failed."""
        if not pod_groups.is_group(job.workload):
            return 0.0
        for pod in pod_groups.left_running(job):
            key = ObjectKey("v1", "Pod", pod.namespace, pod.name)
            await self._port.delete(key, uid=pod.uid, grace_s=0.0 if self._is_lost(pod.node) else None)
        return 0.0

    # ---- to stop ----

    async def _stop(self, job: Job) -> float:
        entry = await self._ledger.entry(job.ref.job)
        objects = entry.objects if entry is not None and entry.ref == job.ref else ()
        grace_s = entry.grace_s if entry is not None else 0.0
        if not objects or (entry is not None and entry.start is not None and entry.start.moves):
            await self._staging.stop(job)
        await self.before_deletion(job)
        if not await self._is_gone(job, objects, grace_s):
            return _LOOK_AGAIN_S
        await self._dependencies.remove(job, reversed(runtimes.keys(objects)) if objects else job.dependencies)
        if job.silent:
            await self._ledger.forget(job.ref)
            self._jobs.drop(job.ref)
        else:
            job.stopped = True
            await self._reporter.tell(job, _farewell(job))
        return 0.0

    async def _is_gone(self, job: Job, objects: Sequence[Object], grace_s: float | None) -> bool:
        """Deletes the workload, then the pods it leaves; true once the API server has none of them."""
        if objects:
            namespace = key_of(objects[-1]).namespace
            made = map(key_of, pod_groups.made_of(objects[-1]))
            if not all(await asyncio.gather(*(self._deleted(job, key, grace_s) for key in made))):
                return False
        else:
            if not await self._swept(job):
                return False
            namespace = ""
        # Asked of the API server itself: what a watch has not told yet counts too.
        pods = await self._port.list(Selection("v1", "Pod", namespace, f"{JOB_LABEL}={job.ref.job}"))
        await asyncio.gather(*(self._delete_pod(pod, grace_s) for pod in pods))
        return not pods

    async def _swept(self, job: Job) -> bool:
        """Deletes the workloads that carry the job's label and were made here; true once the API server has none."""
        none = True
        for kind in self._kinds():
            selection = Selection(kind.api_version, kind.kind, "", f"{JOB_LABEL}={job.ref.job}")
            try:
                labelled = await self._port.list(selection)
            except Refused as error:  # what may not be listed was not made here either
                log.warning("%s: what is left of it among %s: %s", job.ref, kind.kind, error)
                continue
            for found in labelled:
                metadata = found["metadata"]
                if (metadata.get("annotations") or {}).get(OWNER_ANNOTATION) != self._owner:
                    continue
                none = False
                job.dependencies |= noted_in(found)
                if "deletionTimestamp" not in metadata:
                    # What lists leave out of their items is known all the same.
                    key = ObjectKey(kind.api_version, kind.kind, metadata.get("namespace", ""), metadata["name"])
                    await self._port.delete(key, uid=metadata["uid"])
        return none

    async def _deleted(self, job: Job, key: ObjectKey, grace_s: float | None) -> bool:
        present = await self._get(key)
        owner = ref_of(present["metadata"].get("labels") or {}) if present is not None else None
        if present is None or owner is None or owner.job != job.ref.job:
            return True
        if key.kind == "Pod":
            await self._delete_pod(present, grace_s)
        elif "deletionTimestamp" not in present["metadata"]:
            await self._port.delete(key, uid=present["metadata"]["uid"])
        else:
            return False
        return await self._get(key) is None

    async def _delete_pod(self, pod: Object, grace_s: float | None) -> None:
        metadata = pod["metadata"]
        if self._is_lost(pod["spec"].get("nodeName") or ""):
            grace_s = 0.0  # its kubelet would never say that it has ended
        if _is_to_delete(metadata, grace_s):
            key = ObjectKey("v1", "Pod", metadata.get("namespace", ""), metadata["name"])
            await self._port.delete(key, uid=metadata["uid"], grace_s=grace_s)

    async def delete_stray(self, key: ObjectKey, uid: str) -> None:
        """A workload object of this spoke's making that no job here owns up to."""
        try:
            await self._port.delete(key, uid=uid)
        except ClusterError as error:
            log.warning("%s %s/%s is left over and was not deleted: %s", key.kind, key.namespace, key.name, error)

    async def _get(self, key: ObjectKey) -> Object | None:
        try:
            return await self._port.get(key)
        except NotFound:
            return None


def _farewell(job: Job) -> Assessment:
    if job.hand_back is not None:
        return Assessment(job.hand_back, job.hand_back_reason, job.role_counts())
    return Assessment(Event.STOPPED, "", job.role_counts())


def _is_to_delete(metadata: Object, grace_s: float | None) -> bool:
    if "deletionTimestamp" in metadata:
        # By its owner's collection, say, with the pod's own grace: a shorter one counts, a longer one would not.
        return grace_s is not None and grace_s < metadata.get("deletionGracePeriodSeconds", 0)
    # A ReplicaSet makes up for what is deleted under it until it is collected itself; its pods go with it.
    return "ReplicaSet" not in {owner["kind"] for owner in metadata.get("ownerReferences") or ()}


def _owned(workload: Object, owner: str, dependencies: Iterable[ObjectKey]) -> Object:
    metadata = workload["metadata"]
    annotations = {**(metadata.get("annotations") or {}), OWNER_ANNOTATION: owner}
    if travelling := tuple(dependencies):
        annotations[DEPENDENCIES_ANNOTATION] = noted(travelling)
    return {**workload, "metadata": {**metadata, "annotations": annotations}}


async def _at_once(job: Job) -> None:
    """Nothing is to be done before a job is deleted."""
