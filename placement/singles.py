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

from placement import alignment, cards, mix
from placement.fragmentation import Floats, Fragmentation, Ints
from placement.inventory import Node
from placement.mix import Ask, Mix, Typical, ask_of
from placement.noderows import NodeRows, grown, need_of
from placement.verdict import ResourcesShort
from placement.workload import Role, Workload

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

    def __init__(self, find: Callable[[str], Node | None]) -> None:
        self._find = find
        self._mix = Mix()
        self._rows = NodeRows()
        self._stale: dict[str, None] = {}
        self._unready: set[str] = set()  # nobody knows what they will have when they are back
        self._looked_at = -1.0
        self._used: dict[Ask, float] = {}
        self._known: Typical | None = None
        self._prices: _Prices | None = None
        self._sought: dict[object, _Sought] = {}

    def changed(self, name: str) -> None:
        self._stale[name] = None

    def note(self, workload: Workload) -> None:
        """It was asked for: more like it are to be expected. Once for each job."""
        self._mix.note(workload.roles)

    def keep_to(self, typical: Typical) -> None:
        """These are the pods to keep room for, whatever is seen."""
        self._known, self._prices = typical, None

    def seat(self, role: Role) -> Seat | None:
        """For one pod of the role, which asks for one kind of device at most; None where no node has room for it."""
        self._refresh()
        sought = self._sought_of(role)
        rows, prices = self._rows, self._priced()
        if not rows.count:
            return None
        steps = sought.steps(rows, prices)
        row = int(steps.argmax())
        if steps[row] == -np.inf:
            return None
        node = rows.nodes[row]
        assert node is not None  # noqa: S101  a row without a node fits nothing
        return Seat(node.name, _cards(node, role, rows, row, sought.column(rows, prices)))

    def shortage(self, role: Role, cluster: str) -> ResourcesShort:
        """Why one pod of the role has no seat: what is shortest in sum on the nodes that admit it."""
        self._refresh()
        need = need_of(role)
        free = self._rows.free_on_admitting(need)
        devices = {device.resource for device in role.devices}
        scarcest = min(
            need.amounts, key=lambda item: (min(free[item[0]] / item[1], 1.0), item[0] not in devices, item[0])
        )
        name, amount = scarcest
        ever = bool(self._unready) or self._rows.would_hold(need)
        return ResourcesShort(cluster, name, amount, free[name], 0, 1, ever)

    def _sought_of(self, role: Role) -> _Sought:
        key = (role.requests, role.devices, role.constraint, role.products)
        sought = self._sought.get(key)
        if sought is None:
            if len(self._sought) >= _ASKS_KEPT:
                del self._sought[next(iter(self._sought))]
            sought = self._sought[key] = _Sought(role)
        return sought

    def _refresh(self) -> None:
        for name in self._stale:
            node = self._find(name)
            if node is not None and not node.ready:
                self._unready.add(name)
            else:
                self._unready.discard(name)
            if node is not None and node.ready:
                self._rows.put(node)
            else:
                self._rows.drop(name)
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


class _Sought:
    """One kind of pod, and for each row how good a place it was when that was last looked at."""

    def __init__(self, role: Role) -> None:
        self._need = need_of(role)
        self._ask = ask_of(role)
        self._steps = np.zeros(0)
        self._seen = 0
        self._prices: _Prices | None = None
        self._column: _Column | None = None
        self._generation = -1

    def steps(self, rows: NodeRows, prices: _Prices) -> Floats:
        """By row, in steps: the largest is the best, -inf where the pod does not fit."""
        if len(self._steps) < rows.count or self._prices is not prices:
            self._steps, self._seen = np.full(len(rows.state), -np.inf), -1
        column = self.column(rows, prices)
        changed = (rows.version[: rows.count] > self._seen).nonzero()[0]
        self._seen = rows.changes
        if len(changed):
            self._steps[changed] = -np.inf
            roomy = changed[rows.fitting(self._need, changed)]
            if len(roomy):
                self._steps[roomy] = column.steps(rows, rows.state.take(roomy))
        return self._steps[: rows.count]

    def column(self, rows: NodeRows, prices: _Prices) -> _Column:
        if self._column is None or self._prices is not prices or self._generation != rows.generation:
            self._column = prices.column(self._ask, rows.generation)
            self._prices, self._generation = prices, rows.generation
        return self._column


class _Prices:
    """What one pod of each kind adds to fragmentation, for one mix and one park."""

    def __init__(self, fragmentation: Fragmentation) -> None:
        self._fragmentation = fragmentation
        self._columns: dict[Ask, _Column] = {}
        self._generation = -1

    def column(self, ask: Ask, generation: int) -> _Column:
        if generation != self._generation:
            self._columns, self._generation = {}, generation
        found = self._columns.get(ask)
        if found is None:
            if len(self._columns) >= _ASKS_KEPT:
                del self._columns[next(iter(self._columns))]
            found = self._columns[ask] = _Column(ask, self._fragmentation)
        return found


class _Column:
    """What one kind of pod adds at each state, as far as that was asked for; and on which card."""

    def __init__(self, ask: Ask, fragmentation: Fragmentation) -> None:
        self._ask = ask
        self._fragmentation = fragmentation
        self._steps = np.zeros(0)
        self._positions = np.zeros(0, dtype=np.int64)

    def steps(self, rows: NodeRows, states: Ints) -> Floats:
        """Of each of these states, where such a pod fits: how little it adds, in steps."""
        if len(self._steps) < rows.states_known:
            size = 2 * rows.states_known
            self._steps, self._positions = grown(self._steps, size, np.nan), grown(self._positions, size, -1)
        found = self._steps.take(states)
        unknown = np.isnan(found)
        if np.count_nonzero(unknown):
            new = states[unknown]
            if len(new) > 1:
                new = np.array(list({*new.tolist()}))
            gains, positions = self._fragmentation.added(self._ask, rows.states, new)
            self._steps[new] = np.floor(gains / _STEP)
            if positions is not None:
                self._positions[new] = positions
            found = self._steps.take(states)
        return found

    def position(self, rows: NodeRows, state: int) -> int:
        """Of the best card at a state where such a pod fits."""
        self.steps(rows, np.array([state]))  # it was priced under an earlier number, perhaps
        return int(self._positions[state])


def _cards(node: Node, role: Role, rows: NodeRows, row: int, column: _Column) -> tuple[int, ...]:
    if not role.devices:
        return ()
    [need] = role.devices
    if need.is_share:
        units = rows.card_units(row, column.position(rows, int(rows.state[row])))
        return (min([gpu.index for gpu in node.gpus if gpu.healthy and gpu.free_share == units]),)
    if need.resource != rows.profile(row).whole or not node.gpus:
        return ()
    free = [gpu for gpu in node.gpus if gpu.healthy and gpu.free]
    return cards.pick(free, need.amount, alignment.near(node, role.requests))
