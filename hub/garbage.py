"""How often the hub looks for cycles among its objects.

What it keeps is large (every cluster's summary, what the planner remembers) and made of values, which form no cycles.
The interpreter's default looks through all of it every few thousand decisions, for tenths of a second with a hundred
large clusters, and finds nothing. What does form cycles (exceptions, tasks) is still found, some seconds later.
"""

from __future__ import annotations

import gc

_NEW_OBJECTS = 20_000
_ROUNDS = 20  # of a younger generation for one of the next


def collect_rarely() -> None:
    """For the process, as early as may be: what is there already (the modules) is not looked at again."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _ROUNDS, _ROUNDS)
