from __future__ import annotations

import json
from pathlib import Path

import pytest

from spoke.staging import copy


def test_the_command_copies_and_says_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/x").write_bytes(b"12345")
    assert copy.main(["--from", f"file://{tmp_path}/source", "--to", str(tmp_path / "target")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"done": 0, "total": 5}
    assert lines[-1] == {"done": 5, "total": 5}
    assert (tmp_path / "target/x").read_bytes() == b"12345"


def test_what_fails_is_its_last_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert copy.main(["--from", "file:///not/there", "--to", str(tmp_path)]) == copy.FAILED
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"error": "file:///not/there is not there"}
