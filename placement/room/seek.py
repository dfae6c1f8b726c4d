"""Where identical pods go: the very choice of `packing.place` and `packing.spread`, found in a `Grid`.

The tightest rank that holds them all, in it the best fit; ties by value, and then by name. What holds them all though
none of its parts does is filled part by part, over as few as can be, the last by best fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from placement.bins import HOST_RANK, canon, fit_key, held
from placement.room.grid import Change, Grid, Place
from placement.room.looks import is_beside, packed


class Found(NamedTuple):
    """`rank`: of the tightest unit that holds all; `place` is that unit, or the one that its node lies in."""

    place: Place
    rank: int
    changes: tuple[Change, ...]


# A node that looks like `row`, directly in the place; or the place itself, with row -1.
_Spot = tuple[Place, int]
_ITSELF = -1


class _Way(NamedTuple):
    """From the unit that is sought upwards."""

    spot: _Spot
    keys: tuple[int, ...]
    places: tuple[Place, ...]


@dataclass(slots=True, eq=False)
class _Part:
    """Equal units of a place that is being filled: nodes of one look, or places."""

    order: tuple[bool, int]  # the largest first, but rather one where nothing scarce lies idle beside the pods
    key: int
    held: int  # by each
    count: int
    spots: list[_Spot]  # one for all nodes, one for each place


class Seeker:
    """Of room for pods of one spec (by its number among the grid's). It changes nothing."""

    def __init__(self, grid: Grid, spec: int) -> None:
        self._grid = grid
        self._looks = grid.looks
        self._number = spec
        self._spec = grid.looks.specs[spec]
        self._order = grid.looks.order_of[spec]

    def find(self, pods: int, ceiling: int) -> Found | None:
        """Room for the pods inside one unit of rank `ceiling`, or None."""
        top = self._grid.top
        if self._holds(top) < pods:
            return None
        node = self._best_node(pods, ceiling)
        if node is not None:
            return Found(node[0], HOST_RANK, (self._onto(node, pods, 1),))
        for rank in range(1, min(ceiling, top.rank - 1) + 1):
            place = self._best_place(pods, rank, ceiling)
            if place is not None:
                return Found(place, rank, tuple(self._across(place, pods)))
        return Found(top, top.rank, tuple(self._across(top, pods))) if ceiling >= top.rank else None

    # ---- the best fit ----

    def _best_node(self, pods: int, ceiling: int) -> _Spot | None:
        order = self._looks.orders[self._order]
        numbers = np.where(self._looks.pods[self._number] >= pods, order.present, inf)
        while (least := numbers[numbers.argmin()]) != inf:
            rows = order.alike[float(least)]
            if len(rows) > 1:
                rows = [row for row in rows if numbers[row] != inf]
            best = self._best_of_looks([(row, self._with_look(row, ceiling)) for row in rows], self._grid.top)
            if best is not None:
                return best
            numbers[numbers == least] = inf
        return None

    def _best_of_looks(self, looks: Sequence[tuple[int, Sequence[Place]]], top: Place) -> _Spot | None:
        """Of nodes that are as good a fit as each other, and where they are: first for each look, then among these."""
        best: _Way | None = None
        for row, places in looks:
            spot = (places[0], row) if len(places) == 1 else self._best([(place, row) for place in places], top)
            if len(looks) == 1:
                return spot
            if spot is not None:
                way = self._way(spot, top)
                best = way if best is None or self._is_better(way, best) else best
        return best.spot if best else None

    def _with_look(self, row: int, ceiling: int) -> Sequence[Place]:
        """Those that may be the best."""
        if self._grid.even and self._is_free(ceiling):
            return self._grid.nearest(row, self._order)
        return self._allowed([*self._grid.where[row]], ceiling)

    def _best_place(self, pods: int, rank: int, ceiling: int) -> Place | None:
        places = self._grid.by_rank[rank]
        enough = np.flatnonzero(self._grid.held(rank, self._number) >= pods).tolist()
        allowed = self._allowed([places[at] for at in enough], ceiling)
        spot = self._best([(place, _ITSELF) for place in allowed], self._grid.top)
        return spot[0] if spot else None

    def _is_free(self, ceiling: int) -> bool:
        return ceiling in (HOST_RANK, self._grid.top.rank)

    def _allowed(self, places: Sequence[Place], ceiling: int) -> Sequence[Place]:
        if self._is_free(ceiling):
            return places
        return [place for place in places if place.ranks >> ceiling & 1]

    def _best(self, spots: list[_Spot], top: Place) -> _Spot | None:
        """Of places, or of nodes of one look, the one whose keys, from it upwards to below `top`, are the least."""
        if len(spots) < 2:
            return spots[0] if spots else None
        if not self._grid.even:
            return self._winner(spots, top)
        # All are as deep as each other: first by their own places, then by those around them, as far as these differ.
        around = [place for place, _ in spots]
        while len(spots) > 1 and len({*around}) > 1:
            keys = [self._key(place) for place in around]
            least = min(keys)
            if keys.count(least) < len(keys):
                spots = [spot for spot, key in zip(spots, keys, strict=True) if key == least]
                around = [place for place, key in zip(around, keys, strict=True) if key == least]
            around = [place.parent or place for place in around]
        return spots[0] if len(spots) == 1 else min(spots, key=lambda spot: self._tie(self._way(spot, around[0])))

    def _winner(self, spots: list[_Spot], top: Place) -> _Spot | None:
        """Where some lie deeper than others: place by place upwards, each keeps its best."""
        best: dict[Place, _Way] = {}
        for spot in spots:
            self._keep(best, spot[0] if spot[1] != _ITSELF else _parent(spot[0]), self._begin(spot))
        while len(best) > 1 or top not in best:
            deepest = max(best, key=lambda place: len(place.chain))
            way = best.pop(deepest)
            self._keep(best, _parent(deepest), self._lift(way, deepest))
        return best[top].spot

    def _keep(self, best: dict[Place, _Way], place: Place, way: _Way) -> None:
        known = best.get(place)
        if known is None or self._is_better(way, known):
            best[place] = way

    def _way(self, spot: _Spot, top: Place) -> _Way:
        way = self._begin(spot)
        place = spot[0] if spot[1] != _ITSELF else _parent(spot[0])
        while place is not top:
            way, place = self._lift(way, place), _parent(place)
        return way

    def _begin(self, spot: _Spot) -> _Way:
        place, row = spot
        if row == _ITSELF:
            return _Way(spot, (self._key(place),), (place,))
        return _Way(spot, (packed(fit_key(self._looks.bins[row], self._spec)),), ())

    def _lift(self, way: _Way, place: Place) -> _Way:
        return _Way(way.spot, (*way.keys, self._key(place)), (*way.places, place))

    def _is_better(self, one: _Way, other: _Way) -> bool:
        """As `bins` has it: by what is sought, then by how deep it lies, then by the keys upwards."""
        mine, yours = one.keys, other.keys
        if mine[0] != yours[0]:
            return mine[0] < yours[0]
        if len(mine) != len(yours):
            return len(mine) < len(yours)
        return mine < yours or (mine == yours and self._tie(one) < self._tie(other))

    def _tie(self, way: _Way) -> tuple[Any, ...]:
        row = way.spot[1]
        marks = [canon(self._looks.bins[row])] if row != _ITSELF else []
        marks += [canon(self._grid.as_domain(place)) for place in way.places]
        return *([mark[side] for mark in marks] for side in (0, 1)), [place.example for place in way.places]

    def _key(self, place: Place) -> int:
        return place.keys.get(self._order) or self._grid.key(place, self._order)

    # ---- filling ----

    def _onto(self, spot: _Spot, pods: int, nodes: int) -> Change:
        place, row = spot
        return Change(place, row, self._looks.after(row, self._number, pods), nodes, pods)

    def _across(self, place: Place, pods: int) -> list[Change]:
        """Over several units of the place, because none of them holds it all."""
        parts = self._parts(place)
        changes: list[Change] = []
        while pods:
            if enough := [part for part in parts if part.held >= pods]:
                changes += self._into(self._smallest(enough).spots[0], pods)
                break
            self._settle_first(parts)
            part = parts[0]
            times = min(part.count, pods // part.held)
            for spot in part.spots[:times]:
                changes += self._full(spot, times)
            pods -= part.held * times
            part.count -= times
            if part.spots[0][1] == _ITSELF:
                del part.spots[:times]
            if not part.count:
                del parts[0]
        return changes

    def _into(self, spot: _Spot, pods: int) -> list[Change]:
        place, row = spot
        if row != _ITSELF:
            return [self._onto(spot, pods, 1)]
        looks: dict[int, list[Place]] = {}
        for inside in place.all:
            for row in inside.looks:
                if self._held(row) >= pods:
                    looks.setdefault(row, []).append(inside)
        if looks:
            keys = {row: fit_key(self._looks.bins[row], self._spec) for row in looks}
            least = min(keys.values())
            node = self._best_of_looks([(row, at) for row, at in looks.items() if keys[row] == least], place)
            assert node is not None  # noqa: S101  there are some
            return [self._onto(node, pods, 1)]
        for rank in range(1, place.rank):
            inner = [(inside, _ITSELF) for inside in place.all if inside.rank == rank and self._holds(inside) >= pods]
            if (found := self._best(inner, place)) is not None:
                return self._across(found[0], pods)
        return self._across(place, pods)

    def _full(self, spot: _Spot, times: int) -> list[Change]:
        """All that the place holds; or `times` such nodes, as much as each holds."""
        place, row = spot
        if row != _ITSELF:
            return [self._onto(spot, self._held(row), times)]
        return [
            self._onto((inside, row), self._held(row), nodes)
            for inside in place.all
            for row, nodes in inside.looks.items()
            if self._held(row)
        ]

    def _parts(self, place: Place) -> list[_Part]:
        parts = []
        for row, nodes in place.looks.items():
            if each := self._held(row):
                key = packed(fit_key(self._looks.bins[row], self._spec))
                parts.append(_Part((is_beside(key), -each), key, each, nodes, [(place, row)]))
        for inside in place.inner:
            if each := self._holds(inside):
                key = self._key(inside)
                parts.append(_Part((is_beside(key), -each), key, each, 1, [(inside, _ITSELF)]))
        return sorted(parts, key=attrgetter("order", "key"))

    def _smallest(self, parts: Sequence[_Part]) -> _Part:
        least = min(part.key for part in parts)
        tied = [part for part in parts if part.key == least]
        return tied[0] if len(tied) == 1 else min(tied, key=self._tie_of_part)

    def _settle_first(self, parts: list[_Part]) -> None:
        """Brings those that are as large as the first into order, equal ones together."""
        first = parts[0]
        tied = [part for part in parts if part.order == first.order and part.key == first.key]
        if len(tied) == 1:
            return
        tied.sort(key=self._tie_of_part)
        together = [tied[0]]
        for part in tied[1:]:
            if self._tie_of_part(part)[:2] == self._tie_of_part(together[-1])[:2]:
                together[-1].count += part.count
                together[-1].spots += part.spots
            else:
                together.append(part)
        parts[: len(tied)] = together

    def _tie_of_part(self, part: _Part) -> tuple[Any, ...]:
        place, row = part.spots[0]
        if row != _ITSELF:
            return *canon(self._looks.bins[row]), ""
        return *canon(self._grid.as_domain(place)), place.example

    def _held(self, row: int) -> int:
        return held(self._looks.bins[row], self._spec)

    def _holds(self, place: Place) -> int:
        return self._grid.holds(place, self._number)


def _parent(place: Place) -> Place:
    assert place.parent is not None  # noqa: S101  the search begins below the top
    return place.parent
