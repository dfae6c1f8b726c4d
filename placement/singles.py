"""Where a pod that belongs to no gang goes: the node, and the card, where it adds least to fragmentation.

Nodes are rows of arrays. What the pods of one kind would cost is remembered per *state* (what a node has and what is
left of it), so equal nodes are looked at once, and the next pod of that kind costs by the states that are new since the
last one, plus one sweep over the rows. Among rows that cost the same within `_STEP` the first wins: nodes that came
first fill up first, and the later ones stay whole.

The pods that room is kept for are the caller's `Mix`; it is taken over again when it has changed by `_DRIFT`, or as
soon as it was told for good with `keep_to`. Labels, taints and every resource are hard conditions. What has no index
(MIG, time slices) is counted only: the device plugin chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from placement import cards, mix
from placement.fragmentation import Floats, Fragmentation, Ints, States
from placement.inventory import Node
from placement.mix import Ask, Mix, Typical, ask_of
from placement.noderows import NodeRows, grown
from placement.workload import Role

_STEP = 0.03  # cards: a smaller difference decides nothing
_DRIFT = 0.1
_LOOK_EVERY = 64  # pods that were noted: so often is asked whether the mix has changed
_ASKS_KEPT = 512


@dataclass(frozen=True, slots=True)
class Seat:
    """A node, and the indices of the cards there; () where none has an index."""

    node: str
    gpus: tuple[int, ...]


class Singles:
    """The nodes of one cluster. `find` answers a node as it is now, None where it is none any more.

    `changed` must be told the name of every node that is not what it was.
    """

    def __init__(self, find: Callable[[str], Node | None], seen: Mix) -> None:
        self._find = find
        self._mix = seen
        self._rows = NodeRows()
        self._stale: dict[str, None] = {}
        self._looked_at = -1.0
        self._used: dict[Ask, float] = {}
        self._known: Typical | None = None
        self._prices: _Prices | None = None

    def changed(self, name: str) -> None:
        self._stale[name] = None

    def keep_to(self, typical: Typical) -> None:
        """These are the pods to keep room for, whatever is seen."""
        self._known, self._prices = typical, None

    def seat(self, role: Role) -> Seat | None:
        """For one pod of the role; None where no single node has room for it."""
        self._refresh()
        rows = self._rows
        fits = rows.fitting(role)
        if fits is None or not fits.any():
            return None
        ask = ask_of(role)
        gains, positions = self._priced().of(ask, rows)
        steps = np.where(fits, np.floor(gains / _STEP), -np.inf)
        row = int(steps.argmax())
        if steps[row] == -np.inf:
            return None
        node = rows.nodes[row]
        assert node is not None  # noqa: S101  a row without a node fits nothing
        return Seat(node.name, _cards(node, role, rows, row, int(positions[row])))

    def _refresh(self) -> None:
        for name in self._stale:
            node = self._find(name)
            if node is None or not node.ready:
                self._rows.drop(name)
            else:
                self._rows.put(node)
        self._stale.clear()

    def _priced(self) -> _Prices:
        prices = self._prices
        if prices is None or self._rows.park_changed or (self._known is None and self._drifted()):
            if self._known is None:
                self._used = self._mix.shares()
            typical = mix.typical(self._used) if self._known is None else self._known
            prices = self._prices = _Prices(self._rows.fragmentation(typical))
        return prices

    def _drifted(self) -> bool:
        if abs(self._mix.total - self._looked_at) < _LOOK_EVERY:
            return False
        self._looked_at = self._mix.total
        return mix.distance(self._used, self._mix.shares()) > _DRIFT


class _Prices:
    """What one pod of each kind adds at each state, as far as that was asked for."""

    def __init__(self, fragmentation: Fragmentation) -> None:
        self._fragmentation = fragmentation
        self._worth = np.zeros(0)
        self._gains: dict[Ask, Floats] = {}
        self._positions: dict[Ask, Ints] = {}
        self._generation = -1

    def of(self, ask: Ask, rows: NodeRows) -> tuple[Floats, Ints]:
        """By row, the gain (never positive without scarce cards) and the position of the card."""
        if self._generation != rows.generation:
            self._generation, self._worth = rows.generation, np.zeros(0)
            self._gains, self._positions = {}, {}
        state = rows.state[: rows.count]
        gains, positions = self._columns(ask, rows.states_known)
        found = gains[state]
        if (unknown := np.isnan(found)).any():
            new = np.unique(state[unknown])
            states = rows.states(new)
            gains[new], positions[new] = self._fragmentation.added(ask, states, self._worths(new, states))
            found = gains[state]
        return found, positions[state]

    def _columns(self, ask: Ask, size: int) -> tuple[Floats, Ints]:
        gains = self._gains.pop(ask, np.zeros(0))
        positions = self._positions.pop(ask, np.zeros(0, dtype=np.int64))
        if len(gains) < size:
            gains, positions = grown(gains, 2 * size, np.nan), grown(positions, 2 * size, -1)
        self._gains[ask], self._positions[ask] = gains, positions  # the last one used is the last one dropped
        if len(self._gains) > _ASKS_KEPT:
            oldest = next(iter(self._gains))
            del self._gains[oldest], self._positions[oldest]
        return gains, positions

    def _worths(self, indices: Ints, states: States) -> Floats:
        if len(self._worth) <= indices[-1]:
            self._worth = grown(self._worth, 2 * int(indices[-1]) + 1, np.nan)
        worth = self._worth[indices]
        unknown = np.isnan(worth)
        if unknown.any():
            worth[unknown] = self._fragmentation.worth(states.some(np.nonzero(unknown)[0]))
            self._worth[indices] = worth
        return worth


def _cards(node: Node, role: Role, rows: NodeRows, row: int, position: int) -> tuple[int, ...]:
    need = role.devices[0] if role.devices else None
    if need is None:
        return ()
    profile = rows.profile(row)
    if need.is_share:
        units = rows.card_units(row, position)
        return (min(gpu.index for gpu in node.gpus if gpu.healthy and gpu.free_share == units),)
    if need.resource != profile.whole or not node.gpus:
        return ()
    return cards.pick([gpu for gpu in node.gpus if gpu.healthy and gpu.free], need.amount)
