"""How every table of the CLI looks."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text


def table() -> Table:
    return Table(box=None, header_style="bold dim", pad_edge=False, padding=(0, 2, 0, 0), expand=False)


def column(into: Table, name: str, *, cut: bool = False, right: bool = False, at_most: int | None = None) -> None:
    """A column of single lines. Where the terminal is too narrow, only those that are `cut` get shorter: rich takes
    room from columns that may wrap, so a cut column may, and its cells (`cut`) do not."""
    into.add_column(name, no_wrap=not cut, justify="right" if right else "left", max_width=at_most)


def cut(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def facts(found: Iterable[tuple[str, RenderableType]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in found:
        grid.add_row(name, value)
    return grid
