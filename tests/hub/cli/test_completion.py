from __future__ import annotations

import pytest

from hub.cli import completion
from tests.hub.api.fakes import FakeHub


def test_jobs_and_clusters_are_offered(live: str, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_URL", live)
    monkeypatch.setenv("MUSTER_TOKEN", "alice-token")
    assert ("j-0000000001", "llama-70b RUNNING") in completion.jobs("j-")
    assert completion.jobs("lla") == [("llama-70b", "j-0000000001 RUNNING")]
    assert completion.clusters("edge") == [("edge-c", "lost")]


def test_nothing_is_offered_and_nothing_said_where_no_hub_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    monkeypatch.setenv("MUSTER_CONTEXT", f"{tmp_path}/none")
    for url in ("", "http://127.0.0.1:1"):
        monkeypatch.setenv("MUSTER_URL", url)
        assert completion.jobs("") == []
        assert completion.clusters("") == []
    assert capsys.readouterr().err == ""
