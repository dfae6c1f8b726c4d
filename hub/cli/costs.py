"""muster cost: what was spent, by whom and on what."""

from __future__ import annotations

import csv
import re
import sys
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli import completion, exits, screen
from hub.cli.context import connect

if TYPE_CHECKING:
    from hub.api import schemas

app = typer.Typer()


class By(StrEnum):
    QUEUE = "queue"
    USER = "user"
    CLUSTER = "cluster"
    JOB = "job"
    DAY = "day"


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"


@app.command(epilog=exits.HELP)
def cost(
    ctx: typer.Context,
    by: Annotated[By, typer.Option(help="What to sum up.")] = By.QUEUE,
    since: Annotated[
        str, typer.Option(metavar="7d|month|DATE", help="The last days, this month, or from a day on (UTC).")
    ] = "30d",
    until: Annotated[str | None, typer.Option(metavar="DATE", help="The last day, which is in it; else today.")] = None,
    queue: Annotated[str | None, typer.Option("-q", "--queue", help="Of this queue only.")] = None,
    user: Annotated[str | None, typer.Option("-u", "--user", help="Of this user only.")] = None,
    cluster: Annotated[
        str | None, typer.Option("-c", "--cluster", help="On this cluster only.", autocompletion=completion.clusters)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many lines, the dearest first.")] = 30,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print it.")] = Format.TABLE,
) -> None:
    """Say what was spent, and what of it came to nothing.

    GPU-hours and dollars. Attempts are charged from their placing to their release, at the price of then; running
    ones up to now.
    """
    last = _day("--until", until) if until else datetime.now(UTC).date()
    first = _first(since, last)
    if first > last:
        exits.stop(f"--since {since} is after --until {last}", "give the earlier day as --since", exits.USAGE)
    with connect(ctx) as muster:
        found = muster.cost(by.value, since=first, until=last, queue=queue, user=user, cluster=cluster, limit=limit)
    match output:
        case Format.TABLE:
            from hub.cli import money_tables

            console = screen.console()
            console.print(money_tables.costs(found, console.width))
        case Format.CSV:
            _write_csv(found)
        case _:
            screen.emit(screen.Format(output.value), found)


def _first(text: str, last: date) -> date:
    if text == "month":
        return last.replace(day=1)
    if days := re.fullmatch(r"(\d{1,4})d", text):
        return last - timedelta(days=max(int(days.group(1)), 1) - 1)
    return _day("--since", text)


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        forms = "7d, month or 2026-03-01" if option == "--since" else "2026-03-01"
        exits.stop(f"{option} {text} is no day", f"write {forms}", exits.USAGE)


def _write_csv(found: schemas.CostReportOut) -> None:
    """One line for each of the report's, without the total: spreadsheets add up themselves."""
    rows = [one.model_dump() for one in found.lines]
    if found.more:
        rows.append({"key": "", "name": f"{found.more} more", **found.more_cost.model_dump()})
    if found.forgotten.attempts or found.forgotten.usd:
        rows.append({"key": "", "name": "jobs of before", **found.forgotten.model_dump()})
    names = ["key", "name", *(name for name in type(found.total).model_fields)]
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
