"""Waiting longer after each failure, with jitter so that many waiters do not come back at once."""

from __future__ import annotations

import asyncio
from random import Random


class Backoff:
    """Delays grow from `first_s` by doubling up to `most_s`; each is a random part of its bound, from half on."""

    def __init__(self, rng: Random, *, first_s: float = 0.1, most_s: float = 15.0) -> None:
        self._rng = rng
        self._first_s = first_s
        self._most_s = most_s
        self._next_s = first_s

    def reset(self) -> None:
        self._next_s = self._first_s

    def next_s(self) -> float:
        bound = self._next_s
        self._next_s = min(bound * 2, self._most_s)
        return bound * self._rng.uniform(0.5, 1.0)

    async def wait(self) -> None:
        await asyncio.sleep(self.next_s())
