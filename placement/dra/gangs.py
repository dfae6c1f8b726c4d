"""A gang whose pods have claims onto nodes and devices: every pod a node and every claim its devices, or nothing.

How many pods of a kind a node's devices hold is found by allocating them one after the other, and stands as one more
resource of the node, beside the number of its devices in each class; so nodes, racks and everything else are chosen by
`topology` as for any gang, the kind with the fewest places first. Then the devices of each chosen node are allocated
for the very pods that go there. Where pods of several kinds take each other's devices on a node all the same, it is
counted to hold so many less, and the gang is placed again.

Alternatives of a prioritised list are allowed one by one: all pods are tried with the first of each request, then with
the second too, and so on. So no pod gets a lesser device where the gang can have the better everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from placement import topology
from placement.assignment import Assignment, NodeAssignment, PodToPlace, Shortfall
from placement.dra import names, shortage
from placement.dra.allocate import Exhausted, Grants, allocate, devices_in
from placement.dra.devices import DeviceId, NodeDevices
from placement.dra.memory import Memory
from placement.dra.reasons import ClaimUnusable
from placement.dra.requests import ClaimSpec, ClassSpec
from placement.dra.selectors import meets
from placement.dra.stock import Devices, Kind, PodClaims, Stock
from placement.inventory import DEFAULT_LEVELS, Node
from placement.resources import Resources
from placement.survey import Levels
from placement.verdict import Reason, ResourcesShort
from placement.workload import Role, Workload

_ROUNDS = 64  # of placing again what several kinds of pods could not have on one node
_ANY_NUMBER = 1 << 20


@dataclass(frozen=True, slots=True)
class Granted:
    """`devices` by pod: grants for each of its claims, in order."""

    assignment: Assignment
    devices: Mapping[str, tuple[Grants, ...]]


def assign(
    nodes: Sequence[Node],
    pods: Sequence[PodToPlace],
    workload: Workload,
    claims: Mapping[str, PodClaims],
    devices: Devices,
    levels: Levels = DEFAULT_LEVELS,
    *,
    placed: Sequence[NodeAssignment] = (),
    cluster: str = "the cluster",
    memory: Memory | None = None,
) -> Granted | Shortfall:
    """`claims` by pod; one that is not in there has none.

    Who assigns again and again on thousands of nodes keeps a `memory` (for the same levels) and passes it each time.
    """
    kinds = _kinds(workload, pods, claims)
    if wrong := next(shortage.mistakes(cluster, kinds, devices.classes), None):
        return Shortfall(wrong)
    memory = Memory(levels) if memory is None else memory
    ground = _Ground(nodes, pods, workload, kinds, claims, devices, levels, placed, cluster, memory)
    widest = max((spec.widest for kind in kinds for spec in kind.asked), default=0)
    for allowed in range(widest + 1):
        found = ground.placed_with(allowed)
        if found is not None:
            return found
    return Shortfall(ground.why_not(widest))


def serve(
    stock: Stock,
    claims: Sequence[tuple[ClaimSpec, ...]],
    classes: Mapping[str, ClassSpec],
    *,
    widest: int = _ANY_NUMBER,
) -> list[tuple[Grants, ...]] | None:
    """Devices of one node for pods that all go there; None where it does not have them."""
    taken, given = set(stock.taken), []
    for asked in claims:
        found = _tried(stock.offered, taken, asked, classes, widest)
        if found is None:
            return _together(stock, claims, classes, widest)
        taken.update(devices_in(found))
        given.append(found)
    return given


# ---- kinds of pods ----


def _kinds(workload: Workload, pods: Sequence[PodToPlace], claims: Mapping[str, PodClaims]) -> tuple[Kind, ...]:
    """Pods of a role that are still to come are taken to be like most of those at hand."""
    found: list[Kind] = []
    for role in workload.roles:
        counts = Counter(claims.get(pod.name, _NONE) for pod in pods if pod.role == role.name)
        alike = [each for each, _ in counts.most_common()] or [_NONE]
        others = sum(counts[each] for each in alike[1:])
        for number, each in enumerate(alike):
            replicas = max(role.replicas - others, counts[each]) if number == 0 else counts[each]
            name = role.name if number == 0 else f"{role.name}~{number}"
            found.append(Kind(_role(role, name, replicas), role.name, each, max(counts[each], 1)))
    return tuple(found)


def _role(role: Role, name: str, replicas: int) -> Role:
    """What is had by claim is counted by the claims themselves."""
    requests = names.without_claimed(role.requests)
    devices = tuple(need for need in role.devices if not names.is_counted_by_claim(need.resource))
    return replace(role, name=name, replicas=replicas, requests=requests, devices=devices)


def _resource(kind: str) -> str:
    """Counts the pods of a kind that a node's devices hold."""
    return f"{_CLAIMS}{kind}"


# ---- where they go ----


class _Ground:
    def __init__(
        self,
        nodes: Sequence[Node],
        pods: Sequence[PodToPlace],
        workload: Workload,
        kinds: Sequence[Kind],
        claims: Mapping[str, PodClaims],
        devices: Devices,
        levels: Levels,
        placed: Sequence[NodeAssignment],
        cluster: str,
        memory: Memory,
    ) -> None:
        by_claims = {(kind.of, kind.claims): kind for kind in kinds}
        self._kind_of = {pod.name: by_claims[pod.role, claims.get(pod.name, _NONE)] for pod in pods}
        self._pods = [replace(pod, role=self._kind_of[pod.name].role.name) for pod in pods]
        self._kinds = [kind for kind in kinds if kind.claims != _NONE]
        self._nodes = nodes
        self._devices = devices
        self._classes = sorted({name for kind in self._kinds for name in _classes_of(kind)})
        self._counted: dict[tuple[int, bool], _Counts] = {}
        self._weights = self._weighted(max((spec.widest for kind in kinds for spec in kind.asked), default=0))
        self._workload = replace(workload, roles=tuple(self._with_needs(kind) for kind in kinds))
        self._seen = memory.of([*self._classes, *(_resource(kind.role.name) for kind in self._kinds)])
        self._seen.keep(len(nodes))
        self._levels = levels
        self._placed = placed
        self._cluster = cluster

    def placed_with(self, allowed: int) -> Granted | None:
        """`allowed`: the last alternative of a request that may be used."""
        counts = self._counts(allowed)
        if any(self._places(kind, counts) < kind.at_hand for kind in self._kinds):
            return None  # most gangs that do not fit: nobody need look for places
        for _ in range(_ROUNDS):
            found = self._assigned(counts, counts)
            if isinstance(found, Shortfall):
                return None
            devices, short = self._granted(found, allowed)
            if not short:
                original = [replace(pod, role=self._kind_of[pod.pod].of) for pod in found.pods]
                return Granted(Assignment(tuple(original)), devices)
            counts = {**counts, **short}
        return None

    def why_not(self, allowed: int) -> Reason:
        free, all_free = self._counts(allowed), self._counts(allowed, empty=True)
        for kind in self._kinds:
            fit, ever = self._places(kind, free), self._places(kind, all_free)
            if kind.asked and fit < kind.at_hand:
                return shortage.devices_short(self._cluster, kind, self._nodes, self._devices, fit, ever)
        found = self._assigned(free, all_free)
        if isinstance(found, Shortfall):
            return self._in_words(found.reason, free, all_free)
        # Several kinds took each other's devices.
        kind = next(kind for kind in self._kinds if any(spec.requests for spec in kind.asked))
        return shortage.devices_short(self._cluster, kind, self._nodes, self._devices, 0, kind.at_hand)

    def _places(self, kind: Kind, counts: _Counts) -> int:
        """How many of its pods find devices, wherever that is."""
        return sum(counts[node.name, kind.role.name] for node in self._nodes if node.ready)

    def _in_words(self, reason: Reason, free: _Counts, all_free: _Counts) -> Reason:
        """A reason that names what only this module counts is told in devices."""
        if not isinstance(reason, ResourcesShort) or not reason.resource.startswith((_CLAIMS, _DEVICES)):
            return reason
        kinds = {_resource(kind.role.name): kind for kind in self._kinds}
        kind = kinds.get(reason.resource) or next(k for k in self._kinds if reason.resource in _classes_of(k))
        if not any(spec.requests for spec in kind.asked):
            nodes = ", ".join(sorted(kind.claims.nodes or ())) or "no node"
            return ClaimUnusable(kind.of, f"its allocated claims can be used from {nodes} only, and there is no room")
        ever = kind.at_hand if reason.ever else 0
        return shortage.devices_short(self._cluster, kind, self._nodes, self._devices, reason.pods_fit, ever)

    def _assigned(self, free: _Counts, capacity: _Counts) -> Assignment | Shortfall:
        nodes = [self._with_counts(node, free, capacity) for node in self._nodes]
        return topology.assign(
            nodes,
            self._pods,
            self._workload,
            self._levels,
            placed=self._placed,
            cluster=self._cluster,
            surveyor=self._seen.surveyor,
        )

    def _weighted(self, widest: int) -> dict[str, int]:
        """By kind. What asks for the larger amount is packed first: that is to be the kind with the fewest places."""
        places = dict.fromkeys((kind.role.name for kind in self._kinds), 0)
        for (_, kind), held in self._counts(widest).items():
            places[kind] += held
        fewest_last = sorted(places, key=lambda kind: (-places[kind], kind))
        return {kind: _HEAVY + number for number, kind in enumerate(fewest_last)}

    def _with_needs(self, kind: Kind) -> Role:
        if kind.claims == _NONE:
            return kind.role
        name = kind.role.name
        needs = Resources({_resource(name): self._weights[name], **_classes_of(kind)})
        return replace(kind.role, requests=kind.role.requests + needs)

    def _with_counts(self, node: Node, free: _Counts, capacity: _Counts) -> Node:
        stock = self._devices.stocks.get(node.name, _EMPTY)
        now, ever = {}, {}
        for name in self._classes:
            now[name], ever[name] = self._of_class(stock, name)
        for kind in self._kinds:
            weight = self._weights[kind.role.name]
            now[_resource(kind.role.name)] = weight * free[node.name, kind.role.name]
            ever[_resource(kind.role.name)] = weight * capacity[node.name, kind.role.name]
        return self._seen.node(node, Resources(now), Resources(ever))

    def _of_class(self, stock: Stock, name: str) -> tuple[int, int]:
        """(free, all)"""
        if (name, True) not in stock.held:
            found = self._devices.classes.get(name.removeprefix(_DEVICES))
            inside = [d.id for d in stock.offered.devices if found is not None and meets(d, found.selectors)]
            stock.held[name, False] = sum(each not in stock.taken for each in inside)
            stock.held[name, True] = len(inside)
        return stock.held[name, False], stock.held[name, True]

    def _counts(self, allowed: int, *, empty: bool = False) -> _Counts:
        """By (node, kind), the pods that its devices hold, if no other kind is there."""
        known = self._counted.get((allowed, empty))
        if known is None:
            known = self._counted[allowed, empty] = {
                (node.name, kind.role.name): self._held(node.name, kind, allowed, empty)
                for kind in self._kinds
                for node in self._nodes
            }
        return known

    def _held(self, node: str, kind: Kind, allowed: int, empty: bool) -> int:
        if kind.claims.nodes is not None and node not in kind.claims.nodes:
            return 0
        if not kind.asked:
            return kind.role.replicas
        stock = self._devices.stocks.get(node)
        if stock is None:
            return 0
        asked = (kind.asked, allowed, empty)
        if asked not in stock.held:
            if len(stock.held) >= _KINDS_KEPT:
                stock.held.clear()
            stock.held[asked] = self._holds(stock, kind, allowed, empty)
        return stock.held[asked]

    def _holds(self, stock: Stock, kind: Kind, allowed: int, empty: bool) -> int:
        taken: set[DeviceId] = set() if empty else set(stock.taken)
        for held in range(len(stock.offered.devices)):
            found = _tried(stock.offered, taken, kind.asked, self._devices.classes, allowed)
            if found is None:
                return held
            given = list(devices_in(found))
            if not given:
                return _ANY_NUMBER  # its claims ask for nothing
            taken.update(given)
        return len(stock.offered.devices)

    def _granted(self, assignment: Assignment, allowed: int) -> tuple[dict[str, tuple[Grants, ...]], _Counts]:
        """Devices by pod; and where a node does not have them for all, what it holds instead."""
        by_node: dict[str, list[NodeAssignment]] = {}
        for pod in assignment.pods:
            if self._kind_of[pod.pod].asked:
                by_node.setdefault(pod.node, []).append(pod)
        devices: dict[str, tuple[Grants, ...]] = {}
        short: _Counts = {}
        for node, pods in by_node.items():
            stock = self._devices.stocks[node]
            given = serve(stock, [self._kind_of[p.pod].asked for p in pods], self._devices.classes, widest=allowed)
            if given is None:
                # The kind that came last on this node has one pod less there.
                counts = Counter(pod.role for pod in pods)
                last = pods[-1].role
                short[node, last] = counts[last] - 1
            else:
                devices |= {pod.pod: grants for pod, grants in zip(pods, given, strict=True)}
        return devices, short


def _classes_of(kind: Kind) -> dict[str, int]:
    """How many devices of a class one pod takes at the least, as far as it takes them whatever alternative it gets."""
    found: dict[str, int] = {}
    for request in (request for spec in kind.asked for request in spec.requests):
        classes = {alternative.device_class for alternative in request.alternatives}
        if len(classes) == 1:
            name = _DEVICES + classes.pop()
            found[name] = found.get(name, 0) + min(alternative.count for alternative in request.alternatives)
    return found


_NONE = PodClaims()
_CLAIMS, _DEVICES = "claims/", "devices/"
_HEAVY = 1000
_KINDS_KEPT = 256  # by node
_EMPTY = Stock(NodeDevices())
_Counts = dict[tuple[str, str], int]  # (node, kind) -> pods


def _tried(
    offered: NodeDevices,
    taken: Set[DeviceId],
    asked: Sequence[ClaimSpec],
    classes: Mapping[str, ClassSpec],
    allowed: int,
) -> tuple[Grants, ...] | None:
    try:
        return allocate(offered, taken, asked, classes, widest=allowed)
    except Exhausted:
        return None


def _together(
    stock: Stock, claims: Sequence[tuple[ClaimSpec, ...]], classes: Mapping[str, ClassSpec], allowed: int
) -> list[tuple[Grants, ...]] | None:
    """One after the other they took each other's devices: one search for all of them."""
    found = _tried(stock.offered, stock.taken, [spec for asked in claims for spec in asked], classes, allowed)
    if found is None:
        return None
    grants = iter(found)
    return [tuple(next(grants) for _ in asked) for asked in claims]
