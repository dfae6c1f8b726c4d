"""The screen of proposals."""

from __future__ import annotations

import io

from rich.console import Console

from hub.api import present
from hub.cli import rebalancing
from tests.hub.api.fakes import PROPOSAL


def test_what_moves_what_it_costs_and_what_it_wins() -> None:
    out = io.StringIO()
    shown = rebalancing.table([present.proposal(PROPOSAL)])
    Console(file=out, width=140, color_system=None, highlight=False).print(shown)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines[0].split() == ["PROPOSAL", "MOVES", "COST", "GAIN", "NET", "WHAT", "IT", "WINS"]
    assert lines[1].startswith(f"{PROPOSAL.id}  j-0000000001 onprem-a")
    assert "$6.25  $40.00  $33.75" in lines[1]
    text = " ".join(" ".join(lines).split())
    assert "starts on onprem-a 3.0 h earlier; loses 2.5 GPU-hours" in text
