"""muster submit, muster plan: from a file to a job, or to what would become of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli import exits, screen
from hub.cli.context import connect

if TYPE_CHECKING:
    from hub.api import schemas
    from hub.client import MusterClient

app = typer.Typer()

Namespace = Annotated[
    str | None, typer.Option("-n", "--namespace", help="For manifests that name none; else your tenant's first.")
]


@app.command(epilog=exits.HELP)
def submit(
    ctx: typer.Context,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE…", help="Manifests, taken all or none; - reads the standard input.")
    ],
    namespace: Namespace = None,
    key: Annotated[
        str | None, typer.Option(help="The same key again answers the same jobs instead of making new ones.")
    ] = None,
    if_too_large: Annotated[
        str | None, typer.Option(metavar="wait|reject", help="What to do with a gang larger than any cluster.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Until every job has ended (a service: until it runs).")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show the logs of the one job, and wait for it.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="For --wait; 0 waits for ever.")] = 0,
    output: screen.Output = screen.Format.TABLE,
) -> None:
    """Submit manifests as they are.

    PyTorchJob, Volcano Job, Job, Deployment, StatefulSet and Pod, with what they need (ConfigMaps, PVCs …) beside them.
    The runs of a CronJob come by its calendar: muster cron.
    """
    if if_too_large not in (None, "wait", "reject"):
        exits.stop(f"--if-too-large {if_too_large} is neither wait nor reject", "choose one", exits.USAGE)
    with connect(ctx) as muster:
        texts = [read(file) for file in files]
        with exits.told(files[0] if len(files) == 1 else ""):
            answer = _send(muster, files, texts, namespace, key, if_too_large)
        _show(answer, output)
        if follow or wait:
            _stay(muster, answer, follow, timeout or None)


@app.command(epilog=exits.HELP)
def plan(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Manifests; - reads the standard input.")],
    namespace: Namespace = None,
    show_manifest: Annotated[
        str | None, typer.Option(metavar="CLUSTER", help="Print what would be applied there instead, as YAML.")
    ] = None,
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="With --show-manifest: what is in the file's Secrets, too.")
    ] = False,
    output: screen.Output = screen.Format.TABLE,
) -> None:
    """Say where a file's workloads would go now, and why.

    At what cost, and what keeps them from every other cluster. Changes nothing.
    """
    if show_manifest is not None:
        with connect(ctx) as muster, exits.told(file):
            made = muster.manifests(read(file), show_manifest, namespace=namespace, show_secrets=show_secrets)
        _print_manifests(made, output)
        return
    if show_secrets:
        exits.stop("--show-secrets goes with --show-manifest", "name the cluster", exits.USAGE)
    with connect(ctx) as muster, exits.told(file):
        plans = muster.plan(read(file), namespace=namespace)
    if output is screen.Format.TABLE:
        _print_plans(plans)
    else:
        screen.emit(output, plans[0] if len(plans) == 1 else plans)
    verdicts = {one.verdict for one in plans}
    if "rejected" in verdicts:
        raise typer.Exit(exits.FAILED)
    if "waiting" in verdicts:
        raise typer.Exit(exits.WAITING)


def _print_manifests(made: list[schemas.ManifestOut], output: screen.Format) -> None:
    """One stream of YAML; what is no part of it goes to standard error."""
    if output is not screen.Format.TABLE:
        screen.emit(output, made)
        return
    import yaml

    for one in made:
        told = f"with the overrides {', '.join(one.overrides)}" if one.overrides else "with no overrides"
        now = "it would go there now" if one.would_go_there else "it would not go there now (muster plan says why)"
        typer.echo(f"muster: {one.kind} {one.workload} on {one.cluster}, {told}; {now}", err=True)
    objects = [obj for one in made for obj in one.objects]
    typer.echo(yaml.safe_dump_all(objects, sort_keys=False, width=1000).rstrip())


def read(file: str) -> bytes:
    """The bytes of a file or of the standard input; at most what the hub takes."""
    from hub.api.schemas import MAX_MANIFEST_BYTES

    try:
        if file == "-":
            text = sys.stdin.buffer.read(MAX_MANIFEST_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                text = opened.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        exits.stop(f"{file} cannot be read: {error.strerror}", "give a manifest's path, or -", exits.USAGE)
    if len(text) > MAX_MANIFEST_BYTES:
        exits.stop(f"{file} is over 1 MiB", "split it up: one file is one submit", exits.FAILED)
    return text


def _send(
    muster: MusterClient,
    files: list[str],
    texts: list[bytes],
    namespace: str | None,
    key: str | None,
    too_large: str | None,
) -> schemas.SubmitOut:
    if len(texts) == 1:
        return muster.submit(texts[0], namespace=namespace, key=key, if_too_large=too_large)
    decoded = []
    for file, text in zip(files, texts, strict=True):
        try:
            decoded.append(text.decode())
        except UnicodeDecodeError as error:
            exits.stop(f"{file} is not UTF-8: {error}", "save it as UTF-8", exits.USAGE)
    return muster.submit_many(decoded, namespace=namespace, key=key, if_too_large=too_large)


def _show(answer: schemas.SubmitOut, output: screen.Format) -> None:
    from hub.cli import tables

    for one in answer.jobs:
        for warning in one.warnings:
            typer.echo(f"muster: {one.job.name}: {warning}", err=True)
    if output is not screen.Format.TABLE:
        screen.emit(output, answer)
        return
    if answer.jobs:
        screen.console().print(tables.submitted(answer.jobs))
    for made in answer.crons:
        cron = made.cron
        said = "made" if made.created else "changed"
        coming = f"next at {cron.next_at:%F %H:%M} UTC" if cron.next_at else "suspended"
        typer.echo(f"{cron.id} {cron.name} {said}: {cron.schedule} {cron.time_zone}, {coming}")


def _print_plans(plans: list[schemas.PlanOut]) -> None:
    from hub.cli import tables

    console = screen.console()
    for index, one in enumerate(plans):
        if index:
            console.rule(style="dim")
        console.print(tables.plan(one))


def _stay(muster: MusterClient, answer: schemas.SubmitOut, follow: bool, timeout_s: float | None) -> None:
    from hub.cli import staying

    jobs = [one.job for one in answer.jobs]
    if follow and len(jobs) != 1:
        exits.stop(f"--follow shows one job; these are {len(jobs)}", "muster logs -f REF for each", exits.USAGE)
    ended = staying.until_ended(muster, jobs, follow=follow, timeout_s=timeout_s)
    if ended is not None:
        raise typer.Exit(ended)
