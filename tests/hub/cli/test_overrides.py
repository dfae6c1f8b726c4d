from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hub.cli import exits
from tests.hub.api.test_overrides import EU
from tests.hub.cli.conftest import Muster


@pytest.fixture
def admin(muster: Muster) -> Muster:
    return replace(muster, as_="admin")


def test_apply_list_show_delete(admin: Muster, tmp_path: Path) -> None:
    file = tmp_path / "eu.yaml"
    file.write_text(EU)
    assert admin("apply", "-f", str(file)).stdout == "Override eu applied\n"
    rows = [line.split() for line in admin("override", "list", columns=200).stdout.splitlines()]
    assert rows[0] == ["OVERRIDE", "PRIORITY", "CHANGES", "CLUSTERS", "CHANGED", "BY", "CHANGED"]
    assert rows[1][:3] == ["eu", "5", "images,"]
    shown = admin("override", "show", "eu", columns=200).stdout
    assert "Clusters" in shown
    assert "east" in shown
    # What is shown below the facts is a file that can be applied again.
    again = shown[shown.index("apiVersion:") :]
    assert yaml.safe_load(again)["spec"]["images"] == [{"from": "docker.io", "to": "mirror.eu/hub"}]
    before = admin.hub.overrides.known["eu"].override
    assert admin("apply", "-f", "-", stdin=again.encode()).exit_code == 0
    assert admin.hub.overrides.known["eu"].override == before
    assert json.loads(admin("override", "show", "eu", "-o", "json").stdout)["selects"] == ["east"]
    assert admin("override", "delete", "eu").stdout == "eu deleted\n"
    assert admin("override", "show", "eu").exit_code != 0


def test_what_would_be_applied_is_printed_as_yaml_alone(muster: Muster, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("kind: Job")
    printed = muster("plan", str(file), "--show-manifest", "east")
    assert printed.exit_code == 0
    assert list(yaml.safe_load_all(printed.stdout)) == [{"kind": "Job"}]
    assert "on east, with the overrides eu; it would not go there now" in printed.stderr
    muster("plan", str(file), "--show-manifest", "east", "--show-secrets")
    asked = [call for call in muster.hub.jobs.calls if call[0] == "manifest"]
    assert [call[-1] for call in asked] == [False, True]
    assert muster("plan", str(file), "--show-secrets").exit_code == exits.USAGE
