"""Whether objects that jobs name are in this cluster, asked by name and of nothing but that.

The hub asks before it places a job; the spoke itself asks once more of what it is told to start. What cannot be asked
(the API server is away, or forbids it) counts as there: the pods will tell. What the owner of the cluster opens to no
job is not told to the hub.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence

from placement import presence
from placement.kinds import references, roles
from placement.kinds.catalogue import Catalogue
from placement.kinds.dependencies import DATASET
from placement.kinds.places import CLAIM_KIND
from placement.presence import CHECKED, ObjectName
from placement.workload import Reference
from spoke.cluster.port import ClusterError, ClusterPort, ObjectKey
from spoke.policy import Guard
from wire.orders import Object, Start

log = logging.getLogger(__name__)

MISSING = "no-such-object"  # the code of a refusal
_AT_ONCE = 16
_PATIENCE_S = 5.0


class Presence:
    def __init__(self, port: ClusterPort, catalogue: Catalogue, guard: Guard) -> None:
        self._port = port
        self._catalogue = catalogue
        self._guard = guard
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def missing(self, names: Collection[ObjectName]) -> frozenset[ObjectName]:
        """Of those that may be asked for."""
        may = [one for one in names if one.kind in CHECKED and not self._guard.of_presence(one.namespace)]
        return await self._missing(may)

    async def of_starts(self, starts: Mapping[int, Start]) -> Mapping[int, str]:
        """Why not, for those that lack something."""
        asked = {id_: self._named_by(start) for id_, start in starts.items()}
        every = {name for names in asked.values() for name in names}
        gone = await self._missing(every) if every else frozenset()
        lacking = {id_: [one for one in names if one in gone] for id_, names in asked.items()}
        return {id_: f"the cluster has no {presence.in_words(names)}" for id_, names in lacking.items() if names}

    async def _missing(self, names: Collection[ObjectName]) -> frozenset[ObjectName]:
        ordered = sorted(names)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                found = await asyncio.gather(*(self._is_there(one) for one in ordered))
        except TimeoutError:
            log.warning("whether %d objects are there could not be found out in time", len(ordered))
            return frozenset()
        return frozenset(one for one, there in zip(ordered, found, strict=True) if not there)

    async def _is_there(self, name: ObjectName) -> bool:
        async with self._at_once:
            try:
                return await self._port.exists(ObjectKey(CHECKED[name.kind], name.kind, name.namespace, name.name))
            except ClusterError as error:
                log.info("whether %s is there: %s", name.words, error)
                return True

    def _named_by(self, start: Start) -> Sequence[ObjectName]:
        try:
            namespace = start.workload.namespace
            brought = set(_brought(start.objects, namespace))
            places = {move.place for move in start.moves}
            named = presence.named(self._references(start.objects), namespace, places)
            return [one for one in named if one not in brought]
        except Exception:  # what cannot be read is refused by others, with their reason
            log.exception("what a job names cannot be read")
            return ()

    def _references(self, objects: Iterable[Object]) -> Iterable[Reference]:
        for obj in objects:
            kind = self._catalogue.find(str(obj.get("apiVersion")), str(obj.get("kind")))
            if kind is not None:
                for role in roles.shape(kind, obj).roles:
                    yield from references.of_templates([role.template])


def _brought(objects: Iterable[Object], namespace: str) -> Iterable[ObjectName]:
    for obj in objects:
        metadata = obj["metadata"]
        where, name = metadata.get("namespace") or namespace, metadata["name"]
        yield ObjectName(str(obj.get("kind")), where, name)
        if obj.get("kind") == DATASET:  # Fluid makes a claim of its name
            yield ObjectName(CLAIM_KIND, where, name)
