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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
class States:
    """Nodes as columns; the same index is the same node everywhere."""

    profile: Ints  # index
    cpu: Floats  # milli-cores free
    counts: Floats  # (nodes, resources): free units
    cards: Floats  # (nodes, cards): free units of each shared card, ascending; 0 where there is no such card

    def some(self, indices: Ints) -> States:
        return States(self.profile[indices], self.cpu[indices], self.counts[indices], self.cards[indices])


@dataclass(slots=True)
class _Kinds:
    """The typical pods with devices: one column each, of a table of free cards per size."""

    cpu: Floats
    column: Ints
    weight: Floats  # (profiles, kinds): the kind's share of all pods; 0 where the profile does not take it


class Fragmentation:
    """For one mix of pods and one park of profiles: `cards` (how many cards of each, in thousandths)."""

    def __init__(
        self, typical: Typical, profiles: Sequence[Profile], cards: Sequence[float], resources: Mapping[str, int]
    ) -> None:
        """`resources`: the column of each counted resource in `States.counts`."""
        self._profiles = profiles
        self._resources = resources
        self._whole = np.array([resources.get(profile.whole, 0) for profile in profiles], dtype=np.int64)
        self._has_whole = np.array([bool(profile.whole and profile.share) for profile in profiles])
        self._card_units = np.array([max(profile.card_units, 1) for profile in profiles], dtype=np.float64)
        self._unit_milli = np.zeros((len(profiles), max(len(resources), 1)))
        for row, profile in enumerate(profiles):
            for name, milli in profile.units:
                self._unit_milli[row, resources[name]] = milli
        self._set_kinds([(ask, share) for ask, share in typical if ask.resource])
        self._pressure = _scarcity(typical, profiles, cards)
        self._offcuts = np.stack([worths(_demand(typical, profile)) for profile in profiles])

    def _set_kinds(self, asked: Sequence[tuple[Ask, float]]) -> None:
        shares = sorted({(ask.resource, ask.amount) for ask, _ in asked if ask.is_share})
        counts = sorted({(ask.resource, ask.amount) for ask, _ in asked if not ask.is_share})
        counts = [(name, amount) for name, amount in counts if name in self._resources]
        column = {(*key, True): i for i, key in enumerate(shares)}
        column |= {(*key, False): len(shares) + i for i, key in enumerate(counts)}
        self._share_units = np.array([amount for _, amount in shares], dtype=np.float64)
        self._count_of = np.array([self._resources[name] for name, _ in counts], dtype=np.int64)
        self._count_units = np.array([amount for _, amount in counts], dtype=np.float64)
        known = [(ask, share) for ask, share in asked if (ask.resource, ask.amount, ask.is_share) in column]
        self._kinds = _Kinds(
            cpu=np.array([ask.cpu for ask, _ in known], dtype=np.float64),
            column=np.array([column[ask.resource, ask.amount, ask.is_share] for ask, _ in known], dtype=np.int64),
            weight=np.array(
                [[share if profile.takes(ask) else 0.0 for ask, share in known] for profile in self._profiles]
            ).reshape(len(self._profiles), len(known)),
        )

    def worth(self, states: States) -> Floats:
        """Of each node, in thousandths of cards that typical pods can use."""
        usable, pods = self._rooms(states)
        kinds = self._kinds
        usable, pods = usable[:, kinds.column], pods[:, kinds.column]
        need = kinds.cpu * pods
        cpu = np.maximum(states.cpu, 0.0)[:, None]
        fed = np.divide(cpu, need, out=np.ones_like(need), where=need > cpu)
        weight = kinds.weight[states.profile]
        worth = weight * (cpu >= kinds.cpu) * usable * (_WITHOUT_CPU + (1 - _WITHOUT_CPU) * fed)
        return np.asarray(worth.sum(axis=1))

    def added(self, ask: Ask, states: States, before: Floats) -> tuple[Floats, Ints]:
        """How little worth each node loses to such a pod, in cards (the largest is the best), and on which card.

        `before` is the worth of the states. The card is a position in `cards`, -1 for pods that share none. Where the
        pod does not fit the numbers mean nothing.
        """
        if ask.is_share:
            return self._added_on_cards(ask, states, before)
        cpu = states.cpu - ask.cpu
        nowhere = np.full(len(cpu), -1, dtype=np.int64)
        if not ask.resource:
            after = self.worth(States(states.profile, cpu, states.counts, states.cards))
            beside = _BESIDE_FREE_CARDS * self._free_cards(states)
            return (after - before) / WHOLE - beside, nowhere
        column = self._resources[ask.resource]
        counts = states.counts.copy()
        counts[:, column] -= ask.amount
        cards = self._without_whole(states, column, ask.amount)
        after = self.worth(States(states.profile, cpu, counts, cards))
        taken = self._unit_milli[states.profile, column] * ask.amount / WHOLE
        return (after - before) / WHOLE + taken * self._dearness(states) - _OFFCUTS * taken, nowhere

    def _added_on_cards(self, ask: Ask, states: States, before: Floats) -> tuple[Floats, Ints]:
        fits = states.cards >= ask.amount
        fits[:, 1:] &= states.cards[:, 1:] != states.cards[:, :-1]  # of equal cards one
        node, card = np.nonzero(fits)
        those = states.some(node)
        had = those.cards[np.arange(len(node)), card]
        left = had - ask.amount
        those.cards[np.arange(len(node)), card] = left
        full = self._card_units[those.profile]
        opened = (had == full) & self._has_whole[those.profile]
        those.counts[np.arange(len(node)), self._whole[those.profile]] -= opened
        after = self.worth(States(those.profile, those.cpu - ask.cpu, those.counts, those.cards))
        pieces = self._offcuts[those.profile, _milli(left, full)] - self._offcuts[those.profile, _milli(had, full)]
        gain = (after - before[node]) / WHOLE + ask.amount / full * self._dearness(those) + _OFFCUTS * pieces
        table = np.full(states.cards.shape, -np.inf)
        table[node, card] = gain
        best = table.argmax(axis=1)
        return table[np.arange(len(best)), best], best

    def _rooms(self, states: States) -> tuple[Floats, Floats]:
        """By size that is asked for: the thousandths that such pods can use, and how many such pods."""
        sizes = self._share_units
        cards = states.cards[:, :, None]
        pods = np.floor(cards / sizes).sum(axis=1)
        usable = np.where(cards >= sizes, cards, 0.0).sum(axis=1) * (WHOLE / self._card_units[states.profile])[:, None]
        free = states.counts[:, self._count_of]
        whole_pods = np.floor(free / self._count_units)
        milli = free * self._unit_milli[states.profile[:, None], self._count_of]
        return (
            np.concatenate([usable, np.where(whole_pods > 0, milli, 0.0)], axis=1),
            np.concatenate([pods, whole_pods], axis=1),
        )

    def _without_whole(self, states: States, column: int, amount: int) -> Floats:
        """Cards given whole have nothing left to share."""
        of_cards = self._has_whole & (self._whole == column)
        if not of_cards.any() or not states.cards.shape[1]:
            return states.cards
        cards = states.cards.copy()
        # Ascending, and such a pod fits only where so many are full: they are the last ones.
        cards[of_cards[states.profile], -amount:] = 0
        return np.sort(cards, axis=1)

    def _free_cards(self, states: States) -> Floats:
        counted = (states.counts * self._unit_milli[states.profile]).sum(axis=1) / WHOLE
        full = (states.cards == self._card_units[states.profile][:, None]).sum(axis=1)
        return np.where(self._has_whole[states.profile], counted, counted + full)

    def _dearness(self, states: States) -> Floats:
        return 1 - _SCARCITY * self._pressure[states.profile]


def _milli(units: Floats, full: Floats) -> Ints:
    return np.clip(np.floor(units * WHOLE / full), 0, WHOLE).astype(np.int64)


def _demand(typical: Typical, profile: Profile) -> dict[int, float]:
    demand: dict[int, float] = {}
    for ask, share in typical:
        if ask.is_share and profile.takes(ask):
            size = profile.milli(ask)
            demand[size] = demand.get(size, 0.0) + share
    return demand


def _scarcity(typical: Typical, profiles: Sequence[Profile], cards: Sequence[float]) -> Floats:
    """By profile, how many times over its cards are asked for, as against all cards: 1 where nobody is choosy."""
    pressure = np.zeros(len(profiles))
    asked = [(ask, share, [i for i, profile in enumerate(profiles) if profile.takes(ask)]) for ask, share in typical]
    asked = [(ask, share, takers) for ask, share, takers in asked if ask.resource and takers]
    weights = [share * profiles[takers[0]].milli(ask) for ask, share, takers in asked]
    for weight, (_, _, takers) in zip(weights, asked, strict=True):
        there = sum(cards[i] for i in takers)
        if there > 0:
            pressure[takers] += weight / sum(weights) * sum(cards) / there
    return pressure
