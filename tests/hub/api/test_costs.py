from __future__ import annotations

from datetime import date

import pytest

from hub.records import CostBy, CostQuery
from tests.hub.api.conftest import As
from tests.hub.api.fakes import FakeHub


async def test_the_last_thirty_days_by_queue_unless_asked_otherwise(as_: As, hub: FakeHub) -> None:
    answer = (await as_("alice-token").get("/cost")).json()
    assert [one["key"] for one in answer["lines"]] == ["team-a", "default"]
    assert answer["total"]["usd"] == pytest.approx(1244.0)
    assert (answer["since"], answer["until"]) == ("2026-01-31", "2026-03-01")
    asked = {"by": "job", "since": "2026-02-03", "until": "2026-02-04", "queue": "q", "user": "u", "cluster": "c"}
    assert (await as_("admin-token").get("/cost", params=asked)).status_code == 200
    assert hub.costs.asked[-1] == CostQuery(CostBy.JOB, date(2026, 2, 3), date(2026, 2, 4), "q", "u", "c", 100)


@pytest.mark.parametrize("wrong", [{"by": "colour"}, {"since": "yesterday"}, {"limit": "many"}, {"tenant": "blue"}])
async def test_what_cannot_be_asked_is_named(as_: As, wrong: dict[str, str]) -> None:
    answer = await as_("alice-token").get("/cost", params=wrong)
    assert answer.status_code == 422
    assert next(iter(wrong)) in answer.json()["error"]["message"]
