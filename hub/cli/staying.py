"""submit --wait and --follow: with a job until its end, by its events, its logs beside."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from hub.cli import exits, loglines
from hub.cli.following import EndOfEvents, Follower
from placement.lifecycle import TERMINAL, Phase

if TYPE_CHECKING:
    from hub.api.schemas import EventOut, JobOut
    from hub.client import MusterClient

_LAST_LINES_S = 10.0


def until_ended(muster: MusterClient, jobs: Sequence[JobOut], *, follow: bool, timeout_s: float | None) -> int | None:
    """The exit code that says how it went; None where all went well."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    bad = False
    for job in jobs:
        last = _until_end(muster, job, follow, deadline)
        if last is None:
            typer.echo(
                f"muster: {job.id} has not ended in {timeout_s:g} s; it goes on (muster show {job.id})", err=True
            )
            return exits.WAITING
        bad = bad or last.phase in (Phase.FAILED, Phase.CANCELLED)
    return exits.FAILED if bad else None


def _until_end(muster: MusterClient, job: JobOut, follow: bool, deadline: float | None) -> EventOut | None:
    """Its last event; None where time is up."""
    events = Follower(muster, job=job.id, after=0)  # from its first event: none can be missed
    printer = _LogPrinter(muster, job.id) if follow else None
    before = None
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        try:
            event = events.next(left) if left is None or left > 0 else None
        except EndOfEvents:
            event = None
        if event is None:
            return None
        if event.phase != before:
            why = f": {event.message}" if event.message else ""
            typer.echo(f"{job.id} {job.name} {event.phase}{why}", err=True)
            before = event.phase
        if printer and event.phase in (Phase.RUNNING, Phase.SUCCEEDED, Phase.FAILED):
            printer.begin(event.epoch)
        if event.phase in TERMINAL or (job.long_running and event.phase is Phase.RUNNING and not follow):
            if printer:
                printer.finish()
            return event


class _LogPrinter:
    """Prints the logs of each attempt once, on a thread of its own."""

    def __init__(self, muster: MusterClient, ref: str) -> None:
        self._muster = muster
        self._ref = ref
        self._epoch = 0
        self._thread: threading.Thread | None = None

    def begin(self, epoch: int) -> None:
        if epoch > self._epoch:
            self.finish()
            self._epoch = epoch
            self._thread = threading.Thread(target=self._print, daemon=True, name="logs")
            self._thread.start()

    def finish(self) -> None:
        if self._thread:
            self._thread.join(_LAST_LINES_S)

    def _print(self) -> None:
        from hub.client import ApiError, HubUnreachable

        try:
            loglines.show(self._muster.logs(self._ref, follow=True))
        except (ApiError, HubUnreachable) as error:
            typer.echo(f"muster: no logs: {error}", err=True)
