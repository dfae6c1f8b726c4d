"""muster rebalance --plan: what moving running jobs could win."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli import exits, screen
from hub.cli.context import connect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from hub.api import schemas

app = typer.Typer()


@app.command(epilog=exits.HELP)
def rebalance(
    ctx: typer.Context,
    plan: Annotated[bool, typer.Option("--plan", help="Show proposals; nothing is moved.")] = False,
    output: screen.Output = screen.Format.TABLE,
) -> None:
    """Propose moves of jobs that win more than they cost.

    For gangs that wait, for money, and for whole nodes; each with its cost, its gain and what is left (admins).
    """
    if not plan:
        exits.stop("muster rebalance moves nothing by itself", "muster rebalance --plan shows proposals", exits.USAGE)
    with connect(ctx) as muster:
        found = muster.rebalance()
    if output is not screen.Format.TABLE:
        screen.emit(output, found)
    elif found:
        screen.console().print(table(found))
    else:
        typer.echo("Nothing that could be moved would win more than it costs.", err=True)


def table(found: Sequence[schemas.ProposalOut]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, header_style="bold dim", pad_edge=False, padding=(0, 2, 0, 0), expand=False)
    made.add_column("PROPOSAL", no_wrap=True)
    made.add_column("MOVES", overflow="fold")
    for name in ("COST", "GAIN", "NET"):
        made.add_column(name, no_wrap=True, justify="right")
    made.add_column("WHAT IT WINS", ratio=1, overflow="fold")
    for one in found:
        moves = "\n".join(_words(step) for step in one.steps)
        money = screen.usd(one.usd), screen.usd(one.gain_usd), screen.usd(one.net_usd)
        lost = f"; loses {one.lost_gpu_hours:.1f} GPU-hours" if one.lost_gpu_hours >= 0.05 else ""
        made.add_row(Text(one.id), Text(moves), *money, Text(one.gain + lost))
    return made


def _words(step: schemas.StepOut) -> str:
    where = f"within {step.source}" if step.source == step.target else f"{step.source} → {step.target}"
    return f"{step.job} {where}"
