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
_CPU_COUNTS = (1 - _WITHOUT_CPU) / _WITHOUT_CPU
_NEARLY_NONE = 1e-6  # milli-cores, so that nothing is divided by none
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
    most: Mapping[str, int]  # of each counted resource, the most units that one node has
    layout: Layout


class Layout:
    """One row of a table for each count that may be left of a resource, and for each length that may be left of a card.

    A node is the sum of its rows. Row 0 is for what there is not. `columns` says which of a node's rows is for which
    resource; those of its cards come behind.
    """

    def __init__(self, profiles: Sequence[Profile], most: Mapping[str, int]) -> None:
        self.columns = {name: column for column, name in enumerate(most)}
        self.counts: dict[tuple[str, int], int] = {}  # where the rows of a resource with units of that size begin
        self.lengths: dict[tuple[str, int], int] = {}  # where those of cards with so many units of a resource begin
        self.size = 1
        for profile in profiles:
            for unit in profile.units:
                if unit not in self.counts:
                    self.counts[unit] = self.size
                    self.size += most[unit[0]] + 1
            if profile.share and (profile.share, profile.card_units) not in self.lengths:
                self.lengths[profile.share, profile.card_units] = self.size
                self.size += WHOLE + 1

    def width(self, cards: int) -> int:
        """How many rows a node is; one at least, so that a node without devices is something."""
        return max(len(self.columns) + cards, 1)

    def rows(self, profile: Profile, counts: Sequence[int], shares: Sequence[int], cards: int) -> list[int]:
        """Of a node with so much left of the profile's units and of its cards; padded to so many cards."""
        found = [0] * self.width(cards)
        for (name, milli), count in zip(profile.units, counts, strict=True):
            found[self.columns[name]] = self.counts[name, milli] + count
        if shares:
            begin, units = self.lengths[profile.share, profile.card_units], profile.card_units
            found[-len(shares) :] = [begin + share * WHOLE // units for share in shares]
        return found


@dataclass(frozen=True, slots=True)
class States:
    """Nodes as columns; the same index is the same node everywhere."""

    profile: Ints  # index
    cpu: Floats  # milli-cores free
    free_cards: Floats
    cards: Ints  # (nodes, cards): free units of each shared card, ascending; 0 where there is no such card
    rows: Ints  # (nodes, resources and cards): as `Layout` has them


class Fragmentation:
    """For one mix of pods and one park of nodes."""

    def __init__(self, typical: Typical, park: Park) -> None:
        profiles, layout = list(park.cards), park.layout
        self._columns = layout.columns
        self._whole = np.array([layout.columns.get(profile.whole, 0) for profile in profiles], dtype=np.int64)
        self._has_both = np.array([bool(profile.whole and profile.share) for profile in profiles], dtype=np.bool_)
        self._any_both = bool(self._has_both.any())
        self._card_units = np.array([max(profile.card_units, 1) for profile in profiles], dtype=np.int64)
        self._no_length = np.array(
            [layout.lengths.get((profile.share, profile.card_units), 0) for profile in profiles], dtype=np.int64
        )
        kinds = [(ask, share) for ask, share in typical if ask.resource]
        self._kind_cpu = np.array([ask.cpu for ask, _ in kinds], dtype=np.float64)
        # One factor of the worth is a sum of two: it is divided by the first, which is part of the weight.
        self._weight = np.array(
            [[_WITHOUT_CPU * share if profile.takes(ask) else 0.0 for ask, share in kinds] for profile in profiles]
        ).reshape(len(profiles), len(kinds))
        self._rooms = _rooms([ask for ask, _ in kinds], park)
        self._dearness = 1 - _SCARCITY * _pressure(typical, park.cards)
        self._unit_dearness = self._dearness / self._card_units
        self._unit_cards = np.zeros((len(profiles), len(layout.columns)))
        for row, profile in enumerate(profiles):
            for name, milli in profile.units:
                self._unit_cards[row, layout.columns[name]] = milli / WHOLE
        self._offcuts = np.zeros(layout.size)
        for (share, units), begin in layout.lengths.items():
            self._offcuts[begin : begin + WHOLE + 1] = _OFFCUTS * worths(_demand(typical, share, units))

    def added(self, ask: Ask, states: States, which: Ints) -> tuple[Floats, Ints | None]:
        """How little worth these nodes lose to such a pod, in cards (the largest is the best), and on which card.

        The card is a position in `cards`; None for pods that share none. Of states where the pod does not fit the
        numbers mean nothing; a share must fit one card of each state.
        """
        if ask.is_share:
            return self._added_on_cards(ask, states, which)
        here = len(which)
        twice = np.concatenate((which, which))  # as they are, and with the pod
        rows, profile, cpu = states.rows.take(twice, axis=0), states.profile.take(twice), states.cpu.take(twice)
        cpu[here:] -= ask.cpu
        if not ask.resource:
            extra = -_BESIDE_FREE_CARDS * states.free_cards.take(which)
        else:
            column = self._columns[ask.resource]
            rows[here:, column] -= ask.amount
            if self._any_both:
                self._take_whole(rows[here:], profile[here:], column, ask.amount)
            taken = self._unit_cards[:, column] * ask.amount
            extra = (taken * (self._dearness - _OFFCUTS)).take(profile[here:])
        worth = self._worth(rows, cpu, profile)
        return (worth[here:] - worth[:here]) / WHOLE + extra, None

    def _added_on_cards(self, ask: Ask, states: States, which: Ints) -> tuple[Floats, Ints]:
        have = states.cards.take(which, axis=0)
        here, cards = have.shape
        fits = have >= ask.amount
        fits[:, 1:] &= have[:, 1:] != have[:, :-1]  # of equal cards one
        node, card = fits.nonzero()
        every = np.concatenate((which, which.take(node)))  # as they are, and with the pod on each card that it fits
        rows, profiles, cpu = states.rows.take(every, axis=0), states.profile.take(every), states.cpu.take(every)
        cpu[here:] -= ask.cpu
        each, column = np.arange(here, len(every)), card + (rows.shape[1] - cards)
        profile, had, before = profiles[here:], have[node, card], rows[each, column]
        full = self._card_units.take(profile)
        after = (had - ask.amount) * WHOLE // full + self._no_length.take(profile)
        rows[each, column] = after
        if self._any_both:
            rows[each, self._whole.take(profile)] -= (had == full) & self._has_both.take(profile)
        worth = self._worth(rows, cpu, profiles)
        gain = (worth[here:] - worth.take(node)) / WHOLE
        gain += (ask.amount * self._unit_dearness).take(profile)
        gain += self._offcuts.take(after) - self._offcuts.take(before)
        if len(node) == here:
            return gain, card  # one card each
        table = np.full((here, cards), -np.inf)
        table[node, card] = gain
        best = table.argmax(axis=1)
        return table[np.arange(here), best], best

    def _worth(self, rows: Ints, cpu: Floats, profile: Ints) -> Floats:
        """Of each node, in thousandths of cards that typical pods can use."""
        kinds = len(self._kind_cpu)
        rooms = np.add.reduce(self._rooms.take(rows, axis=0, mode="clip"), axis=1)
        usable, need = rooms[:, :kinds], rooms[:, kinds:]
        cpu = cpu[:, None]
        fed = np.minimum((_CPU_COUNTS * cpu) / need, _CPU_COUNTS)
        fed += 1
        fed *= usable
        fed *= cpu >= self._kind_cpu
        return np.asarray(np.vecdot(fed, self._weight.take(profile, axis=0)))

    def _take_whole(self, rows: Ints, profile: Ints, column: int, amount: int) -> None:
        """Cards given whole have nothing left to share."""
        both = (self._has_both & (self._whole == column))[profile]
        # Ascending, and such a pod fits only where so many are full: they are the last ones.
        rows[both, -amount:] = self._no_length[profile[both], None]


def _rooms(kinds: Sequence[Ask], park: Park) -> NDArray[np.float32]:
    """By row of the layout: the thousandths that each kind can use there, then the CPU that as many pods would need.

    In single precision: half as much memory to fetch counts for more than a part in ten million.
    """
    rooms = np.zeros((park.layout.size, 2 * len(kinds)), dtype=np.float32)
    for i, ask in enumerate(kinds):
        for (share, units), begin in park.layout.lengths.items():
            if ask.is_share and ask.resource == share and 0 < ask.amount <= units:
                lengths = np.arange(WHOLE + 1)
                pods = lengths // -(-ask.amount * WHOLE // units)
                rooms[begin : begin + WHOLE + 1, i] = np.where(pods, lengths, 0)
                rooms[begin : begin + WHOLE + 1, len(kinds) + i] = pods * ask.cpu
        for (name, milli), begin in park.layout.counts.items():
            if not ask.is_share and ask.resource == name and ask.amount > 0:
                counts = np.arange(park.most[name] + 1)
                pods = counts // ask.amount
                rooms[begin : begin + len(counts), i] = np.where(pods, counts * milli, 0)
                rooms[begin : begin + len(counts), len(kinds) + i] = pods * ask.cpu
    rooms[:, len(kinds) :] += _NEARLY_NONE
    return rooms


def _demand(typical: Typical, resource: str, card_units: int) -> dict[int, float]:
    """The shares that such cards are asked for: size in thousandths, and how often."""
    demand: dict[int, float] = {}
    for ask, share in typical:
        if ask.is_share and ask.resource == resource and 0 < ask.amount <= card_units:
            size = -(-ask.amount * WHOLE // card_units)
            demand[size] = demand.get(size, 0.0) + share
    return demand


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
