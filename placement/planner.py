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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import inf
from typing import NamedTuple

from placement import bursting, locality
from placement.capacity import Fit
from placement.data import DataCatalog, DataMove, needed_moves
from placement.elastic import sizes
from placement.feasibility import could_ever, judge, left_out, may_fit, telling
from placement.fleet import Fleet, PendingJob, Reservation
from placement.inventory import Summary
from placement.members import Member, Present, renewed, same_objects
from placement.money import PriceBook
from placement.preemption import promises
from placement.preemption.emptied import Emptying
from placement.preemption.planning import Ground, Preempted, preempt
from placement.queues import usage
from placement.queues.admission import Admission, given_up
from placement.queues.backfill import Holds
from placement.queues.forecast import Forecast, earliest_start
from placement.queues.quota import Limits
from placement.queues.reasons import BudgetShort, QuotaShort
from placement.queues.tree import QueueTree
from placement.room.room import Spot
from placement.scoring import Offer, at_least, offer
from placement.verdict import (
    Candidate,
    Decision,
    NoClusters,
    ObjectsMissing,
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
_OBJECTS_KNOWN = 10_000
_TERMS_KNOWN = 256
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


class _Terms(NamedTuple):
    """Of a gang on certain nodes of a cluster."""

    offer: Offer
    uses: tuple[tuple[str, float], ...]
    usd_per_hour: float


class _Bid(NamedTuple):
    fit: Fit | Spot
    terms: _Terms


class _Answer(NamedTuple):
    """What one member said to one workload."""

    member: Member
    version: int  # of its room
    candidate: Candidate
    bid: _Bid | None = None

    def is_of(self, member: Member | None) -> bool:
        """As it is now."""
        return member is self.member and member.version == self.version


# What of a cluster tells whether a job may run there at all, and what it costs at least; room does not.
_Standing = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Prospect:
    """A cluster that was not asked yet."""

    standing: _Standing
    usd: float  # at least; below everything where the cluster will refuse anyway, so that it is asked why
    candidate: Candidate
    moves: tuple[DataMove, ...] = ()
    terms: dict[object, _Terms] = field(default_factory=dict)  # for nodes that it was offered before


class _Best(NamedTuple):
    key: tuple[float, str]  # (dollars, cluster)
    member: Member
    bid: _Bid


@dataclass(slots=True)
class _Shape:
    """Everything known about workloads that no cluster can tell apart; `workload` is one of them."""

    workload: Workload
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
    member: Member
    held: tuple[Reservation, ...]
    told: tuple[object, ...]  # where the pods of each of them are
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
        self._members: dict[str, Member] = {}
        self._standings: dict[str, _Standing] = {}
        self._standings_changes = 0  # grows whenever one of them did
        self._held: dict[str, list[Reservation]] = {}
        self._shapes: dict[object, _Shape] = {}
        self._shape_of_object: dict[int, tuple[Workload, _Shape]] = {}  # by identity, which is quicker than value
        self._prices = PriceBook()
        self._data = DataCatalog()
        self._limits = Limits(QueueTree())
        self._there: dict[str, tuple[Summary, dict[str, float]]] = {}  # what each summary has of each product
        self._changes = 0  # grows whenever a member is replaced
        self._count = 0  # of cycles

    def plan(self, fleet: Fleet, pending: Sequence[PendingJob], now: datetime) -> Plan:
        self._count += 1
        self._refresh(fleet)
        asked = [locality.for_now(job, now) for job in pending]
        patient = {job.job: job for job, one in zip(pending, asked, strict=True) if one is not job}
        admission = Admission(fleet, self._limits, self._capacity(), asked, now)
        cycle = Cycle(now, admission, Holds(now), Emptying(fleet))
        if fleet.leaving or any(job.promised for job in asked):
            promises.keep(cycle.holds, fleet, asked, Present(self._members))
        decisions = tuple(self._told(self._decide(job, cycle), patient.get(job.job)) for job in admission.turns(asked))
        found = Preempted(decisions)
        if fleet.reservations and any(isinstance(one.verdict, Waiting) for one in decisions):
            found = preempt(self._ground(fleet, admission, now), decisions, asked)
        self._forget()
        return Plan(found.decisions, found.evictions, found.shrinks)

    def _ground(self, fleet: Fleet, admission: Admission, now: datetime) -> Ground:
        return Ground(fleet, Present(self._members), self._limits, self._capacity(), admission, now, _usd_per_hour)

    # ---- what changed since the last cycle ----

    def _refresh(self, fleet: Fleet) -> None:
        if self._data is not fleet.data:
            # What of it matters to a shape is in the shape's key.
            self._data, self._shape_of_object = fleet.data, {}
        if self._prices != fleet.prices:
            self._prices = fleet.prices
            self._shapes, self._shape_of_object = {}, {}
        if self._limits.tree is not fleet.queues:
            self._limits = Limits(fleet.queues)
        reserved: dict[str, list[Reservation]] = {}
        for reservation in fleet.reservations:
            reserved.setdefault(reservation.cluster, []).append(reservation)
        known, versions = self._members, {name: member.version for name, member in self._members.items()}
        were_held, self._held = self._held, {}  # so that nobody takes them for applied where something below fails
        members = {}
        for name in sorted(fleet.clusters):
            held, before = reserved.get(name, []), were_held.get(name)
            unmoved = before is not None and same_objects(held, before)
            try:
                members[name] = renewed(fleet.clusters[name], held, known.get(name), unmoved=unmoved)
            except Exception:
                self._changes += 1  # those before it may have changed, and nobody will see it in the next cycle
                raise
        if members.keys() != known.keys() or any(
            member is not known[name] or member.version != versions[name] for name, member in members.items()
        ):
            self._changes += 1
            standings = {name: _standing(member) for name, member in members.items()}
            if standings != self._standings:
                self._standings, self._standings_changes = standings, self._standings_changes + 1
        self._members = members
        self._held = reserved

    def _forget(self) -> None:
        """Shapes that nobody asked about for long, and of the others what they were told by members that changed."""
        oldest = self._count - _SHAPES_KEPT_FOR
        shapes = {key: shape for key, shape in self._shapes.items() if shape.used_in > oldest}
        if len(shapes) < len(self._shapes) or len(self._shape_of_object) > _OBJECTS_KNOWN:
            self._shape_of_object = {}
        self._shapes = shapes
        for shape in self._shapes.values():
            if shape.used_in == self._count - 1:
                members = self._members
                shape.answers = {n: known for n, known in shape.answers.items() if known.is_of(members.get(n))}
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

    def _told(self, decision: Decision, job: PendingJob | None) -> Decision:
        """Of a job that still waits for a level that it prefers, and was decided as one that requires it."""
        if job is None:
            return decision
        decision = locality.told(decision, job, lambda name: self._levels(job.workload, name))
        verdict, candidates = decision.verdict, decision.candidates
        picky = job.workload.hints.if_too_large is IfTooLarge.REJECT and bool(candidates)
        if isinstance(verdict, Waiting) and picky and self._beyond(job.workload, candidates):
            return replace(decision, verdict=Rejected(verdict.reasons))
        return decision

    def _levels(self, workload: Workload, cluster: str) -> set[str]:
        """What the cluster calls the levels that the workload prefers."""
        capacity = self._members[cluster].capacity
        if capacity is None:
            return set()
        ladder = capacity.inventory.ladder
        ranks = [ladder.rank(level) for level in locality.preferred_levels(workload)]
        return {ladder.name(rank) for rank in ranks if rank is not None}

    def _decide(self, job: PendingJob, cycle: Cycle) -> Decision:
        if (closed := cycle.admission.closed(job.workload.hints.queue)) is not None:
            return self._waiting_for_its_queue(job, closed, cycle)
        shape = self._shape_of(job.workload)
        if not job.kept_out and shape.unplaced and shape.unplaced[0] == self._changes:
            _, verdict, candidates = shape.unplaced
            return self._placed_smaller(job, cycle) or self._refused(job, verdict, candidates, shape, cycle)
        best, nowhere, candidates = self._ask_around(job, shape, cycle)
        if best is not None:
            return Decision(job.job, job.epoch, self._place(job, best.member, best.bid, shape, cycle), candidates)
        verdict = self._refusal(job.workload, candidates)
        if nowhere and not job.kept_out:
            shape.unplaced = self._changes, verdict, candidates
        return self._placed_smaller(job, cycle) or self._refused(job, verdict, candidates, shape, cycle)

    def _placed_smaller(self, job: PendingJob, cycle: Cycle) -> Decision | None:
        """Of a job that has no room as it is and may start with fewer pods: with as many as there is room for."""
        too_few, enough = 0, sizes.slack(job.workload)
        found = self._smaller(job, enough, cycle) if enough else None
        while found is not None and enough - too_few > 1:
            middle = (too_few + enough) // 2
            larger = self._smaller(job, middle, cycle)
            if larger is None:
                too_few = middle
            else:
                enough, found = middle, larger
        if found is None:
            return None
        smaller, shape, best, candidates = found
        return Decision(job.job, job.epoch, self._place(smaller, best.member, best.bid, shape, cycle), candidates)

    def _smaller(
        self, job: PendingJob, by: int, cycle: Cycle
    ) -> tuple[PendingJob, _Shape, _Best, tuple[Candidate, ...]] | None:
        """With so many pods less: where it would go."""
        smaller = replace(job, workload=sizes.fewer(job.workload, by))
        shape = self._shape_of(smaller.workload)
        if not job.refused_by and shape.unplaced and shape.unplaced[0] == self._changes:
            return None
        best, nowhere, candidates = self._ask_around(smaller, shape, cycle)
        if best is not None:
            return smaller, shape, best, candidates
        if nowhere and not job.refused_by:
            shape.unplaced = self._changes, self._refusal(smaller.workload, candidates), candidates
        return None

    def _ask_around(
        self, job: PendingJob, shape: _Shape, cycle: Cycle
    ) -> tuple[_Best | None, bool, tuple[Candidate, ...]]:
        """The cheapest offer; whether there is no room anywhere, whatever queues say; and what is known of each."""
        limited = bool(cycle.holds) or bool(self._prices.public) or cycle.admission.limits(job.workload.hints.queue)
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
                key = round(answer.bid.terms.offer.score.total_usd, _CENTS), name
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

    def _prospect(self, workload: Workload, member: Member, standing: _Standing) -> _Prospect:
        name = member.cluster.name
        capacity = member.capacity
        if capacity is None or not may_fit(workload, member.cluster, capacity, self._data):
            return _Prospect(standing, -inf, Candidate(name))
        moves = needed_moves(self._data, workload.at(name), name, member.cluster.region, self._prices.transfers)
        score = at_least(workload, name, capacity.inventory, self._prices, moves)
        without = tuple(one.words for one in workload.brings if one.kind not in capacity.inventory.summary.kinds)
        candidate = Candidate(name, (), score, at_least=True, moves=moves, without=without)
        return _Prospect(standing, score.total_usd, candidate, moves)

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
            lambda forecast: self._may_have(job, forecast, cycle),
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
        reason: Reason | None = bursting.refusal(job, name, self._prices, self._limits.tree, cycle.now)
        if reason is None and cycle.admission.limits(workload.hints.queue):
            reason = cycle.admission.refusal(name, workload, bid.terms.uses, bid.terms.usd_per_hour)
        if reason is None:
            reason = cycle.holds.refusal(job.job, workload, name, id(shape))
        return answer if reason is None else _Answer(answer.member, answer.version, Candidate(name, (reason,)))

    def _may_have(self, job: PendingJob, forecast: Forecast, cycle: Cycle) -> bool:
        workload, cluster, uses = job.workload, forecast.start.cluster, usage.of_fit(forecast.fit)
        if bursting.refusal(job, cluster, self._prices, self._limits.tree, forecast.start.at) is not None:
            return False
        if not cycle.admission.limits(workload.hints.queue):
            return True
        usd = _usd_per_hour(workload, offer(workload, cluster, forecast.fit, self._prices))
        return cycle.admission.refusal(cluster, workload, uses, usd) is None

    def _foresee(
        self, workload: Workload, cluster: str, before: datetime | None, shape: _Shape, cycle: Cycle
    ) -> Forecast | None:
        member, held = self._members[cluster], tuple(self._held.get(cluster, ()))
        known = shape.forecasts.get(cluster)
        told = cycle.emptying.told(held)
        same = known is not None and known.member is member and known.held == held and known.told == told
        if known is not None and same and cycle.now >= known.at:
            still = known.forecast is not None and cycle.now < known.forecast.valid_until
            if still or cycle.now == known.at:
                return known.forecast
        if member.room is None:
            return None
        found = earliest_start(workload, member.room.inventory, held, cycle.now, before, cycle.emptying.without)
        if found is not None or before is None:
            shape.forecasts[cluster] = _Foreseen(member, held, told, found, cycle.now)
        return found

    def _shape_of(self, workload: Workload) -> _Shape:
        known = self._shape_of_object.get(id(workload))
        if known is not None and known[0] is workload:
            shape = known[1]
        else:
            shape = self._shapes.setdefault(_shape_key(workload, self._data), _Shape(workload))
            self._shape_of_object[id(workload)] = workload, shape
        shape.used_in = self._count
        return shape

    def _answer(self, shape: _Shape, job: PendingJob, member: Member) -> _Answer:
        name = member.cluster.name
        if name in job.refused_by:
            reason = RefusedBySpoke(name, job.refused_by[name])
            return _Answer(member, member.version, Candidate(name, (reason,)))
        if name in job.lacking and shape.prospects[name].usd > -inf:  # what else is in the way there says more
            lacking = ObjectsMissing(name, job.lacking[name])
            return _Answer(member, member.version, Candidate(name, (lacking,)))
        known = shape.answers.get(name)
        if known is None or not known.is_of(member):
            known = shape.answers[name] = self._ask(shape.workload, member, shape.prospects[name])
        return known

    def _ask(self, workload: Workload, member: Member, prospect: _Prospect) -> _Answer:
        name, version = member.cluster.name, member.version
        if prospect.usd == -inf or member.room is None:
            reasons = judge(workload, member.cluster, member.capacity, self._data)
            assert not isinstance(reasons, Fit)  # noqa: S101  more than room is missing
            return _Answer(member, version, Candidate(name, reasons))
        fit = member.room.fit(workload)
        if isinstance(fit, Reason):
            return _Answer(member, version, Candidate(name, (fit,)))
        terms = self._terms(workload, name, fit, prospect)
        without = prospect.candidate.without
        candidate = Candidate(name, (), terms.offer.score, fit.domain, moves=prospect.moves, without=without)
        return _Answer(member, version, candidate, _Bid(fit, terms))

    def _terms(self, workload: Workload, cluster: str, fit: Fit | Spot, prospect: _Prospect) -> _Terms:
        """The same nodes, as they are now, cost the same again."""
        taken = fit.rank, locality.relaxed(fit), *fit.bin_fills()
        known = prospect.terms.get(taken)
        if known is None:
            made = offer(workload, cluster, fit, self._prices, prospect.moves)
            known = _Terms(made, usage.of_fit(fit), _usd_per_hour(workload, made))
            if len(prospect.terms) >= _TERMS_KNOWN:
                prospect.terms.clear()
            prospect.terms[taken] = known
        return known

    def _place(self, job: PendingJob, member: Member, bid: _Bid, shape: _Shape, cycle: Cycle) -> Placed:
        name, terms = member.cluster.name, bid.terms
        member.take(job.job, job.epoch, bid.fit)
        self._changes += 1
        made = Reservation(
            job.job,
            job.epoch,
            name,
            job.workload,
            terms.offer.spot,
            terms.uses,
            terms.usd_per_hour,
            cycle.now,
            sum(move.usd for move in shape.prospects[name].moves),
        )
        self._held.setdefault(name, []).append(made)
        cycle.admission.take(made)
        cycle.holds.take(job.job, job.workload, name, id(shape))
        return Placed(made, terms.offer.score, shape.prospects[name].moves)

    def _refusal(self, workload: Workload, candidates: Sequence[Candidate]) -> Verdict:
        if not candidates:
            return Waiting((NoClusters(),))
        reasons = _most_telling(candidates)
        if workload.hints.if_too_large is IfTooLarge.REJECT and self._beyond(workload, candidates):
            return Rejected(reasons)
        return Waiting(reasons)

    def _beyond(self, workload: Workload, candidates: Sequence[Candidate]) -> bool:
        return _beyond_its_queue(candidates) or self._never(workload, candidates)

    def _never(self, workload: Workload, candidates: Sequence[Candidate]) -> bool:
        """No cluster that the job allows could hold it even when empty; where none has joined yet, one still may."""
        members = [self._members[candidate.cluster] for candidate in candidates]
        allowed = [member for member in members if not any(left_out(workload, member.cluster, self._data))]
        return bool(allowed) and not any(could_ever(workload, m.cluster, m.capacity, self._data) for m in allowed)


def _standing(member: Member) -> _Standing:
    cluster, summary = member.cluster, member.summary
    if member.room is None or summary is None:
        return (cluster.health, cluster.cordoned, cluster.region, summary.policy if summary is not None else None)
    return (
        cluster.health,
        cluster.cordoned,
        cluster.region,
        summary.policy,
        summary.kinds,
        member.room.inventory.demands,
    )


def _shape_key(workload: Workload, data: DataCatalog) -> object:
    """Equal for workloads that every cluster must answer alike. Priority and queue only order them."""
    hints = workload.hints
    return (
        workload.resource_kind,
        workload.roles,
        workload.topology,
        workload.footprint,
        workload.brings,
        hints.clusters,
        hints.excluded_clusters,
        hints.regions,
        hints.expected_hours,
        workload.may_use_spot,
        hints.if_too_large,
        hints.checkpoint_minutes,
        data.matters(workload) if workload.data else None,
        tuple((name, _shape_key(one, data) if isinstance(one, Workload) else one) for name, one in workload.differing),
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
