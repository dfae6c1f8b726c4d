"""One cycle of decisions: for each pending job the cluster it goes to, or why none.

`plan` is a function of the fleet, the pending jobs and the time. A `Planner` answers the same and remembers, between
jobs and between cycles, what cannot have changed: the capacity of a cluster whose summary and reservations are the
same, and what a cluster answered to an equal workload while its capacity is the same. So a thousand equal jobs cost
one judgement for each cluster and one more for each placement, and a cycle in which nothing changed hardly anything.

Jobs are decided one after another (`ordering`), each seeing what the earlier ones took. There is no look-ahead: a job
takes the cheapest cluster of the moment even if that spoils a later one's only place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from placement.capacity import Capacity, Fit
from placement.feasibility import could_ever, judge, left_out, telling
from placement.fleet import Cluster, Fleet, PendingJob, Reservation
from placement.inventory import JobEpoch, Summary
from placement.money import PriceBook
from placement.ordering import ordered
from placement.scoring import Offer, offer
from placement.verdict import (
    Candidate,
    Decision,
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

_CENTS = 9  # decimals of a dollar in which two totals are the same


def plan(fleet: Fleet, pending: Sequence[PendingJob], now: datetime) -> Plan:
    """Decides every pending job once, in the order of `ordering`."""
    return Planner().plan(fleet, pending, now)


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


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one member said to one workload."""

    member: _Member
    candidate: Candidate
    bid: _Bid | None = None


@dataclass(slots=True)
class _Shape:
    """Everything known about workloads that no cluster can tell apart."""

    answers: dict[str, _Answer] = field(default_factory=dict)
    unplaced: tuple[int, Verdict, tuple[Candidate, ...]] | None = None  # (as of which change, …)
    used_in: int = 0


class Planner:
    """Keeps what it worked out between cycles. Its answers are those of `plan`; it is not for several threads."""

    def __init__(self) -> None:
        self._members: dict[str, _Member] = {}
        self._shapes: dict[object, _Shape] = {}
        self._prices = PriceBook()
        self._changes = 0  # grows whenever a member is replaced
        self._cycle = 0

    def plan(self, fleet: Fleet, pending: Sequence[PendingJob], now: datetime) -> Plan:
        self._cycle += 1
        self._refresh(fleet)
        decisions = tuple(self._decide(job) for job in ordered(pending))
        self._shapes = {key: shape for key, shape in self._shapes.items() if shape.used_in == self._cycle}
        return Plan(decisions)

    # ---- what changed since the last cycle ----

    def _refresh(self, fleet: Fleet) -> None:
        if self._prices != fleet.prices:
            self._prices = fleet.prices
            self._shapes = {}
        reserved: dict[str, list[Reservation]] = {}
        for reservation in fleet.reservations:
            reserved.setdefault(reservation.cluster, []).append(reservation)
        members = {
            name: _member(fleet.clusters[name], reserved.get(name, ()), self._members.get(name))
            for name in sorted(fleet.clusters)
        }
        if members.keys() != self._members.keys() or any(members[n] is not self._members[n] for n in members):
            self._changes += 1
        self._members = members

    # ---- one job ----

    def _decide(self, job: PendingJob) -> Decision:
        shape = self._shape_of(job.workload)
        if not job.refused_by and shape.unplaced and shape.unplaced[0] == self._changes:
            _, verdict, candidates = shape.unplaced
            return Decision(job.job, job.epoch, verdict, candidates)
        answers = [self._answer(shape, job, member) for member in self._members.values()]
        candidates = tuple(answer.candidate for answer in answers)
        best = _cheapest(answers)
        if best is not None:
            return Decision(job.job, job.epoch, self._place(job, *best), candidates)
        verdict = self._refusal(job.workload, candidates)
        if not job.refused_by:
            shape.unplaced = self._changes, verdict, candidates
        return Decision(job.job, job.epoch, verdict, candidates)

    def _shape_of(self, workload: Workload) -> _Shape:
        key = _shape_key(workload)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = _Shape()
        shape.used_in = self._cycle
        return shape

    def _answer(self, shape: _Shape, job: PendingJob, member: _Member) -> _Answer:
        name = member.cluster.name
        if name in job.refused_by:
            return _Answer(member, Candidate(name, (RefusedBySpoke(name, job.refused_by[name]),)))
        known = shape.answers.get(name)
        if known is None or known.member is not member:
            known = shape.answers[name] = self._ask(job.workload, member)
        return known

    def _ask(self, workload: Workload, member: _Member) -> _Answer:
        name = member.cluster.name
        fit = judge(workload, member.cluster, member.capacity)
        if not isinstance(fit, Fit):
            return _Answer(member, Candidate(name, fit))
        made = offer(workload, name, fit, self._prices)
        return _Answer(member, Candidate(name, (), made.score, fit.domain), _Bid(fit, made))

    def _place(self, job: PendingJob, member: _Member, bid: _Bid) -> Placed:
        name = member.cluster.name
        applied = (*member.applied, (job.job, job.epoch))
        self._members[name] = replace(member, capacity=bid.fit.left, applied=applied)
        self._changes += 1
        return Placed(Reservation(job.job, job.epoch, name, job.workload, bid.offer.spot), bid.offer.score)

    def _refusal(self, workload: Workload, candidates: Sequence[Candidate]) -> Verdict:
        if not candidates:
            return Waiting((NoClusters(),))
        reasons = _most_telling(candidates)
        if workload.hints.if_too_large is IfTooLarge.REJECT and self._never(workload, candidates):
            return Rejected(reasons)
        return Waiting(reasons)

    def _never(self, workload: Workload, candidates: Sequence[Candidate]) -> bool:
        """No cluster that the job allows could hold it even when empty; where none has joined yet, one still may."""
        members = [self._members[candidate.cluster] for candidate in candidates]
        allowed = [member for member in members if not any(left_out(workload, member.cluster))]
        return bool(allowed) and not any(could_ever(workload, m.cluster, m.capacity) for m in allowed)


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
        hints.tolerates_spot,
        hints.if_too_large,
    )


def _cheapest(answers: Sequence[_Answer]) -> tuple[_Member, _Bid] | None:
    bids = [(answer.member, answer.bid) for answer in answers if answer.bid is not None]
    if not bids:
        return None
    return min(bids, key=lambda bid: (round(bid[1].offer.score.total_usd, _CENTS), bid[0].cluster.name))


def _most_telling(candidates: Sequence[Candidate]) -> tuple[Reason, ...]:
    reasons: Mapping[Reason, None] = dict.fromkeys(r for candidate in candidates for r in candidate.reasons)
    return tuple(sorted(reasons, key=telling))
