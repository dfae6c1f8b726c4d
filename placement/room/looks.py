"""What nodes look like, one row each, and how many pods of each spec such a node holds, one column each.

Both are worked out once: a placement changes how many nodes have a look, and hardly ever brings a new one. The order in
which looks are the better fit (`bins.fit_key`) is kept as one number for each look, so that the best of those that have
room is found by one pass over an array. The numbers leave gaps; a new look goes between its neighbours.
"""

from __future__ import annotations

from bisect import bisect_left
from math import inf

import numpy as np
from numpy.typing import NDArray

from placement.bins import Bin, FitKey, Spec, fit_key, held
from placement.resources import Resources

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_ROOM_FIRST = 64  # rows and columns


class Order:
    """Of the looks for all specs that want the same resources."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec  # one of them
        self.alike: dict[float, list[int]] = {}  # the rows of one number
        self.present: Floats = np.full(_ROOM_FIRST, inf)  # by row; infinite where no node looks like that now
        self._keys: list[FitKey] = []  # in order
        self._number: dict[FitKey, float] = {}
        self._row_numbers: list[float] = []

    def add(self, row: int, look: Bin, *, present: bool) -> None:
        key = fit_key(look, self.spec)
        number = self._number.get(key)
        if number is None:
            number = self._insert(key)
        self._row_numbers.append(number)
        self.alike.setdefault(number, []).append(row)
        if row >= len(self.present):
            self.present = np.append(self.present, np.full(len(self.present), inf))
        if present:
            self.present[row] = number

    def appears(self, row: int) -> None:
        self.present[row] = self._row_numbers[row]

    def vanishes(self, row: int) -> None:
        self.present[row] = inf

    def _insert(self, key: FitKey) -> float:
        at = bisect_left(self._keys, key)
        below = self._number[self._keys[at - 1]] if at else None
        above = self._number[self._keys[at]] if at < len(self._keys) else None
        if below is None:
            made = 0.0 if above is None else above - 1.0
        else:
            made = below + 1.0 if above is None else (below + above) / 2
        if made in (below, above):  # no gap is left
            self._renumber()
            return self._insert(key)
        self._keys.insert(at, key)
        self._number[key] = made
        return made

    def _renumber(self) -> None:
        fresh = {self._number[key]: float(at) for at, key in enumerate(self._keys)}
        self._number = {key: float(at) for at, key in enumerate(self._keys)}
        self.alike = {fresh[number]: rows for number, rows in self.alike.items()}
        self._row_numbers = [fresh[number] for number in self._row_numbers]
        for row, number in enumerate(self._row_numbers):
            if self.present[row] != inf:
                self.present[row] = number


class Looks:
    """Of one cluster, whatever was seen of it so far."""

    def __init__(self) -> None:
        self.bins: list[Bin] = []
        self.specs: list[Spec] = []
        self.orders: list[Order] = []
        self.order_of: list[int] = []  # by column
        # Kept twice: by look to add up, by spec to search.
        self.pods: Ints = np.zeros((_ROOM_FIRST, _ROOM_FIRST), dtype=np.int64)
        self.pods_by_spec: Ints = np.zeros((_ROOM_FIRST, _ROOM_FIRST), dtype=np.int64)
        self.present: list[bool] = []
        self.free: Ints = np.zeros((_ROOM_FIRST, 8), dtype=np.int64)  # by row and resource
        self.names: dict[str, int] = {}
        self._rows: dict[Bin, int] = {}
        self._columns: dict[Spec, int] = {}
        self._after: dict[tuple[int, int, int], int] = {}

    def row(self, look: Bin) -> int:
        known = self._rows.get(look)
        return self._add_row(look) if known is None else known

    def column(self, spec: Spec) -> tuple[int, bool]:
        """And whether it is new."""
        known = self._columns.get(spec)
        return (self._add_column(spec), True) if known is None else (known, False)

    def after(self, row: int, column: int, pods: int) -> int:
        """The look of such a node once so many such pods are on it."""
        known = self._after.get((row, column, pods))
        if known is None:
            known = self._after[row, column, pods] = self.row(self.bins[row].less(self.specs[column], pods))
        return known

    def appears(self, row: int) -> None:
        self.present[row] = True
        for order in self.orders:
            order.appears(row)

    def vanishes(self, row: int) -> None:
        self.present[row] = False
        for order in self.orders:
            order.vanishes(row)

    def order_for(self, spec: Spec) -> int:
        for index, order in enumerate(self.orders):
            if order.spec.wants == spec.wants:
                return index
        made = Order(spec)
        self.orders.append(made)
        for row, look in enumerate(self.bins):
            made.add(row, look, present=self.present[row])
        return len(self.orders) - 1

    def amounts(self, of: Resources) -> Ints:
        """As a row of `free`; every name is a column from then on."""
        for name in of:
            self._name(name)
        made = np.zeros(self.free.shape[1], dtype=np.int64)
        for name, amount in of.items():
            made[self.names[name]] = amount
        return made

    def _name(self, name: str) -> None:
        if name not in self.names:
            self.names[name] = len(self.names)
            if len(self.names) > self.free.shape[1]:
                self.free = np.pad(self.free, ((0, 0), (0, self.free.shape[1])))

    def _add_row(self, look: Bin) -> int:
        row = self._rows[look] = len(self.bins)
        self.bins.append(look)
        self.present.append(False)
        if row >= len(self.pods):
            self.pods = np.pad(self.pods, ((0, row), (0, 0)))
            self.pods_by_spec = np.pad(self.pods_by_spec, ((0, 0), (0, row)))
            self.free = np.pad(self.free, ((0, row), (0, 0)))
        self.free[row] = self.amounts(look.free)
        for column, spec in enumerate(self.specs):
            if look.node_class in spec.classes:
                self.pods[row, column] = self.pods_by_spec[column, row] = held(look, spec)
        for order in self.orders:
            order.add(row, look, present=False)
        return row

    def _add_column(self, spec: Spec) -> int:
        column = self._columns[spec] = len(self.specs)
        self.specs.append(spec)
        self.order_of.append(self.order_for(spec))
        if column >= self.pods.shape[1]:
            self.pods = np.pad(self.pods, ((0, 0), (0, column)))
            self.pods_by_spec = np.pad(self.pods_by_spec, ((0, column), (0, 0)))
        counts = [held(look, spec) for look in self.bins]
        self.pods[: len(counts), column] = self.pods_by_spec[column, : len(counts)] = counts
        return column
