"""What plan and explain show of a job that waits, beside each cluster's reasons: when, behind whom, which GPUs it could
use and why not the others, and what would help."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hub.api import schemas
from hub.cli.screen import usd


def when(
    start: schemas.StartOut | None,
    room: schemas.RoomOut | None,
    outlook: schemas.OutlookOut | None,
    *,
    planned: bool = False,
) -> list[RenderableType]:
    """Lines under the verdict: what is under way for it (or would be, if it is only planned), its start, its place."""
    lines: list[RenderableType] = []
    if room is not None:
        lost = f", which loses {room.lost_gpu_hours:.2f} GPU-hours, {usd(room.usd)}" if room.usd else ""
        message = room.message.replace("waits for", "would wait for") if planned else room.message
        lines.append(Text(f"  {message}{lost}"))
    if start is not None and room is None:
        lines.append(Text(f"  {start.message}"))
    if outlook is not None:
        if start is None and room is None and outlook.eta is not None:
            lines.append(Text(f"  {_eta(outlook.eta)}"))
        if outlook.place:
            lines.append(Text(f"  {_place(outlook)}", "dim"))
    return lines


def rest(outlook: schemas.OutlookOut | None) -> list[RenderableType]:
    """Below the clusters: their GPUs, and what would help."""
    if outlook is None:
        return []
    parts: list[RenderableType] = []
    if outlook.gpus:
        parts += ["", gpus(outlook.gpus)]
    if outlook.mends:
        parts += ["", Text("It would help to have", "bold dim")]
        parts += [Text(f"  • {mend}") for mend in outlook.mends]
    if outlook.preemption:
        parts += ["", Text(f"Preemption: {outlook.preemption}", "dim")]
    return parts


def gpus(found: Sequence[schemas.GpuUseOut]) -> Table:
    table = Table(box=None, header_style="bold dim", pad_edge=False, padding=(0, 2, 0, 0), expand=False)
    table.add_column("GPUS OF", no_wrap=True)
    for name in ("ALL", "FREE", "FOR IT"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("THE OTHER FREE ONES", ratio=1, overflow="fold")
    for one in found:
        others = "\n".join(f"{each.gpus} {each.why}" for each in one.rest)
        table.add_row(Text(one.cluster), str(one.total), str(one.free), str(one.usable), Text(others or "–", "dim"))
    return table


def _eta(eta: schemas.EtaOut) -> str:
    if eta.at is None:
        return f"may start {eta.basis}"
    return f"may start on {eta.cluster} at {eta.at:%F %H:%M} UTC, {eta.basis}"


def _place(outlook: schemas.OutlookOut) -> str:
    if outlook.place == 1:
        return "first in its queue"
    more = outlook.place - 1 - len(outlook.ahead)
    return f"number {outlook.place} in its queue, after {', '.join(outlook.ahead)}{f' and {more} more' if more else ''}"
