"""muster dataset …: where named data lies, and where it may go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli import exits, screen
from hub.cli.context import connect

if TYPE_CHECKING:
    from hub.api import schemas

app = typer.Typer(no_args_is_help=True, help="Where named data lies, and where it may go.")

Name = Annotated[str, typer.Argument(metavar="NAME")]
Tenant = Annotated[str | None, typer.Option(help='Whose it is; "" for everybody\'s (admins).')]
SizeFlag = Annotated[str | None, typer.Option(help="1.2TB, 500GiB, or bytes.")]
Replicas = Annotated[
    list[str] | None,
    typer.Option(
        "--replica",
        metavar="cluster=NAME|region=NAME[,uri=URI]",
        help="Where it lies: in a cluster, or in an object store of a region. May be repeated.",
    ),
]
Residency = Annotated[
    list[str] | None,
    typer.Option(metavar="REGION", help="A region that it must stay in. May be repeated; none lifts it."),
]
SecretFlag = Annotated[str | None, typer.Option(help="The Secret, beside the jobs, that reading its stores takes.")]
Force = Annotated[bool, typer.Option("--force", help="Also with a cluster or region that nobody knows yet.")]


@app.command("list", epilog=exits.HELP)
def list_(
    ctx: typer.Context,
    learned: Annotated[bool, typer.Option("--learned", help="Also what was read off clusters.")] = False,
    output: screen.Output = screen.Format.TABLE,
) -> None:
    """List the datasets that you may use."""
    with connect(ctx) as muster:
        found = muster.datasets(learned=learned)
    from hub.cli import data_tables

    screen.show(output, found, data_tables.datasets(found))


@app.command(epilog=exits.HELP)
def show(ctx: typer.Context, name: Name, tenant: Tenant = None, output: screen.Output = screen.Format.TABLE) -> None:
    """Show one dataset: size, residency, and each replica."""
    with connect(ctx) as muster:
        found = muster.dataset(name, tenant=tenant)
    from hub.cli import data_tables

    screen.show(output, found, data_tables.dataset(found))


@app.command(epilog=exits.HELP)
def create(
    ctx: typer.Context,
    name: Name,
    size: SizeFlag = None,
    replica: Replicas = None,
    residency: Residency = None,
    secret: SecretFlag = None,
    tenant: Tenant = None,
    force: Force = False,
) -> None:
    """Declare a dataset: how large it is, and where it lies."""
    if size is None or not replica:
        exits.stop(
            f"{name}: {'its size' if size is None else 'where it lies'} is missing",
            "give --size 1.2TB and --replica region=us-east,uri=s3://bucket/prefix",
            exits.USAGE,
        )
    spec = _spec(size, [_replica(one) for one in replica], _regions(residency, []), secret or "", tenant)
    with connect(ctx) as muster:
        muster.create_dataset(name, spec, force=force)
    typer.echo(f"{name} created")


@app.command(epilog=exits.HELP)
def edit(
    ctx: typer.Context,
    name: Name,
    size: SizeFlag = None,
    replica: Replicas = None,
    residency: Residency = None,
    secret: SecretFlag = None,
    tenant: Tenant = None,
    forget_copies: Annotated[
        bool, typer.Option("--forget-copies", help="What was copied counts no more: the next job copies it anew.")
    ] = False,
    force: Force = False,
) -> None:
    """Change a dataset; what is not given stays as it is. --replica gives all of them anew."""
    with connect(ctx) as muster:
        known = muster.dataset(name, tenant=tenant)
        before = [
            {"cluster": one.cluster, "region": "" if one.cluster else one.region, "uri": one.uri}
            for one in known.replicas
            if not one.copied
        ]
        spec = _spec(
            known.size if size is None else size,
            [_replica(one) for one in replica] if replica else before,
            _regions(residency, known.residency),
            known.secret if secret is None else secret,
            known.tenant,
        )
        muster.set_dataset(name, spec, force=force, forget_copies=forget_copies)
    typer.echo(f"{name} changed")


@app.command(epilog=exits.HELP)
def delete(ctx: typer.Context, name: Name, tenant: Tenant = None) -> None:
    """Forget a dataset. What was copied stays where it is."""
    with connect(ctx) as muster:
        muster.delete_dataset(name, tenant=tenant)
    typer.echo(f"{name} deleted")


def _spec(
    size: str | int, replicas: list[dict[str, str]], residency: list[str], secret: str, tenant: str | None
) -> schemas.DatasetSpec:
    from pydantic import ValidationError

    from hub.api import schemas

    try:
        return schemas.DatasetSpec.model_validate(
            {"size": size, "replicas": replicas, "residency": residency, "secret": secret, "tenant": tenant}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        exits.stop(f"--{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}", "mend the flag", exits.USAGE)


def _replica(flag: str) -> dict[str, str]:
    found: dict[str, str] = {}
    head, separator, uri = flag.partition("uri=")  # the last, for a URI may have commas
    for part in filter(None, head.rstrip(",").split(",")):
        name, _, value = part.partition("=")
        if name not in ("cluster", "region") or not value:
            exits.stop(
                f"--replica {flag}: {part!r} is neither cluster, region nor uri", "write region=R,uri=URI", exits.USAGE
            )
        found[name] = value
    return found | ({"uri": uri} if separator else {})


def _regions(given: list[str] | None, before: list[str]) -> list[str]:
    if given is None:
        return before
    return [] if given == ["none"] else given
