"""A count on the way to a number: how much of its work a job has done, how many of its retries it has used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    done: int
    of: int | None = None  # None: there is no limit, or none is known

    def __str__(self) -> str:
        return str(self.done) if self.of is None else f"{self.done} of {self.of}"
