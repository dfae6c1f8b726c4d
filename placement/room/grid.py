"""One cluster's tree of domains as places that change, with what each of them holds of each spec in one table.

The trees of `bins` never change: a decision makes them anew on the way to what it takes. That is right for who keeps
versions, and dear for who only wants the newest. Here a placement moves a few nodes from one look to another and adds
the difference between what these looks hold to the rows of the places around them, for all specs at once.

`root` answers the tree as it is now, `become` takes over another one; both cost what changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np

from placement.bins import (
    CPU_QUANTUM,
    HOST_RANK,
    MEMORY_QUANTUM,
    Bin,
    Domain,
    Spec,
    Unit,
    held,
)
from placement.resources import CPU, MEMORY, Resources
from placement.room.looks import Ints, Looks, packed

# A heap of places is given up when it has so many more entries than there are places.
_STALE_TIMES, _STALE_MORE = 4, 64
_DOMAINS_TIMES = 4  # so many times as many domains are remembered as there are places


class Place:
    """One domain. `looks`: how many nodes directly in it look so (by row)."""

    __slots__ = (
        "all",
        "chain",
        "changed",
        "domain",
        "example",
        "index",
        "inner",
        "keys",
        "looks",
        "parent",
        "rank",
        "ranks",
    )

    def __init__(self, domain: Domain, parent: Place | None) -> None:
        self.rank = domain.rank
        self.parent = parent
        self.example = domain.example
        self.index = -1
        self.chain: Ints = np.zeros(0, dtype=np.int64)  # its index and those of the places around it
        self.ranks: int = (parent.ranks if parent else 0) | 1 << self.rank  # of all these, as bits
        self.inner = [
            Place(unit, self) for unit, count in domain.units.items() if isinstance(unit, Domain) for _ in range(count)
        ]
        self.all: tuple[Place, ...] = (self, *(place for inside in self.inner for place in inside.all))
        self.looks: dict[int, int] = {}
        self.keys: dict[int, int] = {}  # by order; gone when the place changes
        self.domain: Domain | None = domain  # as it was when last asked for
        self.changed = True  # since then


class Change(NamedTuple):
    """`nodes` nodes directly in `place` got `pods` pods each."""

    place: Place
    before: int
    after: int
    nodes: int
    pods: int


class Grid:
    def __init__(self, root: Domain) -> None:
        self.looks = Looks()
        self.where: list[dict[Place, int]] = []  # by row: how many nodes look so, and where
        self.top = Place(root, None)
        self.by_rank: list[list[Place]] = [[] for _ in range(root.rank + 1)]
        for place in self.top.all:
            self.by_rank[place.rank].append(place)
        self._first: list[int] = [0]  # by rank, the index of the first such place
        for places in self.by_rank:
            for index, place in enumerate(places, self._first[-1]):
                place.index = index
            self._first.append(self._first[-1] + len(places))
        for place in self.top.all:
            around = place.parent.chain.tolist() if place.parent else []
            place.chain = np.array([place.index, *around], dtype=np.int64)
        # By place, what the looks of all its nodes add up to in each of their columns.
        self.sums: Ints = np.zeros((len(self.top.all), self.looks.table.shape[1]), dtype=np.int64)
        self._nearest: dict[int, dict[int, list[tuple[int, int, Place]]]] = {}  # by row and order, heaps by key
        self._listed: list[tuple[int, int, int]] | None = None  # all nodes: (place, look, how many)
        self._looks_of: dict[int, tuple[Domain, Mapping[int, int]]] = {}  # by the domain's identity
        self.even = False  # whether all nodes lie equally deep, and all places of one rank
        self.become(root, named=True)

    def spec(self, spec: Spec) -> int:
        """Its number among the specs of `looks`."""
        columns = self.looks.columns
        number, new = self.looks.number(spec)
        if new:
            self._fill(range(columns, self.looks.columns))
        return number

    def holds(self, place: Place, spec: int) -> int:
        return int(self.sums[place.index, self.looks.column_of[spec]])

    def held(self, rank: int, spec: int) -> Ints:
        """By each place of that rank, in the order of `by_rank`."""
        return self.sums[self._first[rank] : self._first[rank + 1], self.looks.column_of[spec]]

    def largest(self, rank: int, spec: int) -> int:
        """The most that one unit of that rank holds."""
        if rank == HOST_RANK:
            looks = (self.looks.bins[row] for row, places in enumerate(self.where) if places)
            return max((held(look, self.looks.specs[spec]) for look in looks), default=0)
        return int(self.held(rank, spec).max(initial=0))

    def key(self, place: Place, order: int) -> int:
        """`bins.fit_key` of the domain as one number, in the same order."""
        known = place.keys.get(order)
        if known is None:
            of, names, sums = self.looks.orders[order], self.looks.names, self.sums[place.index].item
            cpu = sums(names[CPU]) // CPU_QUANTUM if CPU in names else 0
            memory = sums(names[MEMORY]) // MEMORY_QUANTUM if MEMORY in names else 0
            known = packed((sums(of.beside), sums(of.wanted), cpu, memory))
            place.keys[order] = known
        return known

    def nearest(self, row: int, order: int) -> list[Place]:
        """Of the places with such nodes those with the least key. Cheap where asked again after a few changes."""
        heaps = self._nearest.setdefault(row, {})
        heap = heaps.get(order)
        if heap is None:
            heap = heaps[order] = [(self.key(place, order), place.index, place) for place in self.where[row]]
            heapify(heap)
        found: list[tuple[int, int, Place]] = []
        while heap:
            key, _, place = heap[0]
            if found and key != found[0][0]:
                break
            if row not in place.looks or self.key(place, order) != key:
                heappop(heap)  # it was right once
            elif not found and (len(heap) < 2 or heap[1][0] != key) and (len(heap) < 3 or heap[2][0] != key):
                return [place]
            else:
                each = heappop(heap)
                if not found or found[-1][2] is not place:
                    found.append(each)
        for each in found:
            heappush(heap, each)
        return [place for _, _, place in found]

    def free_on(self, classes: frozenset[int]) -> Resources:
        """In all, on nodes of these classes."""
        total = np.zeros(self.looks.table.shape[1], dtype=np.int64)
        for row, places in enumerate(self.where):
            if places and self.looks.bins[row].node_class in classes:
                total += self.looks.table[row] * sum(places.values())
        return self._resources(total)

    def root(self) -> Domain:
        return self.as_domain(self.top)

    def as_domain(self, place: Place) -> Domain:
        """As it is now. Of places that are equal the first by name stands for all."""
        if place.domain is not None and not place.changed:
            return place.domain
        units: dict[Unit, int] = {self.looks.bins[row]: nodes for row, nodes in place.looks.items()}
        for inside in place.inner:
            unit = self.as_domain(inside)
            units[unit] = units.get(unit, 0) + 1
        made = Domain(place.rank, units, place.example, self._resources(self.sums[place.index]))
        if place.domain is not None:
            made.follow(place.domain)
        place.domain, place.changed = made, False
        return made

    # ---- changing ----

    def apply(self, changes: Sequence[Change]) -> None:
        self._listed = None
        for place, before, after, nodes, _ in changes:
            self._move(place, before, -nodes)
            self._move(place, after, nodes)
            table = self.looks.table
            more = table[after] - table[before]
            self._add_up(place, more if nodes == 1 else more * nodes)
            around: Place | None = place
            while around is not None:
                around.changed = True
                around.keys = {}
                around = around.parent
        for place in {change[0] for change in changes}:
            self._put_anew(place)

    def _put_anew(self, place: Place) -> None:
        """Its key is less than it was: the heaps have an entry that is too high, and need one that is right."""
        entries = [(self.key(place, order), place.index, place) for order in range(len(self.looks.orders))]
        known = self._nearest.get
        for row in place.looks:
            if heaps := known(row):
                for order, heap in heaps.items():
                    heappush(heap, entries[order])
                if len(heap) > _STALE_TIMES * len(self.where[row]) + _STALE_MORE:
                    del self._nearest[row]  # who asks for it again has it made anew

    def become(self, root: Domain, *, named: bool = False) -> bool:
        """Takes over another tree of the same cluster, its names too if `named`.

        False where it is built otherwise: this grid is good for nothing then.
        """
        self._listed = None
        self._nearest.clear()
        moved: list[tuple[int, int, int]] = []
        same = self._set(self.top, root, moved, named=named)
        self._add_all(moved, range(self.looks.columns))
        ranks = {(place.rank, len(place.chain)) for place in self.top.all}
        self.even = len(ranks) == len(dict(ranks)) and len({len(p.chain) for p in self.top.all if p.looks}) < 2
        return same

    def _set(self, place: Place, domain: Domain, moved: list[tuple[int, int, int]], *, named: bool) -> bool:
        if place.domain is domain and not place.changed:
            return True
        pairs = _paired(place, domain)
        if pairs is None:
            return False
        looks = self._looks_in(domain)
        for row in {**place.looks, **looks}:
            if more := looks.get(row, 0) - place.looks.get(row, 0):
                self._move(place, row, more)
                moved.append((place.index, row, more))
        for inside, unit in pairs:
            if not self._set(inside, unit, moved, named=named):
                return False
            if named:
                inside.example = unit.example
        place.inner.sort(key=_by_name)
        place.keys = {}
        place.changed = not named
        if named:
            place.domain = domain
        return True

    def _looks_in(self, domain: Domain) -> Mapping[int, int]:
        """Domains come back as the very same when what was taken from them is given back."""
        known = self._looks_of.get(id(domain))
        if known is None or known[0] is not domain:
            if len(self._looks_of) > _DOMAINS_TIMES * len(self.top.all):
                self._looks_of.clear()
            units = domain.units.items()
            looks = {self.looks.row(unit): nodes for unit, nodes in units if isinstance(unit, Bin)}
            known = self._looks_of[id(domain)] = domain, looks
        return known[1]

    def _move(self, place: Place, row: int, nodes: int) -> None:
        """So many more nodes directly in `place` look so."""
        while row >= len(self.where):
            self.where.append({})
        there, places = place.looks.get(row, 0) + nodes, self.where[row]
        if there:
            if not places:
                self.looks.appears(row)
            place.looks[row] = places[place] = there
            return
        del place.looks[row], places[place]
        if not places:
            self.looks.vanishes(row)

    def _add_up(self, place: Place, more: Ints) -> None:
        if len(more) > self.sums.shape[1]:
            self._widen()
        self.sums[place.chain] += more

    def _widen(self) -> None:
        self.sums = np.pad(self.sums, ((0, 0), (0, self.looks.table.shape[1] - self.sums.shape[1])))

    def _fill(self, columns: range) -> None:
        """Columns that are new."""
        if self._listed is None:
            self._listed = [(place.index, row, nodes) for place in self.top.all for row, nodes in place.looks.items()]
        self._add_all(self._listed, columns)

    def _add_all(self, entries: Sequence[tuple[int, int, int]], columns: range) -> None:
        """(place, look, how many such nodes more directly in it), added up to the top."""
        if self.looks.table.shape[1] > self.sums.shape[1]:
            self._widen()
        if not entries:
            return
        places, rows, nodes = np.array(entries, dtype=np.int64).T
        found = np.zeros((len(self.sums), len(columns)), dtype=np.int64)
        np.add.at(found, places, self.looks.table[rows, columns.start : columns.stop] * nodes[:, None])
        for rank in range(len(self.by_rank) - 1):
            around = [place.parent.index for place in self.by_rank[rank] if place.parent is not None]
            np.add.at(found, around, found[self._first[rank] : self._first[rank + 1]])
        self.sums[:, columns.start : columns.stop] += found

    def _resources(self, amounts: Ints) -> Resources:
        return Resources({name: int(amounts[column]) for name, column in self.looks.names.items()})


def _by_name(of: Place | Domain) -> tuple[int, str]:
    return of.rank, of.example


_MARKS: tuple[tuple[Callable[[Place], object], Callable[[Domain], object]], ...] = (
    (lambda place: id(place.domain), id),  # what it is, or was before it changed
    (_by_name, _by_name),
    (lambda place: place.rank, lambda domain: domain.rank),
)


def _paired(place: Place, domain: Domain) -> list[tuple[Place, Domain]] | None:
    """Each place in here with one of the domains; None where they are not as many of each rank."""
    places = place.inner
    if not places and all(type(unit) is Bin for unit in domain.units):
        return []
    units = [unit for unit, count in domain.units.items() if isinstance(unit, Domain) for _ in range(count)]
    pairs: list[tuple[Place, Domain]] = []
    for mark_of_place, mark_of_unit in _MARKS:
        if not units and not places:
            break
        marked: dict[object, list[Place]] = {}
        for inside in reversed(places):
            marked.setdefault(mark_of_place(inside), []).append(inside)
        left: list[Domain] = []
        for unit in units:
            alike = marked.get(mark_of_unit(unit))
            if alike:
                pairs.append((alike.pop(), unit))
            else:
                left.append(unit)
        units, places = left, [inside for alike in marked.values() for inside in alike]
    return None if units or places else pairs
