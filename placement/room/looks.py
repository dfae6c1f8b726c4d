"""What nodes look like, one row each, and in columns what such a node adds up to: amounts, and pods that it holds.

All of it is worked out once: a placement changes how many nodes have a look, and hardly ever brings a new one. In which
order looks are the better fit (`bins.fit_key`) is kept as one number for each look, so that the best of those with room
is found by one pass over an array. The numbers leave gaps; a new look goes between its neighbours.
"""

from __future__ import annotations

from bisect import bisect_left
from math import inf

import numpy as np
from numpy.typing import NDArray

from placement.bins import Bin, FitKey, Spec, fit_key, held, is_scarce

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_ROWS_FIRST = 64
_COLUMNS_FIRST = 16
_MOST_CELLS = 2_000_000


def packed(key: tuple[int, ...]) -> int:
    """A `bins.FitKey` as one number, in the same order."""
    beside, wanted, cpu, memory = key
    return ((beside << 64 | wanted) << 64 | cpu) << 64 | memory


def is_beside(key: int) -> bool:
    """Whether something scarce would lie idle beside the pods."""
    return key >> 192 > 0


class Order:
    """Of the looks, for all specs that want the same resources."""

    def __init__(self, spec: Spec, beside: int, wanted: int) -> None:
        self.spec = spec  # one of them
        self.beside = beside  # columns: what is scarce and not wanted, and what is wanted, in sum
        self.wanted = wanted
        self.alike: dict[float, list[int]] = {}  # the rows of one number
        self.present: Floats = np.full(_ROWS_FIRST, inf)  # by row; infinite where no node looks like that now
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
        self.order_of: list[int] = []  # by spec
        self.column_of: list[int] = []  # by spec
        self.names: dict[str, int] = {}  # the column of each resource
        self.table: Ints = np.zeros((_ROWS_FIRST, _COLUMNS_FIRST), dtype=np.int64)
        self.pods: list[Ints] = []  # by spec what its column has, to be searched quickly
        self.columns = 0
        self._rows: dict[Bin, int] = {}
        self._spec_numbers: dict[Spec, int] = {}
        self._present: list[bool] = []
        self._after: dict[tuple[int, int, int], int] = {}

    def row(self, look: Bin) -> int:
        known = self._rows.get(look)
        return self._add_row(look) if known is None else known

    def number(self, spec: Spec) -> tuple[int, bool]:
        """By which `specs` and the like know it; and whether it is new."""
        known = self._spec_numbers.get(spec)
        return (self._add_spec(spec), True) if known is None else (known, False)

    def after(self, row: int, spec: int, pods: int) -> int:
        """The look of such a node once so many such pods are on it."""
        known = self._after.get((row, spec, pods))
        if known is None:
            known = self._after[row, spec, pods] = self.row(self.bins[row].less(self.specs[spec], pods))
        return known

    @property
    def crowded(self) -> bool:
        """With what may never be seen again: better begun anew."""
        return self.table.size > _MOST_CELLS or len(self._after) > _MOST_CELLS // 16

    def appears(self, row: int) -> None:
        self._present[row] = True
        for order in self.orders:
            order.appears(row)

    def vanishes(self, row: int) -> None:
        self._present[row] = False
        for order in self.orders:
            order.vanishes(row)

    def _add_row(self, look: Bin) -> int:
        row = self._rows[look] = len(self.bins)
        self.bins.append(look)
        self._present.append(False)
        if row >= len(self.table):
            self.table = np.pad(self.table, ((0, row), (0, 0)))
            self.pods = [np.pad(column, (0, row)) for column in self.pods]
        for name, amount in look.free.items():
            column = self._name(name)  # which may make the table another
            self.table[row, column] = amount
        for number, spec in enumerate(self.specs):
            if look.node_class in spec.classes:
                self.table[row, self.column_of[number]] = self.pods[number][row] = held(look, spec)
        for order in self.orders:
            self._sum_up(order, row)
            order.add(row, look, present=False)
        return row

    def _name(self, name: str) -> int:
        known = self.names.get(name)
        if known is None:
            known = self.names[name] = self._add_column()
        return known

    def _add_spec(self, spec: Spec) -> int:
        number = self._spec_numbers[spec] = len(self.specs)
        self.specs.append(spec)
        self.order_of.append(self._order_for(spec))
        column = self._add_column()
        self.column_of.append(column)
        self.table[: len(self.bins), column] = [held(look, spec) for look in self.bins]
        self.pods.append(self.table[:, column].copy())
        return number

    def _order_for(self, spec: Spec) -> int:
        for index, order in enumerate(self.orders):
            if order.spec.wants == spec.wants:
                return index
        made = Order(spec, self._add_column(), self._add_column())
        self.orders.append(made)
        for row, look in enumerate(self.bins):
            self._sum_up(made, row)
            made.add(row, look, present=self._present[row])
        return len(self.orders) - 1

    def _sum_up(self, order: Order, row: int) -> None:
        for name, amount in self.bins[row].free.items():
            if is_scarce(name):
                self.table[row, order.wanted if name in order.spec.wants else order.beside] += amount

    def _add_column(self) -> int:
        self.columns += 1
        if self.columns > self.table.shape[1]:
            self.table = np.pad(self.table, ((0, 0), (0, self.table.shape[1])))
        return self.columns - 1
