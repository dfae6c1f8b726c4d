"""Which cards lie on the NUMA nodes that suit a pod, among those that are linked equally well.

In this order: the sum of the link scores; how many of the cards have one of the pod's NICs on their own NUMA node;
how many pairs of cards share a NUMA node; how many pairs that are left do, so that whole NUMA nodes stay for others.
Every choice is compared, up to 16 cards; cards that nothing can tell apart are taken from the lowest index on, which
makes the usual cases (two sockets of equal cards) a handful of choices and not thousands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from placement.inventory import Node
from placement.resources import Resources

Weights = tuple[tuple[int, ...], ...]
Score = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Near:
    """The NUMA nodes where NICs are free for the pod, and how many NICs it asks for."""

    numas: frozenset[int] = frozenset()
    nics: int = 0


NOTHING_NEAR = Near()


def near(node: Node, requests: Resources) -> Near:
    """What the pod asks of the node's NICs, as far as the node tells where they are."""
    if not node.nics:
        return NOTHING_NEAR
    asked = {nic.resource: requests[nic.resource] for nic in node.nics}
    free = frozenset(nic.numa for nic in node.nics if nic.free and nic.numa >= 0 and asked[nic.resource])
    return Near(free, sum(asked.values())) if free else NOTHING_NEAR


def nics(node: Node, gpus: Sequence[int], requests: Resources) -> tuple[tuple[str, int], ...]:
    """(resource, index) of the NICs for a pod with these cards: those on the NUMA nodes of most of them first."""
    numa_of = {gpu.index: gpu.numa for gpu in node.gpus}
    cards = Counter(numa_of.get(index, -1) for index in gpus)
    found: list[tuple[str, int]] = []
    for resource in dict.fromkeys(nic.resource for nic in node.nics):
        free = [nic for nic in node.nics if nic.resource == resource and nic.free]
        # One NIC for each NUMA node that has cards, before a second one for any.
        seen: Counter[int] = Counter()
        ranked = []
        for nic in free:
            ranked.append((seen[nic.numa] if cards[nic.numa] else len(free), -cards[nic.numa], nic.index))
            seen[nic.numa] += 1
        found += [(resource, index) for _, _, index in sorted(ranked)[: min(requests[resource], len(free))]]
    return tuple(found)


def without(node: Node, given: Collection[tuple[str, int]]) -> Node:
    """The node once a pod has these NICs, where pods do not share them."""
    counts = Counter(nic.resource for nic in node.nics)
    left = tuple(
        replace(nic, free=False)
        if (nic.resource, nic.index) in given and node.capacity[nic.resource] == counts[nic.resource]
        else nic
        for nic in node.nics
    )
    return replace(node, nics=left)


def score(weights: Weights, numas: Sequence[int], chosen: Sequence[int], wish: Near) -> Score:
    """Larger is better. `weights[a][b]` is the link between two cards, both ways."""
    links = sum(weights[a][b] for a in chosen for b in chosen if a < b)
    rest = [position for position in range(len(numas)) if position not in chosen]
    return links, _near(numas, chosen, wish), _pairs(numas, chosen), _pairs(numas, rest)


@lru_cache(maxsize=4096)
def best(weights: Weights, numas: tuple[int, ...], wanted: int, wish: Near) -> tuple[int, ...]:
    """Of all choices of so many cards the best one, among equals the first; positions, ascending."""
    earlier_twin = [_earlier_twin(weights, numas, position) for position in range(len(numas))]
    largest = max((weights[a][b] for a in range(len(numas)) for b in range(a)), default=0)
    all_pairs = wanted * (wanted - 1) // 2
    found: tuple[int, ...] = ()
    found_score: Score = (0, 0, 0, 0)

    def extend(chosen: tuple[int, ...], links: int) -> None:
        nonlocal found, found_score
        size = len(chosen)
        if size == wanted:
            mine = score(weights, numas, chosen, wish)
            if not found or mine > found_score:
                found, found_score = chosen, mine
            return
        if found and links + (all_pairs - size * (size - 1) // 2) * largest < found_score[0]:
            return
        start = chosen[-1] + 1 if chosen else 0
        for card in range(start, len(numas) - (wanted - size) + 1):
            if earlier_twin[card] < 0 or earlier_twin[card] in chosen:
                extend((*chosen, card), links + sum(weights[card][other] for other in chosen))

    extend((), 0)
    return found


def _near(numas: Sequence[int], chosen: Sequence[int], wish: Near) -> int:
    """Each NIC serves the cards of its NUMA node; a second one on the same node serves no more of them."""
    if not wish.nics:
        return 0
    cards = Counter(numas[card] for card in chosen if numas[card] in wish.numas)
    return sum(count for _, count in cards.most_common(wish.nics))


def _pairs(numas: Sequence[int], cards: Sequence[int]) -> int:
    counts = Counter(numas[card] for card in cards if numas[card] >= 0)
    return sum(count * (count - 1) // 2 for count in counts.values())


def _earlier_twin(weights: Weights, numas: Sequence[int], card: int) -> int:
    """The last card before this one that nothing tells apart from it; -1 where there is none."""
    for other in range(card - 1, -1, -1):
        if numas[other] == numas[card] and all(
            weights[other][third] == weights[card][third] for third in range(len(numas)) if third not in (other, card)
        ):
            return other
    return -1
