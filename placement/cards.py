"""Which cards of a node a pod gets: the ones closest to each other, so that what lies far apart is left for small pods.

Up to 16 free cards every choice is compared (at most 12,870, cut off where no better one can follow). Beyond that cards
are added one by one to the best start. Where links tie, cards near the pod's NICs and of one NUMA node are taken, if
the node tells where its cards are (`alignment`). Among equals the lowest indices win. Where a node tells neither links
nor NUMA nodes, neighbouring indices are taken, out of the smallest run that is long enough. Slices (MIG, time slices)
are counted and have no index here: the device plugin hands them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from placement.alignment import NOTHING_NEAR, Near, best, near, nics, without
from placement.inventory import DeviceForm, Gpu, Node
from placement.resources import Resources
from placement.survey import resource_of
from placement.workload import DeviceNeed

EXACT_UP_TO = 16

_NOTHING = Resources()

Weights = tuple[tuple[int, ...], ...]


def pick(free: Sequence[Gpu], wanted: int, near: Near = NOTHING_NEAR) -> tuple[int, ...]:
    """The indices of `wanted` of the `free` cards (at least so many), ascending. `near`: where NICs for the pod are."""
    cards = sorted(free, key=lambda gpu: gpu.index)
    if wanted >= len(cards) or wanted == 0:
        return tuple(gpu.index for gpu in cards[:wanted])
    if all(gpu.numa >= 0 for gpu in cards):
        return tuple(cards[position].index for position in _aligned(cards, wanted, near))
    if any(not gpu.links for gpu in cards):
        return _neighbours(tuple(gpu.index for gpu in cards), wanted)
    chosen = _closest(_weights(cards), wanted)
    return tuple(cards[position].index for position in chosen)


class NodeCards:
    """What is left of one node's cards while pods are given theirs."""

    def __init__(self, node: Node) -> None:
        self._node = node
        healthy = [gpu for gpu in node.gpus if gpu.healthy]
        self._whole = resource_of(node.devices, DeviceForm.WHOLE)
        self._free = {gpu.index: gpu for gpu in healthy if gpu.free} if self._whole else {}
        self._shares = {gpu.index: gpu.free_share for gpu in healthy if gpu.index not in self._free}

    def serve(self, devices: Sequence[DeviceNeed], requests: Resources = _NOTHING) -> tuple[int, ...]:
        """The cards of one pod; the caller knows that there are enough. `requests` are all that it asks for."""
        given: tuple[int, ...] = ()
        if whole := sum(need.amount for need in devices if need.resource == self._whole and not need.is_share):
            given += pick(tuple(self._free.values()), whole, near(self._node, requests))
            self._free = {index: gpu for index, gpu in self._free.items() if index not in given}
        if share := sum(need.amount for need in devices if need.is_share):
            card = min((units, index) for index, units in self._shares.items() if units >= share)[1]
            self._shares[card] -= share
            given += (card,)
        if self._node.nics:
            self._node = without(self._node, nics(self._node, given, requests))
        return given


def closeness(cards: Sequence[Gpu]) -> int:
    """The sum of the link scores over all pairs, both ways."""
    weights = _weights(cards)
    return sum(weights[a][b] for a in range(len(cards)) for b in range(a))


def _aligned(cards: Sequence[Gpu], wanted: int, near: Near) -> tuple[int, ...]:
    weights = _weights(cards)
    numas = tuple(gpu.numa for gpu in cards)
    if len(cards) <= EXACT_UP_TO:
        return best(weights, numas, wanted, near)
    same = [[int(one == other) for other in numas] for one in numas]
    # A link counts for more than all pairs on one NUMA node together.
    more = len(cards) * len(cards)
    mixed = tuple(tuple(w * more + s for w, s in zip(*rows, strict=True)) for rows in zip(weights, same, strict=True))
    return _grown(mixed, wanted)


def _weights(cards: Sequence[Gpu]) -> Weights:
    return tuple(tuple(_link(a, b) + _link(b, a) for b in cards) for a in cards)


def _link(one: Gpu, other: Gpu) -> int:
    return one.links[other.index] if other.index < len(one.links) else 0


def _neighbours(indices: tuple[int, ...], wanted: int) -> tuple[int, ...]:
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    enough = [run for run in runs if len(run) >= wanted]
    return tuple(min(enough, key=len)[:wanted]) if enough else indices[:wanted]


@lru_cache(maxsize=4096)
def _closest(weights: Weights, wanted: int) -> tuple[int, ...]:
    pairs = {weights[a][b] for a in range(len(weights)) for b in range(a)}
    if len(pairs) == 1:
        return tuple(range(wanted))
    if len(weights) > EXACT_UP_TO:
        return _grown(weights, wanted)
    return _compared(weights, wanted, max(pairs))


def _compared(weights: Weights, wanted: int, best_pair: int) -> tuple[int, ...]:
    """Every choice in ascending order, depth first; only a strictly better one replaces the best so far."""
    best: tuple[int, ...] = ()
    best_sum = -1
    all_pairs = wanted * (wanted - 1) // 2

    def extend(chosen: tuple[int, ...], total: int) -> None:
        nonlocal best, best_sum
        size = len(chosen)
        if size == wanted:
            if not best or total > best_sum:
                best, best_sum = chosen, total
            return
        if best and total + (all_pairs - size * (size - 1) // 2) * best_pair <= best_sum:
            return
        start = chosen[-1] + 1 if chosen else 0
        for card in range(start, len(weights) - (wanted - size) + 1):
            row = weights[card]
            extend((*chosen, card), total + sum(row[other] for other in chosen))

    extend((), 0)
    return best


def _grown(weights: Weights, wanted: int) -> tuple[int, ...]:
    best: tuple[int, ...] = ()
    best_sum = 0
    for start in range(len(weights)):
        chosen, total = [start], 0
        while len(chosen) < wanted:
            gains = {card: sum(weights[card][c] for c in chosen) for card in range(len(weights)) if card not in chosen}
            card = min(gains, key=lambda c: (-gains[c], c))
            chosen.append(card)
            total += gains[card]
        if not best or total > best_sum:
            best, best_sum = tuple(sorted(chosen)), total
    return best
