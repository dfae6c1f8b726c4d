"""Which hub, as whom: the environment over the file that login wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hub.cli import exits, main
from hub.cli.context import Connection, context_path, resolve, save


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has logged in."""
    path = tmp_path / "deep" / "context.json"
    save(path, Connection("https://hub:8443", "muster-t", "/etc/ca.crt"))
    return {"MUSTER_CONTEXT": str(path)}


def test_what_login_kept_is_used_and_is_its_owners_alone(kept: dict[str, str]) -> None:
    assert resolve(kept) == Connection("https://hub:8443", "muster-t", "/etc/ca.crt")
    assert Path(kept["MUSTER_CONTEXT"]).stat().st_mode & 0o777 == 0o600


def test_the_environment_counts_over_it(kept: dict[str, str]) -> None:
    assert resolve({**kept, "MUSTER_TOKEN": "other"}) == Connection("https://hub:8443", "other", "/etc/ca.crt")
    assert resolve({**kept, "MUSTER_URL": "https://hub:8443/"}).token == "muster-t"


def test_a_token_goes_to_no_other_hub_than_its_own(kept: dict[str, str]) -> None:
    assert resolve({**kept, "MUSTER_URL": "https://elsewhere"}) == Connection("https://elsewhere", "", "")


def test_nothing_known_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for environ in ({"XDG_CONFIG_HOME": str(tmp_path)}, {"MUSTER_CONTEXT": str(tmp_path / "none")}):
        with pytest.raises(typer.Exit) as stopped:
            resolve(environ)
        assert stopped.value.exit_code == exits.USAGE
        assert "muster login" in capsys.readouterr().err


def test_a_damaged_file_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "context.json"
    for text in ("{", "[]", json.dumps({"host": "x"})):
        path.write_text(text)
        with pytest.raises(typer.Exit):
            resolve({"MUSTER_CONTEXT": str(path)})
        assert str(path) in capsys.readouterr().err


def test_the_file_lies_where_such_files_lie(tmp_path: Path) -> None:
    assert context_path({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "muster" / "context.json"


def test_login_tries_the_token_first(live: str, tmp_path: Path) -> None:
    path = tmp_path / "context.json"
    env = {"MUSTER_CONTEXT": str(path), "MUSTER_TOKEN": ""}
    refused = CliRunner().invoke(main.app, ["login", live, "--token", "stolen"], env=env)
    assert (refused.exit_code, path.exists()) == (exits.NOT_ALLOWED, False)
    done = CliRunner().invoke(main.app, ["login", live + "/", "--token", "vic-token"], env=env)
    assert done.exit_code == exits.OK, done.output
    assert "vic (viewer of tenant red)" in done.stdout
    assert json.loads(path.read_text()) == {"url": live, "token": "vic-token", "ca": ""}
    assert "vic" in CliRunner().invoke(main.app, ["whoami"], env=env).stdout


def test_a_hub_that_is_not_there(tmp_path: Path) -> None:
    env = {"MUSTER_URL": "http://127.0.0.1:1", "MUSTER_CONTEXT": str(tmp_path / "none")}
    result = CliRunner().invoke(main.app, ["whoami"], env=env)
    assert result.exit_code == exits.UNREACHABLE
    assert "http://127.0.0.1:1 cannot be reached" in result.stderr


def test_a_ca_that_is_not_there(tmp_path: Path) -> None:
    env = {"MUSTER_URL": "https://127.0.0.1:1", "MUSTER_CA": str(tmp_path / "none.crt")}
    result = CliRunner().invoke(main.app, ["whoami"], env=env)
    assert result.exit_code == exits.USAGE
    assert "none.crt" in result.stderr


def test_starting_imports_nothing_heavy() -> None:
    heavy = {"httpx", "pydantic", "rich", "fastapi", "grpc", "sqlalchemy", "yaml", "cryptography"}
    code = f"import sys, hub.cli.main; print(sorted({heavy!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_a_bug_is_told_without_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise RuntimeError("boom")

    monkeypatch.delenv("MUSTER_DEBUG", raising=False)
    monkeypatch.setattr(main, "app", broken)
    with pytest.raises(SystemExit) as stopped:
        main.main()
    assert stopped.value.code == exits.BUG
    assert "RuntimeError: boom" in capsys.readouterr().err
