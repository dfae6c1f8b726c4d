from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hub.cli import exits
from tests.hub.cli.conftest import Muster


@pytest.fixture
def admin(muster: Muster) -> Muster:
    return replace(muster, as_="admin")


@pytest.fixture
def file(tmp_path: Path) -> str:
    made = tmp_path / "Mig.yaml"
    made.write_text("mig\n")
    return str(made)


def test_distribute_list_show_delete(admin: Muster, file: str) -> None:
    given = admin("distribute", file, "--to", "env=prod")
    assert given.stdout == "mig gives 1 object to edge-c, onprem-a\n"
    assert "muster distribution show mig" in given.stderr
    rows = [line.split("  ") for line in admin("distribution", "list", columns=140).stdout.splitlines()]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        ["NAME", "TO", "OBJECTS", "CLUSTERS", "CHANGED BY", "CHANGED"],
        ["mig", "env=prod", "1", "1 Applied, 1 Refused", "root", "2026-03-01 12:00"],
    ]
    shown = admin("distribution", "show", "mig", columns=160).stdout
    assert "revision  1, by root at 2026-03-01 12:00" in shown
    assert [line.split()[:3] for line in shown.splitlines()[-4:]] == [
        ["edge-c", "Refused", "ConfigMap"],
        ["ConfigMap", "gpu/mig", "Refused"],
        ["onprem-a", "Applied"],
        ["ConfigMap", "gpu/mig", "Applied"],
    ]
    assert "v1/ConfigMap is not among the kinds" in shown
    assert admin("distribution", "delete", "mig").stdout == "mig is being removed from edge-c, onprem-a\n"
    assert admin("distribution", "show", "mig").exit_code == exits.NOT_FOUND


def test_a_dry_run_and_other_names(admin: Muster, file: str) -> None:
    dry = admin("distribute", file, "--to", "*", "--name", "other", "--dry-run", "--adopt")
    assert dry.stdout == "other would give 1 object to edge-c, onprem-a\n"
    assert admin("distribution", "list", "-o", "json").stdout.strip() == "[]"
    assert admin("distribute", "-", "--to", "*", stdin=b"mig").exit_code == exits.USAGE
    assert admin("distribute", "-", "--to", "*", "--name", "gone", stdin=b"mig").exit_code == 0
    assert admin("distribution", "delete", "gone").stdout == "gone deleted\n"


def test_who_is_no_admin_distributes_nothing(muster: Muster, file: str) -> None:
    refused = muster("distribute", file, "--to", "*")
    assert refused.exit_code != 0
    assert "alice is a submitter and may not distribute objects" in refused.stderr


def test_labels_of_a_cluster(admin: Muster) -> None:
    assert admin("cluster", "label", "onprem-a", "env=prod", "tier=gold").stdout.startswith("onprem-a: ")
    changed = admin("cluster", "label", "onprem-a", "tier-").stdout
    assert "env=prod" in changed
    assert "tier=gold" not in changed
    assert admin("cluster", "label", "onprem-a", "tier").exit_code == exits.USAGE
