"""A workload's roles as what packing needs: specs, and how many pods of each.

Roles that ask for the same (a master like its workers) become one spec: identical pods are packed exactly, mixed ones
only well. Which node classes admit a pod is worked out once per constraint.

A gang that asks for nothing scarce is first sought room for on nodes that have nothing scarce, however near to each
other its pods would be on one idle GPU node: there they would leave GPUs behind that nobody can feed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from placement.bins import Interned, Spec, is_scarce
from placement.inventory import NodeClass
from placement.matching import admits
from placement.resources import CPU, MEMORY, PODS, Resources
from placement.workload import DeviceNeed, NodeConstraint, Role

_MIB_PER_CORE = 4096  # only to order pods by size: the usual memory beside one core


@dataclass(frozen=True, slots=True)
class Slot:
    """Identical pods, of one role or several."""

    spec: Spec
    pods: int
    roles: tuple[tuple[str, int], ...]  # (role, how many of its pods)


Slots = tuple[Slot, ...]


def pairs(slots: Sequence[Slot]) -> list[tuple[Spec, int]]:
    return [(slot.spec, slot.pods) for slot in slots]


class Demands:
    """Specs for one cluster's node classes. The same need gets the same Spec object for as long as this lives."""

    def __init__(self, classes: Sequence[NodeClass], hidden: frozenset[str]) -> None:
        self._classes = classes
        self._labels = [dict(node_class.labels) for node_class in classes]
        self._hidden = hidden
        self._plain = frozenset(i for i, found in enumerate(classes) if not any(map(is_scarce, found.capacity)))
        self.bins = Interned()  # nodes as they look after such pods went onto them
        self._specs: dict[tuple[Resources, tuple[DeviceNeed, ...], NodeConstraint], Spec] = {}
        self._sparing: dict[Spec, Spec] = {}
        self._admitting: dict[NodeConstraint, frozenset[int]] = {}
        self._ways: dict[tuple[Role, ...], tuple[Slots, ...]] = {}

    def of(self, roles: tuple[Role, ...]) -> tuple[Slots, ...]:
        """Every replica of every role: the ways to try one after the other; the last may use every node."""
        known = self._ways.get(roles)
        if known is None:
            known = self._ways[roles] = self.some(roles, {role.name: role.replicas for role in roles})
        return known

    def some(self, roles: tuple[Role, ...], pods: Mapping[str, int]) -> tuple[Slots, ...]:
        """So many pods of each role. The largest pods are the first of a way."""
        gathered: dict[Spec, list[tuple[str, int]]] = {}
        for role in roles:
            if count := pods.get(role.name, 0):
                gathered.setdefault(self.spec(role), []).append((role.name, count))
        slots = [Slot(spec, sum(n for _, n in members), tuple(members)) for spec, members in gathered.items()]
        everywhere = tuple(sorted(slots, key=_largest_first))
        if not self._plain or any(map(is_scarce, (name for slot in slots for name in slot.spec.need))):
            return (everywhere,)
        return tuple(replace(slot, spec=self._on_plain_nodes(slot.spec)) for slot in everywhere), everywhere

    def spec(self, role: Role) -> Spec:
        key = (role.requests, role.devices, role.constraint)
        known = self._specs.get(key)
        if known is None:
            share = sum(device.amount for device in role.devices if device.is_share)
            need = _with_devices(role)
            known = self._specs[key] = Spec(need, share, self.admitting(role.constraint), role.devices, self.bins)
        return known

    def _on_plain_nodes(self, spec: Spec) -> Spec:
        known = self._sparing.get(spec)
        if known is None:
            known = self._sparing[spec] = replace(spec, classes=spec.classes & self._plain)
        return known

    def admitting(self, constraint: NodeConstraint) -> frozenset[int]:
        """The classes (by index) whose nodes may run such a pod."""
        known = self._admitting.get(constraint)
        if known is None:
            known = self._admitting[constraint] = frozenset(
                index
                for index, node_class in enumerate(self._classes)
                if admits(constraint, self._labels[index], node_class.taints, self._hidden)
            )
        return known


def _with_devices(role: Role) -> Resources:
    """`requests` holds the devices already; they are asked again so that a forgotten one is not given away."""
    need = dict(role.requests)
    for device in role.devices:
        need[device.resource] = max(need.get(device.resource, 0), device.amount)
    need[PODS] = max(need.get(PODS, 0), 1)
    return Resources(need)


def _largest_first(slot: Slot) -> tuple[object, ...]:
    need = slot.spec.need
    scarce = sum(amount for name, amount in need.items() if is_scarce(name))
    cores = max(need[CPU] / 1000, need[MEMORY] / _MIB_PER_CORE)
    return -scarce, -slot.spec.share, -cores, sorted(need.items()), sorted(slot.spec.classes)
