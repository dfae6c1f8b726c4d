"""muster cluster …: let clusters join, look at them, take them out of service."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli import completion, exits, installing, screen
from hub.cli.context import connect

app = typer.Typer(no_args_is_help=True, help="Member clusters: join, look, cordon, drain, remove.")
app.add_typer(installing.app)

Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=completion.clusters)]


@app.command(epilog=exits.HELP)
def token(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the cluster will be called.")],
    region: Annotated[str, typer.Option(help="Where it stands; jobs and prices may name it.")] = "",
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Any number of them.")] = None,
    helm: Annotated[bool, typer.Option("--helm", help="Print the whole command that installs the spoke.")] = False,
    hub_url: Annotated[str, typer.Option(help="With --helm: the hub as the cluster reaches it.")] = "",
) -> None:
    """Make a join token for one cluster.

    It is good once, for 15 minutes, and printed alone, so that scripts can take it.
    """
    labels = dict(installing.pair(one) for one in label or ())
    chart = installing.spoke_chart() if helm else None
    with connect(ctx) as muster:
        text, url = muster.cluster_token(name, region=region, labels=labels), muster.url
    if chart is not None:
        typer.echo(installing.shell_command(chart, hub_url or url, text))
        return
    typer.echo(text)
    typer.echo(f"muster: {name} joins by: MUSTER_SPOKE_TOKEN=… muster spoke --hub {url} --kubeconfig FILE", err=True)


@app.command("list", epilog=exits.HELP)
def list_(ctx: typer.Context, output: screen.Output = screen.Format.TABLE) -> None:
    """List the member clusters: health, GPUs, jobs."""
    with connect(ctx) as muster:
        found = muster.clusters()
    from hub.cli import tables

    if not found and output is screen.Format.TABLE:
        typer.echo("No cluster has joined yet. muster cluster token NAME lets one in.", err=True)
        return
    screen.show(output, found, tables.clusters(found, screen.now(), screen.console().width))


@app.command(epilog=exits.HELP)
def show(ctx: typer.Context, name: Name, output: screen.Output = screen.Format.TABLE) -> None:
    """Show one cluster."""
    with connect(ctx) as muster:
        found = muster.cluster(name)
    from hub.cli import tables

    screen.show(output, found, tables.cluster(found, screen.now()))


@app.command(epilog=exits.HELP)
def label(
    ctx: typer.Context,
    name: Name,
    labels: Annotated[list[str], typer.Argument(metavar="KEY=VALUE…", help="KEY- takes one away.")],
) -> None:
    """Set labels of a cluster. Whatever selects clusters by labels sees it at once."""
    changes = dict(_change(one) for one in labels)
    with connect(ctx) as muster:
        changed = muster.label_cluster(name, changes)
    shown = ", ".join(f"{key}={value}" if value else key for key, value in sorted(changed.labels.items()))
    typer.echo(f"{name}: {shown or 'no labels'}")


@app.command(epilog=exits.HELP)
def cordon(
    ctx: typer.Context,
    name: Name,
    off: Annotated[bool, typer.Option("--off", help="Let it take jobs again (as uncordon).")] = False,
) -> None:
    """Let a cluster take no new jobs; those it has run on."""
    _cordon(ctx, name, on=not off)


@app.command(epilog=exits.HELP)
def uncordon(ctx: typer.Context, name: Name) -> None:
    """Let a cordoned cluster take jobs again."""
    _cordon(ctx, name, on=False)


@app.command(epilog=exits.HELP)
def drain(ctx: typer.Context, name: Name) -> None:
    """Cordon a cluster and send its jobs back to the queue."""
    with connect(ctx) as muster:
        done = muster.drain(name)
    typer.echo(f"{name} cordoned, {screen.counted(done.evicted, 'job')} sent back to the queue")


@app.command(epilog=exits.HELP)
def remove(
    ctx: typer.Context,
    name: Name,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Even while it holds jobs: they are queued again, and run twice if its spoke is out of reach.",
        ),
    ] = False,
) -> None:
    """Remove a cluster.

    Its spoke is cut off at once; a new token lets a cluster of that name join again.
    """
    with connect(ctx) as muster:
        muster.remove_cluster(name, force=force)
    typer.echo(f"{name} removed")


def _change(one: str) -> tuple[str, str | None]:
    """ "env=prod", or "env-"."""
    return (one[:-1], None) if one.endswith("-") and "=" not in one else installing.pair(one)


def _cordon(ctx: typer.Context, name: str, *, on: bool) -> None:
    with connect(ctx) as muster:
        muster.cordon(name, on)
    typer.echo(f"{name} {'cordoned: it takes no new jobs' if on else 'takes jobs again'}")
