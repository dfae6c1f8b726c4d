"""The event stream beside the main thread: a command can wait for events with a time limit, and be interrupted."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.api.schemas import EventOut
    from hub.client import MusterClient


class Follower:
    """Reads events until the process ends or the stream does; a failure is raised where `next` is called."""

    def __init__(self, client: MusterClient, *, job: str | None = None, after: int | None = None) -> None:
        self._arrived: queue.SimpleQueue[EventOut | BaseException | None] = queue.SimpleQueue()
        events = client.events(job=job, after=after, follow=True)
        # A daemon: it sits in a read that nothing but the end of the process interrupts.
        threading.Thread(target=self._read, args=(events,), daemon=True, name="events").start()

    def next(self, timeout_s: float | None) -> EventOut | None:
        """None where nothing came in time. Raises EndOfEvents where the stream ended, else what it failed with."""
        try:
            arrived = self._arrived.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if arrived is None:
            raise EndOfEvents
        if isinstance(arrived, BaseException):
            raise arrived
        return arrived

    def _read(self, events: Iterator[EventOut]) -> None:
        try:
            for event in events:
                self._arrived.put(event)
            self._arrived.put(None)
        except BaseException as error:
            self._arrived.put(error)


class EndOfEvents(Exception):
    pass
