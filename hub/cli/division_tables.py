"""Divided works on the screen: their parts, how they would be divided, and where they can be reached."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from hub.api import schemas
from hub.cli import grid
from hub.cli.screen import phase_style, usd


def place(job: schemas.JobOut) -> str:
    """`eu-a 4, us-b 2` of a divided work."""
    if job.shares is None:
        return job.cluster or "–"
    return ", ".join(f"{cluster} {share}" for cluster, share in sorted(job.shares.items())) or "–"


def division(one: schemas.DivisionOut) -> RenderableType:
    table = grid.grid()
    for name in ("CLUSTER", "REGION"):
        grid.column(table, name, cut=True)
    grid.column(table, "READY", right=True)
    grid.column(table, "PHASE")
    grid.column(table, "AN HOUR", right=True)
    grid.column(table, "PART")
    table.add_column("WHY", ratio=1, overflow="fold")
    for part in one.parts:
        phase = Text(part.phase, phase_style(part.phase))
        phase.append(" (away)" if part.away else "", "bold yellow")
        ready = f"{part.ready}/{part.replicas}"
        price = usd(part.usd_per_hour) if part.usd_per_hour is not None else "–"
        table.add_row(
            grid.cut(part.cluster),
            grid.cut(part.region or "–"),
            ready,
            phase,
            price,
            part.job,
            Text(part.reason, "dim"),
        )
    each = " in each cluster" if one.by == "duplicate" else ""
    title = Text(f"{one.replicas} replicas{each}, divided by {one.by}", "dim")
    left_out = [Text(f"! {cluster} is left out: {why}", "yellow") for cluster, why in sorted(one.left_out.items())]
    return Group(title, table, *_reasons(one.reasons), *left_out)


def planned(one: schemas.PlannedDivisionOut) -> RenderableType:
    found = sum(share.replicas for share in one.shares)
    mark, style = ("✔ divided", "bold green") if found >= one.wanted else ("… waiting in part", "bold yellow")
    title = Text.assemble((mark, style), f" by {one.by}: {found} of {one.wanted} replicas have a place")
    table = grid.grid()
    for name in ("CLUSTER", "REGION"):
        grid.column(table, name, cut=True)
    for name in ("REPLICAS", "ROOM FOR", "EACH, AN HOUR"):
        grid.column(table, name, right=True)
    table.add_column("WHY", ratio=1, overflow="fold")
    for share in sorted(one.shares, key=lambda share: (-share.replicas, share.cluster)):
        why = share.reason.message if share.reason is not None and not share.replicas else ""
        table.add_row(
            grid.cut(share.cluster),
            grid.cut(share.region or "–"),
            str(share.replicas),
            f"{share.room:,}",
            usd(share.usd_per_hour) if share.room else "–",
            Text(why, "dim"),
        )
    told = {share.reason.message for share in one.shares if share.reason is not None and not share.replicas}
    own = [reason for reason in one.reasons if reason.code != "division-short" or not told]
    return Group(title, "", table, *_reasons(own))


def _reasons(found: Sequence[schemas.ReasonOut]) -> list[RenderableType]:
    return [Text(f"! {reason.message}", "yellow") for reason in found]


def endpoints(one: schemas.EndpointsOut) -> RenderableType:
    table = grid.grid()
    for name in ("CLUSTER", "REGION", "KIND", "NAME"):
        grid.column(table, name, cut=True)
    table.add_column("ADDRESS", overflow="fold")
    table.add_column("PORTS", overflow="fold")
    for found in one.endpoints:
        address = ", ".join(found.addresses) or f"{found.name}.{found.namespace} in the cluster"
        table.add_row(
            grid.cut(found.cluster),
            grid.cut(found.region or "–"),
            grid.cut(found.kind),
            grid.cut(found.name),
            address if found.addresses else Text(address, "dim"),
            ", ".join(found.ports) or "–",
        )
    nothing = [] if one.endpoints else [Text("No services, ingresses or addresses of its own.", "dim")]
    notes = [Text(f"! {note}", "yellow") for note in one.notes]
    return Group(*([table] if one.endpoints else nothing), *notes)
