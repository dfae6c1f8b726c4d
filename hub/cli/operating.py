"""muster exec, port-forward, audit: into the pods of a job, and who was there."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.cli import completion, exits, screen
from hub.cli.context import connect

app = typer.Typer()

Ref = Annotated[str, typer.Argument(metavar="REF", help="A job's id or name.", autocompletion=completion.jobs)]
Role = Annotated[str, typer.Option(help="A pod of this role.")]
Rank = Annotated[int | None, typer.Option(min=0, help="The pod of this rank: of the role, else over all roles.")]


@app.command("exec", epilog=exits.HELP)
def execute(
    ctx: typer.Context,
    ref: Ref,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND…", help="What to run.")],
    stdin: Annotated[bool, typer.Option("-i", "--stdin", help="Pass on what is typed, or piped in.")] = False,
    tty: Annotated[bool, typer.Option("-t", "--tty", help="With a terminal.")] = False,
    role: Role = "",
    rank: Rank = None,
    container: Annotated[str, typer.Option(help="Of the pod; else its main one.")] = "",
) -> None:
    """Run a command in a pod of a job: muster exec -it JOB -- bash.

    In the running pod of the lowest rank, or the one asked for. Ends with the command's exit code; what muster itself
    cannot do has its own codes.
    """
    from hub.cli import terminal
    from hub.tunnel_client import process

    if tty and not terminal.is_one():
        mend = "leave -t out where input or output is no terminal"
        exits.stop("-t needs a terminal to stand in for", mend, exits.USAGE)
    with connect(ctx) as muster:
        size = terminal.size() if tty else (0, 0)
        opened = process(
            muster, ref, command, role=role, rank=rank, container=container, tty=tty, stdin=stdin, size=size
        )
        with opened as remote:
            code = terminal.attend(remote, tty=tty, stdin=stdin)
    raise typer.Exit(code)


@app.command("port-forward", epilog=exits.HELP)
def port_forward(
    ctx: typer.Context,
    ref: Ref,
    ports: Annotated[list[str], typer.Argument(metavar="[LOCAL:]REMOTE…", help="LOCAL 0: any free one.")],
    role: Role = "",
    rank: Rank = None,
    service: Annotated[str, typer.Option(help="REMOTE is this service's: a ready pod of the job behind it.")] = "",
) -> None:
    """Reach ports of a job's pods on this machine: muster port-forward JOB 8000.

    Listens on the loopback until it is interrupted; each connection is one to the pod.
    """
    from hub.cli import forwarding

    pairs = [_pair(text) for text in ports]
    with connect(ctx) as muster:
        forwarding.serve(muster, ref, pairs, service=service, role=role, rank=rank)


@app.command(epilog=exits.HELP)
def audit(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    output: screen.Output = screen.Format.TABLE,
) -> None:
    """List who reached into which job's pods, the newest first."""
    with connect(ctx) as muster:
        found = muster.audit(limit=limit)
    if output is not screen.Format.TABLE:
        screen.emit(output, found)
        return
    from hub.cli import grid

    table = grid.grid()
    for name in ("WHEN", "USER", "TENANT", "WHAT", "JOB", "CLUSTER"):
        grid.column(table, name)
    grid.column(table, "DETAIL", cut=True)
    for one in found:
        detail = grid.cut(" ".join(one.detail.split()))
        table.add_row(f"{one.at:%Y-%m-%d %H:%M:%S}", one.user, one.tenant, one.action, one.job, one.cluster, detail)
    screen.console().print(table)


def _pair(text: str) -> tuple[int, int]:
    local, colon, remote = text.rpartition(":")
    numbers = [remote] if not colon else [local, remote]
    if not all(number.isascii() and number.isdigit() and int(number) < 65_536 for number in numbers) or not int(remote):
        exits.stop(f"{text} is no pair of ports", "write LOCAL:REMOTE or REMOTE, each up to 65535", exits.USAGE)
    return (int(local) if colon else int(remote)), int(remote)
