"""How much longer a job takes on spot capacity, which is taken away now and then.

Each interruption costs what was done since the last checkpoint, half an interval on average, and the restart; and the
hours that it adds can be interrupted too. With `rate` interruptions an hour and `lost` hours by each, `hours` of work
take hours / (1 - rate * lost), a job whose interruptions cost more than lies between them never ends.

A job that has checkpoints and does not say how often is taken to lose half an hour; so is one that merely tolerates
interruptions, and knows itself how it does.
"""

from __future__ import annotations

from math import inf

from placement.workload import Workload

# From being taken away until pods stand again elsewhere, with their checkpoint read: the whole gang's time.
RESTART_HOURS = 0.1
LOST_WORK_HOURS = 0.5  # by an interruption, of a job that does not say how often it saves


def lost_hours(workload: Workload) -> float:
    """By one interruption."""
    minutes = workload.hints.checkpoint_minutes
    return LOST_WORK_HOURS if minutes is None else minutes / 60 / 2 + RESTART_HOURS


def lengthening(interruptions_per_hour: float, lost_hours_each: float) -> float:
    """By what its hours are multiplied: 1 or more, infinite where it would never end."""
    lost = interruptions_per_hour * lost_hours_each
    return 1 / (1 - lost) if lost < 1 else inf
