"""muster top: what running jobs use of the GPUs that they hold."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli import completion, exits, screen
from hub.cli.context import connect

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hub.api.usage_schemas import JobUseOut, TopOut

app = typer.Typer()

_EVERY_S = 5.0
_HOME_AND_CLEAR = "\x1b[H\x1b[2J"
_LOW_PERCENT = 30.0
_WIDE = 110


class By(StrEnum):
    JOB = "job"
    QUEUE = "queue"
    USER = "user"
    CLUSTER = "cluster"


@app.command(epilog=exits.HELP)
def top(
    ctx: typer.Context,
    ref: Annotated[
        str | None, typer.Argument(metavar="[REF]", help="One job, by id or name.", autocompletion=completion.jobs)
    ] = None,
    by: Annotated[By, typer.Option("--by", help="Sum up.")] = By.JOB,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Keep it up to date.")] = False,
    output: screen.Output = screen.Format.TABLE,
) -> None:
    """Show what running jobs use: GPUs, their memory and power, CPU.

    As DCGM, NVML and metrics.k8s.io tell it. IDLE are GPUs used less than 5 % for 10 minutes.
    """
    with connect(ctx) as muster:
        while True:
            found = muster.top(ref)
            if output is not screen.Format.TABLE:
                screen.emit(output, found)
            else:
                _draw(found, by, clear=follow)
            if not follow:
                return
            time.sleep(_EVERY_S)


def _draw(found: TopOut, by: By, *, clear: bool) -> None:
    console = screen.console()
    if clear and console.is_terminal:
        console.file.write(_HOME_AND_CLEAR)
    if not found.jobs:
        typer.echo("No job runs.", err=True)
        return
    rows = sorted(_rows(found.jobs, by), key=lambda row: (-row.wasted, row.label))
    limit = max(1, console.height - 4 - len(found.notes)) if clear and console.is_terminal else len(rows)
    console.print(table(rows[:limit], by, console.width))
    for note in found.notes:
        typer.echo(f"muster: {note}", err=True)


class Row:
    """One job, or the sum of several."""

    def __init__(self, label: str, jobs: Sequence[JobUseOut]) -> None:
        self.label = label
        self.jobs = jobs
        self.gpus = sum(job.gpus for job in jobs)
        self.measured = sum(job.measured for job in jobs)
        self.idle = sum(job.idle for job in jobs)
        self.util = self._mean(lambda job: job.util_percent)
        self.active = self._mean(lambda job: job.active_percent)
        self.used_mib = _sum(job.used_mib for job in jobs)
        self.total_mib = _sum(job.total_mib for job in jobs)
        self.power_w = _sum(job.power_w for job in jobs)
        self.cpu = _sum(job.cpu_millicores for job in jobs)
        self.ram_mib = _sum(job.ram_mib for job in jobs)

    @property
    def wasted(self) -> float:
        """GPUs' worth that is held and not used: what to look at first."""
        return self.measured * (1 - self.util / 100) if self.util is not None else 0.0

    def _mean(self, of: Callable[[JobUseOut], float | None]) -> float | None:
        """Weighed by the GPUs measured."""
        told = [(value, job.measured) for job in self.jobs if (value := of(job)) is not None]
        weight = sum(measured for _, measured in told)
        return sum(value * measured for value, measured in told) / weight if weight else None


def _rows(jobs: Sequence[JobUseOut], by: By) -> list[Row]:
    if by is By.JOB:
        return [Row(job.job, [job]) for job in jobs]
    grouped: defaultdict[str, list[JobUseOut]] = defaultdict(list)
    for job in jobs:
        grouped[str(getattr(job, by.value)) or "–"].append(job)
    return [Row(label, members) for label, members in grouped.items()]


def table(rows: Sequence[Row], by: By, width: int) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    wide = width >= _WIDE
    found = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    found.add_column(by.value.upper(), no_wrap=True)
    if by is By.JOB:
        found.add_column("NAME", overflow="ellipsis", no_wrap=True)
        if wide:
            found.add_column("CLUSTER", no_wrap=True)
            found.add_column("USER", no_wrap=True)
    else:
        found.add_column("JOBS", justify="right")
    names = ["GPUS", "IDLE", "UTIL", *(["ACTIVE"] if wide else []), "GPU MEMORY", "POWER"]
    names += ["CPU", "RAM"] if wide else []
    for name in names:
        found.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cells: list[RenderableType] = [row.label]
        if by is By.JOB:
            cells.append(row.jobs[0].name)
            cells += [row.jobs[0].cluster, row.jobs[0].user] if wide else []
        else:
            cells.append(str(len(row.jobs)))
        cells += [str(row.gpus), Text(str(row.idle) if row.measured else "–", "bold red" if row.idle else "")]
        cells.append(Text(_percent(row.util), "yellow" if row.util is not None and row.util < _LOW_PERCENT else ""))
        cells += [_percent(row.active)] if wide else []
        cells += [_memory(row), f"{row.power_w:,.0f} W" if row.power_w is not None else "–"]
        if wide:
            cells += [f"{row.cpu / 1000:.1f}" if row.cpu is not None else "–"]
            cells += [_gib(row.ram_mib)]
        found.add_row(*cells)
    return found


def _percent(value: float | None) -> str:
    return f"{value:.0f} %" if value is not None else "–"


def _gib(mib: float | None) -> str:
    return f"{mib / 1024:,.1f} GiB" if mib is not None else "–"


def _memory(row: Row) -> str:
    if row.used_mib is None:
        return "–"
    return f"{row.used_mib / 1024:,.0f}/{row.total_mib / 1024:,.0f} GiB" if row.total_mib else _gib(row.used_mib)


def _sum(values: Iterable[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return sum(told) if told else None
