"""The command `muster`: every group put together, and the last net under it.

Only typer is imported up front; each command imports what it needs when it runs, so that help and completion are quick.
"""

from __future__ import annotations

import os
import sys

import typer

from hub.cli import (
    clusters,
    costs,
    crons,
    datasets,
    distributions,
    exits,
    jobs,
    kinds,
    models,
    operating,
    overrides,
    people,
    prices,
    queues,
    rebalancing,
    serve,
    session,
    submitting,
    tenants,
    top,
    watching,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the boxed help costs 0.3 s of imports
    help="Muster: one control plane for the GPUs of many clusters.",
    epilog=exits.HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (submitting, jobs, watching, operating, rebalancing, top):
    app.add_typer(part.app)
app.add_typer(clusters.app, name="cluster")
app.add_typer(crons.app, name="cron")
app.add_typer(queues.app, name="queue")
app.add_typer(queues.files)
app.add_typer(datasets.app, name="dataset")
app.add_typer(models.app, name="model")
app.add_typer(people.users, name="user")
app.add_typer(tenants.app, name="tenant")
app.add_typer(kinds.app, name="kind")
app.add_typer(distributions.verb)
app.add_typer(distributions.app, name="distribution")
app.add_typer(overrides.app, name="override")
app.add_typer(prices.app, name="price")
app.add_typer(costs.app)
app.add_typer(session.app)
app.add_typer(serve.app)


def main() -> None:
    try:
        app()
    except Exception as error:
        if os.environ.get("MUSTER_DEBUG"):
            raise
        sys.stderr.write(
            f"muster: this should not have happened: {type(error).__name__}: {error}\n"
            "  → MUSTER_DEBUG=1 shows where; please report it\n"
        )
        raise SystemExit(exits.BUG) from None


if __name__ == "__main__":
    main()
