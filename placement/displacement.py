"""What a job that takes a place costs others: the places that they have to take instead.

The cheapest cluster of the moment is not always the cheapest for all. A job that tolerates spot and takes the last
owned GPUs sends the next one, which does not tolerate it, to on-demand capacity at three times the price, while spot
lies idle. So each cluster's GPU-hour gets a price of its own beside the one that is paid: the chance that the cluster
will be full, times what those who run and wait now would pay more elsewhere, weighed by their GPU-hours (a bid price,
as sellers of scarce seats use it). Whoever has another place that few can use then leaves this one to those who have
not.

It is a price for choosing, not money: nobody pays it. It expects that what comes is like what is there now. Not
promised: that it is the best price; it only has to put clusters into a better order than the paid one does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeGuard

from placement.capacity import Capacity
from placement.data import needed_moves
from placement.feasibility import may_fit
from placement.fleet import Cluster, Fleet, PendingJob
from placement.inventory import Summary
from placement.scoring import at_least
from placement.verdict import Plan
from placement.workload import Workload

# Worked out anew so often; what it is made of, the mix of a federation, changes in hours.
EVERY = timedelta(minutes=5)
_MOST_CLASSES = 24  # of demand, the heaviest first
_KEPT_USD = 0.2  # prices stay while none moved further: with every change all that was planned is asked for anew


Planning = Callable[[Fleet, Sequence[PendingJob], datetime], Plan]


class Displacing:
    """Plans by these prices, which it keeps between cycles. Not for several threads."""

    def __init__(self, plan: Planning) -> None:
        self._plan = plan
        self._usd: Mapping[str, float] = {}
        self._at: datetime | None = None
        self._grounds = Grounds()

    def plan(self, fleet: Fleet, pending: Sequence[PendingJob], now: datetime) -> Plan:
        if self._at is None or not self._at <= now < self._at + EVERY or self._usd.keys() != fleet.clusters.keys():
            self._at = now
            self._usd = usd_per_gpu_hour(fleet, pending, self._usd, self._grounds)
        return self._plan(self.priced(fleet), pending, now)

    def priced(self, fleet: Fleet) -> Fleet:
        """With the prices of the last cycle: for who asks what would be planned."""
        return replace(fleet, prices=replace(fleet.prices, displacement=self._usd))


class Grounds:
    """What clusters can run at all, which changes far less often than what is free there."""

    def __init__(self) -> None:
        self._known: dict[str, Capacity] = {}

    def of(self, fleet: Fleet) -> Mapping[str, Capacity]:
        """Not to be asked for room: what is taken may be of long ago."""
        found = {}
        for name, cluster in fleet.clusters.items():
            if cluster.summary is not None:
                known = self._known.get(name)
                found[name] = known if _still_true(known, cluster.summary) else Capacity.of(name, cluster.summary)
        self._known = found
        return found


def _still_true(known: Capacity | None, summary: Summary) -> TypeGuard[Capacity]:
    if known is None:
        return False
    return known.inventory.speaks_of_the_same(summary) and known.inventory.summary.kinds == summary.kinds


@dataclass(frozen=True, slots=True)
class _Demand:
    """Those who could run in the same clusters at the same price for a GPU-hour."""

    gpu_hours: float
    usd_by_cluster: Mapping[str, float]  # for a GPU-hour, where they may run


def usd_per_gpu_hour(
    fleet: Fleet,
    pending: Sequence[PendingJob] = (),
    before: Mapping[str, float] | None = None,
    grounds: Grounds | None = None,
) -> Mapping[str, float]:
    """By cluster; 0 where taking a place there hurts nobody. `before` itself where little changed since."""
    found = _usd_per_gpu_hour(fleet, pending, Grounds() if grounds is None else grounds)
    if before is None or before.keys() != found.keys():
        return found
    return before if all(abs(found[name] - before[name]) <= _KEPT_USD for name in found) else found


def _usd_per_gpu_hour(fleet: Fleet, pending: Sequence[PendingJob], grounds: Grounds) -> dict[str, float]:
    demands = _demands(fleet, pending, grounds)
    total = sum(demand.gpu_hours for demand in demands)
    full = _chance_full(fleet, pending)
    if not total:
        return dict.fromkeys(fleet.clusters, 0.0)
    found = {}
    for name in fleet.clusters:
        regret = sum(demand.gpu_hours * _dearer_elsewhere(demand, name, full) for demand in demands) / total
        found[name] = full[name] * regret
    return found


def _dearer_elsewhere(demand: _Demand, cluster: str, full: Mapping[str, float]) -> float:
    """What one of them is expected to pay more for a GPU-hour if that cluster has no room for it."""
    here = demand.usd_by_cluster.get(cluster)
    if here is None:
        return 0.0
    others = sorted((usd, name) for name, usd in demand.usd_by_cluster.items() if name != cluster)
    expected, chance = 0.0, 1.0
    for usd, name in others:
        expected += chance * (1 - full[name]) * usd
        chance *= full[name]
    dearest = others[-1][0] if others else here
    return max(0.0, expected + chance * max(dearest, here) - here)


def _chance_full(fleet: Fleet, pending: Sequence[PendingJob]) -> dict[str, float]:
    """The share in use now, what waits included as if it went everywhere alike."""
    there = {name: _gpus(cluster) for name, cluster in fleet.clusters.items()}
    everywhere = sum(total for total, _ in there.values())
    used = {name: total - free for name, (total, free) in there.items()}
    for held in fleet.reservations:
        cluster = fleet.clusters.get(held.cluster)
        if cluster is not None and cluster.summary and (held.job, held.epoch) not in cluster.summary.counted:
            used[held.cluster] += held.workload.total_gpus
    waiting = sum(job.workload.total_gpus for job in pending) / everywhere if everywhere else 0.0
    return {name: min(1.0, used[name] / total + waiting) if total else 1.0 for name, (total, _) in there.items()}


def _gpus(cluster: Cluster) -> tuple[int, int]:
    summary = cluster.summary
    return (summary.gpus_total, summary.gpus_free) if summary else (0, 0)


def _demands(fleet: Fleet, pending: Sequence[PendingJob], grounds: Grounds) -> list[_Demand]:
    weights: dict[object, float] = {}
    first: dict[object, Workload] = {}
    for workload in (*(held.workload for held in fleet.reservations), *(job.workload for job in pending)):
        key = _alike(workload)
        first.setdefault(key, workload)
        weights[key] = weights.get(key, 0.0) + workload.total_gpus * workload.hints.expected_hours
    heaviest = sorted((key for key in weights if weights[key]), key=lambda key: -weights[key])[:_MOST_CLASSES]
    known = grounds.of(fleet)
    paid = replace(fleet, prices=replace(fleet.prices, displacement={}))
    return [_Demand(weights[key], _usd_by_cluster(first[key], paid, known)) for key in heaviest]


def _usd_by_cluster(workload: Workload, fleet: Fleet, grounds: Mapping[str, Capacity]) -> dict[str, float]:
    gpu_hours = workload.total_gpus * workload.hints.expected_hours
    found = {}
    for name, capacity in grounds.items():
        cluster = fleet.clusters[name]
        if may_fit(workload, cluster, capacity, fleet.data):
            moves = needed_moves(fleet.data, workload, name, cluster.region, fleet.prices.transfers)
            found[name] = at_least(workload, name, capacity.inventory, fleet.prices, moves).total_usd / gpu_hours
    return found


def _alike(workload: Workload) -> object:
    hints = workload.hints
    return (
        workload.may_use_spot,
        workload.data,
        hints.clusters,
        hints.excluded_clusters,
        hints.regions,
        tuple((role.constraint, role.devices and role.devices[0].resource) for role in workload.roles),
    )
