"""muster model …: models in and out, by version, alias and variant."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli import exits, screen
from hub.cli.context import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from hub import model_push
    from registry.references import Revision

app = typer.Typer(no_args_is_help=True, help="Models, by version, alias and variant.")

Name = Annotated[str, typer.Argument(metavar="NAME")]
Reference = Annotated[str, typer.Argument(metavar="NAME[@ALIAS|:VERSION]")]
Tenant = Annotated[str | None, typer.Option(help='Whose it is; "" for everybody\'s (admins).')]
VariantName = Annotated[str, typer.Option(help='Else "default", or the one pushed first.')]


@app.command("list", epilog=exits.HELP)
def list_(ctx: typer.Context, output: screen.Output = screen.Format.TABLE) -> None:
    """List the models that you may use."""
    with connect(ctx) as muster:
        found = muster.models.list()
    from hub.cli import model_tables

    screen.show(output, found, model_tables.models(found, screen.now()))


@app.command(epilog=exits.HELP)
def show(ctx: typer.Context, name: Name, tenant: Tenant = None, output: screen.Output = screen.Format.TABLE) -> None:
    """Show a model: its versions, their variants, and what they need."""
    with connect(ctx) as muster:
        found = muster.models.show(name, tenant=tenant)
    from hub.cli import model_tables

    screen.show(output, found, model_tables.model(found, screen.now()))


@app.command(epilog=exits.HELP)
def push(
    ctx: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="DIR|URL", help="All its files but hidden ones. s3://, gs:// and az:// are fetched to TMPDIR first."
        ),
    ],
    name: Annotated[str, typer.Option(help="The model's: llama, or org/llama.")],
    variant: Annotated[str, typer.Option(help="These files among others of the version.")] = "default",
    version: Annotated[int, typer.Option(min=0, help="Add a variant to this one; else a new version.")] = 0,
    alias: Annotated[list[str] | None, typer.Option(help="Names the version, champion for instance; repeat.")] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What the variant needs: architecture, accelerator, compute-capability, runtime, runtime-versions, "
            "vram, precision; repeat.",
        ),
    ] = None,
    measured: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="quality, latency-ms, memory; repeat.")
    ] = None,
    tenant: Tenant = None,
    output: screen.Output = screen.Format.TABLE,
) -> None:
    """Push a directory as a version of a model, or as a variant of one.

    Only what the hub lacks is sent; a push that was stopped goes on when it is begun again.
    """
    from contextlib import ExitStack

    from hub import model_push, model_sources
    from placement import sizes
    from registry import references, variants

    try:
        label = model_push.Label(
            name,
            variant,
            version,
            tuple(alias or ()),
            variants.pairs(require or (), "--require"),
            variants.pairs(measured or (), "--measured"),
            tenant,
        )
        _check(label)
        with ExitStack() as stack:
            directory = Path(source)
            if model_sources.is_url(source):
                fetching = stack.enter_context(_progress("fetching", None))
                directory = stack.enter_context(model_sources.fetched(source, fetching))
            found = model_push.look(directory)
            muster = stack.enter_context(connect(ctx))
            bar = stack.enter_context(_progress("pushing", found.size))
            sent: list[int] = []

            def tell(did: model_push.Did, count: int) -> None:
                if did is model_push.Did.SENT:
                    sent.append(count)
                if did is not model_push.Did.CUT:
                    bar(count)

            done = model_push.push(muster, found, label, tell)
    except model_push.PushRefused as error:
        exits.stop(str(error), error.mend, exits.FAILED)
    except (variants.VariantRefused, references.NameRefused) as error:
        exits.stop(str(error), "mend the flag", exits.USAGE)
    if output is not screen.Format.TABLE:
        screen.emit(output, done)
        return
    typer.echo(
        f"{name}:{done.version} ({done.variant}) {'pushed' if done.created else 'is this already'}: "
        f"{screen.counted(len(found.files), 'file')}, {sizes.words(found.size)}, {sizes.words(sum(sent))} sent"
        + "".join(f"; it is {one}" for one in alias or ())
    )
    if found.left_out:
        typer.echo(f"  → left out: {', '.join(found.left_out[:5])}{' …' if len(found.left_out) > 5 else ''}", err=True)
    version_out = next(one for one in done.model.versions if one.number == done.version)
    if any(one.pickles for one in version_out.variants if one.name == done.variant):
        typer.echo("  → it runs code when it is loaded (a pickle): sites may refuse it", err=True)


def _check(label: model_push.Label) -> None:
    """What can be told before anything is sent. Raises VariantRefused, NameRefused."""
    from registry import references, variants

    references.check_model(label.name)
    references.check_label(label.variant, "variant")
    for alias in label.aliases:
        references.check_alias(alias)
    variants.requirements(label.requires)
    variants.measured(label.measured)


@app.command(epilog=exits.HELP)
def pull(
    ctx: typer.Context,
    reference: Reference,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Made where it is missing.")],
    variant: VariantName = "",
    tenant: Tenant = None,
) -> None:
    """Fetch a version of a model into a directory; without alias or version, the newest.

    Each file is proved before it is put in its place. What is there already and is right is not fetched.
    """
    from dataclasses import replace

    from hub import model_pull
    from placement import sizes

    name, revision = _parsed(reference)
    try:
        with connect(ctx) as muster:
            wanted = model_pull.look(muster, name, replace(revision, variant=variant), tenant)
            fetched = 0
            with _progress("pulling", wanted.manifest.size) as bar:

                def tell(count: int, came: bool) -> None:
                    nonlocal fetched
                    fetched += count if came else 0
                    bar(count)

                model_pull.pull(muster, wanted, directory, tell)
    except model_pull.PullRefused as error:
        exits.stop(str(error), error.mend, exits.FAILED)
    except OSError as error:
        exits.stop(f"{directory} cannot be written: {error}", "make room, or give another directory", exits.FAILED)
    files = screen.counted(len(wanted.manifest.files), "file")
    typer.echo(
        f"{name}:{wanted.version} ({wanted.variant}) in {directory}: {files}, {sizes.words(wanted.manifest.size)}, "
        f"{sizes.words(fetched)} fetched"
    )


@app.command(epilog=exits.HELP)
def alias(
    ctx: typer.Context,
    name: Name,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="champion, staging …")],
    version: Annotated[int | None, typer.Argument(metavar="[VERSION]", min=1)] = None,
    remove: Annotated[bool, typer.Option("--remove", help="It names nothing any more.")] = False,
    tenant: Tenant = None,
) -> None:
    """Let an alias name a version."""
    if remove == (version is not None):
        exits.stop(f"{name}: give a version, or --remove", f"muster model alias {name} {alias} 3", exits.USAGE)
    with connect(ctx) as muster:
        if version is None:
            muster.models.remove_alias(name, alias, tenant=tenant)
        else:
            muster.models.set_alias(name, alias, version, tenant=tenant)
    typer.echo(f"{name}@{alias} removed" if version is None else f"{name}@{alias} is version {version}")


@app.command(epilog=exits.HELP)
def delete(
    ctx: typer.Context, reference: Annotated[str, typer.Argument(metavar="NAME[:VERSION]")], tenant: Tenant = None
) -> None:
    """Delete a version that no alias names, or a whole model."""
    name, revision = _parsed(reference)
    if revision.alias:
        exits.stop(
            f"{reference}: an alias is not deleted so",
            f"muster model alias {name} {revision.alias} --remove",
            exits.USAGE,
        )
    with connect(ctx) as muster:
        muster.models.delete(name, revision.version, tenant=tenant)
    typer.echo(f"{reference} deleted")


@app.command(epilog=exits.HELP)
def status(ctx: typer.Context, output: screen.Output = screen.Format.TABLE) -> None:
    """Show what the models take at the hub."""
    with connect(ctx) as muster:
        found = muster.models.storage()
    from hub.cli import model_tables

    screen.show(output, found, model_tables.storage(found))


def _parsed(reference: str) -> tuple[str, Revision]:
    from registry import references

    try:
        return references.parse(reference)
    except references.NameRefused as error:
        exits.stop(str(error), "write NAME, NAME@alias or NAME:3", exits.USAGE)


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """On a terminal a bar; else nothing. What it yields may be called by several threads."""
    import threading

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    lock = threading.Lock()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=total)

        def more(count: int) -> None:
            with lock:
                progress.advance(task, count)

        yield more
