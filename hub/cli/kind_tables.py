"""The screens of `muster kind`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from hub.api.kinds import KindFileOut
from hub.cli import grid


def kinds(found: Sequence[KindFileOut]) -> RenderableType:
    table = grid.grid()
    for name in ("NAME", "KINDS", "ADDED BY", "ADDED"):
        grid.column(table, name, cut=True)
    for one in found:
        row = (one.name, ", ".join(one.kinds) or "not understood any more", one.added_by, f"{one.added_at:%F %H:%M}")
        table.add_row(*map(grid.cut, row))
    return table
