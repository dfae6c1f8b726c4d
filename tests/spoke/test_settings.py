"""Settings: where each comes from, and what is said of those that make no sense."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from spoke import main
from spoke.settings import SpokeSettings


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def settings(**given: object) -> SpokeSettings:
    return SpokeSettings(hub="https://h:8443", **given)  # type: ignore[arg-type]  # pydantic tells


def test_what_kind_of_cluster_follows_from_what_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(kubeconfig="k").cluster == "kube"
    assert settings(nodes="nodes.yaml").cluster == "host"
    with pytest.raises(ValidationError, match="cluster"):
        settings()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert settings().cluster == "kube"


def test_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MUSTER_SPOKE_CLUSTER", "host")
    monkeypatch.setenv("MUSTER_SPOKE_LEVELS", "zone=z, rack=example.com/rack")
    monkeypatch.setenv("MUSTER_SPOKE_TOKEN", " t ")
    found = settings()
    assert found.levels == (("zone", "z"), ("rack", "example.com/rack"))
    assert found.join_token() == "t"
    (tmp_path / "token").write_text("from-file\n")
    assert settings(token_file=tmp_path / "token").join_token() == "from-file"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cluster": "host", "levels": "rack"}, "has no label"),
        ({"cluster": "host", "levels": "rack=a,rack=b"}, "used twice"),
        ({"cluster": "host", "kubeconfig": "k"}, "leave one of them out"),
        ({"cluster": "kube", "nodes": "f"}, "has its own"),
        ({"cluster": "cloud"}, "'kube' or 'host'"),
    ],
)
def test_what_makes_no_sense(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**given)


def test_flags_that_make_no_sense_end_it_with_a_code_and_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["--hub=https://h:8443", "--cluster=cloud"])
    assert ended.value.code == main.USAGE
    assert "MUSTER_SPOKE_" in capsys.readouterr().err
