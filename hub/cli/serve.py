"""muster hub, spoke, up, demo: the processes themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli import exits

if TYPE_CHECKING:
    from hub.settings import HubSettings

app = typer.Typer()

_FREE = " (0: any free port)"
# These read their own arguments, --help included.
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command()
def hub(
    data_dir: Annotated[Path | None, typer.Option(help="CA, database, tokens: keep it, keep it private.")] = None,
    rest_host: Annotated[str | None, typer.Option(help="Where the REST API listens.")] = None,
    rest_port: Annotated[int | None, typer.Option(help="Its port" + _FREE)] = None,
    grpc_host: Annotated[str | None, typer.Option(help="Where spokes dial in.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Its port" + _FREE)] = None,
    public_name: Annotated[
        list[str] | None, typer.Option(help="A name or address for the certificate; repeat.")
    ] = None,
    grpc_public_address: Annotated[str | None, typer.Option(help="HOST:PORT that spokes dial.")] = None,
    ca_dir: Annotated[Path | None, typer.Option(help="Has ca.crt and ca.key; else the hub makes its own CA.")] = None,
    rest_certificate: Annotated[Path | None, typer.Option(help="For the REST API, from elsewhere; PEM.")] = None,
    rest_key: Annotated[Path | None, typer.Option(help="The key of that certificate; PEM.")] = None,
    database_url: Annotated[
        str | None, typer.Option(help="postgresql://USER:PASSWORD@HOST/NAME; else SQLite in the data directory.")
    ] = None,
    replica_name: Annotated[str | None, typer.Option(help="Among replicas; else this machine's name.")] = None,
    leader_lease_s: Annotated[float | None, typer.Option(help="Silent for longer, a leader is replaced.")] = None,
    price_book: Annotated[Path | None, typer.Option(help="YAML; replaces the stored book at start.")] = None,
    models_store: Annotated[
        str | None, typer.Option(help="s3://BUCKET/PREFIX, gs://…, az://… or a directory; else in the data directory.")
    ] = None,
    queue: Annotated[list[str] | None, typer.Option(help="A queue that jobs may name; repeat.")] = None,
    heartbeat_s: Annotated[float | None, typer.Option(help="How often spokes say that they live.")] = None,
    lease_s: Annotated[float | None, typer.Option(help="Silent for longer, a cluster is lost.")] = None,
    keep_ended_days: Annotated[float | None, typer.Option(help="How long ended jobs are kept.")] = None,
    log_level: Annotated[str | None, typer.Option(metavar="debug|info|warning|error")] = None,
    admin_token_file: Annotated[Path | None, typer.Option(help="Else admin.token in the data directory.")] = None,
) -> None:
    """Run the hub.

    Every flag can be given as MUSTER_HUB_… in the environment: MUSTER_HUB_DATA_DIR=/var/lib/muster.
    """
    given = {key: value for key, value in locals().items() if value is not None}
    for flag, name in (("public_name", "public_names"), ("queue", "queues")):
        if flag in given:
            given[name] = tuple(given.pop(flag))
    settings = _settings(given)
    from hub import app as hub_app

    try:
        hub_app.run(settings)
    except hub_app.CannotStart as error:
        exits.stop(f"the hub cannot start: {error}", error.mend, exits.FAILED)


@app.command(context_settings=_PASSED_ON, add_help_option=False)
def spoke(ctx: typer.Context) -> None:
    """Run a spoke: the agent of one cluster."""
    from spoke import main

    main.main(ctx.args)


@app.command(context_settings=_PASSED_ON, add_help_option=False)
def up(ctx: typer.Context) -> None:
    """Run a federation on this machine, to play with."""
    from hub.cli import up as federation

    federation.main(ctx.args)


@app.command(context_settings=_PASSED_ON, add_help_option=False)
def demo(ctx: typer.Context) -> None:
    """Show in half a minute what Muster does."""
    from hub.cli import demo as play

    play.main(ctx.args)


def _settings(given: dict[str, Any]) -> HubSettings:
    from pydantic import ValidationError

    from hub.settings import HubSettings

    try:
        return HubSettings(**given)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors(include_url=False)]
        exits.stop("; ".join(lines).lstrip(": "), "mend the flag, or its MUSTER_HUB_… variable", exits.USAGE)
