"""muster kind …: kinds of workloads beside those that Muster comes with (changes: admins)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hub.cli import exits, screen
from hub.cli.context import connect

app = typer.Typer(no_args_is_help=True, help="Kinds of workloads beside those that Muster comes with.")

Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.command("list", epilog=exits.HELP)
def list_(ctx: typer.Context, output: screen.Output = screen.Format.TABLE) -> None:
    """List the kinds that were added."""
    with connect(ctx) as muster:
        found = muster.kinds()
    from hub.cli import kind_tables

    screen.show(output, found, kind_tables.kinds(found))


@app.command(epilog=exits.HELP)
def show(ctx: typer.Context, name: Name) -> None:
    """Print a kind file as it was added."""
    with connect(ctx) as muster:
        found = muster.kind(name)
    typer.echo(found.text.rstrip())


@app.command(epilog=exits.HELP)
def add(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="One kind, as docs/kinds.md says.")],
    name: Annotated[str | None, typer.Option(help="Without it: the file's, without its ending.")] = None,
) -> None:
    """Add a kind, or change one that was added. The file is checked before it is taken."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        exits.stop(f"{file} cannot be read: {error}", "give a file of YAML", exits.USAGE)
    with connect(ctx) as muster:
        added = muster.add_kind(name or file.stem.lower(), text)
    typer.echo(f"{added.name} added: {', '.join(added.kinds)}")
    typer.echo(
        "  → each cluster's owner allows it by the spoke's policy and rights (docs/tenancy.md, docs/kinds.md)", err=True
    )


@app.command(epilog=exits.HELP)
def remove(ctx: typer.Context, name: Name) -> None:
    """Remove a kind that was added; refused while jobs of it live."""
    with connect(ctx) as muster:
        muster.remove_kind(name)
    typer.echo(f"{name} removed")
