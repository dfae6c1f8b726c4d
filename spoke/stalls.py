"""Whether a running job stands still, by the time that it names itself (`muster.dev/stalled-after`). Pure.

What counts as progress is the surest of what the job lets be seen. Its own word (`muster.dev/checkpointed-at`, the file
of MUSTER_CHECKPOINT_FILE) once it has given one in this attempt; else what its pods write to their logs; else that its
GPUs are busy. Not all of them together: a collective operation that hangs keeps every GPU of a gang at 100 %, and a
program may go on writing that it waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from placement.kinds import durations

AFTER = "muster.dev/stalled-after"
IF_STALLED = "muster.dev/if-stalled"
RESTART = "restart"  # else it is flagged only


@dataclass(frozen=True, slots=True)
class Wish:
    after_s: float
    restart: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """`began`: when the attempt began to run; the others when each sign was seen last, None where it never was."""

    began: datetime
    reported: datetime | None = None
    logged: datetime | None = None
    busy: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stall:
    since: datetime
    words: str


def wish_of(metadata: Mapping[str, Any]) -> Wish | None:
    """What a workload's labels and annotations ask for. The hub has checked them."""
    hints = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    text = hints.get(AFTER)
    if not isinstance(text, str):
        return None
    try:
        return Wish(durations.seconds(text), hints.get(IF_STALLED) == RESTART)
    except ValueError:
        return None


def stalled(wish: Wish, progress: Progress, now: datetime) -> Stall | None:
    """None while it goes on."""
    if progress.reported is not None:
        last, sign = progress.reported, "its last word of progress"
    elif progress.logged is not None:
        last, sign = progress.logged, "the last line in its logs"
    elif progress.busy is not None:
        last, sign = progress.busy, "the last time its GPUs were busy"
    else:
        last, sign = progress.began, "its beginning; it has shown no sign of progress"
    if last <= progress.began:  # what is left of an earlier attempt says nothing of this one
        last, sign = progress.began, "its beginning; it has shown no sign of progress since"
    if now - last < timedelta(seconds=wish.after_s):
        return None
    named = durations.shown(wish.after_s)
    return Stall(last, f"stalled: no progress for {named} since {last:%F %T} UTC ({sign})")
