"""What is to be done about a CronJob at one moment: a run to be started, others to be stopped, and when to look again.

At most one run is started at a time: of those that were missed (nobody looked, the calendar was suspended, the run
before went on), the last. The rules are Kubernetes': what is too late by `startingDeadlineSeconds` is missed for good,
and what `Forbid` keeps back is started once the run before has ended, if that is in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from placement.calendar.schedule import Schedule

COUNTED = 100  # missed runs; beyond that they are "more than"


class Concurrency(StrEnum):
    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


@dataclass(frozen=True, slots=True)
class Rules:
    schedule: Schedule
    deadline: timedelta | None = None  # a run that begins later is missed
    concurrency: Concurrency = Concurrency.ALLOW
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    start: datetime | None = None  # the moment on the schedule that the run is for
    stop: tuple[str, ...] = ()  # runs that it takes the place of
    look_again: datetime | None = None  # None: not because of time
    missed: int = 0  # before the one that is started or kept back; COUNTED + 1 stands for more
    note: str = ""  # for people; "" where all is as it should be


def decide(rules: Rules, since: datetime, running: Sequence[str], now: datetime) -> Decision:
    """`since`: the run that was started last, or when the CronJob was made. `running`: runs that have not ended."""
    if rules.suspended:
        return Decision(note="suspended")
    again = rules.schedule.next_after(now)
    due = rules.schedule.last_until(now)
    if due is None or due <= since:
        return Decision(look_again=again)
    missed = rules.schedule.count(since, due, COUNTED + 2) - 1
    if rules.deadline is not None and due <= now - rules.deadline:
        late = (now - due).total_seconds()
        allowed = f"{rules.deadline.total_seconds():g} s are allowed (startingDeadlineSeconds)"
        note = f"the run of {_shown(due)} was missed: {late:.0f} s late, {allowed}"
        return Decision(look_again=again, missed=min(missed, COUNTED + 1), note=note)
    note = _of_missed(missed)
    if running and rules.concurrency is Concurrency.FORBID:
        kept = f"the run of {_shown(due)} waits: the one before has not ended (concurrencyPolicy: Forbid)"
        return Decision(look_again=again, missed=min(missed, COUNTED + 1), note="; ".join(filter(None, (kept, note))))
    stop = tuple(running) if rules.concurrency is Concurrency.REPLACE else ()
    return Decision(due, stop, again, min(missed, COUNTED + 1), note)


def _of_missed(missed: int) -> str:
    if missed <= 0:
        return ""
    if missed > COUNTED:
        return f"more than {COUNTED} runs before it were missed; is the clock right, or was it suspended?"
    return f"{missed} run{'s' if missed > 1 else ''} before it {'were' if missed > 1 else 'was'} missed"


def _shown(moment: datetime) -> str:
    return f"{moment:%F %H:%M} UTC"
