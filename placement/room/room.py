"""What one cluster can still take, for who decides again and again and wants the newest state only: the planner.

It answers what `Capacity` answers and changes with what is taken. Gangs of identical pods are sought in a `Grid`, all
others in the `Capacity` that the grid amounts to; properties hold the two ways to the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from placement import nested
from placement.bins import HOST_RANK, Domain, Spec, Unit
from placement.capacity import Capacity, Fit, Inventory, in_words
from placement.demand import Slots
from placement.fleet import Reservation
from placement.packing import BinFill
from placement.room.grid import Grid
from placement.room.seek import Found, Seeker
from placement.shortage import too_little, too_scattered
from placement.verdict import LevelUnknown, Reason
from placement.workload import Workload

_ASKS_KEPT = 1024


class Spot(NamedTuple):
    """Where a gang of identical pods would go; good until the room changes."""

    room: Room
    version: int
    spec: Spec
    found: Found

    @property
    def inventory(self) -> Inventory:
        return self.room.inventory

    @property
    def rank(self) -> int:
        return self.found.rank

    @property
    def domain(self) -> str:
        """As `Fit.domain`."""
        place = self.found.place
        while not place.example and place.parent is not None:
            place = place.parent
        if not place.example:
            return ""
        name = in_words(self.inventory.ladder.name(place.rank), place.example)
        return name if place is self.found.place and self.rank != HOST_RANK else f"a node of {name}"

    def bin_fills(self) -> Sequence[tuple[Spec, BinFill, int]]:
        bins = self.room.grid.looks.bins
        return [(self.spec, BinFill(bins[c.before], bins[c.after], c.pods), c.nodes) for c in self.found.changes]


@dataclass(slots=True)
class Ask:
    """What a workload comes down to in this cluster."""

    workload: Workload
    ways: tuple[Slots, ...]
    ceiling: int | LevelUnknown
    identical: bool  # all its pods; others are left to `Capacity`
    ever: bool | None = None  # whether the cluster holds it when empty, once that was asked


class Room:
    def __init__(self, capacity: Capacity) -> None:
        self.inventory = capacity.inventory
        self.version = 0  # grows with every change
        self._left = capacity.taken_from  # as of some version; where there is no grid, as of now
        self._grid: Grid | None = None
        self._seekers: dict[Spec, Seeker] = {}  # in that grid
        self._asks: dict[int, Ask] = {}  # by the workload's identity: who asks again, asks with the same object

    @property
    def grid(self) -> Grid:
        if self._grid is None:
            root = self.capacity.root
            assert isinstance(root, Domain)  # noqa: S101  a cluster is one
            self._grid = Grid(root)
        return self._grid

    @property
    def capacity(self) -> Capacity:
        """The same, and it stays as it is."""
        return Capacity(self.inventory, self._left if self._grid is None else self._grid.root())

    def fit(self, workload: Workload) -> Fit | Spot | Reason:
        """Every replica of the workload, as it is on this cluster; or why not, in numbers."""
        workload = workload.at(self.inventory.cluster)
        ask = self._ask(workload)
        if not ask.identical:
            return self.capacity.fit(workload)
        if isinstance(ask.ceiling, LevelUnknown):
            return ask.ceiling
        for (slot,) in ask.ways:
            found = self._seeker(slot.spec).find(slot.pods, ask.ceiling)
            if found is not None:
                return Spot(self, self.version, slot.spec, found)
        return self._shortage(ask, ask.ceiling)

    def take(self, fit: Fit | Spot) -> None:
        if isinstance(fit, Fit):
            if fit.placement.root is not self.capacity.root:
                raise ValueError("this fit was worked out on another state of the room: ask `fit` again")
            self._become(fit.placement.after)
            return
        if fit.room is not self or fit.version != self.version:
            raise ValueError("this fit was worked out on another state of the room: ask `fit` again")
        self.version += 1
        self.grid.apply(fit.found.changes)
        if self.grid.looks.crowded:
            self._left = self.grid.root()
            self._drop_grid()

    def deduct(self, reservation: Reservation) -> None:
        """Without what the reservation holds, or without as much of it as there is."""
        fit = self.fit(reservation.workload)
        if isinstance(fit, Fit | Spot):
            self.take(fit)
        else:
            self._become(self.capacity.erase(reservation).root)

    def renew(self, inventory: Inventory) -> None:
        """As a newer summary has it, or as the same one had it, with nothing taken yet."""
        if inventory.demands is not self.inventory.demands:
            self._drop_grid()
        if inventory is not self.inventory:
            self._asks.clear()
        self.inventory = inventory
        self.version += 1
        if self._grid is not None and not self._grid.become(inventory.root, named=True):
            self._drop_grid()
        self._left = None

    def _become(self, left: Unit) -> None:
        self.version += 1
        assert isinstance(left, Domain)  # noqa: S101  a cluster is one
        if self._grid is not None and not self._grid.become(left):
            self._drop_grid()
        self._left = left

    def _seeker(self, spec: Spec) -> Seeker:
        known = self._seekers.get(spec)
        if known is None:
            known = self._seekers[spec] = Seeker(self.grid, self.grid.spec(spec))
        return known

    def _drop_grid(self) -> None:
        self._grid = None
        self._seekers.clear()

    def _ask(self, workload: Workload) -> Ask:
        known = self._asks.get(id(workload))
        if known is None or known.workload is not workload:
            if len(self._asks) >= _ASKS_KEPT:
                self._asks.clear()
            ways = self.inventory.demands.of(workload.roles)
            # Pods that differ in more than what they need (where each of them may go) are not identical.
            identical = not nested.applies(workload) and all(len(slots) == 1 and slots[0].pods > 0 for slots in ways)
            ceiling = self.inventory.ceiling(workload)
            known = self._asks[id(workload)] = Ask(workload, ways, ceiling, identical)
        return known

    def _shortage(self, ask: Ask, ceiling: int) -> Reason:
        slots = ask.ways[-1]
        (slot,) = slots
        cluster, grid = self.inventory.cluster, self.grid
        spec = grid.spec(slot.spec)
        free, fitting = grid.free_on(slot.spec.classes), min(slot.pods, grid.holds(grid.top, spec))
        if ask.ever is None:
            ask.ever = self.inventory.holds_empty(ask.workload.roles, ceiling)
        if fitting < slot.pods or ceiling >= grid.top.rank:
            return too_little(cluster, slots, free, fitting, ever=ask.ever)
        largest = min(slot.pods, grid.largest(ceiling, spec))
        return too_scattered(cluster, self.inventory.ladder.name(ceiling), slots, free, largest, ever=ask.ever)
