"""muster jobs, show, explain, endpoints, cancel: what became of what was submitted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli import completion, exits, screen
from hub.cli.context import connect
from placement.lifecycle import TERMINAL, Phase

if TYPE_CHECKING:
    from hub.api import schemas
    from hub.client import MusterClient

app = typer.Typer()

Ref = Annotated[str, typer.Argument(metavar="REF", help="A job's id or name.", autocompletion=completion.jobs)]


@app.command(epilog=exits.HELP)
def jobs(
    ctx: typer.Context,
    phase: Annotated[
        list[str] | None,
        typer.Option(
            "-p", "--phase", metavar="PHASE", help="Any of these.", autocompletion=lambda: [p.value for p in Phase]
        ),
    ] = None,
    cluster: Annotated[str | None, typer.Option("-c", "--cluster", autocompletion=completion.clusters)] = None,
    queue: Annotated[str | None, typer.Option("-q", "--queue")] = None,
    name: Annotated[str | None, typer.Option(help="Part of the name.")] = None,
    all_: Annotated[bool, typer.Option("-a", "--all", help="Those that have ended, too.")] = False,
    parts: Annotated[bool, typer.Option("--parts", help="The parts of divided works, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Keep it up to date.")] = False,
    output: screen.Output = screen.Format.TABLE,
) -> None:
    """List jobs: the unfinished ones, or those asked for."""
    phases = _phases(phase, all_)
    hides_ended = not phase and not all_
    with connect(ctx) as muster:
        fetch = partial(_fetch, muster, phases, cluster, queue, name, limit, parts=parts)
        if watch:
            from hub.cli import watching

            watching.redraw(muster, fetch, lambda page: _print(page, output, hides_ended=hides_ended))
        else:
            _print(fetch(), output, hides_ended=hides_ended)


@app.command(epilog=exits.HELP)
def show(ctx: typer.Context, ref: Ref, output: screen.Output = screen.Format.TABLE) -> None:
    """Show one job: place, pods, nodes, GPUs, price."""
    with connect(ctx) as muster:
        job = muster.job(ref)
    from hub.cli import tables

    screen.show(output, job, tables.job(job, screen.now(), screen.console().width))


@app.command(epilog=exits.HELP)
def explain(ctx: typer.Context, ref: Ref, output: screen.Output = screen.Format.TABLE) -> None:
    """Say why a job waits, or why it is where it is.

    Cluster by cluster, with numbers; and what happened to it so far.
    """
    with connect(ctx) as muster:
        found = muster.explain(ref)
    from hub.cli import tables

    screen.show(output, found, tables.explanation(found, screen.now(), screen.console().width))


@app.command(epilog=exits.HELP)
def endpoints(ctx: typer.Context, ref: Ref, output: screen.Output = screen.Format.TABLE) -> None:
    """List where a job can be reached: its services and ingresses, of all clusters that it is in."""
    with connect(ctx) as muster:
        found = muster.endpoints(ref)
    from hub.cli import division_tables

    screen.show(output, found, division_tables.endpoints(found))


@app.command(epilog=exits.HELP)
def cancel(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(metavar="REF…", autocompletion=completion.jobs)],
    output: screen.Output = screen.Format.TABLE,
) -> None:
    """Cancel jobs. One that has ended stays as it is."""
    from hub.client import ApiError

    done: list[schemas.JobOut] = []
    code = exits.OK
    with connect(ctx) as muster:
        for ref in refs:
            try:
                done.append(muster.cancel(ref))
            except ApiError as error:
                exits.tell(error.error, ref)
                code = exits.code_of(error)
        if output is not screen.Format.TABLE:
            screen.emit(output, done)
        else:
            for job in done:
                typer.echo(f"{job.id} {job.phase}")
    if code:
        raise typer.Exit(code)


def _phases(given: list[str] | None, everything: bool) -> list[Phase]:
    if given:
        known = {phase.value for phase in Phase}
        for word in given:
            if word.upper() not in known:
                exits.stop(f"--phase {word} is no phase", f"one of {', '.join(p.value for p in Phase)}", exits.USAGE)
        return [Phase(word.upper()) for word in given]
    return [] if everything else [phase for phase in Phase if phase not in TERMINAL]


def _fetch(
    muster: MusterClient,
    phases: list[Phase],
    cluster: str | None,
    queue: str | None,
    name: str | None,
    limit: int,
    *,
    parts: bool = False,
) -> schemas.JobPageOut:
    """As many pages as the limit asks for, as one."""
    found: list[schemas.JobOut] = []
    cursor = None
    while True:
        page = muster.jobs(
            phases=phases,
            cluster=cluster,
            queue=queue,
            name=name,
            parts=parts,
            limit=min(limit - len(found), 1000),
            cursor=cursor,
        )
        found += page.jobs
        cursor = page.next_cursor
        if cursor is None or len(found) >= limit:
            return page.model_copy(update={"jobs": found, "next_cursor": cursor})


def _print(page: schemas.JobPageOut, output: screen.Format, *, hides_ended: bool) -> None:
    from hub.cli import tables

    if output is not screen.Format.TABLE:
        screen.emit(output, page.jobs)
        return
    console = screen.console()
    if page.jobs:
        console.print(tables.jobs(page.jobs, screen.now(), console.width))
    else:
        typer.echo(
            "No such unfinished jobs. --all shows those that have ended, too." if hides_ended else "No such jobs.",
            err=True,
        )
    if page.total > len(page.jobs):
        typer.echo(f"{len(page.jobs):,} of {page.total:,} jobs; --limit shows more.", err=True)
