"""What a terminal shows: the console, words for ages and money, colours by phase, and -o json|yaml."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, RenderableType

    from placement.lifecycle import Phase


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[Format, typer.Option("-o", "--output", help="How to print it.", show_default=True)]

PHASE_STYLE = {
    "QUEUED": "yellow",
    "PLACED": "cyan",
    "STAGING": "blue",
    "STARTING": "blue",
    "RUNNING": "bold green",
    "EVICTING": "magenta",
    "CANCELLING": "magenta",
    "SUCCEEDED": "green",
    "FAILED": "bold red",
    "CANCELLED": "dim",
}
HEALTH_STYLE = {"ready": "green", "joining": "cyan", "disconnected": "yellow", "lost": "bold red"}


def console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def show(output: Format, data: BaseModel | Sequence[BaseModel], table: RenderableType) -> None:
    if output is Format.TABLE:
        console().print(table)
    else:
        emit(output, data)


def emit(output: Format, data: BaseModel | Sequence[BaseModel] | dict[str, Any]) -> None:
    """JSON or YAML on stdout, with the API's own field names."""
    plain = _plain(data)
    if output is Format.YAML:
        import yaml

        yaml.safe_dump(plain, sys.stdout, sort_keys=False, allow_unicode=True, width=120)
    else:
        import json

        json.dump(plain, sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    sys.stdout.flush()


def now() -> datetime:
    return datetime.now(UTC)


def age(then: datetime | None, now: datetime) -> str:
    """`12s`, `3m`, `5h`, `9d`: the largest unit that says two or more of it, roughly as kubectl does."""
    if then is None:
        return "–"
    seconds = max(0, int((now - then).total_seconds()))
    for unit, size, upto in (("s", 1, 120), ("m", 60, 120 * 60), ("h", 3600, 48 * 3600)):
        if seconds < upto:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86400}d"


def usd(amount: float | None) -> str:
    if amount is None:
        return "–"
    return f"${amount:,.2f}" if amount == 0 or abs(amount) >= 0.01 else f"${amount:.4f}"


def phase_style(phase: Phase | str) -> str:
    return PHASE_STYLE.get(str(phase), "")


def counted(amount: int, noun: str) -> str:
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def _plain(data: BaseModel | Sequence[BaseModel] | dict[str, Any]) -> Any:
    if isinstance(data, dict):
        return data
    if isinstance(data, Sequence):
        return [one.model_dump(mode="json") for one in data]
    return data.model_dump(mode="json")
