"""What the cluster has and what is taken of it, kept up to date change by change.

A node's free capacity is what it can allocate minus the requests of every pod on it that is not over, whoever put it
there. Three more things take capacity before a pod's own watch event tells: pods whose binding is under way (`assume`),
and places held for the pods of a job that was accepted and whose pods do not exist yet (`hold`). Holds are seen when
placing and left out of the summary: the hub deducts them by itself.

A change touches the nodes it names and no others; `version` grows with every change, `room` with every change after
which something may fit that did not fit before.

Devices that are had by claim (DRA) are the `device_book`'s to know; their stock of each node is put here, so that a
node's free capacity counts them, and places that are held for pods to come hold their very devices.

Cards that `gpus` has marked unfit are given to nobody; what else that takes from a node is `gpus.effect`'s to say.

GPU indices come from the annotation that our own bindings leave on a pod. A pod without it takes the highest indices
that are free: which ones it really has only its kubelet knows, and the number of them is right in any case.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from placement import alignment
from placement.dra.counts import Counted
from placement.dra.devices import DeviceId
from placement.dra.names import without_claimed
from placement.dra.stock import Stock
from placement.inventory import Gpu, Nic, Node
from placement.resources import Resources
from placement.singles import Singles
from spoke import nodes
from spoke.cluster.port import Object
from spoke.gpus import effect
from spoke.nodes import Levels, NodeFacts
from spoke.pods import PodFacts
from wire.orders import JobRef


@dataclass(frozen=True, slots=True)
class Usage:
    """What one pod takes of its node. `gpus` are the indices it is known to have, `devices` what is held by claim."""

    requests: Resources
    gpus: tuple[int, ...] = ()
    nics: tuple[tuple[str, int], ...] = ()  # (resource, index) of the RDMA NICs near them
    devices: frozenset[DeviceId] = frozenset()  # in held places only: an allocated claim tells its devices itself


@dataclass(frozen=True, slots=True)
class Slot:
    """A place held for one pod of a role."""

    role: str
    node: str
    usage: Usage


@dataclass(slots=True)
class _Host:
    """One node name; it may be known by its pods before it is known itself."""

    told: NodeFacts | None = None  # as the node says
    facts: NodeFacts | None = None  # with what marked cards take from that
    marked: frozenset[int] = frozenset()  # cards that are unfit
    all_marked: bool = False
    lost: bool = False  # nothing is to be placed there, whatever its conditions say yet
    pods: dict[str, Usage] = field(default_factory=dict)  # by uid
    holds: dict[tuple[JobRef, int], Usage] = field(default_factory=dict)
    stock: Stock | None = None  # of devices that are had by claim
    counted: Counted = Counted()  # what of them is there and free, by class
    stock_left: Stock | None = None  # with what is held for pods to come taken; None where it must be worked out anew
    taken: dict[str, int] = field(default_factory=dict)  # by all pods together
    shares: list[int] | None = None  # units left on each shared card; None where that must be worked out anew
    cards: list[Gpu] = field(default_factory=list)  # as `shares` has them
    actual: Node | None = None  # without holds; None where it must be worked out anew
    held: Node | None = None

    def put(self, uid: str, usage: Usage) -> None:
        self.remove(uid)
        self.pods[uid] = usage
        for name, amount in usage.requests.items():
            self.taken[name] = self.taken.get(name, 0) + amount
        self._share(usage, -1)

    def remove(self, uid: str) -> None:
        usage = self.pods.pop(uid, None)
        if usage is not None:
            for name, amount in usage.requests.items():
                self.taken[name] -= amount
            self._share(usage, 1)

    def describe(self, facts: NodeFacts | None) -> None:
        self.told, self.shares = facts, None
        self.facts = effect.on(facts, self.marked, every=self.all_marked) if facts is not None else None

    def gpus(self, facts: NodeFacts) -> tuple[Gpu, ...]:
        """Shared cards are kept pod by pod, for as long as it is known of each pod which of them it has."""
        if self.shares is not None:
            return tuple(self.cards)
        usages = self.pods.values()
        found = _gpus(facts, usages)
        if facts.card_share and all(_cards_known(facts, usage) for usage in usages if _uses_cards(facts, usage)):
            self.shares, self.cards = _free_shares(facts, usages), list(found)
        return found

    def _share(self, usage: Usage, times: int) -> None:
        """What is left of its cards changes by what such a pod takes."""
        facts = self.facts
        if self.shares is None or facts is None or not _uses_cards(facts, usage):
            return
        if not _cards_known(facts, usage):
            self.shares = None
            return
        for index in usage.gpus:
            self.shares[index] += times * _units(facts, usage, index)
            self.cards[index] = _shared_card(facts, index, self.shares[index])

    def left(self) -> Stock:
        """Equal from one change to the next: it keeps what was worked out for it."""
        if self.stock_left is None:
            self.stock_left = self.stock_without(()) if self.holds else self.stock
        assert self.stock_left is not None  # noqa: S101  asked of hosts with a stock only
        return self.stock_left

    def stock_without(self, redeeming: Collection[tuple[JobRef, int]]) -> Stock:
        assert self.stock is not None  # noqa: S101  as above
        held = [usage.devices for mark, usage in self.holds.items() if usage.devices and mark not in redeeming]
        return Stock(self.stock.offered, self.stock.taken.union(*held)) if held else self.stock

    def touch(self) -> None:
        self.actual = self.held = None
        self.stock_left = None


class Inventory:
    def __init__(self, levels: Levels) -> None:
        self.levels = tuple(levels)
        self.version = 0
        self.room = 0
        self._hosts: dict[str, _Host] = {}
        self._place: dict[str, str] = {}  # pod uid -> node
        self._assumed: set[str] = set()
        self._slots: dict[JobRef, dict[int, Slot]] = {}
        self.singles = Singles(self.node)  # holds deducted

    # ---- nodes ----

    def put_node(self, obj: Object) -> None:
        facts = nodes.read(obj, self.levels)
        host = self._host(facts.name)
        if host.told != facts:
            host.describe(facts)
            self._changed(facts.name, more_room=True)

    def drop_node(self, name: str) -> None:
        host = self._hosts.get(name)
        if host is not None and host.facts is not None:
            host.describe(None)
            self._changed(name)
            self._tidy(name, host)

    def keep_nodes(self, names: Collection[str]) -> None:
        """Drops all others."""
        for name in [n for n, host in self._hosts.items() if host.facts is not None and n not in names]:
            self.drop_node(name)

    def mark_lost(self, names: Collection[str]) -> None:
        """These nodes and no others are lost, until said otherwise."""
        for name, host in self._hosts.items():
            if host.lost != (name in names):
                host.lost = name in names
                self._changed(name, more_room=not host.lost)

    def mark_gpus(self, name: str, cards: frozenset[int], *, every: bool) -> None:
        """These cards of the node, or every one, and no others are unfit, until said otherwise."""
        host = self._hosts.get(name)
        if host is not None and (host.marked, host.all_marked) != (cards, every):
            host.marked, host.all_marked = cards, every
            host.describe(host.told)
            self._changed(name, more_room=True)

    def told(self, name: str) -> NodeFacts | None:
        """What the node says of itself, whatever is marked."""
        host = self._hosts.get(name)
        return host.told if host is not None else None

    def gpu_nodes(self) -> int:
        return sum(1 for host in self._hosts.values() if host.told is not None and (host.told.devices or host.stock))

    def cards_short(self, name: str) -> bool:
        """Whether its pods have more whole cards than the node says it has left."""
        host = self._hosts.get(name)
        if host is None or host.told is None or not host.told.card_resource:
            return False
        return host.taken.get(host.told.card_resource, 0) > host.told.capacity[host.told.card_resource]

    def is_avoided(self, name: str) -> bool:
        """Whether nobody is given a card there, because only some are unfit and the device plugin chooses."""
        host = self._hosts.get(name)
        return host is not None and host.told is not None and effect.is_avoided(host.told, host.marked)

    def cards_unusable(self, name: str, missing: int) -> int:
        """How many of its cards nobody is given because they are unfit, or missing."""
        host = self._hosts.get(name)
        if host is None or host.told is None:
            return 0
        return effect.unusable(host.told, host.marked, missing, every=host.all_marked)

    def __len__(self) -> int:
        return len(self._hosts)

    def has_node(self, name: str) -> bool:
        host = self._hosts.get(name)
        return host is not None and host.facts is not None

    def conditions(self) -> Mapping[str, str]:
        """Every node there is, with the status of its Ready condition."""
        return {name: host.facts.condition for name, host in self._hosts.items() if host.facts is not None}

    def node(self, name: str) -> Node | None:
        """With holds deducted."""
        host = self._hosts.get(name)
        return _held(host) if host is not None else None

    def nodes(self) -> Sequence[Node]:
        """Every node, holds deducted: what may be given to the next gang."""
        return [node for host in self._hosts.values() if (node := _held(host)) is not None]

    def actual_nodes(self) -> Sequence[Node]:
        """Every node, holds not deducted: what the hub is told."""
        return [node for host in self._hosts.values() if (node := _actual(host)) is not None]

    # ---- pods ----

    def put_pod(self, pod: PodFacts) -> None:
        if not pod.node:
            return  # nothing taken yet; where a binding is under way, what is assumed stays
        if pod.over:
            self.drop_pod(pod.uid)
            return
        self._assumed.discard(pod.uid)
        self._take(pod.uid, pod.node, Usage(pod.requests, pod.gpus, pod.nics))

    def drop_pod(self, uid: str) -> None:
        self._assumed.discard(uid)
        name = self._place.pop(uid, None)
        if name is not None:
            host = self._hosts[name]
            host.remove(uid)
            self._changed(name, more_room=True)
            self._tidy(name, host)

    def assume(self, uid: str, node: str, usage: Usage) -> None:
        """The pod is being bound there. Its NICs are chosen now, beside its cards."""
        there = self._hosts.get(node)
        if there is not None and there.facts is not None and there.facts.nics and not usage.nics:
            known = _actual(there)
            if known is not None:
                usage = replace(usage, nics=alignment.nics(known, usage.gpus, usage.requests))
        self._assumed.add(uid)
        self._take(uid, node, usage)

    def is_assumed(self, uid: str) -> bool:
        return uid in self._assumed

    def unassume(self, uid: str) -> None:
        """The binding failed. Nothing happens where the pod's own event has told by now that it is bound."""
        if uid in self._assumed:
            self.drop_pod(uid)

    def usage_of(self, uid: str) -> tuple[str, Usage] | None:
        """(node, usage) of a bound or assumed pod."""
        name = self._place.get(uid)
        return (name, self._hosts[name].pods[uid]) if name is not None else None

    # ---- devices that are had by claim ----

    def put_stock(self, node: str, stock: Stock, counted: Counted) -> None:
        host = self._host(node)
        before = host.stock
        more_room = (
            before is None
            or before.offered is not stock.offered
            or not before.taken <= stock.taken
            or counted.capacity != host.counted.capacity
        )
        host.stock = stock if stock.offered.devices else None
        host.counted = counted
        self._changed(node, more_room=more_room)
        self._tidy(node, host)

    def stocks(self, redeeming: Collection[tuple[JobRef, int]] = ()) -> Mapping[str, Stock]:
        """By node; what is held for pods to come counts as taken, but for the places that are being redeemed."""
        found = {}
        for name, host in self._hosts.items():
            if host.stock is not None and not host.all_marked:
                found[name] = host.stock_without(redeeming) if redeeming and host.holds else host.left()
        return found

    def wake_waiting(self) -> None:
        """Something came that is no room of a node and may still let a job go on."""
        self.version += 1
        self.room += 1

    # ---- places held for pods to come ----

    def hold(self, ref: JobRef, slots: Iterable[Slot], *, beside: bool = False) -> None:
        """`beside` the places that are held already; otherwise instead of them."""
        if not beside:
            self.release(ref)
        known = self._slots.get(ref, {})
        held = dict(enumerate(slots, max(known, default=-1) + 1))
        if held:
            self._slots[ref] = {**known, **held}
        for index, slot in held.items():
            host = self._host(slot.node)
            host.holds[ref, index] = slot.usage
            self._changed(slot.node)

    def release(self, ref: JobRef, indices: Iterable[int] | None = None) -> None:
        """All of the job's held places, or some of them."""
        held = self._slots.get(ref, {})
        for index in list(held if indices is None else indices):
            slot = held.pop(index)
            host = self._hosts[slot.node]
            del host.holds[ref, index]
            self._changed(slot.node, more_room=True)
            self._tidy(slot.node, host)
        if not held:
            self._slots.pop(ref, None)

    def redeem(self, ref: JobRef, index: int, uid: str) -> Slot:
        """The pod takes a place that was held for it; no room is freed by that."""
        slot = self._slots[ref].pop(index)
        if not self._slots[ref]:
            del self._slots[ref]
        del self._hosts[slot.node].holds[ref, index]
        self._changed(slot.node)
        # What is had by claim is the claims' to tell from now on.
        self.assume(uid, slot.node, Usage(without_claimed(slot.usage.requests), slot.usage.gpus))
        return slot

    def slots(self, ref: JobRef) -> Mapping[int, Slot]:
        return self._slots.get(ref, {})

    def is_sound(self, ref: JobRef) -> bool:
        """Whether what is held for the job can still be given: nobody else took it, and the nodes are well."""
        return all(self._slot_is_sound(slot) for slot in self.slots(ref).values())

    def _slot_is_sound(self, slot: Slot) -> bool:
        host, node = self._hosts[slot.node], self.node(slot.node)
        if node is None or not node.ready or any(amount < 0 for amount in node.free.values()):
            return False
        if slot.usage.devices and not (host.stock is not None and host.stock.offers_free(slot.usage.devices)):
            return False
        return all(
            index < len(node.gpus) and node.gpus[index].healthy and _card_suffices(host, index)
            for index in slot.usage.gpus
        )

    # ---- inside ----

    def _host(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host()
        return host

    def _take(self, uid: str, node: str, usage: Usage) -> None:
        before = self._place.get(uid)
        if before == node and self._hosts[node].pods[uid] == usage:
            return
        if before is not None and before != node:
            self._hosts[before].remove(uid)
            self._changed(before, more_room=True)
        host = self._host(node)
        host.put(uid, usage)
        self._place[uid] = node
        self._changed(node)

    def _changed(self, name: str, *, more_room: bool = False) -> None:
        self._hosts[name].touch()
        self.singles.changed(name)
        self.version += 1
        self.room += more_room

    def _tidy(self, name: str, host: _Host) -> None:
        if host.facts is None and not host.pods and not host.holds and host.stock is None:
            self._hosts.pop(name, None)


def _card_suffices(host: _Host, index: int) -> bool:
    """Whether those who are known to have the card, or to be about to, may all have it."""
    having = [usage for usage in (*host.pods.values(), *host.holds.values()) if index in usage.gpus]
    if host.facts is None or not host.facts.card_share:
        return len(having) <= 1
    facts = host.facts
    return sum(_units(facts, usage, index) for usage in having) <= facts.card_share


def _actual(host: _Host) -> Node | None:
    if host.actual is None and (facts := host.facts) is not None:
        host.actual = _node(host, facts, host.pods.values(), host.taken, host.gpus(facts))
    return host.actual


def _held(host: _Host) -> Node | None:
    if not host.holds:
        return _actual(host)
    if host.held is None and (facts := host.facts) is not None:
        usages = [*host.pods.values(), *host.holds.values()]
        taken = _total(host.taken, host.holds.values())
        host.held = _node(host, facts, usages, taken, _gpus(facts, usages))
    return host.held


def _node(
    host: _Host, facts: NodeFacts, usages: Iterable[Usage], taken: Mapping[str, int], gpus: tuple[Gpu, ...]
) -> Node:
    """`taken` is what the usages ask for in sum, `gpus` are the cards as they leave them."""
    capacity, free, devices = facts.capacity, facts.capacity.less(taken), facts.devices
    if host.counted.capacity and not host.all_marked:
        capacity, free = capacity + host.counted.capacity, free + host.counted.free
        devices += host.counted.devices
    return Node(
        name=facts.name,
        labels=facts.labels,
        taints=facts.taints,
        capacity=capacity,
        free=free,
        devices=devices,
        gpus=gpus,
        ready=facts.ready and not host.lost,
        domains=facts.domains,
        nics=_nics(facts, usages) if facts.nics else (),
    )


def _nics(facts: NodeFacts, usages: Iterable[Usage]) -> tuple[Nic, ...]:
    """Where a resource counts more than the NICs that are told, pods share them, and none is ever taken."""
    taken = {nic for usage in usages for nic in usage.nics}
    return tuple(
        Nic(resource, index, numa, free=facts.capacity[resource] != len(numas) or (resource, index) not in taken)
        for resource, numas in facts.nics
        for index, numa in enumerate(numas)
    )


def _total(taken: Mapping[str, int], usages: Iterable[Usage]) -> Mapping[str, int]:
    total = dict(taken)
    for usage in usages:
        for name, amount in usage.requests.items():
            total[name] = total.get(name, 0) + amount
    return total


def _gpus(facts: NodeFacts, usages: Collection[Usage]) -> tuple[Gpu, ...]:
    if facts.card_share:
        return tuple([_shared_card(facts, index, left) for index, left in enumerate(_free_shares(facts, usages))])
    taken, unhealthy = _taken(facts, usages), facts.unhealthy
    links, numa = facts.links or ((),) * facts.cards, facts.numa or (-1,) * facts.cards
    return tuple([_gpu(i, i not in unhealthy, i not in taken, 0, links[i], numa[i]) for i in range(facts.cards)])


def _shared_card(facts: NodeFacts, index: int, left: int) -> Gpu:
    links = facts.links[index] if facts.links else ()
    numa = facts.numa[index] if facts.numa else -1
    return _gpu(index, index not in facts.unhealthy, left == facts.card_share, max(left, 0), links, numa)


@lru_cache(maxsize=65_536)
def _gpu(index: int, healthy: bool, free: bool, free_share: int, links: tuple[int, ...], numa: int) -> Gpu:
    """Equal cards are one object: nodes are made anew with every pod that comes or goes."""
    return Gpu(index, healthy=healthy, free=free, free_share=free_share, numa=numa, links=links)


def _taken(facts: NodeFacts, usages: Iterable[Usage]) -> set[int]:
    known = {index for usage in usages for index in usage.gpus}
    unknown = sum(usage.requests[facts.card_resource] for usage in usages if not usage.gpus)
    if unknown:
        # Healthy ones: a kubelet gives out no card that its plugin calls unhealthy.
        left = [i for i in range(facts.cards) if i not in known and i not in facts.unhealthy]
        known.update(left[-unknown:])
    return known


def _free_shares(facts: NodeFacts, usages: Iterable[Usage]) -> list[int]:
    """Units left on each card; a card that is given whole has none."""
    left = [facts.card_share] * facts.cards
    lost = []
    for usage in usages:
        if not _uses_cards(facts, usage):
            continue
        if _cards_known(facts, usage):
            for index in usage.gpus:
                left[index] -= _units(facts, usage, index)
        else:
            whole, share = usage.requests[facts.card_resource], usage.requests[facts.share_resource]
            lost += [facts.card_share] * whole
            lost += [share] if share else []
    for amount in sorted(lost, reverse=True):
        # On whichever card it is: taken from the emptiest, the largest share promised is surely there.
        emptiest = max(range(facts.cards), key=left.__getitem__)
        left[emptiest] -= amount
    return left


def _uses_cards(facts: NodeFacts, usage: Usage) -> bool:
    return bool(usage.requests[facts.card_resource] or usage.requests[facts.share_resource])


def _cards_known(facts: NodeFacts, usage: Usage) -> bool:
    return bool(usage.gpus) and max(usage.gpus) < facts.cards


def _units(facts: NodeFacts, usage: Usage, index: int) -> int:
    """What a pod that has the card takes of it: its own cards are told first, the one it shares last."""
    share = usage.requests[facts.share_resource]
    if share and index == usage.gpus[-1]:
        return share
    return facts.card_share if usage.requests[facts.card_resource] else 0
