from __future__ import annotations

from pathlib import Path

from placement.kinds.catalogue import Catalogue
from spoke.kind_files import KindFiles
from tests.hub.test_kinds import SWEEP


def knows(catalogue: Catalogue) -> bool:
    return catalogue.find("example.com/v1", "Sweep") is not None


def test_what_the_hub_told_is_known_at_once_and_after_a_restart(tmp_path: Path) -> None:
    first = Catalogue.builtin()
    assert KindFiles(first, tmp_path / "kinds.json").told({"sweep": SWEEP})
    assert knows(first)
    again = Catalogue.builtin()
    KindFiles(again, tmp_path / "kinds.json").load()
    assert knows(again)


def test_what_it_tells_no_more_is_forgotten_and_the_same_is_no_news() -> None:
    catalogue = Catalogue.builtin()
    files = KindFiles(catalogue)
    assert files.told({"sweep": SWEEP})
    assert not files.told({"sweep": SWEEP})
    assert files.told({})
    assert not knows(catalogue)


def test_a_file_of_a_newer_hub_is_left_out_alone(tmp_path: Path) -> None:
    catalogue = Catalogue.builtin()
    assert KindFiles(catalogue).told({"newer": "kind: New\nshape: round\n", "sweep": SWEEP})
    assert knows(catalogue)


def test_a_kept_file_that_is_broken_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "kinds.json").write_text("[")
    KindFiles(Catalogue.builtin(), tmp_path / "kinds.json").load()
