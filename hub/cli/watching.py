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
_HOME_AND_CLEAR = "\x1b[H\x1b[2J"


@app.command(epilog=exits.HELP)
def logs(
    ctx: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="REF", help="A job's id or name.", autocompletion=completion.jobs)],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job has ended.")] = False,
    role: Annotated[str, typer.Option(help="Only the pods of this role.")] = "",
    tail: Annotated[int, typer.Option(min=0, help="Lines of each pod to begin with; 0: from the first.")] = 0,
) -> None:
    """Print what a job's pods write."""
    from hub.cli import loglines

    with connect(ctx) as muster:
        loglines.show(muster.logs(ref, role=role, follow=follow, tail=tail))


@app.command(epilog=exits.HELP)
def events(
    ctx: typer.Context,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on for ever; else what has happened so far.")
    ] = False,
    job: Annotated[str | None, typer.Option(help="Of one job, by id or name.", autocompletion=completion.jobs)] = None,
    after: Annotated[int | None, typer.Option(min=0, help="Those after this number.")] = None,
    output: screen.Output = screen.Format.TABLE,
) -> None:
    """Print what happens to jobs.

    So far, or from now on with --follow; with -o json one object per line.
    """
    from hub.cli import tables

    console = screen.console()
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
