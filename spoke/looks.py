"""Groups nodes that one pod cannot tell apart, so that a single pod is placed by the distinct ones and not by all.

A pod can tell nodes apart by the labels it asks about, by taints and devices, and by what is free. Groups are kept per
set of label keys asked about (few manifests differ in that) and follow changes node by node: placing the next pod costs
by what changed since the last one. Of equal nodes the first by name is offered, which leaves whole the racks that come
later.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Sequence

from placement.inventory import Node
from placement.workload import NodeConstraint

_KEY_SETS = 16

Keys = tuple[str, ...]


class Looks:
    """`node` answers a node as it is now, None where it is none any more."""

    def __init__(self, node: Callable[[str], Node | None]) -> None:
        self._node = node
        self._names: set[str] = set()
        self._groupings: dict[Keys, _Grouping] = {}

    def changed(self, name: str) -> None:
        self._names.add(name)
        for grouping in self._groupings.values():
            grouping.stale.add(name)

    def one_of_each(self, constraint: NodeConstraint) -> Sequence[Node]:
        """Nodes that are ready, one of each look."""
        keys = tuple(sorted({requirement.key for term in constraint.terms for requirement in term}))
        grouping = self._groupings.pop(keys, None) or _Grouping(keys, self._names)
        self._groupings[keys] = grouping  # the last one used is the last one dropped
        if len(self._groupings) > _KEY_SETS:
            del self._groupings[next(iter(self._groupings))]
        grouping.refresh(self._node)
        return [node for name in grouping.firsts() if (node := self._node(name)) is not None]


class _Grouping:
    def __init__(self, keys: Keys, names: Iterable[str]) -> None:
        self._keys = keys
        self.stale = set(names)
        self._look: dict[str, Hashable] = {}
        self._groups: dict[
            Hashable, list[str]
        ] = {}  # heaps; a name that looks otherwise now is left in until it is first

    def refresh(self, find: Callable[[str], Node | None]) -> None:
        for name in self.stale:
            node = find(name)
            if node is None or not node.ready:
                self._look.pop(name, None)
                continue
            look = _look(node, self._keys)
            if self._look.get(name) != look:
                self._look[name] = look
                heapq.heappush(self._groups.setdefault(look, []), name)
        self.stale.clear()

    def firsts(self) -> list[str]:
        found = []
        for look, names in list(self._groups.items()):
            while names and self._look.get(names[0]) != look:
                heapq.heappop(names)
            if names:
                found.append(names[0])
            else:
                del self._groups[look]
        return found


def _look(node: Node, keys: Keys) -> Hashable:
    return (
        tuple(node.labels.get(key) for key in keys),
        node.taints,
        node.devices,
        node.free,
        sum(gpu.free and gpu.healthy for gpu in node.gpus),
        tuple(sorted(gpu.free_share for gpu in node.gpus if gpu.healthy)),
    )
