"""What a cluster could take if some of what runs there ended.

A summary names no nodes. But the spokes tell on which nodes a job's pods are, and so which jobs share one: what they
give back comes together on one node, of a class that admits them, that has as much taken as all known jobs there take.
Of a job whose nodes nobody told, pods are given back wherever as much is taken, most on one node first. In which rack
that node is stays unknown; the cluster's next summary says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from placement.bins import Bin, Spec, Unit, canon, is_scarce
from placement.capacity import Capacity, Inventory
from placement.fleet import Fleet, Reservation
from placement.queues.forecast import given_back, without_any
from placement.resources import Resources

_Pods = Counter[Spec]


class Emptying:
    """Of one fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._taken: dict[str, Mapping[str, Resources]] = {}

    def without(self, capacity: Capacity, gone: Iterable[Reservation]) -> Capacity:
        inventory, root = capacity.inventory, capacity.root
        by_node: dict[str, _Pods] = {}
        anywhere: list[Reservation] = []
        for one in gone:
            nodes = self._nodes(one, inventory)
            for node, pods in nodes.items():
                by_node.setdefault(node, Counter()).update(pods)
            if not nodes:
                anywhere.append(one)
        root = without_any(root, anywhere, inventory)
        for node, pods in sorted(by_node.items()):
            root = _freed(root, pods, self._taken_on(inventory).get(node, Resources()), inventory)
        return Capacity(inventory, root)

    def told(self, held: Iterable[Reservation]) -> tuple[object, ...]:
        """What is known of where each of them is: as long as it is the same, and they are, so is `without`."""
        known = (self._fleet.progress.get(one.job) for one in held)
        return tuple(None if one is None else (one.epoch, one.pods) for one in known)

    def neighbours(self, held: Iterable[Reservation], inventory: Inventory) -> Iterable[list[Reservation]]:
        """Those of them that share a node, for each node that is known and has several."""
        on: dict[str, list[Reservation]] = {}
        for one in held:
            for node in self._nodes(one, inventory):
                on.setdefault(node, []).append(one)
        return [sharing for _, sharing in sorted(on.items()) if len(sharing) > 1]

    def _nodes(self, held: Reservation, inventory: Inventory) -> Mapping[str, _Pods]:
        """Its pods by node; nothing where they are not all told, not counted yet, or hold nothing scarce."""
        progress = self._fleet.progress.get(held.job)
        if progress is None or progress.epoch != held.epoch or not progress.pods:
            return {}
        if (held.job, held.epoch) not in inventory.summary.counted:
            return {}
        specs = {role.name: inventory.demands.spec(role) for role in held.workload.at(inventory.cluster).roles}
        if sum(count for *_, count in progress.pods) != held.workload.pods or not all(map(_is_scarce, specs.values())):
            return {}
        found: dict[str, _Pods] = {}
        for node, role, count in progress.pods:
            if role not in specs:
                return {}
            found.setdefault(node, Counter())[specs[role]] += count
        return found

    def _taken_on(self, inventory: Inventory) -> Mapping[str, Resources]:
        """By node, what all jobs whose places are known take of it."""
        known = self._taken.get(inventory.cluster)
        if known is None:
            taken: dict[str, Resources] = {}
            for one in self._fleet.reservations:
                if one.cluster == inventory.cluster:
                    for node, pods in self._nodes(one, inventory).items():
                        taken[node] = taken.get(node, Resources()) + _scarce(pods)
            known = self._taken[inventory.cluster] = taken
        return known


def _is_scarce(spec: Spec) -> bool:
    return not spec.share and any(map(is_scarce, spec.need))


def _scarce(pods: _Pods) -> Resources:
    total = Resources()
    for spec, count in pods.items():
        total = total + Resources({name: amount * count for name, amount in spec.need.items() if is_scarce(name)})
    return total


def _freed(root: Unit, pods: _Pods, taken: Resources, inventory: Inventory) -> Unit:
    """With these pods gone from one node: the one that has most nearly so much taken, and at least what they give."""
    more = _scarce(pods)
    classes = frozenset.intersection(*(spec.classes for spec in pods))

    def excess(node: Bin) -> int | None:
        capacity = inventory.classes[node.node_class].capacity
        used = {name: capacity[name] - node.free[name] for name in more}
        if node.node_class not in classes or any(used[name] < amount for name, amount in more.items()):
            return None
        return sum(abs(used[name] - taken[name]) for name in more)

    nodes = {root: 1} if isinstance(root, Bin) else root.bins()
    fitting = [(far, canon(node), node) for node in nodes if (far := excess(node)) is not None]
    if not fitting:
        for spec, count in pods.items():
            root, _ = given_back(root, spec, count, inventory)
        return root
    *_, node = min(fitting, key=lambda each: each[:2])
    return _swapped(root, node, _with_more(node, pods, inventory))


def _with_more(node: Bin, pods: _Pods, inventory: Inventory) -> Bin:
    capacity = inventory.classes[node.node_class].capacity
    free = dict(node.free)
    for spec, count in pods.items():
        for name, amount in spec.need.items():
            free[name] = min(capacity[name], free.get(name, 0) + amount * count)
    return Bin(node.node_class, Resources(free), node.shares)


def _swapped(unit: Unit, before: Bin, after: Bin) -> Unit:
    """With one such node in the other's place, in the first domain that has one."""
    if isinstance(unit, Bin):
        return after if unit == before else unit
    for inner in sorted(unit.units, key=lambda each: (each.rank, canon(each))):
        changed = _swapped(inner, before, after)
        if changed is not inner:
            return unit.swapped([(inner, changed, 1)], before.totals - after.totals)
    return unit
