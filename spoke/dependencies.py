"""What travels along with a workload (ConfigMaps, Secrets, Services, claims …): made where it is missing, else shared.

Nothing that exists is ever written over, but for the numbers that follow a job's size (`resize`). An object that
somebody else made, or that another job here uses, is used as it is where it says what ours would say; otherwise the job
fails and its owner is told what to rename. Only what this spoke made (its label and `muster.dev/owner` say so) is
removed, once no job here uses it any more; where it is in the way of a job and nobody uses it, it is removed and made
anew.

A PersistentVolumeClaim is different, because it holds data that outlive a job: one that exists is used as it is, and
none is ever deleted, whoever made it. Whoever wants its room back deletes it in the cluster.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from spoke.cluster.port import ClusterPort, Conflict, NotFound, Object, ObjectKey, Refused, Unavailable
from spoke.entry import Desired
from spoke.jobs import Job, Jobs, key_of
from spoke.pods import DEPENDENCIES_ANNOTATION, EPOCH_LABEL, JOB_LABEL, OWNER_ANNOTATION
from wire.orders import JobRef

log = logging.getLogger(__name__)

_NOT_COMPARED = frozenset({"apiVersion", "kind", "metadata", "status", "stringData"})


# What follows a job's size, where the hub says so with it.
SIZED = frozenset({"HorizontalPodAutoscaler", "PodDisruptionBudget"})


class NameTaken(Exception):
    """An object of that name exists, says something else, and is not this job's to change."""


class Dependencies:
    def __init__(self, port: ClusterPort, jobs: Jobs, owner: str) -> None:
        self._port = port
        self._jobs = jobs
        self._owner = owner

    async def bring(self, job: Job, wanted: Object) -> None:
        """There once it returns. Raises NameTaken, and Unavailable where it has to wait for another job to go."""
        ours = _marked(wanted, job.ref, self._owner)
        try:
            await self._port.create(ours)
            return
        except Conflict as error:
            key = key_of(wanted)
            present = await self._present(key)
            if present is None:
                raise Unavailable(f"{_named(key)} is there one moment and gone the next") from error
        if _outlives_jobs(key):
            return
        if "deletionTimestamp" in present["metadata"]:
            raise Unavailable(f"{_named(key)} is being deleted")
        if says(present, wanted):
            return
        if not self._is_made_here(present):
            raise NameTaken(
                f"{_named(key)} exists in the cluster and is not Muster's; rename yours or remove it from the file"
            )
        self._check_unused(job, key)
        await self._port.delete(key, uid=present["metadata"]["uid"])
        try:
            await self._port.create(ours)
        except Conflict as error:
            raise Unavailable(f"{_named(key)} of an earlier job is not gone yet") from error

    async def resize(self, job: Job, wanted: Object) -> None:
        """What says how many pods there are to be says what the job's new size is. One that this spoke did not make, or
        that another job here uses, stays as it is."""
        key = key_of(wanted)
        if key.kind not in SIZED or any(key in other.dependencies for other in self._others_than(job)):
            return
        present = await self._present(key)
        if present is None or not self._is_made_here(present) or says(present, wanted):
            return
        body = {part: value for part, value in wanted.items() if part not in _NOT_COMPARED}
        try:
            await self._port.update({**present, **body})
        except Refused as error:  # the pods are right all the same
            log.warning("%s: %s does not follow its size: %s", job.ref, _named(key), error)

    async def remove(self, job: Job, keys: Iterable[ObjectKey]) -> None:
        """What this spoke made and no other job here uses."""
        others = self._others_than(job)
        for key in keys:
            if _outlives_jobs(key) or any(key in other.dependencies for other in others):
                continue
            try:
                present = await self._present(key)
            except Refused:
                continue
            if present is not None and self._is_made_here(present):
                await self._port.delete(key, uid=present["metadata"]["uid"])

    def _others_than(self, job: Job) -> list[Job]:
        return [other for other in self._jobs if other is not job and other.uses_dependencies]

    def _is_made_here(self, present: Object) -> bool:
        metadata = present["metadata"]
        owner = (metadata.get("annotations") or {}).get(OWNER_ANNOTATION)
        return JOB_LABEL in (metadata.get("labels") or {}) and owner == self._owner

    def _check_unused(self, job: Job, key: ObjectKey) -> None:
        users = [
            other
            for other in self._jobs
            if other is not job and key in other.dependencies and other.uses_dependencies and other.outcome is None
        ]
        staying = [other for other in users if other.desired is Desired.START and not other.silent]
        if staying:
            raise NameTaken(
                f"{_named(key)} is used by job {staying[0].ref.job} here and says something else; rename yours"
            )
        if users:
            raise Unavailable(f"{_named(key)} is used by job {users[0].ref.job}, which is being stopped")

    async def _present(self, key: ObjectKey) -> Object | None:
        try:
            return await self._port.get(key)
        except NotFound:
            return None


def says(present: Object, wanted: Object) -> bool:
    """Whether everything that `wanted` sets is set so in `present`; the API server's own defaults may come on top."""
    body = {key: value for key, value in wanted.items() if key not in _NOT_COMPARED}
    if "stringData" in wanted:  # the API server keeps it as data only
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in (wanted["stringData"] or {}).items()}
        body["data"] = {**(body.get("data") or {}), **encoded}
    return _is_within(body, present)


def noted(keys: Iterable[ObjectKey]) -> str:
    """The text of the workload object's annotation: what travels along can be found without this spoke's ledger."""
    return orjson.dumps([[key.api_version, key.kind, key.namespace, key.name] for key in keys]).decode()


def noted_in(workload: Object) -> frozenset[ObjectKey]:
    text = (workload["metadata"].get("annotations") or {}).get(DEPENDENCIES_ANNOTATION, "[]")
    try:
        return frozenset(ObjectKey(*map(str, parts)) for parts in orjson.loads(text))
    except (orjson.JSONDecodeError, TypeError):
        return frozenset()  # somebody changed it


def _is_within(wanted: Any, present: Any) -> bool:
    if wanted is None or wanted == present:
        return True
    if isinstance(wanted, Mapping):
        held = present if isinstance(present, Mapping) else {}
        return (present is None or held is present) and all(_is_within(wanted[key], held.get(key)) for key in wanted)
    if isinstance(wanted, list | tuple):
        if not wanted:
            return not present
        same_length = isinstance(present, list | tuple) and len(present) == len(wanted)
        return same_length and all(_is_within(*pair) for pair in zip(wanted, present, strict=True))
    return False


def _outlives_jobs(key: ObjectKey) -> bool:
    return key.kind == "PersistentVolumeClaim"


def _named(key: ObjectKey) -> str:
    return f"{key.kind} {key.namespace}/{key.name}"


def _marked(wanted: Object, ref: JobRef, owner: str) -> Object:
    metadata = wanted["metadata"]
    labels = {**(metadata.get("labels") or {}), JOB_LABEL: ref.job, EPOCH_LABEL: str(ref.epoch)}
    annotations = {**(metadata.get("annotations") or {}), OWNER_ANNOTATION: owner}
    return {**wanted, "metadata": {**metadata, "labels": labels, "annotations": annotations}}
