"""Copies for a Kubernetes cluster: a Job beside the claim runs `spoke.staging.copy`, and is looked at until it ends.
A claim that is Fluid's is filled by Fluid (`fluid`).

The Job is named after job, epoch and dataset: found again after a restart of the spoke, it is not made twice. It is
deleted when it has ended, and when the attempt has; the claim never is. A claim that is missing is made, with a little
more room than the dataset takes; one that exists is used as it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
from spoke.staging import fluid
from spoke.staging.port import CannotStage, Copy, Told
from wire.orders import JobRef

log = logging.getLogger(__name__)

COPY_LABEL, EPOCH_LABEL = "muster.dev/copies-for", "muster.dev/copies-for-epoch"
DATASET_ANNOTATION = "muster.dev/dataset"
POLL_S = 2.0
PATIENCE_S = 600.0  # with a pod that does not start
_ROOM = 1.05
_LEAST_BYTES = 1 << 30
_USER = 65532  # as the image says


@dataclass(frozen=True, slots=True)
class How:
    """What the copies of a cluster are made with."""

    image: str
    storage_class: str = ""  # of claims that are made; "": the cluster's default
    access_mode: str = "ReadWriteMany"  # of claims that are made
    poll_s: float = POLL_S
    patience_s: float = PATIENCE_S


class KubeStager:
    def __init__(self, port: ClusterPort, how: How) -> None:
        self._port = port
        self._how = how

    async def copy(self, wanted: Copy, told: Told) -> None:
        if await fluid.has(self._port, wanted):
            await fluid.load(self._port, wanted, _key(wanted).name, _labels(wanted), told, self._how.poll_s)
            return
        try:
            await self._claim(wanted)
            await self._begin(wanted)
        except Refused as error:
            raise CannotStage(f"the cluster refuses to copy {wanted.dataset}: {error}") from error
        await self._follow(wanted, told)

    async def forget(self, ref: JobRef) -> None:
        selector = f"{COPY_LABEL}={ref.job},{EPOCH_LABEL}={ref.epoch}"
        for api_version, kind in (("batch/v1", "Job"), (fluid.API_VERSION, "DataLoad")):
            try:
                found = await self._port.list(Selection(api_version, kind, "", selector))
            except Refused as error:  # not served here: then nothing was made of it
                log.debug("%s of %s: %s", kind, ref, error)
                continue
            for one in found:
                metadata = one["metadata"]
                await self._port.delete(ObjectKey(api_version, kind, metadata["namespace"], metadata["name"]))

    # ---- what is made ----

    async def _claim(self, wanted: Copy) -> None:
        key = ObjectKey("v1", "PersistentVolumeClaim", wanted.namespace, wanted.claim)
        try:
            await self._port.get(key)
        except NotFound:
            await self._create(claim(wanted, self._how))

    async def _begin(self, wanted: Copy) -> None:
        await self._create(copy_job(wanted, self._how))

    async def _create(self, obj: Object) -> None:
        try:
            await self._port.create(obj)
        except Conflict:
            return  # before a restart, or by another job

    # ---- how it goes ----

    async def _follow(self, wanted: Copy, told: Told) -> None:
        key = _key(wanted)
        idle_since = asyncio.get_running_loop().time()
        while True:
            try:
                job = await self._port.get(key)
            except NotFound as error:
                raise ClusterError(f"Job {key.namespace}/{key.name} was deleted by somebody") from error
            pods = await self._pods(key)
            said = await self._said(pods)
            if isinstance(said.get("total"), int) and isinstance(said.get("done"), int):
                told(said["done"], said["total"])
            end = _end(job)
            if end is not None:
                await self._port.delete(key)
                if end == "Complete":
                    return
                raise CannotStage(str(said.get("error") or f"copying {wanted.dataset} failed: {end}"))
            now = asyncio.get_running_loop().time()
            # One that has failed says nothing of the one that is to take its place.
            if any((pod.get("status") or {}).get("phase") not in ("Pending", "Failed") for pod in pods):
                idle_since = now
            elif now - idle_since > self._how.patience_s:
                await self._port.delete(key)
                raise CannotStage(f"the pod that should copy {wanted.dataset} does not start: {_why(pods)}")
            await asyncio.sleep(self._how.poll_s)

    async def _pods(self, key: ObjectKey) -> Sequence[Object]:
        return await self._port.list(Selection("v1", "Pod", key.namespace, f"batch.kubernetes.io/job-name={key.name}"))

    async def _said(self, pods: Sequence[Object]) -> dict[str, Any]:
        """The last line of the newest pod; nothing where it has none, or its log cannot be read now."""
        if not pods:
            return {}
        metadata = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))["metadata"]
        lines = b""
        try:
            async with asyncio.timeout(self._how.poll_s + 5):
                async for chunk in self._port.logs(metadata["namespace"], metadata["name"], follow=False, tail_lines=1):
                    lines += chunk.plain
            said = json.loads(lines.splitlines()[-1])
        except (ClusterError, TimeoutError, ValueError, IndexError):
            return {}
        return said if isinstance(said, dict) else {}


def claim(wanted: Copy, how: How) -> dict[str, Any]:
    room = max(int(wanted.size_bytes * _ROOM), _LEAST_BYTES)
    spec: dict[str, Any] = {"accessModes": [how.access_mode], "resources": {"requests": {"storage": str(room)}}}
    spec |= {"storageClassName": how.storage_class} if how.storage_class else {}
    metadata = {"name": wanted.claim, "namespace": wanted.namespace, "annotations": _annotations(wanted)}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def copy_job(wanted: Copy, how: How) -> dict[str, Any]:
    key = _key(wanted)
    labels = _labels(wanted)
    container: dict[str, Any] = {
        "name": "copy",
        "image": how.image,
        "command": ["python", "-m", "spoke.staging.copy", "--from", wanted.source, "--to", "/data"],
        "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the pod's own
    }
    container |= {"envFrom": [{"secretRef": {"name": wanted.secret}}]} if wanted.secret else {}
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": wanted.claim}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }
    metadata = {"name": key.name, "namespace": key.namespace, "labels": labels, "annotations": _annotations(wanted)}
    template = {"metadata": {"labels": labels}, "spec": pod}
    # Once again by another pod, should its node go; what is wrong with the source it finds out itself.
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {"backoffLimit": 2, "template": template},
    }


def _key(wanted: Copy) -> ObjectKey:
    digest = hashlib.sha256(f"{wanted.dataset} {wanted.place}".encode()).hexdigest()[:8]
    return ObjectKey("batch/v1", "Job", wanted.namespace, f"copy-{wanted.ref.job}-{wanted.ref.epoch}-{digest}")


def _labels(wanted: Copy) -> dict[str, str]:
    return {COPY_LABEL: wanted.ref.job, EPOCH_LABEL: str(wanted.ref.epoch)}


def _annotations(wanted: Copy) -> dict[str, str]:
    return {DATASET_ANNOTATION: wanted.dataset}


def _end(job: Object) -> str | None:
    """`Complete`, or why it failed; None while it runs."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            failure = f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")
            return "Complete" if condition["type"] == "Complete" else failure or "Failed"
    return None


def _why(pods: Sequence[Object]) -> str:
    for pod in pods:
        for condition in (pod.get("status") or {}).get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return str(condition.get("message") or condition.get("reason"))
    return "it is pending" if pods else "there is none"
