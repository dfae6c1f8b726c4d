"""The store's tests are one contract: they run on a file of SQLite, and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from hub.store.store import Store
from tests.hub.loops.rig import Clock, Hub, a_hub, a_store


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty one."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/hub.sqlite"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
async def store(database: str) -> AsyncGenerator[Store, None]:
    opened = a_store(database)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def hub(database: str, clock: Clock) -> AsyncGenerator[Hub, None]:
    async with a_hub(database, clock) as opened:
        yield opened
