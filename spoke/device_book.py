"""Which devices drivers offer on which node, and which claims have them: kept up to date from the watches.

What is taken is read from the claims themselves, whoever allocated them, so that a restart forgets nothing. A claim
whose allocation is decided and not seen yet holds its devices all the same (`assume`), until an event of the claim
comes that is newer than what was written, or the writing failed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from placement.dra import devices, slices
from placement.dra.cel_syntax import CelError
from placement.dra.counts import Counted, counted
from placement.dra.devices import Device, DeviceId, NodeDevices
from placement.dra.requests import ClassSpec, read_class
from placement.dra.slices import PoolKey, Slice
from placement.dra.stock import Stock
from spoke import claim_facts
from spoke.claim_facts import API_VERSION, ClaimFacts
from spoke.cluster.port import Object, Selection
from spoke.watch import Sink, take_each

log = logging.getLogger(__name__)

_KINDS = ("DeviceClass", "ResourceSlice", claim_facts.KIND)


@dataclass(frozen=True, slots=True)
class Assumed:
    node: str
    devices: frozenset[DeviceId]
    version: int = 0  # of the claim as it was written; 0 until it is


class DeviceBook:
    """`put` is told each node whose stock changed, `told` is called once all of one event is in."""

    def __init__(self) -> None:
        self.classes: dict[str, ClassSpec] = {}
        self.class_config: dict[str, Sequence[Mapping[str, Any]]] = {}
        self.put: Callable[[str, Stock, Counted], None] = lambda node, stock, found: None
        self.told: Callable[[], None] = lambda: None
        self.awaited_came: Callable[[], None] = lambda: None  # a claim that a pod waits for
        self._slices: dict[str, Slice] = {}
        self._pools: dict[PoolKey, dict[str, Slice]] = {}
        self._offers: dict[str, dict[PoolKey, NodeDevices]] = {}  # by node
        self._problems: dict[PoolKey, tuple[str, ...]] = {}
        self._offered: dict[str, NodeDevices] = {}  # by node
        self._node_of: dict[DeviceId, str] = {}
        self._claims: dict[str, ClaimFacts] = {}  # by uid
        self._by_name: dict[tuple[str, str], str] = {}
        self._assumed: dict[str, Assumed] = {}
        self._holders: Counter[DeviceId] = Counter()
        self._awaited: set[tuple[str, str]] = set()
        self._read: set[str] = set()  # kinds of which everything has been read

    @property
    def is_read(self) -> bool:
        """Whether devices can be given: not before it is known who has which."""
        return len(self._read) == len(_KINDS)

    @staticmethod
    def is_served(kinds: Iterable[str]) -> bool:
        return {f"{API_VERSION}/{kind}" for kind in _KINDS} <= frozenset(kinds)

    def sinks(self) -> list[tuple[Selection, Sink]]:
        return [
            (Selection(API_VERSION, "DeviceClass"), Sink(self._reset_classes, self._put_class, self._drop_class)),
            (Selection(API_VERSION, "ResourceSlice"), Sink(self._reset_slices, self._put_slice, self._drop_slice)),
            (Selection(API_VERSION, claim_facts.KIND), Sink(self._reset_claims, self.put_claim, self._drop_claim)),
        ]

    # ---- for who decides ----

    def claim(self, namespace: str, name: str) -> ClaimFacts | None:
        uid = self._by_name.get((namespace, name))
        if uid is None:
            self._awaited.add((namespace, name))
            return None
        return self._claims[uid]

    def claim_seen(self, namespace: str, name: str) -> ClaimFacts | None:
        """As `claim`, for who only looks: nobody is told when it comes."""
        return self._claims.get(self._by_name.get((namespace, name), ""))

    def device(self, id_: DeviceId) -> Device | None:
        """As it is offered now."""
        offered = self._offered.get(self._node_of.get(id_, ""), NodeDevices())
        return next((device for device in offered.devices if device.id == id_), None)

    def offers_others(self, driver: str, pool: str, node: str) -> bool:
        return any((d.driver, d.pool) == (driver, pool) for d in self._offered.get(node, NodeDevices()).devices)

    def assumed(self, uid: str) -> Assumed | None:
        return self._assumed.get(uid)

    def problems(self) -> Sequence[str]:
        """Why drivers' pools offer less than they have."""
        return [problem for found in self._problems.values() for problem in found]

    def assume(self, uid: str, node: str, taken: Iterable[DeviceId]) -> None:
        """The claim is being allocated; what it held before is given back."""
        with_change = self._holding(uid)
        self._assumed[uid] = Assumed(node, frozenset(taken))
        self._changed_hands(uid, with_change)

    def unassume(self, uid: str) -> None:
        """It was not written, or undone: what counts is what the watch has told."""
        before = self._holding(uid)
        if self._assumed.pop(uid, None) is not None:
            self._changed_hands(uid, before)
            self.told()

    def written(self, obj: Object) -> None:
        """As the API server answered when all of it was written."""
        facts = claim_facts.read(obj)
        assumed = self._assumed.get(facts.uid)
        if assumed is not None:
            self._assumed[facts.uid] = replace(assumed, version=facts.version)
            self.put_claim(obj)

    # ---- claims ----

    def _reset_claims(self, objects: Sequence[Object]) -> None:
        present = {obj["metadata"]["uid"] for obj in objects}
        for facts in [facts for uid, facts in self._claims.items() if uid not in present]:
            self._forget_claim(facts)
        take_each(self._take_claim, objects)
        self._read.add(claim_facts.KIND)
        self.told()

    def put_claim(self, obj: Object) -> None:
        self._take_claim(obj)
        self.told()

    def _take_claim(self, obj: Object) -> None:
        facts = claim_facts.read(obj)
        before, known = self._holding(facts.uid), self._claims.get(facts.uid)
        if known is not None and facts.version and facts.version < known.version:
            return
        earlier = self._claims.get(self._by_name.get(facts.key, ""))
        if earlier is not None and earlier.uid != facts.uid:
            self._forget_claim(earlier)
        self._claims[facts.uid] = facts
        self._by_name[facts.key] = facts.uid
        assumed = self._assumed.get(facts.uid)
        # An event from before the writing must not free what was written.
        if assumed is not None and assumed.version and facts.version >= assumed.version:
            del self._assumed[facts.uid]
        self._changed_hands(facts.uid, before)
        if facts.key in self._awaited:
            self._awaited.discard(facts.key)
            self.awaited_came()

    def _drop_claim(self, obj: Object) -> None:
        facts = self._claims.get(obj["metadata"]["uid"])
        if facts is not None:
            self._forget_claim(facts)
            self.told()

    def _forget_claim(self, facts: ClaimFacts) -> None:
        before = self._holding(facts.uid)
        del self._claims[facts.uid]
        if self._by_name.get(facts.key) == facts.uid:
            del self._by_name[facts.key]
        self._assumed.pop(facts.uid, None)
        self._changed_hands(facts.uid, before)

    def _holding(self, uid: str) -> frozenset[DeviceId]:
        """What was seen, and what is assumed besides: while one is written in the place of the other, both."""
        facts, assumed = self._claims.get(uid), self._assumed.get(uid)
        seen = facts.devices if facts is not None else frozenset()
        return seen | assumed.devices if assumed is not None else seen

    def _changed_hands(self, uid: str, before: frozenset[DeviceId]) -> None:
        now = self._holding(uid)
        if now == before:
            return
        self._holders.update(now - before)
        for device in before - now:
            self._holders[device] -= 1
            if not self._holders[device]:
                del self._holders[device]
        self._renew({self._node_of[device] for device in now ^ before if device in self._node_of})

    # ---- classes ----

    def _reset_classes(self, objects: Sequence[Object]) -> None:
        self.classes.clear()
        self.class_config.clear()
        take_each(self._take_class, objects)
        self._read.add("DeviceClass")
        self._renew(self._offered)
        self.told()

    def _put_class(self, obj: Object) -> None:
        name = obj["metadata"]["name"]
        before = self.classes.get(name)
        try:
            self._take_class(obj)
        finally:  # one that cannot be read is one that is gone
            if self.classes.get(name) != before:
                self._renew(self._offered)
                self.told()

    def _take_class(self, obj: Object) -> None:
        name = obj["metadata"]["name"]
        self.classes.pop(name, None)
        self.classes[name] = read_class(obj)
        self.class_config[name] = (obj.get("spec") or {}).get("config") or ()

    def _drop_class(self, obj: Object) -> None:
        self.classes.pop(obj["metadata"]["name"], None)
        self._renew(self._offered)
        self.told()

    # ---- slices ----

    def _reset_slices(self, objects: Sequence[Object]) -> None:
        pools = set(self._pools)
        self._slices.clear()
        self._pools.clear()
        for obj in objects:
            pools.update(self._take_slice(obj))
        self._read.add("ResourceSlice")
        self._offer_anew(pools)

    def _put_slice(self, obj: Object) -> None:
        self._offer_anew(self._take_slice(obj))

    def _drop_slice(self, obj: Object) -> None:
        self._offer_anew(self._remove_slice(obj["metadata"]["name"]))

    def _take_slice(self, obj: Object) -> set[PoolKey]:
        name = obj["metadata"]["name"]
        pools = self._remove_slice(name)
        try:
            found = slices.read(obj)
        except (KeyError, TypeError, ValueError, AttributeError, CelError) as error:
            log.warning("ResourceSlice %s cannot be read and offers nothing: %r", name, error)
            return pools
        self._slices[name] = found
        self._pools.setdefault(found.key, {})[name] = found
        return pools | {found.key}

    def _remove_slice(self, name: str) -> set[PoolKey]:
        known = self._slices.pop(name, None)
        if known is None:
            return set()
        del self._pools[known.key][name]
        if not self._pools[known.key]:
            del self._pools[known.key]
        return {known.key}

    def _offer_anew(self, pools: Iterable[PoolKey]) -> None:
        nodes: set[str] = set()
        for key in pools:
            nodes.update(node for node, offers in self._offers.items() if offers.pop(key, None) is not None)
            offer = slices.offered(tuple(self._pools.get(key, {}).values()))
            if offer.problems and offer.problems != self._problems.get(key):
                log.warning("devices: %s", "; ".join(offer.problems))
            self._problems.pop(key, None)
            if offer.problems:
                self._problems[key] = offer.problems
            for node, found in offer.nodes.items():
                self._offers.setdefault(node, {})[key] = found
                nodes.add(node)
        for node in nodes:
            self._put_offer(node)
        self._renew(nodes)
        self.told()

    def _put_offer(self, node: str) -> None:
        for device in self._offered.get(node, NodeDevices()).devices:
            self._node_of.pop(device.id, None)
        offers = self._offers.get(node, {})
        keys = sorted(offers, key=lambda key: (key.driver, key.pool))
        self._offered[node] = devices.together(offers[key] for key in keys)
        for device in self._offered[node].devices:
            self._node_of[device.id] = node
        if not offers:
            self._offers.pop(node, None)

    def _renew(self, nodes: Iterable[str]) -> None:
        for node in list(nodes):
            offered = self._offered[node]
            taken = frozenset(device.id for device in offered.devices if device.id in self._holders)
            self.put(node, Stock(offered, taken), counted(offered, taken, self.classes))
