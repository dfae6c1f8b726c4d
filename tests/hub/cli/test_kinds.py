from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hub.cli import exits
from tests.hub.cli.conftest import Muster


@pytest.fixture
def admin(muster: Muster) -> Muster:
    return replace(muster, as_="admin")


def test_add_list_show_remove(admin: Muster, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("kind: Sweep\n")
    added = admin("kind", "add", str(file))
    assert added.stdout == "sweep added: example.com/v1/Sweep\n"
    assert "owner allows it" in added.stderr
    rows = [line.split() for line in admin("kind", "list", columns=120).stdout.splitlines()]
    assert rows == [
        ["NAME", "KINDS", "ADDED", "BY", "ADDED"],
        ["sweep", "example.com/v1/Sweep", "root", "2026-03-01", "00:00"],
    ]
    assert admin("kind", "show", "sweep").stdout == "kind: Sweep\n"
    assert admin("kind", "remove", "sweep").stdout == "sweep removed\n"
    assert admin("kind", "show", "sweep").exit_code != 0


def test_a_file_that_is_not_there_is_a_usage_error(admin: Muster, tmp_path: Path) -> None:
    result = admin("kind", "add", str(tmp_path / "none.yaml"))
    assert result.exit_code == exits.USAGE
    assert "cannot be read" in result.stderr


def test_who_is_no_admin_adds_none(muster: Muster, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("kind: Sweep\n")
    assert replace(muster, as_="ann")("kind", "add", str(file)).exit_code != 0
