"""Log lines as `pod | line`, each pod in a colour of its own on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hub.api.schemas import LogLineOut

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


def show(lines: Iterable[LogLineOut]) -> None:
    """Written as it arrives, and flushed: somebody is watching."""
    coloured = sys.stdout.isatty()
    colours: dict[str, int] = {}
    for one in lines:
        colour = colours.setdefault(one.pod, _COLOURS[len(colours) % len(_COLOURS)])
        prefix = f"\x1b[{colour}m{one.pod} |\x1b[0m " if coloured else f"{one.pod} | "
        sys.stdout.write("".join(f"{prefix}{line}\n" for line in one.data.splitlines()))
        sys.stdout.flush()
