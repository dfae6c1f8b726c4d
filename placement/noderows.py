"""A cluster's nodes as rows of arrays: what is free on them, whom they admit, and the state that each is in.

A state is all that packing tells nodes apart by. Equal nodes share one, so what was worked out for a state holds for
all of them. States that nobody is in are kept, since nodes come back to them, until there are several times as many
as nodes; then they are numbered anew, and `generation` says so.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from placement.fragmentation import Fragmentation, Ints, Layout, Park, Profile, States
from placement.inventory import Node
from placement.matching import admits
from placement.mix import Typical
from placement.offcuts import WHOLE
from placement.profiles import cards_of, profile_of
from placement.resources import CPU, PODS
from placement.workload import NodeConstraint, Role

_CONSTRAINTS_KEPT = 64
_FEWEST_STATES_KEPT = 4096
_PARK_CHANGED = 0.05  # of the cards of one profile
_NO_LIMIT = 1 << 40
_NO_PROFILE = Profile(())
_LARGEST_SHARE = ""  # a resource of its own: what is free on the card with the most

Bools = NDArray[np.bool_]
_Number = TypeVar("_Number", bound=np.generic)
_Looks = tuple[int, int, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Need:
    """What one pod asks of a node: of each resource the least that must be free."""

    names: tuple[str, ...]
    least: Ints
    share: int  # units of one card; the last of `least` where it is not 0
    constraint: NodeConstraint

    @property
    def amounts(self) -> list[tuple[str, int]]:
        return [pair for pair in zip(self.names, self.least.tolist(), strict=True) if pair[0] != _LARGEST_SHARE]


def need_of(role: Role) -> Need:
    """`requests` holds the devices already; they are asked again so that a forgotten one is not given away."""
    amounts = dict(role.requests.items())
    for device in role.devices:
        amounts[device.resource] = max(amounts.get(device.resource, 0), device.amount)
    amounts[PODS] = max(amounts.get(PODS, 0), 1)
    share = sum(device.amount for device in role.devices if device.is_share)
    if share:
        amounts[_LARGEST_SHARE] = share
    return Need(tuple(amounts), np.array(list(amounts.values()), dtype=np.int64), share, role.constraint)


class NodeRows:
    """`count` rows, of which some may be empty: `nodes` has None there."""

    def __init__(self) -> None:
        self.nodes: list[Node | None] = []
        self.state: Ints = np.zeros(0, dtype=np.int64)
        self.version: Ints = np.zeros(0, dtype=np.int64)  # by row, the number of the change that it had last
        self.changes = 0
        self.generation = 0
        self._row_of: dict[str, int] = {}
        self._empty: list[int] = []
        self._names: dict[str, int] = {}  # resources, by their column in `_free`
        self._asked: dict[tuple[str, ...], Ints] = {}  # columns of what is asked for together
        self._free: Ints = np.zeros((0, 0), dtype=np.int64)
        self._profile_at: list[Profile] = []
        self._admitting: dict[NodeConstraint, Bools] = {}
        self._profiles: dict[Profile, int] = {}
        self._park: list[float] = []  # by profile, thousandths of cards
        self._park_priced: list[float] = []
        self._park_touched = True
        self._layout_priced: Layout | None = None
        self._most_cards = 0
        self._most_units: dict[str, int] = {}
        self._profile_list: list[Profile] = []
        self._layout = Layout((), {})
        self._layout_changed = False
        self._numbers: dict[_Looks, int] = {}
        self.states = _no_states(1, 0)  # by number; beyond `states_known` they mean nothing

    @property
    def count(self) -> int:
        return len(self.nodes)

    @property
    def states_known(self) -> int:
        return len(self._numbers)

    # ---- nodes come, change and go ----

    def put(self, node: Node) -> None:
        row = self._row_of.get(node.name)
        if row is None:
            row = self._row_of[node.name] = heapq.heappop(self._empty) if self._empty else self._new_row()
        before, self.nodes[row] = self.nodes[row], node
        if before is None or before.labels is not node.labels or before.taints != node.taints:
            for constraint, mask in self._admitting.items():
                mask[row] = admits(constraint, node.labels, node.taints)
        if before is None or _has_other_devices(before, node):
            self._count_in_park(before, self._profile_at[row], -1)
            self._profile_at[row] = profile_of(node)
            self._count_in_park(node, self._profile_at[row], 1)
        if self._layout_changed:
            self._number_anew()
        self._put_amounts(node, row)
        self._note_change(row)
        if self.states_known > max(_FEWEST_STATES_KEPT, 4 * self.count):
            self._number_anew()

    def drop(self, name: str) -> None:
        row = self._row_of.pop(name, None)
        if row is None:
            return
        self._count_in_park(self.nodes[row], self._profile_at[row], -1)
        self.nodes[row] = None
        self._free[row] = -1
        for mask in self._admitting.values():
            mask[row] = False
        self._note_change(row)
        heapq.heappush(self._empty, row)

    def _note_change(self, row: int) -> None:
        self.changes += 1
        self.version[row] = self.changes

    def _new_row(self) -> int:
        row = len(self.nodes)
        self.nodes.append(None)
        self._profile_at.append(_NO_PROFILE)
        if row >= len(self.state):
            size = max(64, 2 * row)
            self.state, self.version = grown(self.state, size, 0), grown(self.version, size, 0)
            self._free = grown(self._free, size, 0)
            self._admitting.clear()
        return row

    def _count_in_park(self, node: Node | None, profile: Profile, times: int) -> None:
        if node is None:
            return
        if profile not in self._profiles:
            self._profiles[profile] = len(self._profiles)
            self._park.append(0.0)
            self._layout_changed = True
        for name, _ in profile.units:
            if node.capacity[name] > self._most_units.get(name, 0):
                self._most_units[name] = node.capacity[name]
                self._layout_changed = True
        self._park_touched = True
        self._park[self._profiles[profile]] += times * cards_of(profile, node)

    def _put_amounts(self, node: Node, row: int) -> None:
        free = dict(node.free.items())
        profile = self._profile_at[row]
        shares: tuple[int, ...] = ()
        if node.gpus:
            healthy = [gpu for gpu in node.gpus if gpu.healthy]
            if profile.whole:
                whole = sum([gpu.free for gpu in healthy])
                free[profile.whole] = min(free.get(profile.whole, 0), whole)
            if profile.share:
                shares = tuple(sorted([gpu.free_share for gpu in healthy]))
                free[_LARGEST_SHARE] = shares[-1] if shares else 0
        if PODS not in node.capacity:
            free[PODS] = _NO_LIMIT
        if not self._names.keys() >= free.keys():
            self._names |= {name: len(self._names) + i for i, name in enumerate(sorted(free.keys() - self._names))}
            self._free = np.pad(self._free, ((0, 0), (0, len(self._names) - self._free.shape[1])))
        self._free[row] = [free.get(name, 0) for name in self._names]
        if len(shares) > self._most_cards:
            self._most_cards = len(shares)
            self._number_anew()
        counts = tuple([max(free.get(name, 0), 0) for name, _ in profile.units])
        self.state[row] = self._state((self._profiles[profile], free.get(CPU, 0), counts, shares))

    # ---- what is asked of them ----

    def fitting(self, need: Need, rows: Ints) -> Bools:
        """Of these rows, which have room for one such pod now."""
        columns = self._columns_asked(need)
        if columns is None:
            return np.zeros(len(rows), dtype=np.bool_)
        enough = self._free.take(rows, axis=0).take(columns, axis=1) >= need.least
        fits = np.logical_and.reduce(enough, axis=1)
        fits &= self._admit(need.constraint).take(rows)
        return np.asarray(fits)

    def _columns_asked(self, need: Need) -> Ints | None:
        """None where no node has ever had something that is asked for."""
        known = self._asked.get(need.names)
        if known is None:
            if any(name not in self._names for name in need.names):
                return None
            known = self._asked[need.names] = np.array([self._names[name] for name in need.names], dtype=np.int64)
        return known

    def free_on_admitting(self, need: Need) -> Mapping[str, int]:
        """What is free in sum on the nodes that admit such a pod, of each resource that it asks for."""
        rows = np.nonzero(self._admit(need.constraint)[: self.count])[0]
        sums = np.maximum(self._free[rows], 0).sum(axis=0)
        return {name: int(sums[self._names[name]]) if name in self._names else 0 for name, _ in need.amounts}

    def would_hold(self, need: Need) -> bool:
        """Whether any node would have room for such a pod if nothing ran on it."""
        for row, (node, admitted) in enumerate(zip(self.nodes, self._admit(need.constraint), strict=False)):
            if node is not None and admitted and need.share <= self._profile_at[row].card_units:
                capacity = node.capacity
                if all(capacity[name] >= n for name, n in need.amounts if name != PODS or PODS in capacity):
                    return True
        return False

    def _admit(self, constraint: NodeConstraint) -> Bools:
        mask = self._admitting.get(constraint)
        if mask is None:
            mask = np.zeros(len(self.state), dtype=np.bool_)
            for row, node in enumerate(self.nodes):
                mask[row] = node is not None and admits(constraint, node.labels, node.taints)
            if len(self._admitting) >= _CONSTRAINTS_KEPT:
                del self._admitting[next(iter(self._admitting))]
            self._admitting[constraint] = mask
        return mask

    # ---- states ----

    def profile(self, row: int) -> Profile:
        return self._profile_at[row]

    def card_units(self, row: int, position: int) -> int:
        """What is free on the card at that position of the row's state."""
        return int(self.states.cards[self.state[row], position])

    def _state(self, looks: _Looks) -> int:
        known = self._numbers.get(looks)
        if known is None:
            known = self._numbers[looks] = len(self._numbers)
            self._write(looks, known)
        return known

    def _write(self, looks: _Looks, index: int) -> None:
        if index >= len(self.states.cpu):
            self.states = _longer(self.states, 2 * index + 64)
        arrays, (number, cpu, counts, shares) = self.states, looks
        profile = self._profile_list[number]
        arrays.profile[index], arrays.cpu[index] = number, cpu
        free = sum([milli * count for (_, milli), count in zip(profile.units, counts, strict=True)]) / WHOLE
        arrays.free_cards[index] = free if profile.whole or not shares else free + shares.count(profile.card_units)
        arrays.rows[index] = self._layout.rows(profile, counts, shares, self._most_cards)
        if self._most_cards:
            arrays.cards[index] = (0,) * (self._most_cards - len(shares)) + shares

    def _number_anew(self) -> None:
        """Every state gets another number, in arrays that have room for all columns."""
        old = {index: looks for looks, index in self._numbers.items()}
        self._numbers = {}
        self._profile_list = list(self._profiles)
        if self._layout_changed:
            self._layout = Layout(self._profile_list, self._most_units)
        self.states = _no_states(self._layout.width(self._most_cards), self._most_cards)
        self._layout_changed = False
        self.generation += 1
        for row in self._row_of.values():
            looks = old.get(int(self.state[row]))
            if looks is not None:
                self.state[row] = self._state(looks)

    # ---- prices ----

    @property
    def park_changed(self) -> bool:
        """Whether there are other profiles than those last priced, or notably more or fewer cards of one."""
        if self._park_touched:
            before = self._park_priced
            self._park_touched = (
                self._layout is not self._layout_priced
                or len(before) != len(self._park)
                or any(abs(a - b) > _PARK_CHANGED * max(a, b) for a, b in zip(self._park, before, strict=True))
            )
        return self._park_touched

    def fragmentation(self, typical: Typical) -> Fragmentation:
        self._park_touched = False
        self._park_priced, self._layout_priced = list(self._park), self._layout
        cards = dict(zip(self._profiles, self._park, strict=True))
        return Fragmentation(typical, Park(cards, self._most_units, self._layout))


def _no_states(rows: int, cards: int) -> States:
    return States(
        profile=np.zeros(0, dtype=np.int64),
        cpu=np.zeros(0),
        free_cards=np.zeros(0),
        cards=np.zeros((0, cards), dtype=np.int64),
        rows=np.zeros((0, rows), dtype=np.int64),
    )


def _longer(states: States, size: int) -> States:
    return States(
        grown(states.profile, size, 0),
        grown(states.cpu, size, 0),
        grown(states.free_cards, size, 0),
        grown(states.cards, size, 0),
        grown(states.rows, size, 0),
    )


def _has_other_devices(one: Node, other: Node) -> bool:
    alike = one.devices is other.devices and one.capacity is other.capacity and len(one.gpus) == len(other.gpus)
    return not alike and (one.devices, one.capacity, len(one.gpus)) != (other.devices, other.capacity, len(other.gpus))


def grown(values: NDArray[_Number], size: int, fill: float) -> NDArray[_Number]:
    """The same values in a longer array."""
    more = np.full((size, *values.shape[1:]), fill, dtype=values.dtype)
    more[: len(values)] = values
    return more
