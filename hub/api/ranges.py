"""Which part of a file a request asks for: one range of bytes (RFC 9110); more than one is answered with the whole."""

from __future__ import annotations

import re
from collections.abc import Mapping

_ONE = re.compile(r"bytes=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*")


class Unsatisfiable(Exception):
    """It lies beyond the file."""


def wanted(headers: Mapping[str, str], size: int, etag: str) -> tuple[int, int] | None:
    """From where up to where; None: all of it. Raises Unsatisfiable."""
    found = _ONE.fullmatch(headers.get("range", ""))
    if found is None or found[1] == found[2] == "" or headers.get("if-range", etag) != etag:
        return None
    if not found[1]:
        length = int(found[2])
        if not length or not size:
            raise Unsatisfiable
        return max(size - length, 0), size
    begin, last = int(found[1]), int(found[2] or size - 1)
    if begin >= size:
        raise Unsatisfiable
    return (begin, min(last + 1, size)) if begin <= last else None
