from __future__ import annotations

import stat
from pathlib import Path

from wire import private_file


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "key"
    private_file.write(path, b"one")
    private_file.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [child.name for child in path.parent.iterdir()] == ["key"]


def test_create_makes_it_once(tmp_path: Path) -> None:
    assert private_file.create(tmp_path / "ca", b"first")
    assert not private_file.create(tmp_path / "ca", b"second")
    assert (tmp_path / "ca").read_bytes() == b"first"
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o600
    assert [child.name for child in tmp_path.iterdir()] == ["ca"]
