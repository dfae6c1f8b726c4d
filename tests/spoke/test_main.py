"""What the spoke's process sets up before it does anything."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoke import main
from spoke.cluster import pod_shim


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = os.umask(0o022)
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore")}
    yield
    os.umask(before)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_requests_to_the_api_server_are_not_logged_one_by_one() -> None:
    main.set_up_logging("info")
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
    assert not logging.getLogger("httpcore.connection").isEnabledFor(logging.DEBUG)
    assert logging.getLogger("httpx").isEnabledFor(logging.WARNING)


def test_its_files_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run(work: object) -> None:
        work.close()  # type: ignore[attr-defined]  # the coroutine is not to run
        (tmp_path / "made").touch()
        seen.append((tmp_path / "made").stat().st_mode & 0o777)

    monkeypatch.setattr("wire.service_loop.run", run)
    main.start({"hub": "https://localhost:1", "cluster": "host", "state_dir": tmp_path})
    assert seen == [0o600]


def test_containers_do_not_inherit_that(tmp_path: Path) -> None:
    os.umask(0o077)
    env = {"PATH": os.environ["PATH"]}
    spec = {"argv": ["sh", "-c", "umask; : > made"], "env": env, "cwd": str(tmp_path)}
    pod_shim.write_json(tmp_path / "spec.json", spec)
    assert pod_shim._spawn(tmp_path).wait(10) == 0
    assert json.loads((tmp_path / "spec.json").read_text()) == spec
    assert (tmp_path / "log").read_text().strip() == "0022"
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
