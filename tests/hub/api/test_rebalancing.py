"""Who may see what moving jobs could win, and in which form."""

from __future__ import annotations

import pytest

from tests.hub.api.conftest import As


@pytest.mark.parametrize(("token", "status"), [("admin-token", 200), ("alice-token", 403), ("vic-token", 403)])
async def test_admins_only(as_: As, token: str, status: int) -> None:
    answer = await as_(token).get("/rebalance")
    assert answer.status_code == status
    if status == 200:
        (one,) = answer.json()["proposals"]
        assert (one["aim"], one["net_usd"], one["steps"][0]["target"]) == ("make-room", 33.75, "cloud-b")
