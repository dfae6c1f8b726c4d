"""What data this cluster holds by its own account: its claims, and Fluid's datasets, which come as claims too.

A claim's size is its capacity (whole MiB), or what Fluid says that its dataset has under it. Claims that are not bound
yet are told as well, without a size: a job that mounts one can run here. Copies that Muster made are told too, so
that the hub hears of one that is gone; what lies in the namespaces of the cluster itself is nobody's data.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence

from placement import sizes
from placement.data import CLAIM
from placement.kinds import quantity
from spoke.cluster.port import Object
from spoke.watch import Sink, take_each
from wire.orders import DataFound

FLUID = ("data.fluid.io/v1alpha1", "Dataset")
AT_MOST = 5000  # copies of the hub's datasets, and the largest of the others

_SYSTEM = re.compile(r"kube-.*|muster-system")


class VolumeClaims:
    def __init__(self) -> None:
        self._claims: dict[str, int] = {}  # uri -> bytes
        self._fluid: dict[str, int] = {}
        self._revision = 0
        self._is_read = False  # the claims were: before that, what is not told would count as gone
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def claims(self) -> Sink:
        return self._sink(self._claims, _claim_size)

    def fluid(self) -> Sink:
        return self._sink(self._fluid, _fluid_size)

    async def wait(self, after_revision: int) -> tuple[int, Sequence[DataFound]]:
        """Everything there is, once it has changed since that revision (0: the first time)."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._revision > after_revision)
            return self._revision, self.found()

    def found(self) -> Sequence[DataFound]:
        every = [DataFound(uri, self._fluid.get(uri) or size) for uri, size in self._claims.items()]
        return sorted(every, key=lambda one: (not _is_copy(one.uri), -one.size_bytes, one.uri))[:AT_MOST]

    def _sink(self, known: dict[str, int], size_of: Callable[[Object], int | None]) -> Sink:
        def reset(objects: Sequence[Object]) -> None:
            before = dict(known)
            known.clear()
            take_each(take, objects)
            is_first = known is self._claims and not self._is_read
            self._is_read |= is_first
            if known != before or is_first:
                self._touch()

        def take(obj: Object) -> None:
            uri, size = _uri(obj), size_of(obj)
            if size is None:
                known.pop(uri, None)
            else:
                known[uri] = size

        def upsert(obj: Object) -> None:
            before = known.get(_uri(obj))
            take(obj)
            if known.get(_uri(obj)) != before:
                self._touch()

        def gone(obj: Object) -> None:
            if known.pop(_uri(obj), None) is not None:
                self._touch()

        return Sink(reset, upsert, gone)

    def _touch(self) -> None:
        if not self._is_read:
            return
        self._revision += 1
        task = asyncio.ensure_future(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _is_copy(uri: str) -> bool:
    """By its name. These are told before all: one that is not is forgotten by the hub."""
    return uri.partition("/dataset-")[1] != ""


def _uri(obj: Object) -> str:
    metadata = obj["metadata"]
    return f"{CLAIM}{metadata.get('namespace', 'default')}/{metadata['name']}"


def _claim_size(obj: Object) -> int | None:
    """None for what is no data of a user's, or is going or lost."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    if _SYSTEM.fullmatch(metadata.get("namespace", "default")):
        return None
    if status.get("phase") == "Lost" or "deletionTimestamp" in metadata:
        return None  # no pod can mount it any more
    storage = (status.get("capacity") or {}).get("storage")
    return quantity.amount("memory", storage) << 20 if storage is not None else 0


def _fluid_size(obj: Object) -> int | None:
    """Fluid writes `1.10GiB`, and `[Calculating]` until it knows."""
    try:
        return sizes.parse(str((obj.get("status") or {}).get("ufsTotal", "")))
    except ValueError:
        return None
