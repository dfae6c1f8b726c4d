"""Datasets on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from hub.api import schemas
from hub.cli import grid
from hub.cli.screen import usd
from placement import sizes


def datasets(found: Sequence[schemas.DatasetOut]) -> RenderableType:
    table = grid.grid()
    grid.column(table, "DATASET", cut=True)
    grid.column(table, "TENANT", cut=True)
    grid.column(table, "SIZE", right=True)
    grid.column(table, "RESIDENCY", cut=True)
    grid.column(table, "WHERE", cut=True)
    for one in found:
        places = dict.fromkeys(replica.cluster or replica.region for replica in one.replicas)
        table.add_row(
            grid.cut(one.name),
            grid.cut(one.tenant or "(everybody)"),
            sizes.words(one.size),
            grid.cut(", ".join(one.residency) or "anywhere"),
            grid.cut(", ".join(places) or "nowhere"),
        )
    return table


def dataset(one: schemas.DatasetOut) -> RenderableType:
    facts: list[tuple[str, RenderableType]] = [
        ("Dataset", Text(one.name + (" (learned)" if one.learned else ""), "bold")),
        ("Tenant", one.tenant or "(everybody)"),
        ("Size", f"{sizes.words(one.size)} ({one.size:,} bytes)"),
        ("Residency", ", ".join(one.residency) or "anywhere"),
    ]
    facts += [("Secret", one.secret)] if one.secret else []
    table = grid.grid()
    for name in ("CLUSTER", "REGION", "URI", ""):
        grid.column(table, name, cut=True)
    for replica in one.replicas:
        row = (
            replica.cluster or "–",
            replica.region or "unknown",
            replica.uri or "–",
            "copied" if replica.copied else "",
        )
        table.add_row(*map(grid.cut, row))
    return Group(grid.facts(facts), "", table)


def move(one: schemas.DataMoveOut) -> str:
    """`copies imagenet 1.2 TB from us-east: $24.00, 16 min`."""
    if one.left_behind:
        return f"leaves the checkpoint {one.dataset} in {one.source}: counts {sizes.duration(one.hours * 3600)} again"
    does = "copies" if one.place else "reads"
    source = f" from {one.source}" if one.source else ""
    return f"{does} {one.dataset} {sizes.words(one.size)}{source}: {usd(one.usd)}, {sizes.duration(one.hours * 3600)}"
