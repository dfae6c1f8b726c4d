"""muster cron …: CronJobs that were submitted, and their runs."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli import exits, screen
from hub.cli.context import connect

app = typer.Typer(no_args_is_help=True, help="CronJobs that were submitted: when they run, and what became of it.")

Ref = Annotated[str, typer.Argument(metavar="CRON", help="Its name or id.")]


@app.command("list", epilog=exits.HELP)
def list_(ctx: typer.Context, output: screen.Output = screen.Format.TABLE) -> None:
    """List the CronJobs."""
    with connect(ctx) as muster:
        found = muster.crons()
    from hub.cli import cron_tables

    screen.show(output, found, cron_tables.crons(found))


@app.command(epilog=exits.HELP)
def show(ctx: typer.Context, cron: Ref, output: screen.Output = screen.Format.TABLE) -> None:
    """Show one: its calendar, and its runs."""
    with connect(ctx) as muster:
        found = muster.cron(cron)
    from hub.cli import cron_tables

    screen.show(output, found, cron_tables.cron(found))


@app.command(epilog=exits.HELP)
def suspend(ctx: typer.Context, cron: Ref) -> None:
    """Start no runs of it until it is resumed; what runs goes on."""
    with connect(ctx) as muster:
        found = muster.suspend_cron(cron)
    typer.echo(f"{found.name} suspended")


@app.command(epilog=exits.HELP)
def resume(ctx: typer.Context, cron: Ref) -> None:
    """Start its runs again; the last that was missed at once, unless its deadline is over."""
    with connect(ctx) as muster:
        found = muster.suspend_cron(cron, on=False)
    coming = f", next at {found.next_at:%F %H:%M} UTC" if found.next_at else ""
    typer.echo(f"{found.name} resumed{coming}")


@app.command(epilog=exits.HELP)
def run(ctx: typer.Context, cron: Ref) -> None:
    """Start a run now, beside the calendar."""
    with connect(ctx) as muster:
        job = muster.run_cron(cron)
    typer.echo(f"{job.id} {job.name}")


@app.command(epilog=exits.HELP)
def delete(
    ctx: typer.Context,
    cron: Ref,
    keep_runs: Annotated[bool, typer.Option("--keep-runs", help="Let the runs that have not ended go on.")] = False,
) -> None:
    """Delete a CronJob, and cancel its runs that have not ended."""
    with connect(ctx) as muster:
        cancelled = muster.delete_cron(cron, keep_runs=keep_runs)
    with_runs = f", {screen.counted(len(cancelled), 'run')} cancelled" if cancelled else ""
    typer.echo(f"{cron} deleted{with_runs}")
