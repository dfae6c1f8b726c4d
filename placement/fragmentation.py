"""What placing one pod costs the rest of a node: how much of what is left can still be used by the pods that come.

A node is worth the sum, over the typical pods (`mix`), of how common each is times the free cards that pods of its kind
could use, and a part less where they would run out of CPU before they run out of cards. What a pod adds to
fragmentation is what its node loses of that worth. This is the idea of FGD ("Beware of Fragmentation", Weng et al.,
USENIX ATC 2023), with three terms of our own: a card of a product that many pods insist on is dearer (`_scarcity`); a
piece of a card is worth what can be cut of it (`offcuts`); and pods without devices keep off nodes with free cards.

Everything is computed for many nodes at once, as columns over node states. Memory and the like do not count here; the
caller checks that the pod fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from placement.mix import Ask, Typical
from placement.offcuts import WHOLE, worths

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WITHOUT_CPU = 0.7  # what a free card is worth to a kind of pods though there is no CPU for them
_SCARCITY = 0.8
_OFFCUTS = 16.0
_BESIDE_FREE_CARDS = 0.03


@dataclass(frozen=True, slots=True)
class Profile:
    """What nodes have that differ in nothing else than in what is taken."""

    units: tuple[tuple[str, int], ...]  # each counted resource, and how many thousandths of a card one unit is
    whole: str = ""  # of them, the one that counts the cards which have an index
    share: str = ""  # counts the memory of those cards
    card_units: int = 0  # of `share` on one card
    products: frozenset[str] = frozenset()

    def takes(self, ask: Ask) -> bool:
        if ask.products and self.products.isdisjoint(ask.products):
            return False
        if ask.is_share:
            return ask.resource == self.share and ask.amount <= self.card_units
        return any(name == ask.resource for name, _ in self.units)

    def milli(self, ask: Ask) -> int:
        """How many thousandths of cards such a pod has here."""
        if ask.is_share:
            return -(-ask.amount * WHOLE // self.card_units)
        return ask.amount * dict(self.units)[ask.resource]


@dataclass(frozen=True, slots=True)
class Park:
    """All nodes of a cluster, as far as their devices go."""

    cards: Mapping[Profile, float]  # thousandths of cards in all; the order of the profiles is that of their indices
    columns: Mapping[str, int]  # of each counted resource, its column in `States.counts`
    most: Mapping[str, int]  # of each counted resource, the most units that one node has


@dataclass(frozen=True, slots=True)
class States:
    """Nodes as columns; the same index is the same node everywhere."""

    profile: Ints  # index
    cpu: Floats  # milli-cores free
    counts: Ints  # (nodes, resources): free units
    cards: Ints  # (nodes, cards): free units of each shared card, ascending; 0 where there is no such card

    def some(self, indices: Ints) -> States:
        return States(self.profile[indices], self.cpu[indices], self.counts[indices], self.cards[indices])


class Fragmentation:
    """For one mix of pods and one park of nodes."""

    def __init__(self, typical: Typical, park: Park) -> None:
        profiles = list(park.cards)
        self._columns = dict(park.columns)
        self._whole = np.array([self._columns.get(profile.whole, 0) for profile in profiles], dtype=np.int64)
        self._has_both = np.array([bool(profile.whole and profile.share) for profile in profiles])
        self._card_units = np.array([max(profile.card_units, 1) for profile in profiles], dtype=np.int64)
        self._unit_milli = np.zeros((len(profiles), max(len(park.columns), 1)))
        for row, profile in enumerate(profiles):
            for name, milli in profile.units:
                self._unit_milli[row, self._columns[name]] = milli
        kinds = [(ask, share) for ask, share in typical if ask.resource]
        self._kind_cpu = np.array([ask.cpu for ask, _ in kinds], dtype=np.float64)
        self._weight = np.array(
            [[share if profile.takes(ask) else 0.0 for ask, share in kinds] for profile in profiles]
        ).reshape(len(profiles), len(kinds))
        self._rooms = _Rooms([ask for ask, _ in kinds], profiles, park)
        self._dearness = 1 - _SCARCITY * _pressure(typical, park.cards)
        demands = [_demand(typical, profile) for profile in profiles]
        known = {demand: worths(dict(demand)) for demand in {*demands}}
        self._offcuts = np.stack([known[demand] for demand in demands]) if demands else np.zeros((0, WHOLE + 1))

    def worth(self, states: States) -> Floats:
        """Of each node, in thousandths of cards that typical pods can use."""
        usable, need = self._rooms.of(states)
        cpu = np.maximum(states.cpu, 0.0)[:, None]
        fed = np.minimum(cpu / np.maximum(need, 1.0), 1.0)
        fed *= 1 - _WITHOUT_CPU
        fed += _WITHOUT_CPU
        fed *= usable
        fed *= cpu >= self._kind_cpu
        fed *= self._weight[states.profile]
        return np.asarray(fed.sum(axis=1))

    def added(self, ask: Ask, states: States) -> tuple[Floats, Ints]:
        """How little worth each node loses to such a pod, in cards (the largest is the best), and on which card.

        The card is a position in `cards`, -1 for pods that share none. Where the pod does not fit the numbers mean
        nothing.
        """
        if ask.is_share:
            return self._added_on_cards(ask, states)
        counts, cards = states.counts, states.cards
        if not ask.resource:
            extra = -_BESIDE_FREE_CARDS * self._free_cards(states)
        else:
            column = self._columns[ask.resource]
            counts = counts.copy()
            counts[:, column] -= ask.amount
            cards = self._without_whole(states, column, ask.amount)
            taken = self._unit_milli[states.profile, column] * (ask.amount / WHOLE)
            extra = taken * (self._dearness[states.profile] - _OFFCUTS)
        after = States(states.profile, states.cpu - ask.cpu, counts, cards)
        worth = self.worth(_joined(states, after))
        here = len(states.cpu)
        return (worth[here:] - worth[:here]) / WHOLE + extra, np.full(here, -1, dtype=np.int64)

    def _added_on_cards(self, ask: Ask, states: States) -> tuple[Floats, Ints]:
        fits = states.cards >= ask.amount
        fits[:, 1:] &= states.cards[:, 1:] != states.cards[:, :-1]  # of equal cards one
        node, card = np.nonzero(fits)
        those, each = states.some(node), np.arange(len(node))
        had = those.cards[each, card]
        left = had - ask.amount
        those.cards[each, card] = left
        full = self._card_units[those.profile]
        those.counts[each, self._whole[those.profile]] -= (had == full) & self._has_both[those.profile]
        after = States(those.profile, those.cpu - ask.cpu, those.counts, those.cards)
        worth = self.worth(_joined(states, after))
        here = len(states.cpu)
        gain = (worth[here:] - worth[node]) / WHOLE
        gain += ask.amount / full * self._dearness[those.profile]
        pieces = self._offcuts[those.profile, left * WHOLE // full] - self._offcuts[those.profile, had * WHOLE // full]
        gain += _OFFCUTS * pieces
        table = np.full(states.cards.shape, -np.inf)
        table[node, card] = gain
        best = table.argmax(axis=1)
        return table[np.arange(here), best], best

    def _without_whole(self, states: States, column: int, amount: int) -> Ints:
        """Cards given whole have nothing left to share."""
        both = self._has_both & (self._whole == column)
        if not both.any() or not states.cards.shape[1]:
            return states.cards
        cards = states.cards.copy()
        # Ascending, and such a pod fits only where so many are full: they are the last ones.
        cards[both[states.profile], -amount:] = 0
        return cards

    def _free_cards(self, states: States) -> Floats:
        counted = (states.counts * self._unit_milli[states.profile]).sum(axis=1) / WHOLE
        full = (states.cards == self._card_units[states.profile][:, None]).sum(axis=1)
        return np.asarray(np.where(self._has_both[states.profile], counted, counted + full))


class _Rooms:
    """Tables of how much pods of each kind can use, and how much CPU as many as fit would need.

    One row for each length that may be left of a card and for each count that may be left of a resource; a node is the
    sum of its rows. Columns: the kinds' thousandths of cards, then the kinds' CPU.
    """

    def __init__(self, kinds: Sequence[Ask], profiles: Sequence[Profile], park: Park) -> None:
        self._kinds = kinds
        blocks = [np.zeros((1, 2 * len(kinds)))]  # the first row is for what there is not
        begins: dict[object, int] = {}
        top = 1

        def begin(key: object, make: Callable[[], Floats]) -> int:
            nonlocal top
            if key not in begins:
                begins[key] = top
                blocks.append(make())
                top += len(blocks[-1])
            return begins[key]

        self._of_cards = np.zeros(len(profiles), dtype=np.int64)
        self._of_counts = np.zeros((len(profiles), max(len(park.columns), 1)), dtype=np.int64)
        for row, profile in enumerate(profiles):
            if profile.share:
                units = profile.card_units
                self._of_cards[row] = begin((profile.share, units), partial(self._lengths, profile.share, units))
            for name, milli in profile.units:
                make = partial(self._counts, name, milli, park.most[name])
                self._of_counts[row, park.columns[name]] = begin((name, milli), make)
        self._card_units = np.array([max(profile.card_units, 1) for profile in profiles], dtype=np.int64)
        self._table = np.concatenate(blocks)

    def of(self, states: States) -> tuple[Floats, Floats]:
        """By kind: the thousandths that its pods can use, and the CPU that all of them would need."""
        profile = states.profile
        index = self._of_counts[profile] + states.counts
        if states.cards.shape[1]:
            lengths = states.cards * WHOLE // self._card_units[profile, None] + self._of_cards[profile, None]
            index = np.concatenate([index, lengths], axis=1)
        rooms = self._table.take(index, axis=0, mode="clip").sum(axis=1)
        return rooms[:, : len(self._kinds)], rooms[:, len(self._kinds) :]

    def _lengths(self, share: str, card_units: int) -> Floats:
        lengths = np.arange(WHOLE + 1)
        rows = np.zeros((WHOLE + 1, 2 * len(self._kinds)))
        for i, ask in enumerate(self._kinds):
            if ask.is_share and ask.resource == share and 0 < ask.amount <= card_units:
                pods = lengths // -(-ask.amount * WHOLE // card_units)
                rows[:, i] = np.where(pods, lengths, 0)
                rows[:, len(self._kinds) + i] = pods * ask.cpu
        return rows

    def _counts(self, name: str, unit_milli: int, most: int) -> Floats:
        counts = np.arange(most + 1)
        rows = np.zeros((most + 1, 2 * len(self._kinds)))
        for i, ask in enumerate(self._kinds):
            if not ask.is_share and ask.resource == name:
                pods = counts // ask.amount
                rows[:, i] = np.where(pods, counts * unit_milli, 0)
                rows[:, len(self._kinds) + i] = pods * ask.cpu
        return rows


def _joined(one: States, other: States) -> States:
    return States(
        np.concatenate([one.profile, other.profile]),
        np.concatenate([one.cpu, other.cpu]),
        np.concatenate([one.counts, other.counts]),
        np.concatenate([one.cards, other.cards]),
    )


def _demand(typical: Typical, profile: Profile) -> tuple[tuple[int, float], ...]:
    """The shares of cards that such nodes are asked for: size in thousandths, and how often."""
    demand: dict[int, float] = {}
    for ask, share in typical:
        if ask.is_share and profile.takes(ask):
            size = profile.milli(ask)
            demand[size] = demand.get(size, 0.0) + share
    return tuple(sorted(demand.items()))


def _pressure(typical: Typical, cards: Mapping[Profile, float]) -> Floats:
    """By profile, how many times over its cards are asked for, as against all cards: 1 where nobody is choosy."""
    profiles = list(cards)
    found = np.zeros(len(profiles))
    taking = [(ask, share, [i for i, profile in enumerate(profiles) if profile.takes(ask)]) for ask, share in typical]
    taking = [(ask, share, takers) for ask, share, takers in taking if ask.resource and takers]
    weights = [share * profiles[takers[0]].milli(ask) for ask, share, takers in taking]
    for weight, (_, _, takers) in zip(weights, taking, strict=True):
        there = sum(cards[profiles[i]] for i in takers)
        if there > 0:
            found[takers] += weight / sum(weights) * sum(cards.values()) / there
    return found
