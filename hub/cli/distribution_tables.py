"""The screens of `muster distribution`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from hub.api.distributions import DistributionOut
from hub.cli import grid
from placement.distribution.states import WORST_FIRST, State

_STYLE = {
    State.PENDING: "yellow",
    State.APPLIED: "green",
    State.FAILED: "bold red",
    State.REFUSED: "red",
    State.REMOVING: "magenta",
    State.OFFLINE: "bold yellow",
}


def distributions(found: Sequence[DistributionOut]) -> RenderableType:
    table = grid.grid()
    for name in ("NAME", "TO", "OBJECTS", "CLUSTERS", "CHANGED BY", "CHANGED"):
        grid.column(table, name, cut=name in ("TO", "CHANGED BY"), right=name == "OBJECTS")
    for one in found:
        counted = Counter(cluster.state for cluster in one.clusters)
        states = ", ".join(f"{counted[state]} {state}" for state in reversed(WORST_FIRST) if counted[state])
        name = f"{one.name} (deleting)" if one.deleting else one.name
        row = (name, grid.cut(one.to), str(len(one.objects)), states or "none", grid.cut(one.changed_by))
        table.add_row(*row, f"{one.changed_at:%F %H:%M}")
    return table


def distribution(one: DistributionOut) -> RenderableType:
    deleting = " (being deleted)" if one.deleting else ""
    facts = [
        ("name", f"{one.name}{deleting}"),
        ("to", one.to),
        ("revision", f"{one.revision}, by {one.changed_by} at {one.changed_at:%F %H:%M}"),
        ("objects", "\n".join(one.objects)),
    ]
    if one.adopt:
        facts.append(("adopts", "what exists there and is not Muster's"))
    table = grid.grid()
    for name in ("CLUSTER", "OBJECT", "STATE", "WHY"):
        grid.column(table, name, cut=name == "WHY")
    for cluster in one.clusters:
        table.add_row(cluster.cluster, "", Text(cluster.state, _STYLE[cluster.state]), cluster.reason)
        for each in cluster.objects:
            where = f"{each.namespace}/{each.name}" if each.namespace else each.name
            table.add_row("", f"{each.kind} {where}", Text(each.state, _STYLE[each.state]), each.reason)
    return Group(grid.facts(facts), "", table) if one.clusters else Group(grid.facts(facts), "", "no cluster has it")
