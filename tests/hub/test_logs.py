from __future__ import annotations

import logging
import sys

from hub.logs import KeyValues


def test_an_entry_is_one_line_whatever_is_in_it() -> None:
    record = logging.LogRecord("muster.x", logging.WARNING, "f", 1, 'cluster %s "said"', ("a\nat=0 level=info",), None)
    record.created = 1772366400.5
    expected = r'at=2026-03-01T12:00:00.500Z level=warning from=muster.x msg="cluster a\nat=0 level=info \"said\""'
    assert KeyValues().format(record) == expected


def test_the_story_of_an_exception_follows() -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        record = logging.LogRecord("m", logging.ERROR, "f", 1, "failed", (), sys.exc_info())
    lines = KeyValues().format(record).splitlines()
    assert lines[0].endswith('msg="failed"')
    assert lines[-1] == "ValueError: boom"
