"""Which job next: the higher priority, then the older, then the smaller id, so that every hub decides alike.

A gang at the head that does not fit does not hold up those behind it (simple backfill). A stream of small jobs can keep
a large gang waiting for as long as it lasts: nothing is held free for it yet.
"""

from __future__ import annotations

from collections.abc import Iterable

from placement.fleet import PendingJob


def ordered(pending: Iterable[PendingJob]) -> list[PendingJob]:
    return sorted(pending, key=lambda job: (-job.workload.hints.priority, job.submitted_at, job.job))
