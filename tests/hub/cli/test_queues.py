from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hub.cli import exits
from placement.queues.tree import Budget, Preemption, Queue, Quota, Reach
from tests.hub.cli.conftest import Muster


@pytest.fixture
def admin(muster: Muster) -> Muster:
    return replace(muster, as_="admin")


def test_list_and_show(muster: Muster) -> None:
    rows = [line.split() for line in muster("queue", "list", columns=120).stdout.splitlines()]
    assert rows[0] == ["QUEUE", "COHORT", "WEIGHT", "WAITING", "RUNNING", "USES", "MONTH"]
    assert rows[-1] == ["team-a", "research", "1", "1", "2", "2/16", "A100", "$6.00"]
    shown = muster("queue", "show", "team-a").stdout
    assert "5.00 GPU-hours" in shown
    assert shown.splitlines()[-1].split() == ["A100", "8", "8", "all", "2", "14"]


def test_create_edit_delete(admin: Muster) -> None:
    flags = "--quota", "A100=4,borrow=2,lend=1", "--quota", "*=0", "--budget", "usd_per_day=9"
    assert admin("queue", "create", "x", "--cohort", "research", *flags).stdout == "x created\n"
    quotas = {"A100": Quota(4.0, 2.0, 1.0), "*": Quota()}
    assert admin.hub.queues.tree.queues["x"] == Queue("x", "research", quotas, 1.0, Budget(usd_per_day=9.0))
    assert admin("queue", "edit", "x", "--burst-after", "2").stdout == "x changed\n"
    assert "to public clusters after 2 h of waiting" in admin("queue", "show", "x").stdout
    assert admin("queue", "edit", "x", "--burst-after", "none").stdout == "x changed\n"
    # What is not given stays.
    edited = admin("queue", "edit", "x", "--weight", "2", "--quota", "*=none", "--budget", "usd_per_day=none")
    assert edited.stdout == "x changed\n"
    assert admin.hub.queues.tree.queues["x"] == Queue("x", "research", {"A100": Quota(4.0, 2.0, 1.0)}, 2.0)
    assert admin("queue", "edit", "x", "--preemption", "reclaim=never").stdout == "x changed\n"
    assert admin.hub.queues.tree.queues["x"].preemption == Preemption(reclaim=Reach.NEVER)
    assert "take back what it lent: never" in admin("queue", "show", "x").stdout
    wrong = admin("queue", "edit", "x", "--preemption", "reclaim=perhaps")
    assert wrong.exit_code == exits.USAGE
    assert admin("queue", "delete", "x").stdout == "x deleted\n"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--quota", "A100=many"), "'many' is no amount"),
        (("--quota", "A100=4,lent=2"), "lent=2 is no limit"),
        (("--budget", "usd=4"), "there is no usd"),
        (("--burst-after", "soon"), "'soon' is no amount"),
    ],
)
def test_wrong_flags_are_usage_errors(admin: Muster, flags: tuple[str, str], said: str) -> None:
    result = admin("queue", "create", "x", *flags)
    assert result.exit_code == exits.USAGE
    assert said in result.stderr


def test_apply(admin: Muster, tmp_path: Path) -> None:
    path = tmp_path / "queues.yaml"
    path.write_text("apiVersion: muster.dev/v1\nkind: Queue\nmetadata: {name: x}\nspec: {weight: 2}\n")
    assert admin("apply", "-f", str(path)).stdout == "Queue x applied\n"
    assert admin.hub.queues.tree.queues["x"] == Queue("x", weight=2.0)
    path.write_text("apiVersion: muster.dev/v1\nkind: Lake\nmetadata: {name: x}\n")
    result = admin("apply", "-f", str(path))
    assert result.exit_code == exits.FAILED
    assert "'Lake' cannot be applied" in result.stderr
