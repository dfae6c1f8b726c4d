"""The member clusters as they are now: connected or silent, with what capacity, holding which jobs.

Summaries and heartbeats live in memory and are kept in the store from time to time only; reservations, cordons and
prices are the store's, and are followed change by change, so that a decision never waits for the database. After a
restart the clusters are known with their last summary, and count as connected once their spokes are back.

Health is a matter of silence: a stream that ended, or no heartbeat for three intervals, is DISCONNECTED; longer than
the lease, LOST. Neither touches a job: only a person decides that a cluster will not come back.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hub.store.changes import (
    Change,
    ClusterRecord,
    ClusterSaved,
    DatasetsSaved,
    Leaves,
    OverridesSaved,
    PricesReplaced,
    Progressed,
    QueuesSaved,
    Released,
    Reserved,
    Spent,
    TenantsSaved,
)
from hub.store.clusters import Sighting
from hub.store.jobs import Name, name_of
from placement.data import DataCatalog, Dataset, Replica
from placement.elastic import sizes
from placement.fleet import Cluster, Fleet, Health, Leaving, Progress, Reservation
from placement.inventory import Summary
from placement.money import PriceBook
from placement.overrides.override import Override
from placement.queues.spending import Past, past_with, spendings
from placement.queues.tree import QueueTree
from placement.safety.tenants import Tenants
from placement.transfers import ANY_REGION
from wire.orders import JobRef

MISSED_HEARTBEATS = 3


@dataclass(slots=True)
class _Live:
    record: ClusterRecord
    silent_since: datetime
    session: str = ""  # of the stream it is connected by; "" for none
    summary: Summary | None = None
    last_seen: datetime | None = None
    health: Health = Health.JOINING
    unsaved_summary: bool = False
    unsaved_sighting: bool = False


class Federation:
    """One per hub. Not thread-safe: everything happens on the event loop; `fleet()` may be handed to threads."""

    def __init__(
        self,
        *,
        heartbeat_s: float = 5.0,
        lease_s: float = 60.0,
        queues: QueueTree | None = None,
        half_life_h: float = 24.0,
        wake: asyncio.Event | None = None,
    ) -> None:
        self.heartbeat_s = heartbeat_s
        self.lease_s = lease_s
        self.queues = queues or QueueTree()
        self.tenants = Tenants()
        self.overrides: tuple[Override, ...] = ()
        self.half_life_h = half_life_h
        self.wake = wake or asyncio.Event()
        self.improvements = 0  # grows whenever a job that waits might fit now
        self._clusters: dict[str, _Live] = {}
        self._removed: dict[str, ClusterRecord] = {}
        self._held: dict[str, dict[str, Reservation]] = defaultdict(dict)  # cluster -> job -> reservation
        self._elastic: dict[str, Reservation] = {}  # by job: those that may grow
        self._names: dict[Name, set[str]] = defaultdict(set)  # of the objects of holding jobs -> clusters
        self._prices = PriceBook()
        self._past: dict[str, Past] = {}
        self._datasets: dict[str, Dataset] = {}  # as they are stored
        self._claims: dict[str, dict[str, int]] = defaultdict(dict)  # cluster -> what was learned of it -> size
        # cluster -> dataset -> where Muster copied it to
        self._copies: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._told: set[str] = set()  # clusters that have said what data they hold
        self._data: DataCatalog | None = None  # with the regions of clusters filled in
        self._progress: dict[str, Progress] = {}  # of live attempts
        self._leaving: dict[str, Leaving] = {}  # likewise
        self._emptied: dict[str, datetime] = {}
        self._fleet: Fleet | None = None
        self._watchers: list[Callable[[], None]] = []

    def watch(self, watcher: Callable[[], None]) -> None:
        """Called whenever there may be more room or less, another price, or a cluster that is ready, silent or lost."""
        self._watchers.append(watcher)

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()

    def load(
        self,
        records: Iterable[ClusterRecord],
        summaries: Mapping[str, Summary],
        reservations: Iterable[Reservation],
        prices: PriceBook,
        now: datetime,
        *,
        queues: QueueTree | None = None,
        tenants: Tenants | None = None,
        overrides: Sequence[Override] = (),
        spent: Iterable[Spent] = (),
        datasets: Iterable[Dataset] = (),
        progress: Mapping[str, Progress] | None = None,
        leaving: Mapping[str, Leaving] | None = None,
    ) -> None:
        """What the store knows, at start. The hub's own absence is not held against the clusters."""
        for record in records:
            self._saved(record, now)
            if record.removed_at is None:
                live = self._clusters[record.name]
                live.summary = summaries.get(record.name)
                live.last_seen = record.last_seen
                live.health = self._health_of(live, now)
        for reservation in reservations:
            self._reserve(reservation)
        self._prices = prices
        self.queues = queues or self.queues
        self.tenants = tenants or self.tenants
        self.overrides = tuple(overrides)
        self._charge(spent, now)
        self._datasets_changed(tuple(datasets), ())
        self._progress, self._leaving = dict(progress or {}), dict(leaving or {})
        self._improved()

    # ---- what the store committed ----

    def on_change(self, change: Change, now: datetime) -> None:
        match change:
            case Reserved(reservation):
                before = self._held[reservation.cluster].get(reservation.job)
                self._reserve(reservation)
                if before is not None and before.epoch == reservation.epoch:
                    self._resized(before, reservation, now)
            case Released(ref, cluster):
                self._release(ref, cluster, now)
                self._improved()
            case Progressed(job, progress):
                self._progress[job] = progress
                self._fleet = None
            case Leaves(job, leaving):
                self._leaving[job] = leaving
                self._fleet = None
            case ClusterSaved(record):
                self._saved(record, now)
                self._improved()
            case PricesReplaced(book):
                self._prices = book
                self._improved()
            case QueuesSaved(tree):
                self.queues = tree
                self._improved()
            case TenantsSaved(tenants):
                self.tenants = tenants
                if self.overrides:  # which are judged by what tenants may have
                    self._improved()
            case OverridesSaved(overrides):
                self.overrides = overrides
                self._improved()
            case DatasetsSaved(datasets, gone):
                self._datasets_changed(datasets, gone)
                self._improved()
            case Spent():
                self._charge((change,), now)
            case _:
                pass

    def _datasets_changed(self, changed: Sequence[Dataset], gone: Sequence[str]) -> None:
        for key in (*gone, *(one.key for one in changed)):
            before = self._datasets.pop(key, None)
            for replica in before.replicas if before is not None else ():
                self._claims[replica.cluster].pop(key, None)
                self._copies[replica.cluster].pop(key, None)
        for one in changed:
            self._datasets[one.key] = one
            for replica in one.replicas:
                if one.learned:
                    self._claims[replica.cluster][one.key] = one.size_bytes
                elif replica.copied:
                    self._copies[replica.cluster][one.key].add(replica.uri)
        if self._data is not None:
            self._data = self._data.after(*self._known(changed, gone), self._data.told)

    def _charge(self, spent: Iterable[Spent], now: datetime) -> None:
        records = (
            record for one in spent for record in spendings(one.queue, one.uses, one.usd_per_hour, one.since, one.until)
        )
        self._past = past_with(self._past, records, now, self.half_life_h)
        self._fleet = None

    def _reserve(self, reservation: Reservation) -> None:
        self._held[reservation.cluster][reservation.job] = reservation
        self._names[name_of(reservation.workload)].add(reservation.cluster)
        self._elastic.pop(reservation.job, None)
        if sizes.headroom(reservation.workload):
            self._elastic[reservation.job] = reservation
        self._fleet = None

    def _resized(self, before: Reservation, after: Reservation, now: datetime) -> None:
        if before.shrinks_for and not after.settles:
            self._emptied[after.cluster] = now
        if before.settles and not after.settles:
            self._improved()  # there is more room, or it can be changed again

    def _release(self, ref: JobRef, cluster: str, now: datetime) -> None:
        held = self._held[cluster].get(ref.job)
        if held is not None and held.epoch == ref.epoch:
            del self._held[cluster][ref.job]
            self._elastic.pop(ref.job, None)
            name = name_of(held.workload)
            self._names[name].discard(cluster)
            if not self._names[name]:
                del self._names[name]
        left = self._leaving.get(ref.job)
        if left is not None and left.epoch == ref.epoch and left.for_job:
            self._emptied[cluster] = now
        for known in (self._progress, self._leaving):
            if ref.job in known and known[ref.job].epoch == ref.epoch:
                del known[ref.job]
        self._fleet = None

    def _saved(self, record: ClusterRecord, now: datetime) -> None:
        self._fleet = None
        before = self._clusters.get(record.name)
        if before is None or before.record.region != record.region or record.removed_at is not None:
            self._data = None
        if record.removed_at is not None:
            self._clusters.pop(record.name, None)
            self._told.discard(record.name)
            self._emptied.pop(record.name, None)
            self._removed[record.name] = record
            return
        self._removed.pop(record.name, None)
        live = self._clusters.get(record.name)
        if live is None:
            self._clusters[record.name] = _Live(record, now)
        else:
            live.record = record

    # ---- what the spokes say ----

    def connected(self, cluster: str, session: str, now: datetime) -> None:
        live = self._clusters.get(cluster)
        if live is not None:
            live.session = session
            self._heard(live, now)

    def disconnected(self, cluster: str, session: str, now: datetime) -> None:
        """Says nothing where a newer stream has taken over."""
        live = self._clusters.get(cluster)
        if live is not None and live.session == session:
            live.session = ""
            self._judge(live, now)

    def heartbeat(self, cluster: str, now: datetime) -> None:
        live = self._clusters.get(cluster)
        if live is not None:
            self._heard(live, now)

    def summary_arrived(self, cluster: str, summary: Summary, now: datetime) -> None:
        live = self._clusters.get(cluster)
        if live is None:
            return
        if live.summary != summary:
            live.summary = summary
            live.unsaved_summary = True
            self._improved()
        self._heard(live, now)

    def data_told(self, cluster: str) -> None:
        """From now on what it does not hold by its own account is not there."""
        if cluster not in self._told:
            self._told.add(cluster)
            self._data = None
            self._improved()

    def tick(self, now: datetime) -> tuple[tuple[str, Health], ...]:
        """Judges every cluster's silence again; answers those whose health changed."""
        changed: list[tuple[str, Health]] = []
        for live in self._clusters.values():
            before = live.health
            self._judge(live, now)
            if live.health is not before:
                changed.append((live.record.name, live.health))
        return tuple(changed)

    def _heard(self, live: _Live, now: datetime) -> None:
        live.silent_since = live.last_seen = now
        live.unsaved_sighting = True
        self._judge(live, now)

    def _judge(self, live: _Live, now: datetime) -> None:
        health = self._health_of(live, now)
        if health is live.health:
            return
        live.health = health
        if health is Health.READY:
            self._improved()
        else:
            self._tell()
        self._fleet = None

    def _health_of(self, live: _Live, now: datetime) -> Health:
        if live.summary is None:
            return Health.JOINING
        silence = now - live.silent_since
        if silence > timedelta(seconds=self.lease_s):
            return Health.LOST
        if not live.session or silence > timedelta(seconds=MISSED_HEARTBEATS * self.heartbeat_s):
            return Health.DISCONNECTED
        return Health.READY

    def _improved(self) -> None:
        self.improvements += 1
        self._fleet = None
        self.wake.set()
        self._tell()

    # ---- what others ask ----

    def fleet(self) -> Fleet:
        """The snapshot that decisions read; the same value until something changes."""
        if self._fleet is None:
            self._fleet = Fleet(
                clusters={name: _cluster(live) for name, live in self._clusters.items()},
                reservations=tuple(one for held in self._held.values() for one in held.values()),
                prices=self._prices,
                queues=self.queues,
                past=self._past,
                data=self.data,
                progress=dict(self._progress),
                leaving=dict(self._leaving),
                emptied=dict(self._emptied),
                half_life_h=self.half_life_h,
            )
        return self._fleet

    @property
    def elastic(self) -> tuple[Reservation, ...]:
        """Of jobs that could use more pods than they have."""
        return tuple(self._elastic.values())

    @property
    def prices(self) -> PriceBook:
        return self._prices

    @property
    def data(self) -> DataCatalog:
        """The same value until a dataset changes, or a cluster's region."""
        if self._data is None:
            known, _ = self._known(self._datasets.values(), ())
            told = frozenset(self._told & self._clusters.keys())
            self._data = DataCatalog({one.key: one for one in known}, told)
        return self._data

    def _known(self, datasets: Iterable[Dataset], gone: Sequence[str]) -> tuple[list[Dataset], list[str]]:
        """As decisions are to know them. What was learned of clusters that are no more is not known at all."""
        found = [self._with_regions(one) for one in datasets]
        lost = [one.key for one in found if one.learned and not one.replicas]
        return [one for one in found if one.replicas or not one.learned], [*gone, *lost]

    def copies_in(self, cluster: str) -> Mapping[str, frozenset[str]]:
        """What Muster copied there: the places by dataset."""
        return {key: frozenset(held) for key, held in self._copies[cluster].items() if held}

    @property
    def learned(self) -> int:
        """How many datasets were learned."""
        return sum(one.learned for one in self._datasets.values())

    def claims_of(self, cluster: str) -> Mapping[str, int]:
        """What was learned of it: claims, and the size that is kept."""
        return self._claims[cluster]

    def _with_regions(self, dataset: Dataset) -> Dataset:
        """What lies in a cluster that is no more lies in a region that nobody knows: nothing is near it."""
        found = (self._with_region(one) for one in dataset.replicas)
        if dataset.learned:
            found = (one for one in found if one.cluster in self._clusters)
        return replace(dataset, replicas=tuple(found))

    def _with_region(self, replica: Replica) -> Replica:
        if not replica.cluster:
            return replica
        live = self._clusters.get(replica.cluster)
        return replace(replica, region=live.record.region if live is not None else "")

    @property
    def regions(self) -> frozenset[str]:
        """Of the clusters that are there, of the price book and of residencies."""
        found = {live.record.region for live in self._clusters.values()}
        found.update(self._prices.regions, *self._prices.transfers.routes)
        found.update(region for one in self._datasets.values() for region in one.residency)
        return frozenset(found - {"", ANY_REGION})

    @property
    def members(self) -> Mapping[str, str]:
        """The region of each cluster that is there."""
        return {name: live.record.region for name, live in self._clusters.items()}

    def record(self, cluster: str) -> ClusterRecord | None:
        """Removed clusters too; their `removed_at` says so."""
        live = self._clusters.get(cluster)
        return live.record if live is not None else self._removed.get(cluster)

    def revision(self, cluster: str) -> int | None:
        live = self._clusters.get(cluster)
        return live.summary.revision if live is not None and live.summary is not None else None

    def holding(self, cluster: str) -> tuple[JobRef, ...]:
        """What holds capacity there: all that may live in the cluster."""
        return tuple(JobRef(one.job, one.epoch) for one in self._held[cluster].values())

    def held(self, cluster: str, job: str) -> Reservation | None:
        return self._held[cluster].get(job) if cluster in self._held else None

    def holds(self, cluster: str, job: str) -> bool:
        return job in self._held[cluster]

    def clusters_with(self, name: Name) -> frozenset[str]:
        """Where a holding job already has an object of this name: another there would overwrite it."""
        return frozenset(self._names.get(name, ()))

    def last_seen(self, cluster: str) -> datetime | None:
        live = self._clusters.get(cluster)
        return live.last_seen if live is not None else None

    def take_unsaved(self) -> tuple[Sighting, ...]:
        """What the store does not know yet; it is counted as saved from here on."""
        found: list[Sighting] = []
        for name, live in self._clusters.items():
            if live.unsaved_summary or live.unsaved_sighting:
                found.append(Sighting(name, live.last_seen, live.summary if live.unsaved_summary else None))
                live.unsaved_summary = live.unsaved_sighting = False
        return tuple(found)


def _cluster(live: _Live) -> Cluster:
    return Cluster(
        name=live.record.name,
        region=live.record.region,
        labels=live.record.labels,
        health=live.health,
        cordoned=live.record.cordoned,
        summary=live.summary,
        last_seen=live.last_seen,
    )
