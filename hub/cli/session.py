"""muster login, whoami, version: which hub, as whom."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hub.cli import context, exits, screen

app = typer.Typer()


@app.command(epilog=exits.HELP)
def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="https://HOST:PORT of the hub.")],
    token: Annotated[
        str, typer.Option(envvar="MUSTER_TOKEN", prompt=True, hide_input=True, help="Asked for where it is not given.")
    ],
    ca: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The hub's ca.crt; else the system's authorities.")
    ] = None,
) -> None:
    """Keep a hub's address and your token.

    The token is tried first, then kept in a file that only you can read. MUSTER_URL, MUSTER_TOKEN and MUSTER_CA in the
    environment count over it.
    """
    connection = context.Connection(url.rstrip("/"), token, str(ca.resolve()) if ca else "")
    if not url.startswith(("https://", "http://")):
        exits.stop(f"{url} is no URL", "write https://HOST:PORT", exits.USAGE)
    with exits.told(), context.dial(connection) as muster:
        me = muster.whoami()
    path = context.context_path(os.environ)
    context.save(path, connection)
    typer.echo(f"{me.user} ({me.role} of tenant {me.tenant}) at {connection.url}; kept in {path}")


@app.command(epilog=exits.HELP)
def whoami(ctx: typer.Context, output: screen.Output = screen.Format.TABLE) -> None:
    """Say who the hub takes you for."""
    with context.connect(ctx) as muster:
        me = muster.whoami()
        at = muster.url
    if output is screen.Format.TABLE:
        typer.echo(f"{me.user} ({me.role} of tenant {me.tenant}) at {at}")
    else:
        screen.emit(output, me)


@app.command()
def version() -> None:
    """Print the version of this program."""
    from importlib.metadata import version

    typer.echo(f"muster {version('muster')}")
