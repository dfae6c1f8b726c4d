from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hub.cli import exits
from tests.hub.cli.conftest import Muster


@pytest.fixture
def file(tmp_path: Path) -> str:
    made = tmp_path / "cron.yaml"
    made.write_text("kind: CronJob\n")
    return str(made)


def test_submit_says_what_it_made_and_when_it_runs(muster: Muster, file: str) -> None:
    assert muster("submit", file).stdout == "c-0000000001 nightly made: 0 3 * * * UTC, next at 2026-03-02 03:00 UTC\n"
    assert muster("submit", file).stdout.startswith("c-0000000001 nightly changed: ")
    assert '"crons"' in muster("submit", file, "-o", "json").stdout
    assert "nightly-1" in muster("plan", file).stdout


def test_list_show_suspend_resume_run_delete(muster: Muster, file: str) -> None:
    muster("submit", file)
    listed = muster("cron", "list", columns=140).stdout.splitlines()
    assert listed[0].split() == ["CRON", "NAMESPACE", "SCHEDULE", "ZONE", "NEXT", "LAST", "RUN", "NOTE"]
    assert "1 run before it was missed" in listed[1]
    assert "SUCCEEDED" in listed[1]
    shown = muster("cron", "show", "nightly", columns=140).stdout
    assert "nightly (c-0000000001) in namespace ml, by alice of red" in shown
    assert "concurrency Forbid, starting deadline none" in shown
    assert shown.splitlines()[-1].split()[:4] == ["2026-03-01", "03:00", "j-0000000007", "nightly-29539380"]
    assert muster("cron", "suspend", "nightly").stdout == "nightly suspended\n"
    assert "suspended" in muster("cron", "list", columns=140).stdout
    assert muster("cron", "resume", "nightly").stdout == "nightly resumed, next at 2026-03-02 03:00 UTC\n"
    assert muster("cron", "run", "nightly").stdout == "j-0000000007 nightly-run-ab12c\n"
    assert muster("cron", "delete", "nightly").stdout == "nightly deleted, 1 run cancelled\n"
    assert muster("cron", "show", "nightly").exit_code == exits.NOT_FOUND


def test_viewers_and_others(muster: Muster, file: str) -> None:
    muster("submit", file)
    assert replace(muster, as_="vic")("cron", "run", "nightly").exit_code == exits.NOT_ALLOWED
    assert replace(muster, as_="bob")("cron", "show", "nightly").exit_code == exits.NOT_FOUND
    muster("submit", file)
    assert muster("cron", "delete", "nightly", "--keep-runs").stdout == "nightly deleted\n"
