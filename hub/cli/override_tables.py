"""The screens of `muster override`."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from rich.console import Group, RenderableType
from rich.text import Text

from hub.api.override_schemas import KIND, OverrideOut
from hub.cli import grid


def overrides(found: Sequence[OverrideOut]) -> RenderableType:
    table = grid.grid()
    for name in ("OVERRIDE", "PRIORITY", "CHANGES", "CLUSTERS", "CHANGED BY", "CHANGED"):
        grid.column(table, name, cut=True)
    for one in found:
        changed = f"{one.changed_at:%F %H:%M}"
        clusters = ", ".join(one.selects) or "none now"
        row = (one.name, str(one.spec.priority), ", ".join(one.changes), clusters, one.changed_by, changed)
        table.add_row(*map(grid.cut, row))
    return table


def override(one: OverrideOut) -> RenderableType:
    facts: list[tuple[str, RenderableType]] = [
        ("Override", Text(one.name, "bold")),
        ("Clusters", ", ".join(one.selects) or "none that is there now"),
        ("Changed", f"{one.changed_at:%F %H:%M} UTC by {one.changed_by}"),
    ]
    spec = one.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    file = {"apiVersion": "muster.dev/v1", "kind": KIND, "metadata": {"name": one.name}, "spec": spec}
    return Group(grid.facts(facts), Text(), Text(yaml.safe_dump(file, sort_keys=False).rstrip()))
