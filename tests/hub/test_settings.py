from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from hub.settings import HubSettings


def test_defaults_run_on_a_laptop(tmp_path: Path) -> None:
    settings = HubSettings(data_dir=tmp_path)
    assert settings.database == f"sqlite:///{tmp_path}/hub.sqlite"
    assert settings.token_path == tmp_path / "admin.token"
    assert settings.certificate_names == ("localhost", "127.0.0.1")
    assert settings.rest_host == "127.0.0.1"


def test_the_environment_and_over_it_what_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MUSTER_HUB_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("MUSTER_HUB_QUEUES", "default, research,")
    monkeypatch.setenv("MUSTER_HUB_PUBLIC_NAMES", "hub.example.org,10.0.0.7,localhost")
    monkeypatch.setenv("MUSTER_HUB_REST_PORT", "443")
    settings = HubSettings(rest_port=9443)
    assert settings.data_dir == tmp_path
    assert settings.queues == ("default", "research")
    assert settings.certificate_names == ("localhost", "127.0.0.1", "hub.example.org", "10.0.0.7")
    assert settings.rest_port == 9443


def test_a_replica_is_called_by_its_machine_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "hub-1")
    assert HubSettings().replica == "hub-1"
    assert HubSettings(replica_name="left").replica == "left"


def test_addresses_that_are_listened_on_are_in_the_certificate() -> None:
    assert "10.1.2.3" in HubSettings(rest_host="10.1.2.3").certificate_names
    assert "0.0.0.0" not in HubSettings(rest_host="0.0.0.0").certificate_names


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rest_port": 70_000}, "rest_port"),
        ({"queues": ()}, "queues"),
        ({"queues": " , "}, "queues"),
        ({"heartbeat_s": 0}, "heartbeat_s"),
        ({"heartbeat_s": 10, "lease_s": 20}, "lease_s"),
        ({"log_level": "loud"}, "log_level"),
        ({"rest_key": "x"}, "rest_certificate is not"),
        ({"leader_lease_s": 0.1}, "leader_lease_s"),
        ({"datadir": "x"}, "datadir"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        HubSettings(**wrong)  # type: ignore[arg-type]  # wrong on purpose
