"""The screens of `muster cron`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from hub.api.schemas import CronOut
from hub.cli import grid, screen


def crons(found: Sequence[CronOut]) -> RenderableType:
    table = grid.grid()
    for name in ("CRON", "NAMESPACE", "SCHEDULE", "ZONE", "NEXT", "LAST RUN", "NOTE"):
        grid.column(table, name, cut=name in ("CRON", "NOTE"))
    for one in found:
        last = next(iter(one.runs), None)
        ran = "never" if last is None else Text(last.phase, screen.PHASE_STYLE[last.phase])
        row = (grid.cut(one.name), one.namespace, one.schedule, one.time_zone, _next(one), ran, grid.cut(one.note))
        table.add_row(*row)
    return table


def cron(one: CronOut) -> RenderableType:
    deadline = "none" if one.starting_deadline_s is None else f"{one.starting_deadline_s:g} s"
    facts: list[tuple[str, RenderableType]] = [
        ("cron", f"{one.name} ({one.id}) in namespace {one.namespace}, by {one.owner} of {one.tenant}"),
        ("schedule", f"{one.schedule} {one.time_zone}"),
        ("next", _next(one)),
        ("rules", f"concurrency {one.concurrency}, starting deadline {deadline}"),
    ]
    if one.note:
        facts.append(("note", one.note))
    table = grid.grid()
    for name in ("RUN OF", "JOB", "NAME", "PHASE", "CLUSTER", "STARTED"):
        grid.column(table, name, cut=name == "NAME")
    for run in one.runs:
        due = f"{run.scheduled_at:%F %H:%M}" if run.scheduled_at else "by hand"
        phase = Text(run.phase, screen.PHASE_STYLE[run.phase])
        table.add_row(due, run.job, grid.cut(run.name), phase, run.cluster or "–", f"{run.started_at:%F %H:%M:%S}")
    return Group(grid.facts(facts), "", table if one.runs else "no run yet")


def _next(one: CronOut) -> str:
    if one.suspended:
        return "suspended"
    return f"{one.next_at:%F %H:%M} UTC" if one.next_at else "never"
