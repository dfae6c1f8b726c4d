"""muster distribute, muster distribution …: objects that configure whole clusters (admins)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli import exits, screen, submitting
from hub.cli.context import connect

if TYPE_CHECKING:
    from hub.api.distributions import DistributionOut

app = typer.Typer(no_args_is_help=True, help="Objects distributed to clusters: how they stand (admins).")
verb = typer.Typer()

Name = Annotated[str, typer.Argument(metavar="NAME")]


@verb.command(epilog=exits.HELP)
def distribute(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Any number of objects; - reads the standard input.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="SELECTOR", help="Labels as in kubectl -l; name and region too: env=prod,region!=eu; '*'."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Without it: the file's, without its ending.")] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Also take over what exists there and is not Muster's.")
    ] = False,
    namespace: Annotated[
        str | None, typer.Option("-n", "--namespace", help="For objects that are of a namespace and name none.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go where.")] = False,
    output: screen.Output = screen.Format.TABLE,
) -> None:
    """Give objects to every cluster that is selected, now or later (admins).

    A cluster that is selected no more loses them. The same name again changes what is distributed.
    """
    called = name or ("" if file == "-" else Path(file).stem.lower())
    if not called:
        exits.stop("what comes from the standard input has no name", "give --name NAME", exits.USAGE)
    with connect(ctx) as muster, exits.told(file):
        found = muster.distribute(
            called, submitting.read(file), to=to, namespace=namespace, adopt=adopt, dry_run=dry_run
        )
    if output is not screen.Format.TABLE:
        screen.emit(output, found)
        return
    what = screen.counted(len(found.objects), "object")
    where = ", ".join(one.cluster for one in found.clusters if one.state != "Removing") or "no cluster yet"
    typer.echo(f"{found.name} {'would give' if dry_run else 'gives'} {what} to {where}")
    if not dry_run:
        typer.echo(f"  → muster distribution show {found.name}", err=True)


@app.command("list", epilog=exits.HELP)
def list_(ctx: typer.Context, output: screen.Output = screen.Format.TABLE) -> None:
    """List what is distributed, and how many clusters have it."""
    with connect(ctx) as muster:
        found = muster.distributions()
    from hub.cli import distribution_tables

    screen.show(output, found, distribution_tables.distributions(found))


@app.command(epilog=exits.HELP)
def show(ctx: typer.Context, name: Name, output: screen.Output = screen.Format.TABLE) -> None:
    """Show one: the state of each object in each cluster."""
    with connect(ctx) as muster:
        found = muster.distribution(name)
    from hub.cli import distribution_tables

    screen.show(output, found, distribution_tables.distribution(found))


@app.command(epilog=exits.HELP)
def delete(ctx: typer.Context, name: Name) -> None:
    """Remove what was distributed from every cluster."""
    with connect(ctx) as muster:
        left = muster.delete_distribution(name)
    typer.echo(f"{name} deleted" if left is None else f"{name} is being removed from {_clusters(left)}")


def _clusters(found: DistributionOut) -> str:
    return ", ".join(one.cluster for one in found.clusters)
