"""muster tenant …: whose namespaces are whose, and what a tenant may submit (changes: admins)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli import exits, screen
from hub.cli.context import connect

if TYPE_CHECKING:
    from hub.api.tenant_schemas import TenantOut, TenantSpec

app = typer.Typer(no_args_is_help=True, help="Whose namespaces are whose, and what a tenant may submit.")

Name = Annotated[str, typer.Argument(metavar="NAME")]
Several = list[str] | None
_LEVELS = ("privileged", "baseline", "restricted")


@app.command("list", epilog=exits.HELP)
def list_(ctx: typer.Context, output: screen.Output = screen.Format.TABLE) -> None:
    """List the tenants: all for admins, your own else."""
    with connect(ctx) as muster:
        found = muster.tenants()
    from hub.cli import tenant_tables

    screen.show(output, found, tenant_tables.tenants(found))


@app.command(epilog=exits.HELP)
def show(ctx: typer.Context, name: Name, output: screen.Output = screen.Format.TABLE) -> None:
    """Show one tenant: its namespaces, level, kinds and exemptions."""
    with connect(ctx) as muster:
        found = muster.tenant(name)
    from hub.cli import tenant_tables

    screen.show(output, found, tenant_tables.tenant(found))


@app.command("set", epilog=exits.HELP)
def set_(
    ctx: typer.Context,
    name: Name,
    namespace: Annotated[
        Several, typer.Option(metavar="NAMESPACE", help="A name or a pattern, team-*; gives all anew. May be repeated.")
    ] = None,
    level: Annotated[str | None, typer.Option(metavar="|".join(_LEVELS), help="Its pods are held to it.")] = None,
    kind: Annotated[
        Several, typer.Option(metavar="KIND", help="batch/v1/Job or kubeflow.org/*; gives all anew. May be repeated.")
    ] = None,
    queue: Annotated[
        Several, typer.Option(metavar="QUEUE", help="It may use; gives all anew. May be repeated.")
    ] = None,
    allow: Annotated[
        Several, typer.Option(metavar="CONTROL", help="Lifted in all its namespaces: hostIPC. Gives all anew.")
    ] = None,
    capability: Annotated[
        Several, typer.Option(metavar="CAPABILITY", help="Its pods may add: IPC_LOCK. Gives all anew; none lifts them.")
    ] = None,
    host_path: Annotated[
        Several, typer.Option(metavar="FOLDER", help="Of nodes, that its pods may read. Gives all anew.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also where another tenant has the namespace.")] = False,
) -> None:
    """Describe a tenant; what is not given stays as it is. Exemptions by namespace: muster apply -f FILE."""
    if level is not None and level not in _LEVELS:
        exits.stop(f"--level {level} is no level", f"one of {', '.join(_LEVELS)}", exits.USAGE)
    with connect(ctx) as muster:
        known = next((one for one in muster.tenants() if one.name == name), None)
        given = {"namespaces": namespace, "level": level, "kinds": kind, "queues": queue}
        lifted = {"controls": allow, "capabilities": capability, "host_paths": host_path}
        found = muster.set_tenant(name, _spec(known, given, lifted), force=force)
    typer.echo(f"{name}: {', '.join(found.namespaces) or 'no namespace'}, level {found.level.value}")


@app.command(epilog=exits.HELP)
def delete(ctx: typer.Context, name: Name) -> None:
    """Forget what was said of a tenant: it has the namespace of its name again. Its users and jobs stay."""
    with connect(ctx) as muster:
        muster.delete_tenant(name)
    typer.echo(f"{name} deleted")


def _spec(known: TenantOut | None, given: Mapping[str, object], lifted: Mapping[str, Several]) -> TenantSpec:
    from pydantic import ValidationError

    from hub.api.tenant_schemas import TenantSpec

    spec = {} if known is None else known.model_dump(include=set(TenantSpec.model_fields), mode="json")
    spec |= {field: value for field, value in given.items() if value is not None}
    if any(value is not None for value in lifted.values()):
        spec["exemptions"] = _exemptions(list(spec.get("exemptions") or ()), lifted)
    try:
        return TenantSpec.model_validate(spec)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        exits.stop(f"{where}: {first['msg'].removeprefix('Value error, ')}", "mend the flag", exits.USAGE)


def _exemptions(known: list[dict[str, object]], lifted: Mapping[str, Several]) -> list[dict[str, object]]:
    """That of all namespaces changed, the others as they are."""
    everywhere: dict[str, object] = next((one for one in known if one.get("namespaces") == ["*"]), {})
    changed = {field: [] if value == ["none"] else value for field, value in lifted.items() if value is not None}
    return [{**everywhere, **changed, "namespaces": ["*"]}, *(one for one in known if one is not everywhere)]
