"""Amounts of named resources, as Kubernetes counts them, in whole units.

CPU is in milli-cores (`cpu`), memory and ephemeral storage in MiB (`memory`, `ephemeral-storage`), everything else
(`nvidia.com/gpu`, `rdma/hca`, `pods` …) in units. Requests are rounded up and free amounts down where they are read,
so that comparing two vectors never promises what is not there.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from typing import Any

CPU = "cpu"
MEMORY = "memory"
PODS = "pods"


class Resources(Mapping[str, int]):
    """An immutable, hashable vector; a name that is absent counts as zero, and zeros are not kept."""

    __slots__ = ("_amounts", "_hash")

    def __init__(self, amounts: Mapping[str, int] | None = None) -> None:
        self._amounts: dict[str, int] = {k: v for k, v in (amounts or {}).items() if v}
        self._hash: int | None = None

    def __getitem__(self, name: str) -> int:
        return self._amounts.get(name, 0)

    def get(self, name: str, default: Any = 0) -> Any:
        return self._amounts.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._amounts

    def __iter__(self) -> Iterator[str]:
        return iter(self._amounts)

    def __len__(self) -> int:
        return len(self._amounts)

    def items(self) -> ItemsView[str, int]:
        return self._amounts.items()  # Mapping's own asks for each amount anew

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._amounts.items()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resources) and self._amounts == other._amounts

    def __repr__(self) -> str:
        return f"Resources({dict(sorted(self._amounts.items()))})"

    def __add__(self, other: Resources) -> Resources:
        total = dict(self._amounts)
        for name, amount in other._amounts.items():
            total[name] = total.get(name, 0) + amount
        return Resources(total)

    def __sub__(self, other: Resources) -> Resources:
        """May go below zero: callers that must not, ask `covers` first."""
        return self.less(other._amounts)

    def less(self, amounts: Mapping[str, int]) -> Resources:
        """The same, without these amounts in a vector of their own."""
        rest = self._amounts.copy()
        for name, amount in amounts.items():
            left = rest.get(name, 0) - amount
            if left:
                rest[name] = left
            else:
                rest.pop(name, None)
        return _without_zeros(rest)

    def __mul__(self, times: int) -> Resources:
        if not times:
            return Resources()
        return _without_zeros({name: amount * times for name, amount in self._amounts.items()})

    def covers(self, need: Resources) -> bool:
        return all(self._amounts.get(name, 0) >= amount for name, amount in need._amounts.items())

    def copies_of(self, need: Resources, at_most: int) -> int:
        """How many pods that each ask `need` fit here, `at_most` at the most."""
        fit, free = at_most, self._amounts
        for name, amount in need._amounts.items():
            if amount > 0:
                here = free.get(name, 0) // amount
                if here < fit:
                    fit = here
        return max(fit, 0)


def _without_zeros(amounts: dict[str, int]) -> Resources:
    """`amounts` itself, which has none and is nobody else's: vectors are made all the time."""
    made = Resources.__new__(Resources)
    made._amounts, made._hash = amounts, None
    return made


def amount_in_words(resource: str, amount: int) -> str:
    """As people count it: "1.5 cores", "64 GiB", "8"."""
    if resource == CPU:
        return f"{amount / 1000:g} cores"
    if resource in (MEMORY, "ephemeral-storage"):
        return f"{amount / 1024:.4g} GiB"
    return str(amount)
