from __future__ import annotations

import logging

import pytest

from tests.hub.api.conftest import As


async def test_changes_are_in_the_log_with_who_made_them(as_: As, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "muster.hub.api"):
        await as_("alice-token").get("/jobs")
        await as_("alice-token").post("/jobs?namespace=ml", content=b"x", headers={"Content-Type": "text/yaml"})
        await as_("stolen").post("/jobs/x/cancel")
    lines = [record.getMessage().rsplit(" ", 1)[0] for record in caplog.records]
    assert lines == ["POST /v1/jobs 201 user=alice", "POST /v1/jobs/x/cancel 401 user=-"]
    assert "stolen" not in caplog.text
