"""At the end of a cycle: for the jobs that wait though they deserve the room, which others to evict for them.

Decided once for the whole federation: every cluster on which nothing but room or quota is missing is asked for its
cheapest victims, and the one is taken on which the job's own cost and what the victims lose come to least. The room
is promised to the job from then on: it is kept until the job is placed (`promises`), and nothing more is evicted for
it while its victims leave, or have left and the cluster has not said so yet.

Before anybody is evicted, elastic jobs are asked for what they have beyond their minimum (`elastic.shrinking`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from placement import bursting
from placement.capacity import Capacity, Fit
from placement.data import needed_moves
from placement.demand import pairs
from placement.elastic.shrinking import Part, fewest, part_of, shrinkable
from placement.elastic.sizes import pods_of, slack
from placement.fleet import Fleet, Health, PendingJob, Reservation
from placement.preemption import promises, victims
from placement.preemption.emptied import Emptying
from placement.preemption.losses import loss, safe_until
from placement.preemption.rights import Rights, Standing
from placement.preemption.victims import Found, Victim
from placement.queues.admission import Admission
from placement.queues.quota import Limits
from placement.queues.reasons import KeptForAnother, QuotaShort
from placement.queues.spending import Uses
from placement.queues.tree import Preemption, Reach
from placement.queues.usage import of_fit, of_reservation, of_workload
from placement.scoring import Offer, offer
from placement.verdict import (
    Candidate,
    ClusterNotReady,
    Decision,
    Eviction,
    Placed,
    Reason,
    ResourcesShort,
    RoomMade,
    Shrink,
    TopologyShort,
    Waiting,
)
from placement.workload import Workload

# Searches cost; a queue of thousands is looked through from its head, some in each cycle.
MOST_SEARCHES = 16


@dataclass(frozen=True, slots=True)
class Ground:
    """What a cycle leaves behind: clusters with all that it placed."""

    fleet: Fleet
    capacities: Mapping[str, Capacity]
    limits: Limits
    there: Mapping[str, float]  # by product, of the whole fleet
    admission: Admission
    now: datetime
    usd_per_hour: Callable[[Workload, Offer], float]  # what an offer costs by the hour


@dataclass(frozen=True, slots=True)
class Preempted:
    decisions: tuple[Decision, ...]
    evictions: tuple[Eviction, ...] = ()
    shrinks: tuple[Shrink, ...] = ()


def preempt(ground: Ground, decisions: Sequence[Decision], pending: Sequence[PendingJob]) -> Preempted:
    """`decisions` in the order in which they were made. Answers them with what is done for those that wait."""
    jobs = {job.job: job for job in pending}
    waiting = [one for one in decisions if isinstance(one.verdict, Waiting)]
    made_for = promises.made(ground.fleet, pending)
    reach = _Reach(ground)
    if not any(one.job in made_for or reach.may_matter(jobs[one.job]) for one in waiting):
        return Preempted(tuple(decisions))
    search = _Search(ground, decisions, jobs, made_for)
    found: dict[str, Decision] = {}
    evictions: list[Eviction] = []
    shrinks: list[Shrink] = []
    for one in waiting:
        if one.job in made_for or reach.may_matter(jobs[one.job]):
            found[one.job], gone = search.decide(one)
            evictions.extend(each for each in gone if isinstance(each, Eviction))
            shrinks.extend(each for each in gone if isinstance(each, Shrink))
    return Preempted(tuple(found.get(one.job, one) for one in decisions), tuple(evictions), tuple(shrinks))


class _Reach:
    """Whether a job could have a right to anything at all: what most cycles ask, and nothing else."""

    def __init__(self, ground: Ground) -> None:
        self._tree = ground.fleet.queues
        self._running = ground.fleet.reservations

    @cached_property
    def _lowest(self) -> Mapping[str, int]:
        """By queue, the lowest priority that runs."""
        found: dict[str, int] = {}
        for one in self._running:
            hints = one.workload.hints
            if hints.preemptible and hints.priority < found.get(hints.queue, 1 << 62):
                found[hints.queue] = hints.priority
        return found

    @cached_property
    def _elastic(self) -> int | None:
        """The lowest priority that could become smaller."""
        running = (one.workload for one in self._running if not one.settles and slack(one.workload, running=True))
        return min((workload.hints.priority for workload in running), default=None)

    def may_matter(self, job: PendingJob) -> bool:
        if self._elastic is not None and self._elastic <= job.workload.hints.priority:
            return True
        queue = self._tree.queues.get(job.workload.hints.queue)
        return queue is not None and any(
            self._may(queue.preemption, queue.name, other, lowest < job.workload.hints.priority)
            for other, lowest in self._lowest.items()
        )

    def _may(self, rules: Preemption, own: str, other: str, lower: bool) -> bool:
        if own == other:
            return lower and rules.within_queue is not Reach.NEVER
        if _reaches(rules.fair_share, lower):
            return True
        paths = self._tree.paths
        related = other in paths and paths[other][-1].name == paths[own][-1].name
        return related and _reaches(rules.reclaim, lower)


def _reaches(reach: Reach, lower: bool) -> bool:
    return reach is Reach.ANY or (lower and reach is Reach.LOWER_PRIORITY)


class _Search:
    def __init__(
        self,
        ground: Ground,
        decisions: Sequence[Decision],
        jobs: Mapping[str, PendingJob],
        made_for: Mapping[str, str],
    ) -> None:
        self._ground = ground
        self.emptying = Emptying(ground.fleet)
        self._jobs = jobs
        self._made_for = made_for
        placed = [one.verdict.reservation for one in decisions if isinstance(one.verdict, Placed)]
        served = {one.job for one in placed}
        self._on: dict[str, list[Reservation]] = {}  # what could be evicted, by cluster
        self._here: dict[str, list[Reservation]] = {}  # what stays, by cluster
        self._leaving: dict[str, list[tuple[Reservation, str]]] = {}  # with the job that each of them leaves for
        staying = list(placed)
        for one in ground.fleet.reservations:
            if (leaving := ground.fleet.leave_of(one)) is not None:
                self._leaving.setdefault(one.cluster, []).append((one, leaving.for_job))
            else:
                staying.append(one)
                self._here.setdefault(one.cluster, []).append(one)
                if one.shrinks_to is not None:
                    part = part_of(one, one.shrinks_to)
                    self._leaving.setdefault(one.cluster, []).append((part, one.shrinks_for))
                elif one.workload.hints.preemptible:
                    self._on.setdefault(one.cluster, []).append(one)
        self._standing = Standing(
            ground.limits, ground.there, ((one.workload.hints.queue, of_reservation(one)) for one in staying)
        )
        self._capacities = {
            # What those leave that waited for it is kept for them below; where they wait no more it is anybody's.
            name: self.emptying.without(capacity, [one for one, _ in self._leaving[name]])
            if name in self._leaving
            else capacity
            for name, capacity in ground.capacities.items()
        }
        self._kept: dict[str, tuple[Capacity, Uses]] = {}  # by job: what its cluster was before, and what it adds
        self._searches = 0
        # Of such jobs for which nobody is evicted on such clusters: when that may change by the passing of time.
        self._in_vain: dict[object, datetime | None] = {}
        for job, cluster in made_for.items():
            if job not in served and cluster in self._capacities:
                self._keep(jobs[job], cluster)

    def _keep(self, job: PendingJob, cluster: str) -> None:
        before = self._capacities[cluster]
        fit = before.fit(job.workload)
        uses = of_fit(fit) if isinstance(fit, Fit) else of_workload(job.workload)
        if isinstance(fit, Fit):
            self._capacities[cluster] = fit.left
        self._standing.add(job.workload.hints.queue, uses)
        self._kept[job.job] = before, uses

    def _keep_no_more(self, job: PendingJob, cluster: str) -> None:
        """What others were given meanwhile stays theirs: then this one's part is only given back by the next cycle."""
        if job.job not in self._kept:
            return
        before, uses = self._kept.pop(job.job)
        self._standing.remove(job.workload.hints.queue, uses)
        if not self._kept and not self._searches:
            self._capacities[cluster] = before

    # ---- one job ----

    def decide(self, decision: Decision) -> tuple[Decision, tuple[Eviction | Shrink, ...]]:
        job, verdict = self._jobs[decision.job], decision.verdict
        assert isinstance(verdict, Waiting)  # noqa: S101  the caller asks for no others
        cluster = self._made_for.get(job.job)
        if cluster is not None:
            room = self._room_under_way(job, cluster)
            if room is not None and _may_go(decision, cluster):
                again = None if room.victims else room.at
                return replace(decision, verdict=replace(verdict, start=None, room=room, look_again=again)), ()
            # What was emptied is not enough after all, or the cluster is closed: it is as any other job again.
            self._keep_no_more(job, cluster)
        places, opens = where_short(job, decision.candidates, self._ground.fleet, self._ground.now)
        workload = job.workload
        key = (workload.roles, workload.topology, workload.hints, workload.differing, tuple(places))
        if key not in self._in_vain:
            if self._searches >= MOST_SEARCHES:
                return decision, ()
            self._searches += 1
            smaller = self._smaller(job, places)
            if smaller is not None:
                return self._shrink(decision, verdict, job, smaller)
            best, again = self._best(job, places)
            if best is not None:
                return self._evict(decision, verdict, job, best)
            self._in_vain[key] = again
        moments = (*opens, self._in_vain[key])
        again = min((one for one in moments if one is not None), default=None)
        return replace(decision, verdict=replace(verdict, look_again=again)), ()

    def _room_under_way(self, job: PendingJob, cluster: str) -> RoomMade | None:
        theirs = [one for one, for_job in self._leaving.get(cluster, ()) if for_job == job.job]
        now = self._ground.now
        if not theirs:
            settled = promises.behind_until(self._ground.fleet, cluster, now)
            return None if settled is None else RoomMade(cluster, settled)
        grace_s = max(one.workload.hints.grace_s for one in theirs)
        at = now + timedelta(seconds=grace_s) + promises.SETTLES
        shrinking = {one.job for one in theirs if one.shrinks_to is not None}
        victims = {one.job for one in theirs} - shrinking
        return RoomMade(cluster, at, tuple(sorted(victims)), shrinking=tuple(sorted(shrinking)))

    # ---- with others made smaller ----

    def _smaller(self, job: PendingJob, clusters: Sequence[str]) -> _Smaller | None:
        """Where the job's own cost is least with elastic jobs made smaller."""
        best: _Smaller | None = None
        for name in clusters:
            if promises.behind_until(self._ground.fleet, name, self._ground.now) is None:
                found = self._smaller_on(job, name)
                if found is not None and (best is None or found.key < best.key):
                    best = found
        return best

    def _smaller_on(self, job: PendingJob, cluster: str) -> _Smaller | None:
        fleet, capacity = self._ground.fleet, self._capacities.get(cluster)
        if capacity is None or not capacity.inventory.summary.resizes:
            return None
        able = shrinkable(self._here.get(cluster, ()), fleet, job.workload.hints.priority)
        ask = _Trial(self, job, cluster, capacity)
        if not able or ask.without(()) is not None:
            return None
        found = fewest(able, lambda parts: ask.without([part.given_up for part in parts]))
        if found is None:
            return None
        return _Smaller(cluster, self._usd(job.workload, cluster, found[1]), *found)

    def _shrink(
        self, decision: Decision, verdict: Waiting, job: PendingJob, best: _Smaller
    ) -> tuple[Decision, tuple[Shrink, ...]]:
        shrinks = tuple(
            Shrink(
                part.held.job,
                part.held.epoch,
                best.cluster,
                job.job,
                pods_of(part.target),
                f"goes on with {part.target.pods} of {part.held.workload.pods} pods: "
                f"{job.job} gets the room of the others",
            )
            for part in best.parts
        )
        grace_s = max(part.held.workload.hints.grace_s for part in best.parts)
        at = self._ground.now + timedelta(seconds=grace_s) + promises.SETTLES
        room = RoomMade(best.cluster, at, shrinking=tuple(sorted(one.job for one in shrinks)))
        names = {one.job for one in shrinks}
        for known in (self._on, self._here):
            known[best.cluster] = [one for one in known.get(best.cluster, ()) if one.job not in names]
        for part in best.parts:
            self._standing.remove(part.held.workload.hints.queue, of_reservation(part.given_up))
        self._capacities[best.cluster] = best.fit.left
        self._standing.add(job.workload.hints.queue, of_fit(best.fit))
        return replace(decision, verdict=replace(verdict, start=None, room=room)), shrinks

    # ---- with others evicted ----

    def _best(self, job: PendingJob, clusters: Sequence[str]) -> tuple[_Offer | None, datetime | None]:
        """And, where there is none, when one may be found by the passing of time."""
        best: _Offer | None = None
        again: list[datetime] = []
        for name in clusters:
            settled = promises.behind_until(self._ground.fleet, name, self._ground.now)
            if settled is not None:
                again.append(settled)
                continue
            found, safe = self._on_cluster(job, name)
            again.extend(safe)
            if found is not None and (best is None or found.key < best.key):
                best = found
        return best, min(again, default=None) if best is None else None

    def _on_cluster(self, job: PendingJob, cluster: str) -> tuple[_Offer | None, list[datetime]]:
        capacity, fleet, now = self._capacities.get(cluster), self._ground.fleet, self._ground.now
        if capacity is None:
            return None, []
        safe: list[datetime] = []
        open_: list[Reservation] = []
        for one in self._on.get(cluster, ()):
            until = safe_until(one, fleet.progress.get(one.job), now)
            if until is None:
                open_.append(one)
            else:
                safe.append(until)
        emptied = self.emptying.without(capacity, open_).fit(job.workload)
        if not isinstance(emptied, Fit):
            return None, safe
        uses = of_fit(emptied)
        rights = Rights(self._standing, job, uses)
        candidates = [self._victim(one, dict(uses)) for one in open_ if rights.over([one]) is not None]
        trial = _Trial(self, job, cluster, capacity)
        if not candidates or trial([]) is not None:
            return None, safe  # with nobody evicted there is room as soon as those that leave are gone
        found = victims.cheapest(
            candidates,
            _missing(job.workload, capacity),
            trial,
            lambda some: rights.over([one.held for one in some]) is not None,
            self._neighbours(candidates, capacity),
        )
        if found is None:
            return None, safe
        reasons = rights.over([one.held for one in found.victims])
        assert reasons is not None  # noqa: S101  else they were not allowed
        return _Offer(cluster, self._usd(job.workload, cluster, found.fit) + found.usd, found, reasons), []

    def _victim(self, held: Reservation, uses: Mapping[str, float]) -> Victim:
        fleet = self._ground.fleet
        lost = loss(held, fleet.progress.get(held.job), fleet.prices, self._ground.now)
        return Victim(held, lost, sum(amount for product, amount in of_reservation(held) if product in uses))

    def _neighbours(self, candidates: Sequence[Victim], capacity: Capacity) -> list[list[Victim]]:
        by_job = {one.held.job: one for one in candidates}
        groups = self.emptying.neighbours((one.held for one in candidates), capacity.inventory)
        return [[by_job[held.job] for held in group] for group in groups]

    def _usd(self, workload: Workload, cluster: str, fit: Fit) -> float:
        fleet = self._ground.fleet
        region, transfers = fleet.clusters[cluster].region, fleet.prices.transfers
        moves = needed_moves(fleet.data, workload, cluster, region, transfers)
        return offer(workload, cluster, fit, fleet.prices, moves).score.total_usd

    def let_in(self, workload: Workload, cluster: str, fit: Fit, gone: Sequence[Reservation]) -> bool:
        """Whether quota and budget of its queue allow it, with those gone."""
        ground, queue, uses = self._ground, workload.hints.queue, of_fit(fit)
        if not ground.admission.limits(queue):
            return True
        quota = self._standing.quota.without((one.workload.hints.queue, of_reservation(one)) for one in gone)
        usd = ground.usd_per_hour(workload, offer(workload, cluster, fit, ground.fleet.prices))
        return (
            quota.refusal(queue, cluster, uses) is None
            and ground.admission.over_budget(cluster, workload, uses, usd) is None
        )

    def _evict(
        self, decision: Decision, verdict: Waiting, job: PendingJob, best: _Offer
    ) -> tuple[Decision, tuple[Eviction, ...]]:
        gone = [victim.held for victim in best.found.victims]
        evictions = tuple(
            Eviction(
                one.held.job,
                one.held.epoch,
                best.cluster,
                job.job,
                one.held.workload.hints.grace_s,
                one.loss.gpu_hours,
                one.loss.usd,
                f"evicted for {job.job}: {right}; loses {one.loss.message}",
            )
            for one, right in zip(best.found.victims, best.reasons, strict=True)
        )
        grace_s = max(one.workload.hints.grace_s for one in gone)
        room = RoomMade(
            best.cluster,
            self._ground.now + timedelta(seconds=grace_s) + promises.SETTLES,
            tuple(sorted(one.job for one in gone)),
            sum(one.lost_gpu_hours for one in evictions),
            sum(one.usd for one in evictions),
        )
        names = {one.job for one in gone}
        for known in (self._on, self._here):
            known[best.cluster] = [one for one in known.get(best.cluster, ()) if one.job not in names]
        for one in gone:
            self._standing.remove(one.workload.hints.queue, of_reservation(one))
        self._capacities[best.cluster] = best.found.fit.left
        self._standing.add(job.workload.hints.queue, of_fit(best.found.fit))
        return replace(decision, verdict=replace(verdict, start=None, room=room)), evictions


@dataclass(frozen=True, slots=True)
class _Offer:
    cluster: str
    usd: float  # what the job costs there, and what its victims lose
    found: Found
    reasons: tuple[str, ...]  # of each victim

    @property
    def key(self) -> tuple[float, str]:
        return round(self.usd, 9), self.cluster


@dataclass(frozen=True, slots=True)
class _Smaller:
    cluster: str
    usd: float  # what the job costs there
    parts: tuple[Part, ...]
    fit: Fit

    @property
    def key(self) -> tuple[float, str]:
        return round(self.usd, 9), self.cluster


class _Trial:
    """The gang on one cluster with some gone."""

    def __init__(self, search: _Search, job: PendingJob, cluster: str, capacity: Capacity) -> None:
        self._search = search
        self._workload = job.workload
        self._cluster = cluster
        self._capacity = capacity

    def __call__(self, gone: Sequence[Victim]) -> Fit | None:
        return self.without([one.held for one in gone])

    def without(self, gone: Sequence[Reservation]) -> Fit | None:
        fit = self._search.emptying.without(self._capacity, gone).fit(self._workload)
        if not isinstance(fit, Fit) or not self._search.let_in(self._workload, self._cluster, fit, gone):
            return None
        return fit


def where_short(
    job: PendingJob, candidates: Iterable[Candidate], fleet: Fleet, now: datetime
) -> tuple[list[str], list[datetime]]:
    """The clusters on which nothing is missing but room or quota, which others have; and when those open to the job
    that are closed to its queue for a while."""
    places: list[str] = []
    opens: list[datetime] = []
    for one in candidates:
        if is_only_short(one) and not job.is_kept_out_of(one.cluster):
            closed = bursting.refusal(job, one.cluster, fleet.prices, fleet.queues, now)
            if closed is None:
                places.append(one.cluster)
            else:
                opens.append(closed.opens)
    return places, opens


def is_only_short(candidate: Candidate) -> bool:
    """That nothing is missing but room or quota, which others have."""
    return bool(candidate.reasons) and all(
        isinstance(reason, ResourcesShort | TopologyShort | QuotaShort) and reason.ever for reason in candidate.reasons
    )


def _may_go(decision: Decision, cluster: str) -> bool:
    """Whether nothing new stands in the way there; what is kept for others ahead passes, and so does silence."""
    return any(one.cluster == cluster and all(map(_passes, one.reasons)) for one in decision.candidates)


def _passes(reason: Reason) -> bool:
    if isinstance(reason, ClusterNotReady):
        return reason.health == Health.DISCONNECTED
    return isinstance(reason, ResourcesShort | TopologyShort | QuotaShort | KeptForAnother)


def _missing(workload: Workload, capacity: Capacity) -> float:
    """How many cards have to come free at least; 0 where that is not a matter of counting whole cards."""
    slots = pairs(capacity.inventory.demands.of(workload.at(capacity.inventory.cluster).roles)[-1])
    devices = {need.resource for spec, _ in slots for need in spec.devices}
    if len(devices) != 1 or any(need.is_share for spec, _ in slots for need in spec.devices):
        return 0.0
    (resource,) = devices
    return max(0.0, float(sum(spec.need[resource] * pods for spec, pods in slots) - capacity.root.totals[resource]))
