"""Long lists of ids cut up: a statement takes a limited number of parameters (SQLite 32,766, PostgreSQL 65,535)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

PIECE = 10_000


def in_pieces(values: Iterable[T], size: int = PIECE) -> Iterator[list[T]]:
    rest = iter(values)
    while piece := list(islice(rest, size)):
        yield piece
