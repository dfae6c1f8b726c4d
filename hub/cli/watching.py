"""muster logs, muster events, and the redrawing of jobs --watch: what is read as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli import completion, exits, screen
from hub.cli.context import connect

if TYPE_CHECKING:
    from hub.api import schemas
    from hub.cli.following import Follower
    from hub.client import MusterClient

app = typer.Typer()

# Events come in bursts: the list is asked for once per burst, yet once a second at the least while they last.
_QUIET_S = 0.2
_BURST_S = 1.0
_AGES_S = 5.0  # ages grow without events
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_HOME_AND_CLEAR = "\x1b[H\x1b[2J"


@app.command(epilog=exits.HELP)
def logs(
    ctx: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="REF", help="A job's id or name.", autocompletion=completion.jobs)],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job has ended.")] = False,
    role: Annotated[str, typer.Option(help="Only the pods of this role.")] = "",
    rank: Annotated[
        int | None, typer.Option(min=0, help="Only the pod of this rank: of the role, else over all roles.")
    ] = None,
    container: Annotated[str, typer.Option(help="Of each pod; else its main one.")] = "",
    since: Annotated[str, typer.Option(metavar="TIME", help="Only what is newer: 90s, 10m, 2h, 1d.")] = "",
    tail: Annotated[int, typer.Option(min=0, help="Lines of each pod to begin with; 0: from the first.")] = 0,
    previous: Annotated[bool, typer.Option("--previous", help="Of containers that restarted, the run before.")] = False,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Say when each line was written.")] = False,
) -> None:
    """Print what a job's pods write, or wrote.

    Of a job that has ended, and of pods that are gone, the last MiB of each are kept for some days. A connection that
    breaks is taken up again, no line lost or twice.
    """
    from hub.cli import loglines

    with connect(ctx) as muster:
        lines = muster.logs(
            ref,
            role=role,
            rank=rank,
            container=container,
            follow=follow,
            tail=tail,
            since_s=_seconds(since),
            previous=previous,
            timestamps=timestamps,
            told=_pauses(),
        )
        loglines.show(lines)


def _seconds(text: str) -> float | None:
    if not text:
        return None
    number, unit = text[:-1], _UNITS_S.get(text[-1])
    if unit is None or not number.isascii() or not number.isdigit() or len(number) > 9 or not int(number):
        exits.stop(f"--since {text} is no time", "write a number and s, m, h or d: 10m", exits.USAGE)
    return float(int(number) * unit)


def _pauses() -> Callable[[str], None]:
    """Says once why it pauses, until it is for another reason."""
    said: list[str] = []

    def tell(words: str) -> None:
        if said[-1:] != [words]:
            said.append(words)
            typer.echo(f"muster: {words}; trying again", err=True)

    return tell


@app.command(epilog=exits.HELP)
def events(
    ctx: typer.Context,
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="[REF]",
            help="A job's id or name: with what its cluster says of its objects and pods.",
            autocompletion=completion.jobs,
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on for ever; else what has happened so far.")
    ] = False,
    job: Annotated[str | None, typer.Option(help="Of one job, by id or name.", autocompletion=completion.jobs)] = None,
    after: Annotated[int | None, typer.Option(min=0, help="Those after this number.")] = None,
    output: screen.Output = screen.Format.TABLE,
) -> None:
    """Print what happens to jobs.

    So far, or from now on with --follow; with -o json one object per line. Of one job (REF), Muster's own and its
    cluster's in one order, what was there first; with --follow until it has ended.
    """
    from hub.cli import tables

    console = screen.console()
    if ref is not None:
        if job is not None or after is not None:
            exits.stop("REF goes without --job and --after", "leave them out", exits.USAGE)
        _happenings(ctx, ref, follow, output)
        return
    with connect(ctx) as muster:
        if after is None and follow and job is None:
            after = muster.jobs(limit=1).as_of  # only what is new
        for event in muster.events(job=job, after=after, follow=follow):
            if output is screen.Format.TABLE:
                console.print(tables.event_line(event, screen.now()), soft_wrap=True)
            elif output is screen.Format.JSON:
                typer.echo(event.model_dump_json())
            else:
                screen.emit(output, [event])


def _happenings(ctx: typer.Context, ref: str, follow: bool, output: screen.Format) -> None:
    from hub.cli import happenings

    console = screen.console()
    with connect(ctx) as muster:
        for one in muster.happenings(ref, follow=follow, told=_pauses()):
            if output is screen.Format.TABLE:
                console.print(happenings.line(one), soft_wrap=True)
            elif output is screen.Format.JSON:
                typer.echo(one.model_dump_json())
            else:
                screen.emit(output, [one])


def redraw(
    muster: MusterClient, fetch: Callable[[], schemas.JobPageOut], draw: Callable[[schemas.JobPageOut], None]
) -> None:
    """Draws what `fetch` answers, again after every burst of events. Ends by an interrupt, or an error."""
    from hub.cli.following import EndOfEvents, Follower

    console = screen.console()
    found = fetch()
    changes = Follower(muster, after=found.as_of)
    while True:
        if console.is_terminal:
            console.file.write(_HOME_AND_CLEAR)
        # What does not fit on the screen would push the top of it out.
        rows = max(1, console.height - 3) if console.is_terminal else len(found.jobs)
        draw(found.model_copy(update={"jobs": found.jobs[:rows]}))
        try:
            changed = _burst(changes)
        except EndOfEvents:
            exits.stop("the hub ended the event stream", "run it again", exits.UNREACHABLE)
        if changed:
            found = fetch()


def _burst(changes: Follower) -> bool:
    """Waits for an event, then for the end of its burst; False where only time has passed."""
    if changes.next(_AGES_S) is None:
        return False
    end = time.monotonic() + _BURST_S
    while time.monotonic() < end and changes.next(_QUIET_S) is not None:
        pass
    return True
