"""Renders the charts with the Helm of the PATH, or the one in the cache; skips where there is none."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.kind.tools import build

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
TOKEN = f"id.secret.{'0' * 64}"
SPOKE = ("hub.url=https://hub.test:30443", f"join.token={TOKEN}")

Render = Callable[..., list[dict[str, Any]]]


class Refused(Exception):
    """What Helm says of values that it does not take."""


@pytest.fixture(scope="session")
def helm() -> str:
    found = shutil.which("helm") or (str(build.cached()) if build.cached().is_file() else None)
    if found is None:
        pytest.skip("no Helm: `python -m e2e.kind.tools.build` builds it once")
    return found


@pytest.fixture
def render(helm: str) -> Render:
    def call(chart: str, *values: str) -> list[dict[str, Any]]:
        sets = [part for value in values for part in ("--set", value)]
        done = subprocess.run(
            [helm, "template", f"muster-{chart}", str(DEPLOY / chart), "--namespace", "muster-system", *sets],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Refused(done.stderr)
        return [found for found in yaml.safe_load_all(done.stdout) if found]

    return call
