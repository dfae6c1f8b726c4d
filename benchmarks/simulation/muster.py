"""Muster's part: the hub's planner on what the spokes of the simulated clusters report.

Everything that decides is the real code: summaries by `placement.summary`, the fleet, `Planner`; and where a placement
arrives, the cluster's own `topology.assign` answers for it. Simulated is only what lies between: a report is in the hub
at once, and what the hub sends is in the cluster at once.

The hub knows what a hub knows: the hours that users said, the prices of the moment, how often spot was taken away so
far (`Site.interruptions_per_hour`), and where copies lie or are on their way. It does not know how long jobs really
take, when nodes will go, or what will arrive.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from benchmarks.simulation import jobs
from benchmarks.simulation.engine import Waiting, World
from benchmarks.simulation.federation import Federation
from benchmarks.simulation.machines import Machines
from placement.data import DataCatalog, Dataset, Replica
from placement.fleet import Cluster, Fleet, Health, PendingJob, Reservation
from placement.invariants import check
from placement.money import Price, PriceBook
from placement.planner import Planner
from placement.verdict import Placed

START = datetime(2026, 1, 1, tzinfo=UTC)


class Muster:
    """`checked`: the invariants are asked of every plan; a violation is an AssertionError.

    Between two cycles lie `pace_s` at least, which the real hub does not wait; it only saves time here.
    """

    def __init__(self, federation: Federation, *, pace_s: float = 15.0, checked: bool = False) -> None:
        self._federation = federation
        self._pace_s = pace_s
        self._next_s = 0.0
        self._checked = checked
        self._planner = Planner()
        self._clusters: dict[str, tuple[int, Cluster]] = {}
        self._reservations: dict[str, Reservation] = {}
        self._refused: dict[str, dict[str, str]] = {}  # by job: the clusters that refused it
        self._prices = PriceBook()
        self._priced: dict[str, float] = {}
        self._data = DataCatalog()
        self._replicas: dict[str, int] = {}

    def decide(self, world: World) -> float | None:
        if world.now_s < self._next_s:
            return self._next_s
        self._next_s = world.now_s + self._pace_s
        now = START + timedelta(seconds=world.now_s)
        pending = [self._pending(waits) for waits in world.waiting.values()]
        fleet = self._fleet(world)
        plan = self._planner.plan(fleet, pending, now)
        if self._checked and (violations := check(plan, fleet)):
            raise AssertionError(f"at {now}: {violations}")
        for decision in plan.decisions:
            if isinstance(decision.verdict, Placed):
                self._send(world, decision.job, decision.verdict)
        return None

    def _send(self, world: World, job: str, placed: Placed) -> None:
        if world.place(job, placed.cluster):
            self._reservations[job] = placed.reservation
            self._refused.pop(job, None)
        else:
            self._refused.setdefault(job, {})[placed.cluster] = "its nodes have no room"

    def _pending(self, waits: Waiting) -> PendingJob:
        job = waits.job
        submitted = START + timedelta(seconds=job.at_s)
        since = START + timedelta(seconds=waits.since_s)
        refused = self._refused.get(job.name, {})
        return PendingJob(job.name, waits.epoch, jobs.workload(job), "all", submitted, dict(refused), since)

    # ---- what the hub knows ----

    def _fleet(self, world: World) -> Fleet:
        clusters = {name: self._cluster(machines) for name, machines in world.sites.items()}
        running = world.running
        self._reservations = {
            name: held
            for name, held in self._reservations.items()
            if name in running and running[name].epoch == held.epoch
        }
        if self._priced != world.prices:
            self._priced = dict(world.prices)
            self._prices = price_book(self._federation, world.prices)
        self._look_for_copies(world)
        return Fleet(clusters, tuple(self._reservations.values()), self._prices, data=self._data)

    def _cluster(self, machines: Machines) -> Cluster:
        """A new summary where anything changed; and then it may be asked again what it refused."""
        site = machines.site
        known = self._clusters.get(site.name)
        if known is None or known[0] != machines.version:
            health = Health.LOST if machines.down else Health.READY
            made = Cluster(site.name, site.region, {}, health, False, machines.summary())
            known = self._clusters[site.name] = machines.version, made
            for refused in self._refused.values():
                refused.pop(site.name, None)
        return known[1]

    def _look_for_copies(self, world: World) -> None:
        found = {name: len(world.copies.regions(name)) for name in self._federation.datasets}
        if found != self._replicas:
            self._replicas = found
            self._data = catalog(self._federation, world)


def price_book(federation: Federation, prices: dict[str, float]) -> PriceBook:
    """A spot cluster is priced on demand too, for what a planner compares it with; nobody is admitted there so."""
    made = {}
    for name, site in federation.sites.items():
        price = Price(prices[name])
        if site.spot:
            price = Price(site.on_demand_usd_per_gpu_hour, prices[name], site.interruptions_per_hour)
        made[name, "*"] = price
    return PriceBook(made, transfers=federation.transfers)


def catalog(federation: Federation, world: World) -> DataCatalog:
    """Copies lie in the object stores of regions. One on its way counts: the hub ordered it."""
    return DataCatalog(
        {
            name: Dataset(name, dataset.size_bytes, tuple(Replica(region) for region in world.copies.regions(name)))
            for name, dataset in federation.datasets.items()
        }
    )
