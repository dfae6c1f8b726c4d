"""One cycle of decisions: for each pending job the cluster it goes to, or why none.

Clusters are asked in the order of the least that the job can cost there (`scoring.at_least`), and no more of them once
the next would cost more than what was found: the answer is the cheapest of all, and its cost does not grow with the
number of clusters that are dearer. `plan_fully` asks every cluster, for people who want to compare.

`plan` is a function of the fleet, the pending jobs and the time. A `Planner` answers the same and remembers, between
jobs and between cycles, what cannot have changed: the capacity of a cluster whose summary and reservations are the
same, and what a cluster answered to an equal workload while its capacity is the same. So a thousand equal jobs cost
one judgement for each cluster and one more for each placement, and a cycle in which nothing changed hardly anything.

Jobs are decided one after another, as their queues take turns (`queues.fair_share`), each seeing what the earlier ones
took. A queue may refuse what a cluster has room for (quota, budget); what waits at the head may have room kept for it
(`queues.backfill`). There is no other look-ahead: a job takes the cheapest cluster of the moment even if that spoils a
later one's only place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import inf

from placement.capacity import Capacity, Fit
from placement.data import DataCatalog, DataMove, needed_moves
from placement.feasibility import could_ever, judge, left_out, may_fit, telling
from placement.fleet import Cluster, Fleet, PendingJob, Reservation
from placement.inventory import JobEpoch, Summary
from placement.money import PriceBook
from placement.preemption import promises
from placement.preemption.emptied import Emptying
from placement.preemption.planning import Ground, preempt
from placement.queues import usage
from placement.queues.admission import Admission, given_up
from placement.queues.backfill import Holds
from placement.queues.forecast import Forecast, earliest_start
from placement.queues.quota import Limits
from placement.queues.reasons import BudgetShort, QuotaShort
from placement.queues.tree import QueueTree
from placement.scoring import Offer, at_least, offer
from placement.verdict import (
    Candidate,
    Decision,
    Eviction,
    NoClusters,
    Placed,
    Plan,
    Reason,
    RefusedBySpoke,
    Rejected,
    Verdict,
    Waiting,
)
from placement.workload import IfTooLarge, Workload

_SHAPES_KEPT_FOR = 32  # cycles
# The score's terms that are money to be paid, for the expected hours.
PAID = ("gpu", "cpu")
_CENTS = 9  # decimals of a dollar in which two totals are the same
_SAME_USD = 1e-6  # the least that a job costs and what it costs are summed in different orders


def plan(fleet: Fleet, pending: Sequence[PendingJob], now: datetime) -> Plan:
    """Decides every pending job once."""
    return Planner().plan(fleet, pending, now)


def plan_fully(fleet: Fleet, pending: Sequence[PendingJob], now: datetime) -> Plan:
    """The same decisions, with every cluster asked for room."""
    return Planner(thorough=True).plan(fleet, pending, now)


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    """One cluster as the next decision sees it; another object whenever anything about it changed."""

    cluster: Cluster
    capacity: Capacity | None
    summary: Summary | None
    applied: tuple[JobEpoch, ...]  # the reservations taken out of `capacity`, in that order


@dataclass(frozen=True, slots=True)
class _Bid:
    fit: Fit
    offer: Offer
    uses: tuple[tuple[str, float], ...]
    usd_per_hour: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one member said to one workload."""

    member: _Member
    candidate: Candidate
    bid: _Bid | None = None


# What of a cluster tells whether a job may run there at all, and what it costs at least; room does not.
_Standing = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Prospect:
    """A cluster that was not asked yet."""

    standing: _Standing
    usd: float  # at least; below everything where the cluster will refuse anyway, so that it is asked why
    candidate: Candidate
    moves: tuple[DataMove, ...] = ()


@dataclass(frozen=True, slots=True)
class _Best:
    key: tuple[float, str]  # (dollars, cluster)
    member: _Member
    bid: _Bid


@dataclass(slots=True)
class _Shape:
    """Everything known about workloads that no cluster can tell apart."""

    answers: dict[str, _Answer] = field(default_factory=dict)
    prospects: dict[str, _Prospect] = field(default_factory=dict)
    order: tuple[tuple[float, int, str], ...] = ()  # (at least, where among the candidates, cluster), cheapest first
    unasked: tuple[Candidate, ...] = ()  # by name
    ordered_as_of: int = 0
    unplaced: tuple[int, Verdict, tuple[Candidate, ...]] | None = None  # (as of which change, …)
    forecasts: dict[str, _Foreseen] = field(default_factory=dict)
    used_in: int = 0


@dataclass(frozen=True, slots=True)
class _Foreseen:
    member: _Member
    held: tuple[Reservation, ...]
    forecast: Forecast | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Cycle:
    """What belongs to one call of `plan`."""

    now: datetime
    admission: Admission
    holds: Holds
    emptying: Emptying


class Planner:
    """Keeps what it worked out between cycles. Its answers are those of `plan`; it is not for several threads."""

    def __init__(self, *, thorough: bool = False) -> None:
        self._thorough = thorough
        self._members: dict[str, _Member] = {}
        self._standings: dict[str, _Standing] = {}
        self._standings_changes = 0  # grows whenever one of them did
        self._held: dict[str, list[Reservation]] = {}
        self._shapes: dict[object, _Shape] = {}
        self._prices = PriceBook()
        self._data = DataCatalog()
        self._limits = Limits(QueueTree())
        self._there: dict[str, tuple[Summary, dict[str, float]]] = {}  # what each summary has of each product
        self._changes = 0  # grows whenever a member is replaced
        self._count = 0  # of cycles

    def plan(self, fleet: Fleet, pending: Sequence[PendingJob], now: datetime) -> Plan:
        self._count += 1
        self._refresh(fleet)
        admission = Admission(fleet, self._limits, self._capacity(), pending, now)
        cycle = Cycle(now, admission, Holds(now), Emptying(fleet))
        if fleet.leaving or any(job.promised for job in pending):
            promises.keep(cycle.holds, fleet, pending, {name: each.capacity for name, each in self._members.items()})
        decisions = tuple(self._decide(job, cycle) for job in admission.turns(pending))
        evictions: tuple[Eviction, ...] = ()
        if fleet.reservations and any(isinstance(one.verdict, Waiting) for one in decisions):
            decisions, evictions = preempt(self._ground(fleet, admission, now), decisions, pending)
        self._forget()
        return Plan(decisions, evictions)

    def _ground(self, fleet: Fleet, admission: Admission, now: datetime) -> Ground:
        capacities = {name: each.capacity for name, each in self._members.items() if each.capacity is not None}
        return Ground(fleet, capacities, self._limits, self._capacity(), admission, now, _usd_per_hour)

    # ---- what changed since the last cycle ----

    def _refresh(self, fleet: Fleet) -> None:
        if self._prices != fleet.prices or self._data != fleet.data:
            self._prices, self._data = fleet.prices, fleet.data
            self._shapes = {}
        if self._limits.tree is not fleet.queues:
            self._limits = Limits(fleet.queues)
        reserved: dict[str, list[Reservation]] = {}
        for reservation in fleet.reservations:
            reserved.setdefault(reservation.cluster, []).append(reservation)
        members = {
            name: _member(fleet.clusters[name], reserved.get(name, ()), self._members.get(name))
            for name in sorted(fleet.clusters)
        }
        if members.keys() != self._members.keys() or any(members[n] is not self._members[n] for n in members):
            self._changes += 1
            standings = {name: _standing(member) for name, member in members.items()}
            if standings != self._standings:
                self._standings, self._standings_changes = standings, self._standings_changes + 1
        self._members = members
        self._held = reserved

    def _forget(self) -> None:
        """Shapes that nobody asked about for long, and of the others what they were told by members that changed."""
        oldest = self._count - _SHAPES_KEPT_FOR
        self._shapes = {key: shape for key, shape in self._shapes.items() if shape.used_in > oldest}
        for shape in self._shapes.values():
            if shape.used_in == self._count - 1:
                members = self._members
                shape.answers = {n: known for n, known in shape.answers.items() if known.member is members.get(n)}
                shape.forecasts = {}

    def _capacity(self) -> dict[str, float]:
        """What the whole fleet has: cards by product, and cores."""
        total: dict[str, float] = {}
        for name, member in self._members.items():
            if member.summary is None:
                continue
            known = self._there.get(name)
            if known is None or known[0] is not member.summary:
                known = self._there[name] = member.summary, usage.of_summary(member.summary)
            for product, amount in known[1].items():
                total[product] = total.get(product, 0.0) + amount
        return total

    # ---- one job ----

    def _decide(self, job: PendingJob, cycle: Cycle) -> Decision:
        if (closed := cycle.admission.closed(job.workload.hints.queue)) is not None:
            return self._waiting_for_its_queue(job, closed, cycle)
        shape = self._shape_of(job.workload)
        if not job.refused_by and shape.unplaced and shape.unplaced[0] == self._changes:
            _, verdict, candidates = shape.unplaced
            return self._refused(job, verdict, candidates, shape, cycle)
        best, nowhere, candidates = self._ask_around(job, shape, cycle)
        if best is not None:
            return Decision(job.job, job.epoch, self._place(job, best.member, best.bid, shape, cycle), candidates)
        verdict = self._refusal(job.workload, candidates)
        if nowhere and not job.refused_by:
            shape.unplaced = self._changes, verdict, candidates
        return self._refused(job, verdict, candidates, shape, cycle)

    def _ask_around(
        self, job: PendingJob, shape: _Shape, cycle: Cycle
    ) -> tuple[_Best | None, bool, tuple[Candidate, ...]]:
        """The cheapest offer; whether there is no room anywhere, whatever queues say; and what is known of each."""
        limited = bool(cycle.holds) or cycle.admission.limits(job.workload.hints.queue)
        best: _Best | None = None
        nowhere = True
        self._order(shape, job.workload)
        candidates = list(shape.unasked)
        for least, index, name in shape.order:
            if best is not None and least > best.key[0] + _SAME_USD and not self._thorough:
                break
            answer = self._answer(shape, job, self._members[name])
            if answer.bid is not None:
                nowhere = False
                if limited:
                    answer = self._admitted(answer, job, shape, cycle)
            candidates[index] = answer.candidate
            if answer.bid is not None:
                key = round(answer.bid.offer.score.total_usd, _CENTS), name
                if best is None or key < best.key:
                    best = _Best(key, answer.member, answer.bid)
        return best, nowhere, tuple(candidates)

    def _order(self, shape: _Shape, workload: Workload) -> None:
        """Brings up to date what the shape knows of clusters that were not asked."""
        if shape.ordered_as_of == self._standings_changes:
            return
        for name, standing in self._standings.items():
            known = shape.prospects.get(name)
            if known is None or known.standing != standing:
                shape.prospects[name] = self._prospect(workload, self._members[name], standing)
        shape.order = tuple(sorted((shape.prospects[n].usd, index, n) for index, n in enumerate(self._standings)))
        shape.unasked = tuple(shape.prospects[name].candidate for name in self._standings)
        shape.ordered_as_of = self._standings_changes

    def _prospect(self, workload: Workload, member: _Member, standing: _Standing) -> _Prospect:
        name = member.cluster.name
        if member.capacity is None or not may_fit(workload, member.cluster, member.capacity, self._data):
            return _Prospect(standing, -inf, Candidate(name))
        datasets, region = self._data.used_by(workload), member.cluster.region
        moves = needed_moves(datasets, name, region, self._prices.transfers) if datasets else ()
        score = at_least(workload, name, member.capacity.inventory, self._prices, moves)
        return _Prospect(standing, score.total_usd, Candidate(name, (), score, at_least=True, moves=moves), moves)

    def _waiting_for_its_queue(self, job: PendingJob, closed: Reason, cycle: Cycle) -> Decision:
        candidates = tuple(Candidate(name, (closed,)) for name in self._members)
        return self._given_up(job, Waiting((closed,)), candidates, cycle)

    def _refused(
        self, job: PendingJob, verdict: Verdict, candidates: tuple[Candidate, ...], shape: _Shape, cycle: Cycle
    ) -> Decision:
        decision = self._given_up(job, verdict, candidates, cycle)
        if not isinstance(decision.verdict, Waiting) or _held_back_by_its_queue(candidates):
            return decision
        start = cycle.holds.reserve(
            job,
            candidates,
            lambda cluster, before: self._foresee(job.workload, cluster, before, shape, cycle),
            lambda forecast: self._may_have(job.workload, forecast, cycle),
        )
        return decision if start is None else replace(decision, verdict=replace(decision.verdict, start=start))

    def _given_up(self, job: PendingJob, verdict: Verdict, candidates: tuple[Candidate, ...], cycle: Cycle) -> Decision:
        gave_up = given_up(job, cycle.now)
        if gave_up is not None and isinstance(verdict, Waiting):
            verdict = Rejected((gave_up, *verdict.reasons))
        return Decision(job.job, job.epoch, verdict, candidates)

    def _admitted(self, answer: _Answer, job: PendingJob, shape: _Shape, cycle: Cycle) -> _Answer:
        """The answer, unless the job's queue or a job ahead has something against it."""
        bid, name, workload = answer.bid, answer.member.cluster.name, job.workload
        if bid is None:
            return answer
        reason: Reason | None = None
        if cycle.admission.limits(workload.hints.queue):
            reason = cycle.admission.refusal(name, workload, bid.uses, bid.usd_per_hour)
        if reason is None:
            reason = cycle.holds.refusal(job.job, workload, name, id(shape))
        return answer if reason is None else _Answer(answer.member, Candidate(name, (reason,)))

    def _may_have(self, workload: Workload, forecast: Forecast, cycle: Cycle) -> bool:
        cluster, uses = forecast.start.cluster, usage.of_fit(forecast.fit)
        if not cycle.admission.limits(workload.hints.queue):
            return True
        usd = _usd_per_hour(workload, offer(workload, cluster, forecast.fit, self._prices))
        return cycle.admission.refusal(cluster, workload, uses, usd) is None

    def _foresee(
        self, workload: Workload, cluster: str, before: datetime | None, shape: _Shape, cycle: Cycle
    ) -> Forecast | None:
        member, held = self._members[cluster], tuple(self._held.get(cluster, ()))
        known = shape.forecasts.get(cluster)
        if known is not None and known.member is member and known.held == held and cycle.now >= known.at:
            still = known.forecast is not None and cycle.now < known.forecast.valid_until
            if still or cycle.now == known.at:
                return known.forecast
        if member.capacity is None:
            return None
        found = earliest_start(workload, member.capacity.inventory, held, cycle.now, before, cycle.emptying.without)
        if found is not None or before is None:
            shape.forecasts[cluster] = _Foreseen(member, held, found, cycle.now)
        return found

    def _shape_of(self, workload: Workload) -> _Shape:
        key = _shape_key(workload)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = _Shape()
        shape.used_in = self._count
        return shape

    def _answer(self, shape: _Shape, job: PendingJob, member: _Member) -> _Answer:
        name = member.cluster.name
        if name in job.refused_by:
            return _Answer(member, Candidate(name, (RefusedBySpoke(name, job.refused_by[name]),)))
        known = shape.answers.get(name)
        if known is None or known.member is not member:
            known = shape.answers[name] = self._ask(job.workload, member, shape.prospects[name])
        return known

    def _ask(self, workload: Workload, member: _Member, prospect: _Prospect) -> _Answer:
        name, able = member.cluster.name, prospect.usd > -inf  # able: nothing but room could be missing
        fit: Fit | tuple[Reason, ...]
        if able and member.capacity is not None:
            found = member.capacity.fit(workload)
            fit = found if isinstance(found, Fit) else (found,)
        else:
            fit = judge(workload, member.cluster, member.capacity, self._data)
        if not isinstance(fit, Fit):
            return _Answer(member, Candidate(name, fit))
        made = offer(workload, name, fit, self._prices, prospect.moves)
        bid = _Bid(fit, made, usage.of_fit(fit), _usd_per_hour(workload, made))
        return _Answer(member, Candidate(name, (), made.score, fit.domain, moves=prospect.moves), bid)

    def _place(self, job: PendingJob, member: _Member, bid: _Bid, shape: _Shape, cycle: Cycle) -> Placed:
        name = member.cluster.name
        applied = (*member.applied, (job.job, job.epoch))
        self._members[name] = replace(member, capacity=bid.fit.left, applied=applied)
        self._changes += 1
        made = Reservation(
            job.job, job.epoch, name, job.workload, bid.offer.spot, bid.uses, bid.usd_per_hour, cycle.now
        )
        self._held.setdefault(name, []).append(made)
        cycle.admission.take(made)
        cycle.holds.take(job.job, job.workload, name, id(shape))
        return Placed(made, bid.offer.score, shape.prospects[name].moves)

    def _refusal(self, workload: Workload, candidates: Sequence[Candidate]) -> Verdict:
        if not candidates:
            return Waiting((NoClusters(),))
        reasons = _most_telling(candidates)
        if workload.hints.if_too_large is IfTooLarge.REJECT and (
            _beyond_its_queue(candidates) or self._never(workload, candidates)
        ):
            return Rejected(reasons)
        return Waiting(reasons)

    def _never(self, workload: Workload, candidates: Sequence[Candidate]) -> bool:
        """No cluster that the job allows could hold it even when empty; where none has joined yet, one still may."""
        members = [self._members[candidate.cluster] for candidate in candidates]
        allowed = [member for member in members if not any(left_out(workload, member.cluster, self._data))]
        return bool(allowed) and not any(could_ever(workload, m.cluster, m.capacity, self._data) for m in allowed)


def _member(cluster: Cluster, reserved: Iterable[Reservation], before: _Member | None) -> _Member:
    """The member of the last cycle where nothing changed, or one that starts from what it had worked out."""
    summary = cluster.summary
    if summary is None:
        unchanged = before is not None and before.cluster == cluster
        return before if before and unchanged else _Member(cluster, None, None, ())
    uncounted = [r for r in reserved if (r.job, r.epoch) not in summary.counted]
    refs = tuple((r.job, r.epoch) for r in uncounted)
    if before is None or before.summary is not summary or refs[: len(before.applied)] != before.applied:
        capacity, done = _fresh(cluster.name, summary, before), 0
    else:
        assert before.capacity is not None  # noqa: S101  it has a summary
        capacity, done = before.capacity, len(before.applied)
    if before is not None and capacity is before.capacity and done == len(refs) and _same(cluster, before.cluster):
        return before
    for reservation in uncounted[done:]:
        capacity = capacity.deduct(reservation)
    return _Member(cluster, capacity, summary, refs)


def _fresh(name: str, summary: Summary, before: _Member | None) -> Capacity:
    """With nothing taken out yet. The inventory of the same summary is kept."""
    if before is not None and before.capacity is not None and before.summary is summary:
        return Capacity(before.capacity.inventory, before.capacity.inventory.root)
    return Capacity.of(name, summary, None if before is None else before.capacity)


def _same(one: Cluster, other: Cluster) -> bool:
    """In what decisions read; the summary was compared already, and `last_seen` moves with every heartbeat."""
    return (one.health, one.cordoned, one.region) == (other.health, other.cordoned, other.region)


def _standing(member: _Member) -> _Standing:
    cluster, summary = member.cluster, member.summary
    if member.capacity is None or summary is None:
        return (cluster.health, cluster.cordoned, cluster.region)
    return (cluster.health, cluster.cordoned, cluster.region, summary.kinds, member.capacity.inventory.demands)


def _shape_key(workload: Workload) -> object:
    """Equal for workloads that every cluster must answer alike. Priority and queue only order them."""
    hints = workload.hints
    return (
        workload.resource_kind,
        workload.roles,
        workload.topology,
        hints.clusters,
        hints.excluded_clusters,
        hints.regions,
        hints.expected_hours,
        workload.may_use_spot,
        hints.if_too_large,
        hints.checkpoint_minutes,
        workload.data,
    )


def _held_back_by_its_queue(candidates: Sequence[Candidate]) -> bool:
    """Then room is kept for it nowhere: it could not start when there is."""
    return any(isinstance(reason, QuotaShort | BudgetShort) for each in candidates for reason in each.reasons)


def _beyond_its_queue(candidates: Sequence[Candidate]) -> bool:
    """Wherever it could run, its queue may never use so much."""
    refused = [reason for each in candidates for reason in each.reasons if isinstance(reason, QuotaShort)]
    return bool(refused) and not any(reason.ever for reason in refused)


def _usd_per_hour(workload: Workload, made: Offer) -> float:
    return sum(made.score.terms.get(term, 0.0) for term in PAID) / workload.hints.expected_hours


def _most_telling(candidates: Sequence[Candidate]) -> tuple[Reason, ...]:
    reasons: Mapping[Reason, None] = dict.fromkeys(r for candidate in candidates for r in candidate.reasons)
    return tuple(sorted(reasons, key=telling))
