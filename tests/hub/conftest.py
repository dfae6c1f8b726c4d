from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.hub.loops.rig import Clock, Hub, a_hub


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def hub(tmp_path: Path, clock: Clock) -> AsyncGenerator[Hub, None]:
    """A hub without clusters on a database of its own."""
    async with a_hub(tmp_path / "hub.sqlite", clock) as opened:
        yield opened
