"""muster queue … and muster apply: where jobs wait, by flags or from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli import exits, screen, submitting
from hub.cli.context import connect

if TYPE_CHECKING:
    from hub.api import schemas

_REACHES = ("never", "lower-priority", "any")

app = typer.Typer(no_args_is_help=True, help="Where jobs wait: quota, shares and budgets (changes: admins).")
files = typer.Typer()

Name = Annotated[str, typer.Argument(metavar="NAME")]
Cohort = Annotated[str | None, typer.Option(help='The queue that it is a part of; "" for none.')]
Weight = Annotated[float | None, typer.Option(min=0, help="Of its share among its siblings; 0 comes last.")]
QuotaFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--quota",
        metavar="DEVICE=NOMINAL[,borrow=N][,lend=N]",
        help="DEVICE is a product, * for any other GPU, or cpu. May be repeated; DEVICE=none takes one away.",
    ),
]
BudgetFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="NAME=AMOUNT",
        help="usd_per_day, usd_per_month, gpu_hours_per_day, gpu_hours_per_month. May be repeated; =none lifts one.",
    ),
]
BurstFlag = Annotated[
    str | None,
    typer.Option(
        "--burst-after", metavar="HOURS", help="Of waiting, before a public cluster is used; none: as its cohort says."
    ),
]

PreemptionFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--preemption",
        metavar="RIGHT=WHOM",
        help="RIGHT is within_queue, reclaim or fair_share; WHOM is never, lower-priority or any. May be repeated.",
    ),
]


@app.command("list", epilog=exits.HELP)
def list_(ctx: typer.Context, output: screen.Output = screen.Format.TABLE) -> None:
    """List the queues, with what they use of what they may."""
    with connect(ctx) as muster:
        found = muster.queues()
    from hub.cli import tables

    screen.show(output, found, tables.queues(found))


@app.command(epilog=exits.HELP)
def show(ctx: typer.Context, name: Name, output: screen.Output = screen.Format.TABLE) -> None:
    """Show one queue: quota, use, and what was spent."""
    with connect(ctx) as muster:
        found = muster.queue(name)
    from hub.cli import tables

    screen.show(output, found, tables.queue(found))


@app.command(epilog=exits.HELP)
def create(
    ctx: typer.Context,
    name: Name,
    cohort: Cohort = None,
    weight: Weight = None,
    quota: QuotaFlag = None,
    budget: BudgetFlag = None,
    burst_after: BurstFlag = None,
    preemption: PreemptionFlag = None,
) -> None:
    """Make a queue; without --quota it has no limit of its own."""
    from hub.api import schemas

    spec = _changed(schemas.QueueSpec(), cohort, weight, quota, budget, burst_after, preemption)
    with connect(ctx) as muster:
        muster.create_queue(name, spec)
    typer.echo(f"{name} created")


@app.command(epilog=exits.HELP)
def edit(
    ctx: typer.Context,
    name: Name,
    cohort: Cohort = None,
    weight: Weight = None,
    quota: QuotaFlag = None,
    budget: BudgetFlag = None,
    burst_after: BurstFlag = None,
    preemption: PreemptionFlag = None,
    force: Annotated[bool, typer.Option("--force", help="Also where quota falls below what is used.")] = False,
) -> None:
    """Change a queue; what is not given stays as it is."""
    from hub.api import schemas

    with connect(ctx) as muster:
        known = muster.queue(name)
        before = schemas.QueueSpec(**{field: getattr(known, field) for field in schemas.QueueSpec.model_fields})
        spec = _changed(before, cohort, weight, quota, budget, burst_after, preemption)
        muster.set_queue(name, spec, force=force)
    typer.echo(f"{name} changed")


@app.command(epilog=exits.HELP)
def delete(ctx: typer.Context, name: Name) -> None:
    """Delete a queue in which no job waits or runs."""
    with connect(ctx) as muster:
        muster.delete_queue(name)
    typer.echo(f"{name} deleted")


@files.command(epilog=exits.HELP)
def apply(
    ctx: typer.Context,
    file: Annotated[str, typer.Option("-f", "--file", metavar="FILE", help="YAML or JSON; - reads stdin.")],
    force: Annotated[bool, typer.Option("--force", help="Also what may be wrong; see queue, dataset.")] = False,
) -> None:
    """Make or change what a file declares, all or nothing.

    Documents of kind Queue, Dataset, Tenant, Override and PriceBook, in any number.
    """
    with connect(ctx) as muster, exits.told(file):
        answer = muster.apply(submitting.read(file), force=force)
    for kind, name in answer.applied:
        typer.echo(f"{kind} {name} applied")
    for warning in answer.warnings:
        typer.echo(f"muster: {warning}", err=True)


def _changed(
    spec: schemas.QueueSpec,
    cohort: str | None,
    weight: float | None,
    quotas: list[str] | None,
    budgets: list[str] | None,
    burst_after: str | None,
    preemptions: list[str] | None,
) -> schemas.QueueSpec:
    from hub.api import schemas

    by_device, budget, rights = dict(spec.quotas), spec.budget.model_dump(), spec.preemption.model_dump()
    for flag in quotas or ():
        device, _, text = flag.rpartition("=") if flag.endswith("=none") else flag.partition("=")
        if text == "none":
            by_device.pop(device, None)
        else:
            by_device[device] = _quota(flag, device, text)
    for flag in budgets or ():
        name, _, text = flag.partition("=")
        if name not in budget:
            exits.stop(f"--budget {flag}: there is no {name}", f"one of {', '.join(budget)}", exits.USAGE)
        budget[name] = None if text == "none" else _amount(f"--budget {flag}", text)
    for flag in preemptions or ():
        name, _, text = flag.partition("=")
        if name not in rights or text not in _REACHES:
            mend = f"RIGHT is one of {', '.join(rights)}, WHOM one of {', '.join(_REACHES)}"
            exits.stop(f"--preemption {flag} is none", mend, exits.USAGE)
        rights[name] = text
    return schemas.QueueSpec(
        cohort=spec.cohort if cohort is None else cohort,
        weight=spec.weight if weight is None else weight,
        quotas=by_device,
        budget=schemas.BudgetDoc(**budget),
        burst_after_hours=_burst_after(spec.burst_after_hours, burst_after),
        preemption=schemas.PreemptionDoc(**rights),
    )


def _burst_after(before: float | None, text: str | None) -> float | None:
    if text is None:
        return before
    return None if text == "none" else _amount(f"--burst-after {text}", text, "give hours, or none", at_most=8_760)


def _quota(flag: str, device: str, text: str) -> schemas.QuotaDoc:
    from hub.api import schemas

    nominal, *limits = text.split(",")
    found = {"nominal": _amount(f"--quota {flag}", nominal)}
    for limit in limits:
        name, _, amount = limit.partition("=")
        if name not in ("borrow", "lend") or not device:
            exits.stop(f"--quota {flag}: {limit} is no limit", "write A100=8,borrow=4,lend=2", exits.USAGE)
        found["borrowing_limit" if name == "borrow" else "lending_limit"] = _amount(f"--quota {flag}", amount)
    return schemas.QuotaDoc(
        nominal=found["nominal"],
        borrowing_limit=found.get("borrowing_limit"),
        lending_limit=found.get("lending_limit"),
    )


def _amount(flag: str, text: str, mend: str = "give 0 or more", at_most: float = 1e9) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount <= at_most:
        exits.stop(f"{flag}: {text!r} is no amount", mend, exits.USAGE)
    return amount
