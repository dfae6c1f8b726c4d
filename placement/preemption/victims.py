"""The cheapest jobs whose end lets a gang in, and none of them for nothing.

Which set is cheapest is a knapsack in disguise. A good one is found greedily in three orders (cheapest for the room
that they free, cheapest at all, and node by node, for pods that need all of one), and cut down to what is needed. Then
sets are tried from the cheapest on for as long as they are cheaper than that, up to a number of trials: so with few
candidates the answer is the cheapest there is, and with many a good one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from placement.capacity import Fit
from placement.fleet import Reservation
from placement.preemption.losses import Loss

MOST = 256  # candidates looked at, the cheapest for what they free
_TRIALS = 48  # sets that are packed to see whether the gang fits
_SETS = 2000  # sets that are added up
_STEPS = 16  # one more victim at a time, before halving


@dataclass(frozen=True, slots=True)
class Victim:
    held: Reservation
    loss: Loss
    frees: float  # of what the gang needs, in cards (cores, where it needs none)

    @property
    def key(self) -> tuple[float, str]:
        """Of two that cost the same, one and always the same."""
        return self.loss.usd, self.held.job


@dataclass(frozen=True, slots=True)
class Found:
    victims: tuple[Victim, ...]
    fit: Fit  # of the gang, with them gone

    @property
    def usd(self) -> float:
        return sum(victim.loss.usd for victim in self.victims)


# Whether they may be evicted together, and the gang then has room and is let in.
Trial = Callable[[Sequence[Victim]], Fit | None]
Allowed = Callable[[Sequence[Victim]], bool]


def cheapest(
    candidates: Sequence[Victim],
    needs: float,
    trial: Trial,
    allowed: Allowed,
    neighbours: Sequence[Sequence[Victim]] = (),
) -> Found | None:
    """`needs`: how much has to come free at least, by amount. `allowed` holds for the parts of what it holds for.
    `neighbours`: the candidates that share a node, for each of the nodes that are known."""
    by_room = sorted(candidates, key=lambda one: (one.loss.usd / max(one.frees, 1e-9), one.key))[:MOST]
    by_cost = sorted(by_room, key=lambda one: one.key)
    by_node = sorted(neighbours, key=_worth_of_node)[:MOST]
    orders: list[Sequence[Sequence[Victim]]] = [[(one,) for one in by_room], [(one,) for one in by_cost], by_node]
    found = [answer for order in orders if order and (answer := _greedy(order, needs, trial, allowed)) is not None]
    if not found:
        return None
    best = min(found, key=_worth)
    trials = 0
    for sums in _from_the_cheapest(by_cost, best.usd):
        if sum(one.frees for one in sums) < needs - 1e-6 or not allowed(sums):
            continue
        if (fit := trial(sums)) is not None:
            return _cut(Found(sums, fit), trial)
        trials += 1
        if trials >= _TRIALS:
            break
    return best


def _worth(found: Found) -> tuple[float, int, list[str]]:
    return round(found.usd, 9), len(found.victims), sorted(one.held.job for one in found.victims)


def _worth_of_node(sharing: Sequence[Victim]) -> tuple[float, list[str]]:
    usd, frees = sum(one.loss.usd for one in sharing), sum(one.frees for one in sharing)
    return usd / max(frees, 1e-9), sorted(one.held.job for one in sharing)


def _greedy(order: Sequence[Sequence[Victim]], needs: float, trial: Trial, allowed: Allowed) -> Found | None:
    taken: list[Victim] = []
    known: set[str] = set()
    for group in order:
        more = [one for one in group if one.held.job not in known]
        if more and allowed([*taken, *more]):
            taken.extend(more)
            known.update(one.held.job for one in more)
    freed, low = 0.0, 0
    while low < len(taken) and freed < needs - 1e-6:
        freed += taken[low].frees
        low += 1
    if freed < needs - 1e-6:
        return None
    found = _first(taken, low, trial)
    return None if found is None else _cut(found, trial)


def _first(taken: Sequence[Victim], low: int, trial: Trial) -> Found | None:
    """The first so many that are enough: one by one, then by halving between that and all."""
    for count in range(max(low, 1), min(low + _STEPS, len(taken)) + 1):
        if (fit := trial(taken[:count])) is not None:
            return Found(tuple(taken[:count]), fit)
    low, high = low + _STEPS, len(taken)
    if low >= high or (fit := trial(taken)) is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        found = trial(taken[:middle])
        if found is None:
            low = middle
        else:
            high, fit = middle, found
    return Found(tuple(taken[:high]), fit)


def _cut(found: Found, trial: Trial) -> Found:
    """Without those that are not needed, the dearest first; over again, for as long as one of them is not."""
    again = True
    while again:
        again = False
        for one in sorted(found.victims, key=lambda each: each.key, reverse=True):
            rest = tuple(each for each in found.victims if each is not one)
            if rest and (fit := trial(rest)) is not None:
                found, again = Found(rest, fit), True
    return found


def _from_the_cheapest(by_cost: Sequence[Victim], below_usd: float) -> Iterator[tuple[Victim, ...]]:
    """Sets of candidates by what they cost together, as long as that is less."""
    if not by_cost:
        return
    heap: list[tuple[float, tuple[int, ...]]] = [(by_cost[0].loss.usd, (0,))]
    for _ in range(_SETS):
        if not heap:
            return
        usd, chosen = heapq.heappop(heap)
        if usd >= below_usd - 1e-9:
            return
        yield tuple(by_cost[index] for index in chosen)
        following = chosen[-1] + 1
        if following < len(by_cost):
            more = by_cost[following].loss.usd
            heapq.heappush(heap, (usd + more, (*chosen, following)))
            heapq.heappush(heap, (usd - by_cost[chosen[-1]].loss.usd + more, (*chosen[:-1], following)))
