"""Models on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from hub.api import model_schemas
from hub.cli import grid, screen
from placement import sizes


def models(found: Sequence[model_schemas.ModelOut], now: datetime) -> RenderableType:
    table = grid.grid()
    grid.column(table, "MODEL", cut=True)
    grid.column(table, "TENANT", cut=True)
    grid.column(table, "NEWEST", right=True)
    grid.column(table, "SIZE", right=True)
    grid.column(table, "ALIASES", cut=True)
    grid.column(table, "PUSHED", right=True)
    for one in found:
        newest = one.versions[-1] if one.versions else None
        last = max((each.pushed_at for each in newest.variants), default=None) if newest else None
        table.add_row(
            grid.cut(one.name),
            grid.cut(one.tenant or "(everybody)"),
            str(newest.number) if newest else "–",
            sizes.words(sum(each.size for each in newest.variants)) if newest else "–",
            grid.cut(", ".join(f"{alias}={number}" for alias, number in one.aliases.items()) or "–"),
            screen.age(last, now),
        )
    return table


def model(one: model_schemas.ModelOut, now: datetime) -> RenderableType:
    facts: list[tuple[str, RenderableType]] = [
        ("Model", Text(one.name, "bold")),
        ("Tenant", one.tenant or "(everybody)"),
        ("Aliases", ", ".join(f"{alias} = {number}" for alias, number in one.aliases.items()) or "none"),
        ("Made", f"{screen.age(one.created_at, now)} ago by {one.created_by}"),
    ]
    table = grid.grid()
    grid.column(table, "VERSION", right=True)
    grid.column(table, "VARIANT", at_most=24)
    grid.column(table, "SIZE", right=True)
    grid.column(table, "PUSHED", right=True)
    grid.column(table, "DIGEST")
    table.add_column("NEEDS, AND WHAT WAS MEASURED", overflow="fold")  # what is shown for its details loses none
    for version in reversed(one.versions):
        for at, variant in enumerate(version.variants):
            table.add_row(
                str(version.number) if not at else "",
                variant.name,
                sizes.words(variant.size),
                screen.age(variant.pushed_at, now),
                variant.digest.removeprefix("sha256:")[:12],
                _details(variant),
            )
    return Group(grid.facts(facts), "", table)


def storage(one: model_schemas.ModelStorageOut) -> RenderableType:
    shared = f", {one.named / one.stored:.1f} times what is stored" if one.stored else ""
    return grid.facts(
        [
            ("Models", f"{one.models:,}"),
            ("Versions", f"{sizes.words(one.named)}{shared}"),
            ("Stored", f"{sizes.words(one.stored)} in {screen.counted(one.chunks, 'chunk')}"),
            ("Unused", f"{sizes.words(one.unused)}: unfinished pushes, and what is to go"),
            ("Garbage", screen.counted(one.garbage, "object")),
        ]
    )


def _details(variant: model_schemas.VariantOut) -> Text:
    text = Text(_needs(variant.requires))
    if variant.measured:
        text.append("; " + ", ".join(f"{name} {_value(name, value)}" for name, value in variant.measured.items()))
    if variant.pickles:
        text.append("; runs code when loaded", "yellow")
    return text


def _value(name: str, value: str) -> str:
    return sizes.words(int(value)) if name == "memory" else value


def _needs(requires: dict[str, str]) -> str:
    """`nvidia ≥ 8.0, 17.2 GB of VRAM, vllm >=0.6, fp16, amd64`"""
    capability, vram = requires.get("compute-capability", ""), requires.get("vram", "")
    parts = (
        " ".join(filter(None, (requires.get("accelerator", ""), capability and f"≥ {capability}"))),
        vram and f"{sizes.words(int(vram))} of VRAM",
        " ".join(filter(None, (requires.get("runtime", ""), requires.get("runtime-versions", "")))),
        requires.get("precision", ""),
        requires.get("architecture", ""),
    )
    return ", ".join(filter(None, parts)) or "anything"
