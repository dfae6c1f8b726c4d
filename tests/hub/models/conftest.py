from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.programs import HubProgram, HubSettings


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProgram]:
    """The real hub as a process, over TLS."""
    made = HubProgram(tmp_path_factory.mktemp("hub"), HubSettings())
    made.start()
    yield made
    made.process.stop()


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    from tests.hub.models import samples

    return samples.write(tmp_path / "sample", samples.tensors(1))
