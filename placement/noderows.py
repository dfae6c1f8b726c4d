"""A cluster's nodes as rows of arrays: what is free on them, whom they admit, and the state that each is in.

A state is all that packing tells nodes apart by. Equal nodes share one, so what was worked out for a state holds for
all of them. States that nobody is in are kept, since nodes come back to them, until there are several times as many
as nodes; then they are numbered anew, and `generation` says so.
"""

from __future__ import annotations

import heapq
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from placement.fragmentation import Floats, Fragmentation, Ints, Profile, States
from placement.inventory import Node
from placement.matching import admits
from placement.mix import Typical
from placement.profiles import cards_of, profile_of
from placement.resources import CPU, PODS
from placement.workload import NodeConstraint, Role

_CONSTRAINTS_KEPT = 64
_FEWEST_STATES_KEPT = 4096
_PARK_CHANGED = 0.05  # of the cards of one profile
_NO_LIMIT = float(1 << 40)
_NO_PROFILE = Profile(())

Bools = NDArray[np.bool_]
_Number = TypeVar("_Number", bound=np.generic)
_Looks = tuple[int, float, tuple[float, ...], tuple[int, ...]]


class NodeRows:
    """`count` rows, of which some may be empty: `nodes` has None there."""

    def __init__(self) -> None:
        self.nodes: list[Node | None] = []
        self.state: Ints = np.zeros(0, dtype=np.int64)
        self.generation = 0
        self._row_of: dict[str, int] = {}
        self._empty: list[int] = []
        self._free: dict[str, Floats] = {}
        self._largest_share: Floats = np.zeros(0)
        self._profile_at: list[Profile] = []
        self._admitting: dict[NodeConstraint, Bools] = {}
        self._profiles: dict[Profile, int] = {}
        self._park: list[float] = []  # by profile, thousandths of cards
        self._park_priced: list[float] = []
        self._counted: dict[str, int] = {}  # resources, by their column
        self._most_cards = 0
        self._states: dict[_Looks, int] = {}
        self._looks: list[_Looks] = []

    @property
    def count(self) -> int:
        return len(self.nodes)

    @property
    def states_known(self) -> int:
        return len(self._looks)

    # ---- nodes come, change and go ----

    def put(self, node: Node) -> None:
        row = self._row_of.get(node.name)
        if row is None:
            row = self._row_of[node.name] = heapq.heappop(self._empty) if self._empty else self._new_row()
        before, self.nodes[row] = self.nodes[row], node
        if before is None or before.labels is not node.labels or before.taints != node.taints:
            for constraint, mask in self._admitting.items():
                mask[row] = admits(constraint, node.labels, node.taints)
        if before is None or before.devices != node.devices or before.capacity != node.capacity:
            self._count_in_park(before, self._profile_at[row], -1)
            self._profile_at[row] = profile_of(node)
            self._count_in_park(node, self._profile_at[row], 1)
        self._put_amounts(node, row)
        if self.states_known > max(_FEWEST_STATES_KEPT, 4 * self.count):
            self._number_anew()

    def drop(self, name: str) -> None:
        row = self._row_of.pop(name, None)
        if row is None:
            return
        self._count_in_park(self.nodes[row], self._profile_at[row], -1)
        self.nodes[row] = None
        for amounts in self._free.values():
            amounts[row] = -1.0
        heapq.heappush(self._empty, row)

    def _new_row(self) -> int:
        row = len(self.nodes)
        self.nodes.append(None)
        self._profile_at.append(_NO_PROFILE)
        if row >= len(self.state):
            size = max(64, 2 * row)
            self.state = grown(self.state, size, 0)
            self._largest_share = grown(self._largest_share, size, 0.0)
            self._free = {name: grown(amounts, size, 0.0) for name, amounts in self._free.items()}
            self._admitting.clear()
        return row

    def _count_in_park(self, node: Node | None, profile: Profile, times: int) -> None:
        if node is None:
            return
        if profile not in self._profiles:
            self._profiles[profile] = len(self._profiles)
            self._park.append(0.0)
            for name, _ in profile.units:
                if name not in self._counted:
                    self._counted[name] = len(self._counted)
                    self._number_anew()
        self._park[self._profiles[profile]] += times * cards_of(profile, node)

    def _put_amounts(self, node: Node, row: int) -> None:
        for name in node.free:
            if name not in self._free:
                self._free[name] = np.zeros(len(self.state))
        for name, amounts in self._free.items():
            amounts[row] = node.free[name]
        if PODS not in node.capacity:
            self._free.setdefault(PODS, np.zeros(len(self.state)))[row] = _NO_LIMIT
        profile = self._profile_at[row]
        if profile.whole and node.gpus:
            whole = sum(gpu.healthy and gpu.free for gpu in node.gpus)
            self._free[profile.whole][row] = min(node.free[profile.whole], whole)
        shares = tuple(sorted(max(gpu.free_share, 0) for gpu in node.gpus if gpu.healthy)) if profile.share else ()
        if len(shares) > self._most_cards:
            self._most_cards = len(shares)
            self._number_anew()
        self._largest_share[row] = shares[-1] if shares else 0
        counts = tuple(float(self._free[name][row]) for name, _ in profile.units)
        self.state[row] = self._state((self._profiles[profile], float(node.free[CPU]), counts, shares))

    # ---- what is asked of them ----

    def fitting(self, role: Role) -> Bools | None:
        """By row, whether one pod of the role fits there now; None where no node has all that it asks for."""
        need = dict(role.requests)
        for device in role.devices:
            need[device.resource] = max(need.get(device.resource, 0), device.amount)
        need[PODS] = max(need.get(PODS, 0), 1)
        fits = self._admit(role.constraint)[: self.count].copy()
        for name, amount in need.items():
            free = self._free.get(name)
            if free is None:
                return None
            fits &= free[: self.count] >= amount
        for device in role.devices:
            if device.is_share:
                fits &= self._largest_share[: self.count] >= device.amount
        return fits

    def _admit(self, constraint: NodeConstraint) -> Bools:
        mask = self._admitting.pop(constraint, None)
        if mask is None:
            mask = np.zeros(len(self.state), dtype=np.bool_)
            for row, node in enumerate(self.nodes):
                mask[row] = node is not None and admits(constraint, node.labels, node.taints)
        self._admitting[constraint] = mask  # the last one used is the last one dropped
        if len(self._admitting) > _CONSTRAINTS_KEPT:
            del self._admitting[next(iter(self._admitting))]
        return mask

    # ---- states ----

    def states(self, indices: Ints) -> States:
        """What the states of these numbers are."""
        looks = [self._looks[index] for index in indices.tolist()]
        counts = np.zeros((len(looks), max(len(self._counted), 1)))
        cards = np.zeros((len(looks), self._most_cards))
        columns = [[self._counted[name] for name, _ in profile.units] for profile in self._profiles]
        for row, (profile, _, free, shares) in enumerate(looks):
            for column, amount in zip(columns[profile], free, strict=True):
                counts[row, column] = amount
            if shares:
                cards[row, self._most_cards - len(shares) :] = shares
        return States(
            profile=np.array([look[0] for look in looks], dtype=np.int64),
            cpu=np.array([look[1] for look in looks]),
            counts=counts,
            cards=cards,
        )

    def profile(self, row: int) -> Profile:
        return self._profile_at[row]

    def card_units(self, row: int, position: int) -> int:
        """What is free on the card at that position of the row's state."""
        shares = self._looks[self.state[row]][3]
        return shares[position - (self._most_cards - len(shares))]

    def _state(self, looks: _Looks) -> int:
        known = self._states.get(looks)
        if known is None:
            known = self._states[looks] = len(self._looks)
            self._looks.append(looks)
        return known

    def _number_anew(self) -> None:
        old = self._looks
        self._states, self._looks = {}, []
        self.generation += 1
        for row in self._row_of.values():
            if self.state[row] < len(old):
                self.state[row] = self._state(old[self.state[row]])

    # ---- prices ----

    @property
    def park_changed(self) -> bool:
        """Whether there are other profiles than those last priced, or notably more or fewer cards of one."""
        before = self._park_priced
        return len(before) != len(self._park) or any(
            abs(now - then) > _PARK_CHANGED * max(now, then) for now, then in zip(self._park, before, strict=True)
        )

    def fragmentation(self, typical: Typical) -> Fragmentation:
        self._park_priced = list(self._park)
        return Fragmentation(typical, list(self._profiles), self._park, self._counted)


def grown(values: NDArray[_Number], size: int, fill: float) -> NDArray[_Number]:
    """The same values in a longer array."""
    more = np.full(size, fill, dtype=values.dtype)
    more[: len(values)] = values
    return more
