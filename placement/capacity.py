"""What one cluster can still take, as the hub knows it: the summary's tree with everything reserved taken out.

Immutable: `take` answers another capacity, and all decisions of a cycle work on the chain of them. Reservations that
the summary does not count yet are packed into it again, in the order in which the hub made them. One that no longer
packs (nodes were lost, or some of its pods are bound and already missing from what is free) is taken out as far as it
goes, first pod by pod, then amount by amount: too little may be promised then, never too much.

The tree is exact where the summary tells which domain lies in which (`DomainGroup.children`). Where it does not, only
the finest level is kept; where it contradicts itself (more nodes in domains than in shapes), no level is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property

from placement import nested
from placement.bins import Bin, Domain, Spec, Unit
from placement.demand import Demands, pairs
from placement.fleet import Reservation
from placement.inventory import DeviceForm, DomainGroup, NodeClass, Shape, Summary
from placement.ladder import Ladder
from placement.nested_shortage import nested_shortage
from placement.packing import BinFill, Placement, bin_fills, place, place_what_fits
from placement.resources import Resources
from placement.shortage import shortage
from placement.survey import make_bin
from placement.verdict import LevelUnknown, Reason
from placement.workload import Role, TopologyMode, TopologyRequest, Workload

_LIKE = "like "


class Inventory:
    """The unchanging part: one summary's classes and tree, and what was worked out about them.

    `before`: what was known of the cluster until now. Domains that look the same are taken over with all they remember.
    """

    def __init__(self, cluster: str, summary: Summary, before: Capacity | None = None) -> None:
        self.cluster = cluster
        self.summary = summary
        self.ladder = Ladder.of(summary.levels)
        self.classes = summary.node_classes
        self.every_class = frozenset(range(len(summary.node_classes)))
        self.demands = Demands(summary.node_classes, summary.hidden_labels)
        self._empty_holds: dict[tuple[tuple[Role, ...], int], bool] = {}
        self._empty_holds_nested: dict[tuple[tuple[Role, ...], TopologyRequest | None], bool] = {}
        known: dict[Unit, Unit] = {}
        if before is not None and before.inventory.speaks_of_the_same(summary):
            self.demands = before.inventory.demands  # what is remembered is remembered by its specs
            known = _units_of(before.inventory.root, before.root)
        self.root: Domain = _tree(summary, self.ladder, self._free_bin, known)

    @cached_property
    def empty_root(self) -> Domain:
        """The same cluster with nothing on it."""
        return _tree(self.summary, self.ladder, self._empty_bin, {})

    def speaks_of_the_same(self, summary: Summary) -> bool:
        mine = self.summary
        return (mine.node_classes, mine.hidden_labels, mine.levels) == (
            summary.node_classes,
            summary.hidden_labels,
            summary.levels,
        )

    def holds_empty(self, roles: tuple[Role, ...], ceiling: int) -> bool:
        known = self._empty_holds.get((roles, ceiling))
        if known is None:
            demand = pairs(self.demands.of(roles)[-1])
            known = self._empty_holds[roles, ceiling] = place(self.empty_root, demand, ceiling) is not None
        return known

    def holds_nested_empty(self, workload: Workload) -> bool:
        key = workload.roles, workload.topology
        known = self._empty_holds_nested.get(key)
        if known is None:
            known = not nested.unknown_level(workload, self.ladder) and (
                nested.fit(self.empty_root, workload, self.ladder, self.demands, nested.everyone(workload)) is not None
            )
            self._empty_holds_nested[key] = known
        return known

    def _free_bin(self, shape: Shape) -> Bin:
        made = make_bin(shape.node_class, self.classes[shape.node_class].capacity, shape.free, shape.shares)
        return self.demands.bins.one(made)

    def _empty_bin(self, shape: Shape) -> Bin:
        node_class = self.classes[shape.node_class]
        return make_bin(shape.node_class, node_class.capacity, node_class.capacity, _whole_shares(node_class, shape))


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
    def level(self) -> str:
        return self.inventory.ladder.name(self.placement.chosen.rank)

    @property
    def domain(self) -> str:
        """For people, as far as the summary tells: "rack r1", "a rack like r1", "a node of a rack like r1"; or ""."""
        for unit in (self.placement.chosen, *reversed(self.placement.within)):
            if isinstance(unit, Domain) and unit.example:
                name = _named(self.inventory.ladder.name(unit.rank), unit.example)
                return name if unit is self.placement.chosen else f"a node of {name}"
        return ""

    def bin_fills(self) -> list[tuple[Spec, BinFill, int]]:
        """For each node that gets something: (spec, what, how many such nodes)."""
        return [(spec, fill, count) for spec, filled in self.placement.fills for fill, count in bin_fills(filled)]


@dataclass(frozen=True, slots=True)
class Capacity:
    inventory: Inventory
    root: Unit

    @classmethod
    def of(cls, cluster: str, summary: Summary, before: Capacity | None = None) -> Capacity:
        """`before`: the same cluster's, by an earlier summary, to take over what is still true."""
        inventory = Inventory(cluster, summary, before)
        return cls(inventory, inventory.root)

    def fit(self, workload: Workload) -> Fit | Reason:
        """Every replica of the workload, or why not, in numbers."""
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
        """The coarsest rank that the gang may span. A preferred level only says what packing aims at anyway."""
        ladder, request = self.inventory.ladder, workload.topology
        if request is None or request.mode is not TopologyMode.REQUIRED:
            return ladder.top
        rank = ladder.rank(request.level)
        return LevelUnknown(self.inventory.cluster, request.level, ladder.names()) if rank is None else rank

    def take(self, fit: Fit) -> Capacity:
        """After a gang that fitted here went in."""
        if fit.placement.root is not self.root:
            raise ValueError("this fit was worked out on another capacity: ask `fit` again")
        return fit.left

    def deduct(self, reservation: Reservation) -> Capacity:
        """Without what the reservation holds, or without as much of it as there is."""
        fit = self.fit(reservation.workload)
        if isinstance(fit, Fit):
            return self.take(fit)
        slots = self.inventory.demands.of(reservation.workload.roles)[-1]
        root, rest = place_what_fits(self.root, pairs(slots))
        for spec, pods in rest:
            for name, amount in (spec.need * pods).items():
                root, gone = _erase(root, name, amount, spec.classes)
                root, _ = _erase(root, name, amount - gone, self.inventory.every_class)
        return replace(self, root=root)

    def ever_fits(self, workload: Workload) -> bool:
        """Whether the cluster could hold it with nothing else on it."""
        ceiling = self.ceiling(workload)
        if isinstance(ceiling, LevelUnknown):
            return False
        if nested.applies(workload):
            return self.inventory.holds_nested_empty(workload)
        return self.inventory.holds_empty(workload.roles, ceiling)


def _units_of(*roots: Unit) -> dict[Unit, Unit]:
    """Every bin and domain of these trees, by value."""
    found: dict[Unit, Unit] = {}
    left = list(roots)
    while left:
        unit = left.pop()
        if unit not in found:
            found[unit] = unit
            if isinstance(unit, Domain):
                left.extend(unit.units)
    return found


def _same_bin(known: Mapping[Unit, Unit], made: Bin) -> Bin:
    found = known.get(made)
    return found if isinstance(found, Bin) else made


def _same_domain(known: Mapping[Unit, Unit], made: Domain) -> Domain:
    """Names are no part of a domain's value, and may be others now."""
    found = known.get(made)
    return found if isinstance(found, Domain) and found.example == made.example else made


def _named(level: str, example: str) -> str:
    return f"a {level} {example}" if example.startswith(_LIKE) else f"{level} {example}"


# ---- the tree of a summary ----


def _tree(summary: Summary, ladder: Ladder, bin_of: Callable[[Shape], Bin], known: Mapping[Unit, Unit]) -> Domain:
    """`known`: units to be used again where the tree has their like."""
    bins = [_same_bin(known, bin_of(shape)) for shape in summary.shapes]
    totals = {index: shape.nodes for index, shape in enumerate(summary.shapes)}
    for groups in (summary.domains, _finest(summary, ladder)):
        if (root := _root_of(groups, summary, ladder, bins, totals, known)) is not None:
            return root
    return Domain(ladder.top, _counted_bins(bins, totals))


def _finest(summary: Summary, ladder: Ladder) -> tuple[DomainGroup, ...]:
    ranks = [rank for group in summary.domains if (rank := ladder.rank(group.level)) is not None]
    return tuple(
        replace(group, children=()) for group in summary.domains if ladder.rank(group.level) == min(ranks, default=0)
    )


def _root_of(
    groups: tuple[DomainGroup, ...],
    summary: Summary,
    ladder: Ladder,
    bins: list[Bin],
    totals: Mapping[int, int],
    known: Mapping[Unit, Unit],
) -> Domain | None:
    """None where the groups hold more nodes than there are, or do not nest."""
    outermost = {index: group.count for index, group in enumerate(groups)}
    for group in groups:
        for child, count in group.children:
            outermost[child] = outermost.get(child, 0) - count * group.count
    if any(count < 0 for count in outermost.values()) or len(outermost) > len(groups):
        return None
    built: dict[int, Domain] = {}
    by_rank = sorted(range(len(groups)), key=lambda index: ladder.rank(groups[index].level) or 0)
    for index in by_rank:
        group, rank = groups[index], ladder.rank(groups[index].level)
        if not rank or any(child not in built or built[child].rank >= rank for child, _ in group.children):
            return None
        # Of several alike nobody can tell later which was taken: only one that is alone keeps its name.
        example = group.example if group.count == 1 else f"{_LIKE}{group.example}"
        inside = _assembled(rank, dict(group.nodes), dict(group.children), groups, built, bins, example)
        if inside is None:
            return None
        built[index] = _same_domain(known, inside)
    top = {index: count for index, count in outermost.items() if count}
    return _assembled(ladder.top, totals, top, groups, built, bins, "")


def _assembled(
    rank: int,
    nodes: Mapping[int, int],
    children: Mapping[int, int],
    groups: tuple[DomainGroup, ...],
    built: Mapping[int, Domain],
    bins: list[Bin],
    example: str,
) -> Domain | None:
    """A domain from its whole histogram and its children: what no child holds is directly in it."""
    direct = dict(nodes)
    for child, count in children.items():
        for shape, inner in groups[child].nodes:
            direct[shape] = direct.get(shape, 0) - inner * count
    if any(count < 0 for count in direct.values()):
        return None
    units = _counted_bins(bins, direct)
    for child, count in children.items():
        units[built[child]] = units.get(built[child], 0) + count
    return Domain(rank, units, example)


def _counted_bins(bins: list[Bin], counts: Mapping[int, int]) -> dict[Unit, int]:
    units: dict[Unit, int] = {}
    for shape, count in counts.items():
        if count:
            units[bins[shape]] = units.get(bins[shape], 0) + count
    return units


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
    for inner, count in unit.units.items():
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
