"""Builds what the hub keeps in memory from the store, at start, and keeps it in step from then on.

One consistent snapshot for all of it, before anything writes: afterwards every commit is told to each copy, in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from hub.federation import Federation
from hub.loops.backlog import Backlog
from hub.loops.wholes import WholeBook
from hub.records import JobEvent
from hub.store import (
    attempts,
    clusters,
    commands,
    datasets,
    events,
    jobs,
    moves,
    overrides,
    prices,
    queues,
    tenants,
    wholes,
)
from hub.store.changes import Change, ClusterRecord, Spent
from hub.store.feed import TAIL, Feed
from hub.store.outbox import Outbox
from hub.store.store import Store
from placement.data import Dataset
from placement.fleet import Leaving, PendingJob, Progress, Reservation
from placement.inventory import Summary
from placement.money import PriceBook
from placement.overrides.override import Override
from placement.queues.tree import QueueTree
from placement.safety.tenants import Tenants
from wire.orders import Command

# What ended before has no part in this month's budget, and hardly one in a share.
REMEMBERED = timedelta(days=32)


@dataclass(frozen=True, slots=True)
class Copies:
    """The store's contents that are kept in memory. Fill with `resume`."""

    federation: Federation
    backlog: Backlog
    outbox: Outbox
    feed: Feed
    wholes: WholeBook

    @staticmethod
    def empty(federation: Federation) -> Copies:
        return Copies(federation, Backlog(federation.wake), Outbox(), Feed(), WholeBook())


async def resume(store: Store, copies: Copies, clock: Callable[[], datetime]) -> None:
    """Call once, after `store.open()` and before anything else writes."""
    now = clock()
    found = await store.read(lambda session: _everything(session, now))
    copies.federation.load(
        found.clusters,
        found.summaries,
        found.reservations,
        found.prices,
        now,
        queues=found.queues,
        tenants=found.tenants,
        overrides=found.overrides,
        spent=found.spent,
        datasets=found.datasets,
        progress=found.progress,
        leaving=found.leaving,
    )
    copies.backlog.load(found.pending)
    copies.outbox.load(found.commands)
    copies.feed.load(found.events)
    copies.wholes.load(found.wholes)

    def on_change(change: Change) -> None:
        copies.federation.on_change(change, clock())
        copies.backlog.on_change(change)
        copies.outbox.on_change(change)
        copies.feed.on_change(change)
        copies.wholes.on_change(change)

    store.subscribe(on_change)


@dataclass(frozen=True, slots=True)
class _Found:
    clusters: tuple[ClusterRecord, ...]
    summaries: dict[str, Summary]
    reservations: tuple[Reservation, ...]
    prices: PriceBook
    queues: QueueTree | None
    tenants: Tenants
    overrides: tuple[Override, ...]
    spent: tuple[Spent, ...]
    datasets: tuple[Dataset, ...]
    pending: tuple[PendingJob, ...]
    progress: dict[str, Progress]
    leaving: dict[str, Leaving]
    commands: tuple[tuple[str, Command], ...]
    events: list[JobEvent]
    wholes: tuple[str, ...]


def _everything(session: Session, now: datetime) -> _Found:
    progress, leaving = jobs.standing(session)
    return _Found(
        clusters=clusters.records(session),
        summaries=clusters.summaries(session),
        reservations=jobs.reservations(session),
        prices=prices.book(session),
        queues=queues.tree(session),
        tenants=tenants.all_of(session),
        overrides=overrides.all_of(session),
        datasets=datasets.every(session),
        spent=attempts.ended_after(session, now - REMEMBERED),
        pending=moves.pending_jobs(session),
        progress=progress,
        leaving=leaving,
        commands=commands.open_commands(session),
        events=events.latest(session, TAIL),
        wholes=wholes.live_ids(session),
    )
