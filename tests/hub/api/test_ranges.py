from __future__ import annotations

import pytest

from hub.api import ranges


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=9-9", (9, 10)),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("", None),
        ("bytes=" + "9" * 30 + "-", None),
    ],
)
def test_ranges(asked: str, part: tuple[int, int] | None) -> None:
    assert ranges.wanted({"range": asked}, 10, '"x"') == part


@pytest.mark.parametrize(("asked", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-0", 0), ("bytes=-1", 0)])
def test_what_lies_beyond(asked: str, size: int) -> None:
    with pytest.raises(ranges.Unsatisfiable):
        ranges.wanted({"range": asked}, size, '"x"')


def test_a_file_that_has_changed_is_answered_whole() -> None:
    assert ranges.wanted({"range": "bytes=1-2", "if-range": '"y"'}, 10, '"x"') is None
    assert ranges.wanted({"range": "bytes=1-2", "if-range": '"x"'}, 10, '"x"') == (1, 3)
