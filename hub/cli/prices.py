"""muster price …: what a GPU-hour costs where, from a file of one's own or from a cloud's catalogue."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hub.cli import exits, screen, submitting
from hub.cli.context import connect

if TYPE_CHECKING:
    from hub.client import MusterClient
    from placement.market.listing import Listing
    from placement.market.quotes import Quotes
    from placement.market.revision import Change

app = typer.Typer(no_args_is_help=True, help="What a GPU-hour costs where (changes: admins).")


@app.command(epilog=exits.HELP)
def show(ctx: typer.Context, output: screen.Output = screen.Format.TABLE) -> None:
    """Show the price book; -o yaml prints it as a file that `set` takes."""
    with connect(ctx) as muster:
        book = muster.prices()
    if output is not screen.Format.TABLE:
        screen.emit(output, book.model_dump(mode="json", exclude_none=True))
        return
    from hub.cli import money_tables

    screen.console().print(money_tables.prices(book))


@app.command("set", epilog=exits.HELP)
def set_(
    ctx: typer.Context, file: Annotated[str, typer.Argument(metavar="FILE", help="YAML or JSON; - reads stdin.")]
) -> None:
    """Replace the whole price book; nothing changes where anything in it is wrong."""
    with connect(ctx) as muster, exits.told(file):
        book = muster.set_prices(submitting.read(file))
    routes = screen.counted(len(book.transfers.routes), "route")
    typer.echo(f"{screen.counted(len(book.prices), 'price')} and {routes} set")
    warn(book.warnings)


@app.command("import", epilog=exits.HELP)
def import_(
    ctx: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A catalogue's vms.csv (SkyPilot's columns); - reads stdin.")
    ],
    cloud: Annotated[str, typer.Option(metavar="NAME", help="Whose catalogue it is: aws, gcp, azure, lambda …")],
    region: Annotated[
        list[str],
        typer.Option(metavar="REGION=CLUSTER", help="The cloud's region or zone, and the cluster there. Repeatable."),
    ],
    product: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PRODUCT", help="What nodes report for the catalogue's NAME. Repeatable."),
    ] = None,
    present: Annotated[bool, typer.Option("--present", help="Only products that the clusters' nodes report.")] = False,
    interruptions: Annotated[
        float | None,
        typer.Option(min=0, metavar="PER_HOUR", help="How often spot is taken away; else as the book has it."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Also call these clusters public (queues burst to them).")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    output: screen.Output = screen.Format.TABLE,
) -> None:
    """Take prices of cards from a cloud's catalogue of machines.

    The cheapest machine of the region by its cards, on demand and on spot. What changes is shown first; what the file
    does not list stays.
    """
    from hub.api import pricebook
    from placement.market import revision

    places, named = _pairs("--region", region), _pairs("--product", product or [])
    with connect(ctx) as muster, exits.told(file):
        listing = _listing(file, places)
        _check_places(places, listing, file)
        before = muster.prices()
        book = pricebook.read(before)
        quoted = _quotes(muster, listing, places, named, cloud.casefold(), present)
        made = revision.changes(book, {name: found.by_product for name, found in quoted.items()}, interruptions)
        _show(made, output)
        _warn_of(quoted, made, interruptions)
        new_public = set(places.values()) - set(before.public) if public else set()
        if dry_run or not (any(not one.is_none for one in made) or new_public):
            typer.echo("nothing was changed" if dry_run else "nothing to change", err=True)
            return
        if not yes:
            _ask(made)
        if muster.prices() != before:
            exits.stop("the price book has changed meanwhile", "look again", exits.FAILED)
        after = pricebook.render(revision.revised(book, made, new_public))
        answer = muster.set_prices(after.model_dump_json().encode())
    typer.echo(f"{screen.counted(sum(not one.is_none for one in made), 'price')} changed", err=True)
    warn(answer.warnings)


def warn(warnings: list[str]) -> None:
    for warning in warnings:
        typer.echo(f"muster: {warning}", err=True)


def _pairs(option: str, given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        left, is_pair, right = text.partition("=")
        if not (is_pair and left.strip() and right.strip()):
            metavar = "REGION=CLUSTER" if option == "--region" else "NAME=PRODUCT"
            exits.stop(f"{option} {text} is no pair", f"write {option} {metavar}", exits.USAGE)
        if left.strip() in found:
            exits.stop(f"{option} names {left.strip()} twice", "leave one of them out", exits.USAGE)
        found[left.strip()] = right.strip()
    if option == "--region" and len(set(found.values())) < len(found):
        exits.stop("--region names a cluster twice", "a cluster is in one region: leave one of them out", exits.USAGE)
    return found


def _listing(file: str, places: Mapping[str, str]) -> Listing:
    from placement.kinds.problems import ManifestError
    from placement.market import listing

    try:
        if file == "-":
            return listing.read(sys.stdin, places)
        with Path(file).open(newline="", encoding="utf-8-sig") as lines:
            return listing.read(lines, places)
    except (OSError, UnicodeDecodeError) as error:
        exits.stop(f"{file} cannot be read: {error}", "give the path of a catalogue's vms.csv, or -", exits.USAGE)
    except ManifestError as error:
        for problem in error.problems:
            sys.stderr.write(f"muster: {file}: {problem.path}: {problem.message}\n  → {problem.mend}\n")
        raise typer.Exit(exits.FAILED) from error


def _check_places(places: Mapping[str, str], listing: Listing, file: str) -> None:
    from placement.kinds.problems import did_you_mean

    for place in places:
        if place not in listing.regions:
            close = did_you_mean(place, listing.regions)
            regions = ", ".join(sorted(listing.regions)[:12])
            mend = f"did you mean {close}?" if close else f"it has {regions} …"
            exits.stop(f"--region {place}: {file} has no such region", mend, exits.USAGE)


def _quotes(
    muster: MusterClient,
    listing: Listing,
    places: Mapping[str, str],
    named: Mapping[str, str],
    cloud: str,
    present_only: bool,
) -> dict[str, Quotes]:
    """By cluster; one of them at least quotes something."""
    from placement.market import quotes

    there = {one.name: one.products for one in muster.clusters()}
    found = {
        cluster: quotes.quotes(listing.lines, place, cloud, there.get(cluster, {}), named)
        for place, cluster in places.items()
    }
    if present_only:
        found = {cluster: each.of(there.get(cluster, {})) for cluster, each in found.items()}
    if any(each.by_product for each in found.values()):
        return found
    unknown = sorted({name for each in found.values() for name in each.unknown})
    exits.stop(
        "no card that a product is known for has a price there",
        f"it has {', '.join(unknown)}: say what nodes report with --product NAME=PRODUCT"
        if unknown
        else "name another region, or leave --present out",
        exits.FAILED,
    )
    return None


def _show(made: tuple[Change, ...], output: screen.Format) -> None:
    if output is not screen.Format.TABLE:
        screen.emit(output, {"changes": [_plain(one) for one in made]})
        return
    from hub.cli import money_tables

    console = screen.console()
    console.print(money_tables.changes(made, console.width))


def _plain(one: Change) -> dict[str, object]:
    before = one.before
    return {
        "cluster": one.cluster,
        "product": one.product,
        "machine": one.quote.machine,
        "on_demand": {
            "before": None if before is None else before.on_demand_usd_per_gpu_hour,
            "after": one.after.on_demand_usd_per_gpu_hour,
            "change_percent": one.by_percent,
        },
        "spot": {
            "before": None if before is None else before.spot_usd_per_gpu_hour,
            "after": one.after.spot_usd_per_gpu_hour,
        },
        "spot_interruptions_per_hour": one.after.spot_interruptions_per_hour,
    }


def _warn_of(quoted: Mapping[str, Quotes], made: tuple[Change, ...], interruptions: float | None) -> None:
    warnings: list[str] = []
    unknown = sorted({name for found in quoted.values() for name in found.unknown})
    if unknown:
        warnings.append(f"left out, since no product is known for them: {', '.join(unknown)} (--product NAME=PRODUCT)")
    apart = sorted({one.product for one in made if one.quote.apart})
    if apart:
        warnings.append(f"priced without the machine around them: {', '.join(apart)}")
    never = [
        one for one in made if one.after.spot_usd_per_gpu_hour is not None and not one.after.spot_interruptions_per_hour
    ]
    if never and interruptions is None:
        warnings.append(
            f"nobody knows how often spot is taken away for {screen.counted(len(never), 'price')}: "
            "it counts as never (--interruptions PER_HOUR)"
        )
    own = sorted({f"{one.cluster} {one.product}" for one in made if one.before is not None and one.before.amortised})
    if own:
        warnings.append(f"until now the price of own cards, computed from their purchase: {', '.join(own)}")
    warn(warnings)


def _ask(made: tuple[Change, ...]) -> None:
    if not sys.stdin.isatty():
        exits.stop(
            "nothing was changed: nobody is there to be asked", "--yes applies it, --dry-run only looks", exits.USAGE
        )
    if not typer.confirm(f"Change {screen.counted(sum(not one.is_none for one in made), 'price')}?", err=True):
        typer.echo("nothing was changed", err=True)
        raise typer.Exit(exits.FAILED)
