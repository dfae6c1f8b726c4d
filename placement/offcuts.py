"""What a piece of a card is worth: how much of a card can still be made of it, given the sizes that are asked for.

Cards are cut into shares as rods are cut into lengths. The dual prices of the linear cutting-stock problem (the fewest
cards for the demand) say what each size is worth; a piece is worth the best filling of it. Solved by column generation
(Gilmore and Gomory 1961), with a knapsack over thousandths of a card. Prices are of the linear problem: cutting whole
cards may need one more than they say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

WHOLE = 1000  # thousandths of a card

_TOLERANCE = 1e-9
_PIVOTS_PER_SIZE = 60

Floats = NDArray[np.float64]


def worths(demand: Mapping[int, float]) -> Floats:
    """For each length 0 to 1000 what a piece of it is worth, in cards; a whole card is worth 1.

    `demand`: how often each size (1 to 1000 thousandths) is asked for. Without any, a piece is worth nothing.
    """
    sizes = sorted(size for size, often in demand.items() if 0 < size <= WHOLE and often > 0)
    found, _ = _filled(sizes, _prices(sizes, np.array([demand[size] for size in sizes])))
    found = np.minimum(found, 1.0)
    found[WHOLE] = 1.0
    return found


def _prices(sizes: Sequence[int], demand: Floats) -> Floats:
    """The most that the sizes may cost so that no card is worth more than one."""
    if not sizes:
        return np.zeros(0)
    # A basis of one pattern per size: as many of it as a card gives.
    inverse = np.diag([1 / (WHOLE // size) for size in sizes])
    cards = inverse @ demand
    prices = inverse.sum(axis=0)
    for _ in range(_PIVOTS_PER_SIZE * len(sizes)):
        best, last = _filled(sizes, prices)
        if best[WHOLE] <= 1 + _TOLERANCE:
            break
        column = inverse @ _pattern(sizes, last)
        rising = column > _TOLERANCE
        ratios = np.where(rising, cards / np.where(rising, column, 1.0), np.inf)
        leaves = int(ratios.argmin())
        step = ratios[leaves]
        cards -= step * column
        cards[leaves] = step
        row = inverse[leaves] / column[leaves]
        inverse -= np.outer(column, row)
        inverse[leaves] = row
        prices = inverse.sum(axis=0)
    else:
        prices = prices / max(1.0, float(_filled(sizes, prices)[0][WHOLE]))  # too dear while the pivots ran out
    return np.asarray(np.maximum(prices, 0.0))


def _filled(sizes: Sequence[int], prices: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """By length the worth of the best filling, and the index of a size that it ends with; -1: none ends there."""
    best = [0.0] * (WHOLE + 1)
    last = [-1] * (WHOLE + 1)
    worthy = [(size, price, i) for i, (size, price) in enumerate(zip(sizes, prices.tolist(), strict=True)) if price > 0]
    for length in range(1, WHOLE + 1):
        top, of = best[length - 1], -1
        for size, price, i in worthy:
            if size > length:
                break
            if (value := best[length - size] + price) > top + _TOLERANCE:
                top, of = value, i
        best[length], last[length] = top, of
    return np.array(best), np.array(last)


def _pattern(sizes: Sequence[int], last: NDArray[np.int64]) -> Floats:
    counts = np.zeros(len(sizes))
    length = WHOLE
    while length > 0:
        i = int(last[length])
        if i < 0:
            length -= 1
        else:
            counts[i] += 1
            length -= sizes[i]
    return counts
