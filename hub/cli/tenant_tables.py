"""Tenants on the screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from hub.api.tenant_schemas import TenantOut
from hub.cli import grid
from placement.safety.policy import Exemption


def tenants(found: Sequence[TenantOut]) -> RenderableType:
    table = grid.grid()
    for name in ("TENANT", "NAMESPACES", "LEVEL", "KINDS", "QUEUES"):
        grid.column(table, name, cut=True)
    for one in found:
        row = (one.name, _named(one.namespaces), one.level.value, _all_or(one.kinds), _all_or(one.queues))
        table.add_row(*map(grid.cut, row))
    return table


def tenant(one: TenantOut) -> RenderableType:
    facts: list[tuple[str, RenderableType]] = [
        ("Tenant", Text(one.name + ("" if one.described else " (by its name alone)"), "bold")),
        ("Namespaces", _named(one.namespaces)),
        ("Home", f"{one.home}, for manifests that name none" if one.home else "none: manifests must name theirs"),
        ("Level", one.level.value),
        ("Kinds", _all_or(one.kinds)),
        ("Queues", _all_or(one.queues)),
    ]
    words = [line for each in one.exemptions for line in exemption(each)]
    facts += [("Exempt" if not number else "", line) for number, line in enumerate(words or ["nothing"])]
    return grid.facts(facts)


def exemption(one: Exemption) -> Iterator[str]:
    where = "" if one.namespaces == ("*",) else f" in {', '.join(one.namespaces)}"
    if one.controls:
        yield f"{', '.join(one.controls)}{where}"
    if one.capabilities:
        yield f"capabilities {', '.join(one.capabilities)}{where}"
    if one.host_paths:
        yield f"to read {', '.join(one.host_paths)} of nodes{where}"
    if one.references:
        yield f"to name what is in {', '.join(one.references)}{where}"


def _named(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _all_or(patterns: Sequence[str]) -> str:
    return "all" if "*" in patterns else _named(patterns)
