"""What one cluster can still take, as the hub knows it: the summary's tree with everything reserved taken out.

Immutable: `take` answers another capacity, and all decisions of a cycle work on the chain of them. Reservations that
the summary does not count yet are packed into it again, in the order in which the hub made them. One that no longer
packs (nodes were lost, or some of its pods are bound and already missing from what is free) is taken out as far as it
goes, first pod by pod, then amount by amount: too little may be promised then, never too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from placement import nested
from placement.bins import Bin, Domain, Spec, Unit, canon
from placement.demand import Demands, pairs
from placement.fleet import Reservation
from placement.inventory import DeviceForm, NodeClass, Shape, Summary
from placement.ladder import Ladder
from placement.nested_shortage import nested_shortage
from placement.packing import BinFill, Placement, bin_fills, place, place_what_fits
from placement.resources import Resources
from placement.shortage import shortage
from placement.survey import make_bin
from placement.trees import LIKE, Tree
from placement.verdict import LevelUnknown, Reason
from placement.workload import Role, TopologyMode, Workload


class Inventory:
    """The unchanging part: one summary's classes and tree, and what was worked out about them.

    `before`: by an earlier summary of the cluster. Domains that it has just so are taken over with all they remember.
    """

    def __init__(self, cluster: str, summary: Summary, before: Inventory | None = None) -> None:
        self.cluster = cluster
        self.summary = summary
        self.ladder = Ladder.of(summary.levels)
        self.classes = summary.node_classes
        self.devices = frozenset(device for node_class in self.classes for device in node_class.devices)
        self.every_class = frozenset(range(len(summary.node_classes)))
        self.demands = Demands(summary.node_classes, summary.hidden_labels)
        self._empty = Tree()
        self._emptied = False  # whether that is the tree of this summary
        self._earlier: Tree | None = None
        self._tree: Tree | None = None  # made when it is asked for: most clusters are too dear to be looked into
        if before is not None and before.speaks_of_the_same(summary):
            self.demands = before.demands  # what is remembered is remembered by its specs
            self._empty = before._empty
            self._earlier = before._tree or before._earlier
            if (summary.shapes, summary.domains) == (before.summary.shapes, before.summary.domains):
                self._tree, self._emptied = before._tree, before._emptied

    @property
    def root(self) -> Domain:
        if self._tree is None:
            self._tree = (self._earlier or Tree()).renewed(self.summary, self.ladder, self._free_bin)
            self._earlier = None
        return self._tree.root

    @property
    def untouched(self) -> Capacity:
        """With nothing reserved."""
        return Capacity(self)

    def renewed(self, summary: Summary) -> Inventory:
        """By a newer summary of the same cluster, with all that is still true."""
        return Inventory(self.cluster, summary, self)

    def speaks_of_the_same(self, summary: Summary) -> bool:
        mine = self.summary
        return (mine.node_classes, mine.hidden_labels, mine.levels) == (
            summary.node_classes,
            summary.hidden_labels,
            summary.levels,
        )

    def ceiling(self, workload: Workload) -> int | LevelUnknown:
        """The coarsest rank that the gang may span. A preferred level only says what packing aims at anyway."""
        ladder, request = self.ladder, workload.topology
        if request is None or request.mode is not TopologyMode.REQUIRED:
            return ladder.top
        rank = ladder.rank(request.level)
        return LevelUnknown(self.cluster, request.level, ladder.names()) if rank is None else rank

    def holds_empty(self, roles: tuple[Role, ...], ceiling: int) -> bool:
        """Whether the cluster holds every replica with nothing on it."""
        empty = self._emptied_tree()
        known = empty.holds.get((roles, ceiling))
        if known is None:
            demand = pairs(self.demands.of(roles)[-1])
            known = empty.holds[roles, ceiling] = place(empty.root, demand, ceiling) is not None
        return known

    def holds_nested_empty(self, workload: Workload) -> bool:
        """The same, where roles or slices of them have domains of their own."""
        empty, asked = self._emptied_tree(), (workload.roles, workload.topology)
        known = empty.holds_nested.get(asked)
        if known is None:
            known = not nested.unknown_level(workload, self.ladder) and (
                nested.fit(empty.root, workload, self.ladder, self.demands, nested.everyone(workload)) is not None
            )
            empty.holds_nested[asked] = known
        return known

    def _emptied_tree(self) -> Tree:
        if not self._emptied:
            self._empty, self._emptied = self._empty.renewed(self.summary, self.ladder, self._empty_bin), True
        return self._empty

    def _free_bin(self, shape: Shape) -> Bin:
        return make_bin(shape.node_class, self.classes[shape.node_class].capacity, shape.free, shape.shares)

    def _empty_bin(self, shape: Shape) -> Bin:
        node_class = self.classes[shape.node_class]
        return make_bin(shape.node_class, node_class.capacity, node_class.capacity, _whole_shares(node_class, shape))


class Packed(Protocol):
    """A gang that would fit: what it takes, as far as money and people are concerned."""

    @property
    def inventory(self) -> Inventory: ...

    @property
    def rank(self) -> int:
        """Of the tightest unit that holds it whole."""
        ...

    @property
    def domain(self) -> str: ...

    def bin_fills(self) -> Sequence[tuple[Spec, BinFill, int]]:
        """For each node that gets something: (spec, what, how many such nodes)."""
        ...


@dataclass(frozen=True, slots=True)
class Fit:
    """Where a gang would go. `level` is the tightest that holds it whole, "cluster" where none does."""

    inventory: Inventory
    placement: Placement
    relaxed: int = 0  # by how many levels what its roles prefer was

    @property
    def left(self) -> Capacity:
        """What the cluster can still take once the gang is in."""
        return Capacity(self.inventory, self.placement.after)

    @property
    def rank(self) -> int:
        return self.placement.chosen.rank

    @property
    def level(self) -> str:
        return self.inventory.ladder.name(self.rank)

    @property
    def domain(self) -> str:
        """For people, as far as the summary tells: "rack r1", "a rack like r1", "a node of a rack like r1"; or ""."""
        for unit in (self.placement.chosen, *reversed(self.placement.within)):
            if isinstance(unit, Domain) and unit.example:
                name = in_words(self.inventory.ladder.name(unit.rank), unit.example)
                return name if unit is self.placement.chosen else f"a node of {name}"
        return ""

    def bin_fills(self) -> list[tuple[Spec, BinFill, int]]:
        return [(spec, fill, count) for spec, filled in self.placement.fills for fill, count in bin_fills(filled)]


@dataclass(frozen=True, slots=True)
class Capacity:
    inventory: Inventory
    taken_from: Unit | None = None  # what is left of the tree; None: all of it

    @property
    def root(self) -> Unit:
        return self.inventory.root if self.taken_from is None else self.taken_from

    @classmethod
    def of(cls, cluster: str, summary: Summary, before: Capacity | None = None) -> Capacity:
        """`before`: the same cluster's, by an earlier summary, to take over what is still true."""
        return Inventory(cluster, summary, None if before is None else before.inventory).untouched

    def fit(self, workload: Workload) -> Fit | Reason:
        """Every replica of the workload, as it is on this cluster; or why not, in numbers."""
        workload = workload.at(self.inventory.cluster)
        ceiling = self.ceiling(workload)
        if isinstance(ceiling, LevelUnknown):
            return ceiling
        if nested.applies(workload):
            return self._fit_nested(workload)
        ways = self.inventory.demands.of(workload.roles)
        for slots in ways:
            if (placement := place(self.root, pairs(slots), ceiling)) is not None:
                return Fit(self.inventory, placement)
        ever = self.ever_fits(workload)
        return shortage(self.inventory.cluster, self.inventory.ladder, self.root, ways[-1], ceiling, ever=ever)

    def _fit_nested(self, workload: Workload) -> Fit | Reason:
        """Where roles, or slices of them, have domains of their own."""
        of, wanted = self.inventory, nested.everyone(workload)
        if unknown := nested.unknown_level(workload, of.ladder):
            return LevelUnknown(of.cluster, unknown, of.ladder.names())
        found = nested.fit(self.root, workload, of.ladder, of.demands, wanted)
        if found is not None:
            return Fit(of, found.placement, found.relaxed)
        ever = self.ever_fits(workload)
        return nested_shortage(of.cluster, of.ladder, self.root, workload, of.demands, wanted, ever=ever)

    def ceiling(self, workload: Workload) -> int | LevelUnknown:
        return self.inventory.ceiling(workload)

    def take(self, fit: Fit) -> Capacity:
        """After a gang that fitted here went in."""
        if fit.placement.root is not self.root:
            raise ValueError("this fit was worked out on another capacity: ask `fit` again")
        return fit.left

    def deduct(self, reservation: Reservation) -> Capacity:
        """Without what the reservation holds, or without as much of it as there is."""
        fit = self.fit(reservation.workload)
        return self.take(fit) if isinstance(fit, Fit) else self.erase(reservation)

    def erase(self, reservation: Reservation) -> Capacity:
        """Without as much as there is of what the reservation holds, which does not fit."""
        slots = self.inventory.demands.of(reservation.workload.at(self.inventory.cluster).roles)[-1]
        root, rest = place_what_fits(self.root, pairs(slots))
        for spec, pods in rest:
            for name, amount in (spec.need * pods).items():
                root, gone = _erase(root, name, amount, spec.classes)
                root, _ = _erase(root, name, amount - gone, self.inventory.every_class)
        return Capacity(self.inventory, root)

    def ever_fits(self, workload: Workload) -> bool:
        """Whether the cluster could hold it with nothing else on it."""
        workload = workload.at(self.inventory.cluster)
        ceiling = self.ceiling(workload)
        if isinstance(ceiling, LevelUnknown):
            return False
        if nested.applies(workload):
            return self.inventory.holds_nested_empty(workload)
        return self.inventory.holds_empty(workload.roles, ceiling)


def in_words(level: str, example: str) -> str:
    return f"a {level} {example}" if example.startswith(LIKE) else f"{level} {example}"


def _whole_shares(node_class: NodeClass, shape: Shape) -> tuple[int, ...]:
    """The shares of each card of an empty node; a node that is away does not tell its cards."""
    for device in node_class.devices:
        if device.form is DeviceForm.SHARED_MEMORY:
            total = node_class.capacity[device.resource]
            if device.share_unit_mib and device.memory_mib:
                each = device.memory_mib // device.share_unit_mib
                return (each,) * (total // each) if each else ()
            return (total // len(shape.shares),) * len(shape.shares) if shape.shares else ()
    return ()


# ---- amounts that no longer pack ----


def _erase(unit: Unit, name: str, amount: int, classes: AbstractSet[int]) -> tuple[Unit, int]:
    """`amount` of one resource less on nodes of these classes, node by node down to nothing; and how much that was."""
    if isinstance(unit, Bin):
        gone = min(amount, unit.free[name]) if unit.node_class in classes else 0
        return (Bin(unit.node_class, unit.free - Resources({name: gone}), unit.shares) if gone else unit), gone
    changes: list[tuple[Unit, Unit, int]] = []
    left = amount
    for inner, count in sorted(unit.units.items(), key=lambda item: canon(item[0])):
        emptied, each = _erase(inner, name, inner.totals[name], classes)
        whole = min(count, left // each) if each else 0
        if whole:
            changes.append((inner, emptied, whole))
            left -= whole * each
        if each and left and whole < count:
            after, gone = _erase(inner, name, left, classes)
            changes.append((inner, after, 1))
            left -= gone
    return unit.swapped(changes, Resources({name: amount - left})), amount - left
