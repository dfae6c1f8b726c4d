"""Nodes with their devices counted in, as they were made for earlier gangs that asked for devices in the same way.

Most nodes have not changed since the last such gang; those that have not are the very objects that `topology` surveyed
then, and cost it nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from placement.inventory import Node
from placement.resources import Resources
from placement.survey import Levels, Surveyor

_WAYS_KEPT = 8
_SPARE = 256  # nodes that are gone


@dataclass(slots=True)
class Seen:
    """For gangs that count the same resources."""

    surveyor: Surveyor
    _made: dict[str, tuple[Node, Resources, Resources, Node]] = field(default_factory=dict)

    def node(self, node: Node, free: Resources, capacity: Resources) -> Node:
        """The node with so much more of what only claims count."""
        known = self._made.get(node.name)
        if known is not None and known[0] is node and known[1] == free and known[2] == capacity:
            return known[3]
        made = replace(node, free=node.free + free, capacity=node.capacity + capacity)
        self._made[node.name] = (node, free, capacity, made)
        return made

    def keep(self, nodes: int) -> None:
        """There are so many nodes."""
        if len(self._made) > 2 * nodes + _SPARE:
            self._made.clear()


class Memory:
    def __init__(self, levels: Levels) -> None:
        self._levels = levels
        self._seen: dict[frozenset[str], Seen] = {}

    def of(self, resources: Iterable[str]) -> Seen:
        key = frozenset(resources)
        seen = self._seen.pop(key, None) or Seen(Surveyor(self._levels))
        self._seen[key] = seen  # the last one used is the last one dropped
        if len(self._seen) > _WAYS_KEPT:
            del self._seen[next(iter(self._seen))]
        return seen
