"""muster override …: what is changed of workloads on single clusters (changes: admins, by muster apply)."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli import exits, screen
from hub.cli.context import connect

app = typer.Typer(no_args_is_help=True, help="What is changed of workloads on single clusters.")

Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.command("list", epilog=exits.HELP)
def list_(ctx: typer.Context, output: screen.Output = screen.Format.TABLE) -> None:
    """List the overrides, in the order in which they are applied."""
    with connect(ctx) as muster:
        found = muster.overrides()
    from hub.cli import override_tables

    screen.show(output, found, override_tables.overrides(found))


@app.command(epilog=exits.HELP)
def show(ctx: typer.Context, name: Name, output: screen.Output = screen.Format.TABLE) -> None:
    """Show one: which clusters and workloads it means, and the file that muster apply -f takes."""
    with connect(ctx) as muster:
        found = muster.override(name)
    from hub.cli import override_tables

    screen.show(output, found, override_tables.override(found))


@app.command(epilog=exits.HELP)
def delete(ctx: typer.Context, name: Name) -> None:
    """Delete one. Jobs that have been placed keep what they were started with."""
    with connect(ctx) as muster:
        muster.delete_override(name)
    typer.echo(f"{name} deleted")
