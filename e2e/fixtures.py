"""Pytest fixtures that other test folders import into their own conftest.py: `from e2e.fixtures import bare_plane`.

`bare_plane` is one control plane of its own, without nodes, spoke or hub, for tests that want a real API server to
talk to (about four seconds, once per session; the first session on a machine builds the programs). Make nodes with
`e2e.shapes.nodes(...)` and `bare_plane.add_nodes(...)`; see `e2e.planes.plane`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.planes import build
from e2e.planes.plane import Plane


@pytest.fixture(scope="session")
def bare_plane() -> Iterator[Plane]:
    with tempfile.TemporaryDirectory(prefix="muster-plane-", ignore_cleanup_errors=True) as directory:
        plane = Plane("bare", Path(directory), build.binaries(lambda line: print(line, flush=True)))
        try:
            plane.start()
            yield plane
        finally:
            plane.stop()
