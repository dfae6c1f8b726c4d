"""The divided works that have not ended, and which of them are to be looked at. In step with the store once subscribed
to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from hub.store.changes import Change, Divided, Happened
from placement.lifecycle import TERMINAL


class WholeBook:
    """`wake` is set whenever there may be something to decide."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._live: set[str] = set()
        self._due: set[str] = set()

    def load(self, live: Iterable[str]) -> None:
        self._live.update(live)
        self.look_at_all()

    def on_change(self, change: Change) -> None:
        match change:
            case Divided(whole, part):
                if part == whole:
                    self._live.add(whole)
                self.look_at(whole)
            case Happened(event) if event.job in self._live and event.phase in TERMINAL:
                self._live.discard(event.job)
                self._due.discard(event.job)
            case _:
                pass

    def look_at(self, whole: str) -> None:
        if whole in self._live:
            self._due.add(whole)
            self.wake.set()

    def look_at_all(self) -> None:
        """The clusters have changed: rooms, prices, or who is there."""
        if self._live:
            self._due.update(self._live)
            self.wake.set()

    def take(self) -> tuple[str, ...]:
        taken, self._due = tuple(sorted(self._due)), set()
        return taken
