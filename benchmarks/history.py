"""When each job was submitted, placed, accepted … by the hub's own events, read once everything has happened.

Following the event stream live would cost the hub as much as the jobs do. So the end is found by asking how many jobs
are in a phase, four times a second, and the times are those that the hub committed with each event (its clock is this
machine's).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping

from hub.client import MusterClient
from placement.lifecycle import Phase

Times = Mapping[str, Mapping[str, float]]  # event -> job -> seconds since 1970; the first of its kind


def wait_for(client: MusterClient, phases: set[Phase], count: int, timeout_s: float) -> None:
    """Until so many jobs are in one of the phases. Raises TimeoutError that says how many were."""
    deadline = time.monotonic() + timeout_s
    while (total := client.jobs(phases=phases, limit=1).total) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{total} of {count} jobs were {' or '.join(sorted(phases))} after {timeout_s:g} s")
        time.sleep(0.25)


def read(client: MusterClient) -> Times:
    times: dict[str, dict[str, float]] = defaultdict(dict)
    for event in client.events(follow=False):
        times[event.event].setdefault(event.job, event.at.timestamp())
    return times
