"""The screens of money: the price book, what an import changes, and what was spent."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hub.api import pricebook, schemas
from hub.cli.grid import column, cut, grid
from hub.cli.screen import counted, usd
from placement.market.revision import Change
from placement.money import Price

_WIDE = 100


def prices(book: schemas.PriceBookDoc) -> RenderableType:
    table = grid()
    column(table, "CLUSTER", cut=True)
    column(table, "PRODUCT", cut=True)
    for name in ("ON DEMAND", "SPOT", "INTERRUPTIONS"):
        column(table, name, right=True)
    column(table, "")
    public = set(book.public)
    for one in book.prices:
        price = pricebook.price_of(one)
        often = f"{one.spot_interruptions_per_hour:g}/h" if one.spot is not None else "–"
        kind = "own" if one.amortised is not None else "public" if one.cluster in public else ""
        table.add_row(
            cut(one.cluster),
            cut("(every other)" if one.product == "*" else one.product),
            usd(price.on_demand_usd_per_gpu_hour),
            usd(one.spot),
            often,
            Text(kind, "dim"),
        )
    rest = f"USD per GPU-hour. A CPU-hour costs {usd(book.usd_per_cpu_hour)}."
    if book.default is not None:
        rest += f" A cluster that nobody priced counts {usd(book.default.on_demand)}."
    if any(one.amortised is not None for one in book.prices):
        rest += " own: computed from what the cards cost (-o yaml)."
    if public:
        rest += f" Public, used after a queue's wait: {', '.join(sorted(public))}."
    return Group(table, Text(rest, "dim"), *_transfers(book.transfers))


def _transfers(moves: schemas.TransfersDoc) -> list[RenderableType]:
    table = grid()
    column(table, "FROM", cut=True)
    column(table, "TO", cut=True)
    column(table, "A GB", right=True)
    column(table, "GBIT/S", right=True)
    for one in moves.routes:
        names = (cut("(any)" if name == "*" else name) for name in (one.source, one.target))
        table.add_row(*names, usd(one.usd_per_gb), f"{one.gbit_per_s:g}")
    rest: list[str] = []
    for words, route in (("Within a region", moves.within), ("Between other regions", moves.default)):
        if route is not None:
            rest.append(f"{words} a GB costs {usd(route.usd_per_gb)}, at {route.gbit_per_s:g} Gbit/s.")
    if not (moves.routes or rest):
        return []
    return ["", *([table] if moves.routes else []), Text(" ".join(rest), "dim")]


def changes(made: Sequence[Change], width: int) -> RenderableType:
    table = grid()
    column(table, "CLUSTER", cut=True)
    column(table, "PRODUCT", cut=True)
    for name in ("OLD", "NEW", "CHANGE", "OLD SPOT", "NEW SPOT"):
        column(table, name, right=True)
    if width >= _WIDE:
        column(table, "MACHINE", cut=True)
    for one in made:
        row: list[RenderableType] = [cut(one.cluster), cut(one.product)]
        row += [_usd(one.before), usd(one.after.on_demand_usd_per_gpu_hour), _change(one)]
        row += [usd(one.before.spot_usd_per_gpu_hour if one.before else None), usd(one.after.spot_usd_per_gpu_hour)]
        row += [cut(one.quote.machine or "any", "dim")] if width >= _WIDE else []
        table.add_row(*row)
    new = sum(one.before is None for one in made)
    same = sum(one.is_none for one in made)
    said = f"USD per GPU-hour: {new} new, {len(made) - new - same} changed, {same} the same."
    return Group(table, Text(said, "dim"))


def _usd(price: Price | None) -> str:
    return usd(price.on_demand_usd_per_gpu_hour if price else None)


def _change(one: Change) -> Text:
    if one.before is None:
        return Text("new", "cyan")
    percent = one.by_percent
    if one.is_none:
        return Text("same", "dim")
    if percent is None or abs(percent) < 0.05:
        return Text("0.0 %", "dim")
    return Text(f"{percent:+.1f} %", "red" if percent > 0 else "green")


def costs(found: schemas.CostReportOut, width: int) -> RenderableType:
    """The whole report; at 80 columns without what is the least told of."""
    wide = width >= _WIDE
    table = grid()
    column(table, found.by.upper(), cut=True)
    if found.by == "job":
        column(table, "NAME", cut=True)
    for name in ("GPU-HOURS", "GPU", "CPU", "EGRESS", "TOTAL", "LOST"):
        column(table, name, right=True)
    if wide:
        for name in ("ENDED", "RUNNING", "VS FORESEEN"):
            column(table, name, right=True)
    for one in found.lines:
        _add_cost(table, found.by, (one.key or "(unknown)", one.name), one, wide)
    if found.more:
        _add_cost(table, found.by, (f"({found.more:,} more)", ""), found.more_cost, wide, "dim")
    if found.forgotten.attempts or found.forgotten.usd:
        _add_cost(table, found.by, ("(jobs of before)", ""), found.forgotten, wide, "dim")
    _add_cost(table, found.by, ("total", ""), found.total, wide, "bold")
    days = f"{found.since}" if found.since == found.until else f"{found.since} to {found.until}"
    said = [f"USD, {days} (UTC days)."]
    if found.total.running:
        running = counted(found.total.running, "running attempt")
        said.append(f"{running} counted up to {found.as_of:%H:%M} UTC.")
    if found.total.lost_usd:
        said.append("LOST is the part of TOTAL in attempts that failed or were taken from where they ran.")
    if wide and found.total.foreseen_usd:
        said.append("VS FORESEEN tells of attempts that succeeded how far their cost was from what it was to be.")
    if not found.lines:
        said = [f"Nothing was spent, {days} (UTC days)."]
        return Text(said[0], "dim")
    return Group(table, Text(" ".join(said), "dim"))


def _add_cost(
    table: Table, by: str, labels: tuple[str, str], one: schemas.CostOut, wide: bool, style: str = ""
) -> None:
    row: list[RenderableType] = [cut(label, style) for label in labels[: 2 if by == "job" else 1]]
    amounts = [f"{one.gpu_hours:,.1f}" if one.gpu_hours >= 1 else f"{one.gpu_hours:.2f}"]
    amounts += [_paid(amount) for amount in (one.gpu_usd, one.cpu_usd, one.egress_usd, one.usd, one.lost_usd)]
    if wide:
        amounts += [f"{one.attempts:,}", f"{one.running:,}" if one.running else "–", _beside_foreseen(one)]
    table.add_row(*row, *(Text(amount, style) for amount in amounts))


def _paid(amount: float) -> str:
    if 0 < amount < 0.005:
        return "<$0.01"
    return f"${amount:,.2f}" if amount > 0 else "–"


def _beside_foreseen(one: schemas.CostOut) -> str:
    """How much more or less those cost that succeeded and whose cost was foreseen."""
    if one.foreseen_usd <= 0:
        return "–"
    return f"{(one.foreseen_real_usd / one.foreseen_usd - 1) * 100:+.0f} %"
