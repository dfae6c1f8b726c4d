"""Where a claim is Fluid's, data is brought into it by Fluid itself: a DataLoad fills the cache of the Dataset of that
name, from wherever Fluid has it. The source that the hub names is not used then.

The DataLoad is found again after a restart by its name, and deleted when it has ended; what is cached stays.
"""

from __future__ import annotations

import asyncio
from typing import Any

from placement import sizes
from spoke.cluster.port import ClusterPort, Conflict, NotFound, Object, ObjectKey, Refused
from spoke.staging.port import CannotStage, Copy, Told

API_VERSION = "data.fluid.io/v1alpha1"


async def has(port: ClusterPort, wanted: Copy) -> bool:
    """Whether the claim is Fluid's."""
    try:
        await port.get(_dataset(wanted))
    except (NotFound, Refused):  # not served, or not to be read: then it is none that can be loaded
        return False
    return True


async def load(port: ClusterPort, wanted: Copy, name: str, labels: dict[str, str], told: Told, poll_s: float) -> None:
    """Returns once Fluid has loaded it. Raises CannotStage."""
    key = ObjectKey(API_VERSION, "DataLoad", wanted.namespace, name)
    try:
        await port.create(data_load(wanted, name, labels))
    except Conflict:
        pass  # before a restart
    except Refused as error:
        raise CannotStage(f"the cluster refuses to load {wanted.dataset}: {error}") from error
    while True:
        found = (await port.get(key)).get("status") or {}
        _tell(await port.get(_dataset(wanted)), told)
        if found.get("phase") in ("Complete", "Failed"):
            await port.delete(key)
            if found["phase"] == "Complete":
                return
            raise CannotStage(f"Fluid failed to load {wanted.dataset}: {_why(found)}")
        await asyncio.sleep(poll_s)


def data_load(wanted: Copy, name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "DataLoad",
        "metadata": {"name": name, "namespace": wanted.namespace, "labels": labels},
        "spec": {
            "dataset": {"name": wanted.claim, "namespace": wanted.namespace},
            "loadMetadata": True,
            "target": [{"path": "/", "replicas": 1}],
        },
    }


def _dataset(wanted: Copy) -> ObjectKey:
    return ObjectKey(API_VERSION, "Dataset", wanted.namespace, wanted.claim)


def _tell(dataset: Object, told: Told) -> None:
    """Nothing while Fluid still counts."""
    status = dataset.get("status") or {}
    try:
        total = sizes.parse(str(status.get("ufsTotal", "")))
        done = sizes.parse(str((status.get("cacheStates") or {}).get("cached", "")))
    except ValueError:
        return
    told(min(done, total), total)


def _why(status: Object) -> str:
    messages = [str(one.get("message") or one.get("reason") or "") for one in status.get("conditions") or ()]
    return next((message for message in reversed(messages) if message), "it does not say why")
