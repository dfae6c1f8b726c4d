from __future__ import annotations

import pytest

from hub.api import schemas
from hub.cli import data_tables, tables
from hub.cli.screen import usd
from tests.hub.cli.test_tables import drawn

MOVE = schemas.DataMoveOut(
    dataset="imagenet",
    size=1_200_000_000_000,
    source="us-east",
    usd=24.0,
    hours=16 / 60,
    place="pvc://default/dataset-imagenet",
)


def test_a_plan_says_what_bringing_the_data_takes() -> None:
    score = schemas.ScoreOut(total_usd=28.0, terms={"gpu": 3.0, "data": 24.0, "data-wait": 1.0})
    one = schemas.CandidateOut(cluster="eu", feasible=True, reasons=[], score=score, moves=[MOVE])
    shown = drawn(tables.candidates([one], "eu"), 120)
    assert "gpu $3.00 + data $24.00 + data-wait $1.00" in shown
    assert "copies imagenet 1.2 TB from us-east: $24.00, 16 min" in shown


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"place": ""}, f"reads imagenet 1.2 TB from us-east: {usd(24)}, 16 min"),
        ({"hours": 0.01, "usd": 0.0}, f"copies imagenet 1.2 TB from us-east: {usd(0)}, 36 s"),
        (
            {"left_behind": True, "source": "eu-1", "hours": 1.0},
            "leaves the checkpoint imagenet in eu-1: counts 60 min again",
        ),
        ({"hours": 5.0, "source": ""}, f"copies imagenet 1.2 TB: {usd(24)}, 5.0 h"),
    ],
)
def test_moves_in_words(changes: dict[str, object], words: str) -> None:
    assert data_tables.move(MOVE.model_copy(update=changes)) == words
