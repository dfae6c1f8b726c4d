"""Which running jobs may be moved, and where each would go if it were put back into the queue now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from placement import bursting, free, locality
from placement.capacity import Capacity, Fit
from placement.data import DataMove, needed_moves, total
from placement.feasibility import judge
from placement.fleet import Fleet, PendingJob, Reservation
from placement.preemption.emptied import Emptying
from placement.preemption.losses import Loss, cards, loss, safe_until, usd_per_hour
from placement.preemption.promises import leaving_for
from placement.queues.quota import Limits, QuotaBook
from placement.queues.spending import hours_between
from placement.queues.usage import of_fit, of_reservation
from placement.rebalance.proposals import Step
from placement.scoring import Offer, offer

# Nobody knows what is in so long; gains beyond it are not counted.
HORIZON_H = 24.0


@dataclass(frozen=True, slots=True)
class Place:
    cluster: str
    fit: Fit
    offer: Offer
    moves: tuple[DataMove, ...]


class Movers:
    """Of one fleet, at one moment. `promised`: jobs for which room is made, and on which cluster; it is not free."""

    def __init__(self, fleet: Fleet, now: datetime, promised: Iterable[tuple[PendingJob, str]] = ()) -> None:
        self.fleet = fleet
        self.now = now
        self.emptying = Emptying(fleet)
        self.capacities = free.capacities(fleet)
        for job, cluster in promised:
            if cluster in self.capacities:
                then = self.emptying.without(self.capacities[cluster], leaving_for(fleet, cluster, (job.job,)))
                self.capacities[cluster] = then.deduct(Reservation(job.job, job.epoch, cluster, job.workload))
        self._quota = QuotaBook(
            Limits(fleet.queues), ((one.workload.hints.queue, of_reservation(one)) for one in fleet.reservations)
        )
        self.movable = tuple(one for one in fleet.reservations if self._may_move(one))

    def _may_move(self, held: Reservation) -> bool:
        progress = self.fleet.progress.get(held.job)
        return (
            held.workload.hints.preemptible
            and self.fleet.leave_of(held) is None
            and held.cluster in self.capacities
            and safe_until(held, progress, self.now) is None
        )

    def on(self, cluster: str) -> list[Reservation]:
        return [one for one in self.movable if one.cluster == cluster]

    def loss(self, held: Reservation) -> Loss:
        return loss(held, self.fleet.progress.get(held.job), self.fleet.prices, self.now)

    def remaining_hours(self, held: Reservation) -> float:
        """As it said, at most the horizon; 0 where nobody can say."""
        if held.workload.long_running:
            return HORIZON_H
        end = held.expected_end
        return 0.0 if end is None else min(HORIZON_H, max(0.0, hours_between(self.now, end)))

    def hourly_usd(self, held: Reservation) -> float:
        return usd_per_hour(held, self.fleet.prices)

    def hourly_usd_at(self, held: Reservation, place: Place) -> float:
        terms = place.offer.score.terms
        paid = terms.get("gpu", 0.0) + terms.get("cpu", 0.0) + terms.get("spot-risk", 0.0)
        return paid / held.workload.hints.expected_hours

    def places(self, held: Reservation, capacities: Mapping[str, Capacity]) -> list[Place]:
        """Where it could start, the cheapest first. `capacities`: without it, and without whatever goes before it."""
        fleet = self.fleet
        again = locality.for_now(PendingJob(held.job, held.epoch + 1, held.workload, "", self.now), self.now)
        workload, found = again.workload, []
        for name, capacity in capacities.items():
            if bursting.refusal(again, name, fleet.prices, fleet.queues, self.now) is not None:
                continue
            cluster = fleet.clusters[name]
            fit = judge(workload, cluster, capacity, fleet.data)
            if isinstance(fit, Fit) and self._is_within_quota(held, name, fit):
                moves = needed_moves(fleet.data, workload.at(name), name, cluster.region, fleet.prices.transfers)
                found.append(Place(name, fit, offer(workload, name, fit, fleet.prices, moves), moves))
        return sorted(found, key=lambda place: (round(place.offer.score.total_usd, 9), place.cluster))

    def _is_within_quota(self, held: Reservation, cluster: str, fit: Fit) -> bool:
        """With what it has now given back: on another product it counts under another class."""
        queue = held.workload.hints.queue
        if queue not in self.fleet.queues.limited:
            return True
        then = self._quota.without([(queue, of_reservation(held))])
        return then.refusal(queue, cluster, of_fit(fit)) is None

    def replaced(self, gone: Sequence[Reservation], capacities: Mapping[str, Capacity]) -> tuple[Step, ...] | None:
        """A place for each of them, largest first, beside each other; None where one of them finds none.

        `capacities`: without all of them. Each is put where it costs least of the moment.
        """
        left = dict(capacities)
        steps = []
        for held in sorted(gone, key=lambda one: (-one.workload.total_gpus, one.job)):
            places = self.places(held, left)
            if not places:
                return None
            best = places[0]
            left[best.cluster] = best.fit.left
            steps.append(self.step(held, best))
        return tuple(sorted(steps, key=lambda step: step.job))

    def step(self, held: Reservation, place: Place) -> Step:
        lost = self.loss(held)
        dearer = max(0.0, self.hourly_usd_at(held, place) - self.hourly_usd(held)) * self.remaining_hours(held)
        usd = lost.usd + total(place.moves).usd + dearer
        return Step(held.job, held.epoch, held.cluster, place.cluster, cards(held), lost.gpu_hours, usd, place.moves)

    def emptied(self, cluster: str, gone: Sequence[Reservation]) -> dict[str, Capacity]:
        """All clusters, that one without these."""
        return {**self.capacities, cluster: self.emptying.without(self.capacities[cluster], gone)}
