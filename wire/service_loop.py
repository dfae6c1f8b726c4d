"""How a hub's or a spoke's process runs its event loop.

uvloop, since both spend their time on sockets and TLS. The garbage collector looks less often: the two hold many
small immutable values for long, and each full collection walks all of them.
"""

from __future__ import annotations

import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

_YOUNG = 20_000  # allocations between collections of the youngest generation; Python's own is 700


def run(main: Coroutine[Any, Any, T]) -> T:
    """Like asyncio.run."""
    collect_less()
    return uvloop.run(main)


def collect_less() -> None:
    gc.collect()
    gc.freeze()  # what was imported stays
    gc.set_threshold(_YOUNG, 20, 50)
