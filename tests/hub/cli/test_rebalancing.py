"""The screen of proposals, and who may see it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hub.api import present
from hub.cli import rebalancing
from tests.hub.api.conftest import As
from tests.hub.api.fakes import PROPOSAL


def test_what_moves_what_it_costs_and_what_it_wins() -> None:
    out = io.StringIO()
    shown = rebalancing.table([present.proposal(PROPOSAL)])
    Console(file=out, width=100, color_system=None, highlight=False).print(shown)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines[0].split() == ["PROPOSAL", "MOVES", "COST", "GAIN", "NET", "WHAT", "IT", "WINS"]
    assert lines[1].startswith(f"{PROPOSAL.id}  j-0000000001 onprem-a")
    assert "$6.25  $40.00  $33.75" in lines[1]
    text = " ".join(" ".join(lines).split())
    assert "starts on onprem-a 3.0 h earlier; loses 2.5 GPU-hours" in text


@pytest.mark.parametrize(("token", "status"), [("admin-token", 200), ("alice-token", 403), ("vic-token", 403)])
async def test_admins_only(as_: As, token: str, status: int) -> None:
    answer = await as_(token).get("/rebalance")
    assert answer.status_code == status
    if status == 200:
        (one,) = answer.json()["proposals"]
        assert (one["aim"], one["net_usd"], one["steps"][0]["target"]) == ("make-room", 33.75, "cloud-b")
