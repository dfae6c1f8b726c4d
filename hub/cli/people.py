"""muster user …: for the hub's administrators."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli import exits, screen
from hub.cli.context import connect

users = typer.Typer(no_args_is_help=True, help="Who may call the hub (admins).")


@users.command(epilog=exits.HELP)
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    tenant: Annotated[str, typer.Option(help="Whose jobs they see.")] = "default",
    role: Annotated[str, typer.Option(metavar="admin|submitter|viewer")] = "submitter",
) -> None:
    """Add a user and print the token, alone, once: the hub keeps only its hash."""
    if role not in ("admin", "submitter", "viewer"):
        exits.stop(f"--role {role} is no role", "one of admin, submitter, viewer", exits.USAGE)
    with connect(ctx) as muster:
        added = muster.add_user(name, tenant=tenant, role=role)
    typer.echo(added.token)
    typer.echo(f"muster: {name} is {role} of tenant {tenant}: muster login URL --token …", err=True)


@users.command("list", epilog=exits.HELP)
def list_(ctx: typer.Context, output: screen.Output = screen.Format.TABLE) -> None:
    """List the users."""
    with connect(ctx) as muster:
        found = muster.users()
    from hub.cli import tables

    screen.show(output, found, tables.users(found))


@users.command(epilog=exits.HELP)
def remove(ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Remove a user: the token counts no more. Their jobs stay."""
    with connect(ctx) as muster:
        muster.remove_user(name)
    typer.echo(f"{name} removed")
