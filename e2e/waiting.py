"""Waiting for a condition with a deadline: the only way the suite waits. A wait that fails says what it last saw."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TimedOut(AssertionError):
    pass


def until(what: str, probe: Callable[[], T | None], timeout_s: float = 30, every_s: float = 0.05) -> T:
    """Calls `probe` until it answers something true, and answers that.

    An AssertionError of the probe counts as "not yet"; its text is in the failure. Raises TimedOut.
    """
    deadline = time.monotonic() + timeout_s
    seen = ""
    while True:
        try:
            answer = probe()
        except AssertionError as error:
            answer, seen = None, f"; last: {error}"
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimedOut(f"waited {timeout_s:g} s for: {what}{seen}")
        time.sleep(every_s)


def holds_for(what: str, probe: Callable[[], bool], duration_s: float, every_s: float = 0.1) -> None:
    """Fails as soon as `probe` is false once within `duration_s`: for what must not happen."""
    deadline = time.monotonic() + duration_s
    while time.monotonic() < deadline:
        assert probe(), f"did not hold for {duration_s:g} s: {what}"
        time.sleep(every_s)
