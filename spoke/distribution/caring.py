"""Makes what the hub distributes as it was ordered, keeps it so, and removes it: one task for each distribution.

Level-triggered: a round looks at every object, applies what is not as this spoke last left it, and says how it stands.
It is begun by an order, by a watch that shows something else than what was applied, and from time to time. Objects
are marked (label and owner); what bears no mark of this spoke's is neither changed nor removed, unless the order says
to take it over and the cluster's owner allows that. The owner's policy is asked of each object before it is touched.

Not promised: that a field which another controller sets again and again ends as the file says. It is set again each
time, less and less often.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

import orjson

from placement import marks
from placement.distribution.states import ObjectState, State
from placement.objects import ObjectKey
from spoke.cluster.backoff import Backoff
from spoke.cluster.port import ClusterError, ClusterPort, Conflict, NotFound, Object, Selection, Unavailable
from spoke.crew import Crew
from spoke.distribution.standing import Standing, key_of
from spoke.ledger import Ledger, LedgerUnusable
from spoke.policy import Guard
from spoke.watch import Sink, follow
from wire.distribution import (
    UNKNOWN,
    DistributionAck,
    DistributionOrder,
    DistributionRef,
    DistributionReport,
    Withdraw,
)

log = logging.getLogger(__name__)

MANAGER = "muster-distribution"
_CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
_NOT_COMPARED = frozenset({"resourceVersion", "managedFields", "generation"})


@dataclass(frozen=True, slots=True)
class Patience:
    check_s: float = 300.0  # where all is well, and nothing is watched or a watch missed something
    again_s: float = 30.0  # what the cluster does not take
    soon_s: float = 0.5  # what has to wait for something, at first
    calm_s: float = 60.0  # without a change by others, before one is mended at once again


PATIENCE = Patience()


@dataclass(slots=True)
class _Care:
    """Of one distribution."""

    standing: Standing
    mending: Backoff
    waiting: Backoff
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    states: tuple[ObjectState, ...] | None = None
    made: dict[ObjectKey, bytes] = field(default_factory=dict)  # what each object was when it was last applied
    uids: dict[ObjectKey, str] = field(default_factory=dict)
    mended_at: float = 0.0
    task: asyncio.Task[None] | None = None

    @property
    def keys(self) -> set[ObjectKey]:
        return {key_of(obj) for obj in self.standing.objects} | set(self.standing.left)


class Caring:
    def __init__(
        self,
        port: ClusterPort,
        ledger: Ledger,
        guard: Guard,
        crew: Crew,
        rng: Random,
        owner: str,
        *,
        clock: Callable[[], float],
        patience: Patience = PATIENCE,
    ) -> None:
        """`clock` counts seconds; `owner` is this spoke, as it marks what it makes."""
        self._port = port
        self._ledger = ledger
        self._guard = guard
        self._crew = crew
        self._rng = rng
        self._owner = owner
        self._clock = clock
        self._patience = patience
        self._cares: dict[str, _Care] = {}
        self._watches: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._orphans: set[str] = set()  # of which the hub knows nothing: removed, and not told of
        self._news: set[str] = set()
        self._told = asyncio.Event()
        self._cleared = asyncio.Event()

    # ---- what the hub says ----

    async def start(self) -> None:
        for one in await self._ledger.distributions():
            self._take(one)

    async def ordered(
        self, orders: Sequence[DistributionOrder], standing: Collection[DistributionRef] | None
    ) -> Sequence[DistributionAck]:
        """Durable before it returns. `standing`: all that the hub has here, said when a stream begins."""
        acks = list(await self._ledger.accept_distributions(orders))
        self._orphans.difference_update(order.ref.name for order in orders)
        if standing is not None:
            acks += await self._unknown(standing, {order.ref for order in orders})
            await self._disown({ref.name for ref in standing})
        for one in await self._ledger.distributions():
            known = self._cares.get(one.ref.name)
            if known is None or known.standing.ref != one.ref:
                self._take(one)
        return acks

    async def removed(self) -> None:
        """The cluster was removed from the federation. Returns when nothing is left here."""
        await self.ordered((), ())
        while self._cares:
            self._cleared.clear()
            await self._cleared.wait()

    def reports(self) -> Sequence[DistributionReport]:
        """Of all that there is; when a stream begins."""
        self._news.clear()
        return self._reports_of(self._cares)

    async def wait_for_reports(self) -> Sequence[DistributionReport]:
        """Blocks until something stands otherwise than it was told."""
        while True:
            await self._told.wait()
            self._told.clear()
            news, self._news = self._news, set()
            if found := self._reports_of(news):
                return found

    async def _unknown(
        self, standing: Iterable[DistributionRef], ordered: Collection[DistributionRef]
    ) -> Sequence[DistributionAck]:
        """What the hub takes for known here, and is not: the ledger was lost."""
        known = {one.ref.name: one.ref.generation for one in await self._ledger.distributions()}
        return [
            DistributionAck(ref, UNKNOWN, "it is not in this spoke's ledger")
            for ref in sorted(standing)
            if ref not in ordered and known.get(ref.name, 0) < ref.generation
        ]

    async def _disown(self, awaited: Collection[str]) -> None:
        """What the hub knows nothing of is removed by an order of our own."""
        orders = []
        for one in await self._ledger.distributions():
            if one.ref.name in awaited:
                continue
            self._orphans.add(one.ref.name)
            if one.is_over:
                await self._forget(one.ref)
            elif one.objects_json:
                log.info("distribution %s is not the hub's any more and is removed", one.ref.name)
                ref = DistributionRef(one.ref.name, one.ref.generation + 1)
                orders.append(DistributionOrder(ref, Withdraw()))
        await self._ledger.accept_distributions(orders)

    def _reports_of(self, names: Iterable[str]) -> list[DistributionReport]:
        cares = [self._cares[name] for name in sorted(names) if name in self._cares and name not in self._orphans]
        return [
            DistributionReport(care.standing.ref, care.states, gone=care.standing.is_over)
            for care in cares
            if care.states is not None
        ]

    # ---- the work ----

    def _take(self, standing: Standing) -> None:
        name = standing.ref.name
        care = self._cares.get(name)
        if care is None:
            soon, most = self._patience.soon_s, self._patience.again_s
            mending, waiting = (Backoff(self._rng, first_s=soon, most_s=most) for _ in range(2))
            care = self._cares[name] = _Care(standing, mending, waiting)
        care.standing, care.states = standing, None
        care.made.clear()  # what it is to be may be something else now
        care.waiting.reset()
        care.woken.set()
        if care.task is None or care.task.done():
            care.task = self._crew.spawn(self._look_after(care), f"distribution {name}")

    async def _look_after(self, care: _Care) -> None:
        """Until nothing of it is left."""
        while True:
            care.woken.clear()
            standing = care.standing
            try:
                states = await self._round(care, standing)
            except LedgerUnusable:
                raise
            except Exception as error:  # one that cannot be cared for must not end the others
                log.exception("distribution %s cannot be looked at", standing.ref.name)
                why = f"{type(error).__name__}: {error}"
                states = tuple(ObjectState(key, State.FAILED, why) for key in sorted(care.keys))
            if care.standing.ref != standing.ref:
                continue  # there is a newer order
            self._tell(care, states)
            if care.standing.is_over:
                await self._over(care)
                return
            await self._wait(care, states)

    async def _round(self, care: _Care, standing: Standing) -> tuple[ObjectState, ...]:
        going = []
        for key in standing.left:
            if (state := await self._removed(care, key)) is not None:
                going.append(state)
        remaining = {one.key for one in going}
        if gone := [key for key in standing.left if key not in remaining]:
            after = await self._ledger.distribution_removed(standing.ref, gone)
            if after is not None:
                care.standing = after
            self._wake_all()  # others may have waited for these names
        definitions = any((obj["apiVersion"], obj["kind"]) == _CRD for obj in standing.objects)
        states = [await self._made(care, obj, standing, definitions=definitions) for obj in standing.objects]
        return (*states, *going)

    async def _made(self, care: _Care, obj: Object, standing: Standing, *, definitions: bool) -> ObjectState:
        key = key_of(obj)
        if forbidden := self._guard.of_distributed([obj]):
            return ObjectState(key, State.REFUSED, forbidden)
        try:
            present = await self._get(key)
            if present is not None and (why := self._why_not(care, key, present, standing)) is not None:
                return why
            if present is not None and care.made.get(key) == _essence(present):
                return ObjectState(key, State.APPLIED)
            # Racy: somebody may make it between the look and this. What they set otherwise is then a conflict.
            became = await self._port.apply(
                _marked(obj, standing.ref.name, self._owner), manager=MANAGER, force=present is not None
            )
        except (Unavailable, Conflict) as error:
            return ObjectState(key, State.PENDING, str(error))
        except ClusterError as error:
            unserved = definitions and await self._is_unserved(key)
            return ObjectState(key, State.PENDING if unserved else State.FAILED, str(error))
        if key in care.made:
            log.info("%s was changed by somebody, and is again as distribution %s says", key, standing.ref.name)
            care.mended_at = self._clock()
        care.uids[key] = became["metadata"]["uid"]
        if care.standing.ref == standing.ref:  # else there is a newer order, which says something else of it
            care.made[key] = _essence(became)
        self._watch(key)
        return ObjectState(key, State.APPLIED)

    def _why_not(self, care: _Care, key: ObjectKey, present: Object, standing: Standing) -> ObjectState | None:
        metadata = present["metadata"]
        if "deletionTimestamp" in metadata:
            return ObjectState(key, State.PENDING, "the one of that name is being deleted")
        if self._is_ours(care, key, present):
            return None
        other = (metadata.get("labels") or {}).get(marks.DISTRIBUTION)
        if other is not None and self._is_owned(present):
            return ObjectState(key, State.FAILED, f"distribution {other} has it here")
        if not standing.adopt:
            why = "it exists in the cluster and is not Muster's: rename it, remove it there, or take it over (--adopt)"
            return ObjectState(key, State.FAILED, why)
        if not self._guard.rules.adopt:
            why = "the policy of this cluster's owner lets nothing be taken over that exists (adopt: false)"
            return ObjectState(key, State.REFUSED, why)
        return None

    async def _removed(self, care: _Care, key: ObjectKey) -> ObjectState | None:
        """None once it is gone, or is not this distribution's to remove."""
        try:
            present = await self._get(key)
            if present is None or not self._is_ours(care, key, present):
                return None
            if "deletionTimestamp" not in present["metadata"]:
                await self._port.delete(key, uid=present["metadata"]["uid"])
                present = await self._get(key)
        except (Unavailable, Conflict) as error:
            return ObjectState(key, State.REMOVING, str(error))
        except ClusterError as error:
            if await self._is_unserved(key):
                return None  # its definition is gone, and it with that
            return ObjectState(key, State.FAILED, f"it cannot be removed: {error}")
        if present is None:
            return None
        held = ", ".join(present["metadata"].get("finalizers") or ())
        return ObjectState(key, State.REMOVING, f"it waits for {held}" if held else "")

    async def _is_unserved(self, key: ObjectKey) -> bool:
        try:
            return f"{key.api_version}/{key.kind}" not in await self._port.kinds()
        except ClusterError:
            return False

    async def _get(self, key: ObjectKey) -> Object | None:
        try:
            return await self._port.get(key)
        except NotFound:
            return None

    def _is_ours(self, care: _Care, key: ObjectKey, present: Object) -> bool:
        """Also where somebody has taken the mark off what this run of the agent made."""
        metadata = present["metadata"]
        named = (metadata.get("labels") or {}).get(marks.DISTRIBUTION) == care.standing.ref.name
        return (named and self._is_owned(present)) or care.uids.get(key) == metadata["uid"]

    def _is_owned(self, present: Object) -> bool:
        return (present["metadata"].get("annotations") or {}).get(marks.OWNER) == self._owner

    def _tell(self, care: _Care, states: tuple[ObjectState, ...]) -> None:
        if states != care.states or care.standing.is_over:
            care.states = states
            self._news.add(care.standing.ref.name)
            self._told.set()

    async def _over(self, care: _Care) -> None:
        """Its tombstone stays until the hub waits for it no more."""
        if care.standing.ref.name in self._orphans:
            await self._forget(care.standing.ref)
        self._trim_watches()

    async def _forget(self, ref: DistributionRef) -> None:
        await self._ledger.forget_distribution(ref)
        self._cares.pop(ref.name, None)
        self._cleared.set()

    async def _wait(self, care: _Care, states: Sequence[ObjectState]) -> None:
        """Until it has to be looked at again."""
        found = {one.state for one in states}
        if found & {State.PENDING, State.REMOVING}:
            wait_s = care.waiting.next_s()
        else:
            care.waiting.reset()
            wait_s = self._patience.again_s if State.FAILED in found else self._patience.check_s
        try:
            async with asyncio.timeout(wait_s):
                await care.woken.wait()
        except TimeoutError:
            return
        if self._clock() - care.mended_at > self._patience.calm_s:
            care.mending.reset()
        elif care.standing.objects_json:
            await asyncio.sleep(care.mending.next_s())  # somebody sets it otherwise again and again

    # ---- what the cluster shows ----

    def _watch(self, key: ObjectKey) -> None:
        kind = (key.api_version, key.kind)
        if kind in self._watches:
            return
        selection = Selection(*kind, label_selector=marks.DISTRIBUTION)
        sink = Sink(lambda objects: self._all_told(kind, objects), self._one_told, self._one_told_gone)
        self._watches[kind] = self._crew.spawn(follow(self._port, selection, sink), f"watching distributed {kind[1]}")

    def _trim_watches(self) -> None:
        """Those of kinds that nothing has any more: a definition may be gone, and its watch would fail for ever."""
        needed = {(key.api_version, key.kind) for care in self._cares.values() for key in care.keys}
        for kind in self._watches.keys() - needed:
            self._watches.pop(kind).cancel()

    def _all_told(self, kind: tuple[str, str], objects: Sequence[Object]) -> None:
        found = {key_of(obj): _essence(obj) for obj in objects}
        for care in self._cares.values():
            mine = {key: was for key, was in care.made.items() if (key.api_version, key.kind) == kind}
            if any(found.get(key) != was for key, was in mine.items()):
                care.woken.set()

    def _one_told(self, obj: Object) -> None:
        key = key_of(obj)
        for care in self._cares.values():
            if key in care.made and care.made[key] != _essence(obj):
                care.woken.set()

    def _one_told_gone(self, obj: Object) -> None:
        key = key_of(obj)
        for care in self._cares.values():
            if key in care.keys:
                care.woken.set()

    def _wake_all(self) -> None:
        for care in self._cares.values():
            if care.states is not None and any(one.state is State.FAILED for one in care.states):
                care.woken.set()


def _marked(obj: Object, name: str, owner: str) -> Object:
    metadata = obj["metadata"]
    labels = {**(metadata.get("labels") or {}), marks.DISTRIBUTION: name}
    annotations = {**(metadata.get("annotations") or {}), marks.OWNER: owner}
    return {**obj, "metadata": {**metadata, "labels": labels, "annotations": annotations}}


def _essence(obj: Object) -> bytes:
    """Of everything that somebody may set; what the cluster counts and reports changes on its own."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _NOT_COMPARED}
    body = {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()
