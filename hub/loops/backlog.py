"""The queued jobs in memory: which of them want a decision now, and why the others wait.

A job is decided once, and again only when something changed that might let it in: planning ten thousand jobs that wait
for the same full clusters must not cost anything while nothing moves. In step with the store once subscribed to it.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hub.loops.timers import Timers
from hub.store.changes import Change, Happened, Queued, Unqueued
from placement import locality
from placement.bursting import BurstNotYet
from placement.fleet import PendingJob
from placement.lifecycle import TERMINAL, Phase
from placement.presence import ObjectName
from placement.queues.admission import gives_up_at
from placement.queues.reasons import BudgetShort
from placement.queues.spending import day_of
from placement.verdict import Decision, Waiting
from placement.workload import Workload

# A cluster that refused is asked again when its summary has moved on, or after this long without any news.
FORGIVEN_AFTER = timedelta(minutes=5)
LONGEST_BACKOFF_S = 60.0
# What its owner forbids is asked again when its spoke comes anew, with another policy perhaps, or after so long.
POLICY_LASTS = timedelta(hours=6)
# What it names was not in the cluster. The hub asks in between (hub.presence), and then knows better.
MISSING_LASTS = timedelta(minutes=1)
_NAMED = 5  # jobs that are told to be ahead of another

Rank = tuple[int, datetime, str, int]  # -priority, submitted at, id, epoch


@dataclass(frozen=True, slots=True)
class Refusal:
    message: str
    revision: int | None  # of the summary that the hub knew then
    at: datetime
    times: int  # by this cluster, of this job
    lasts: timedelta | None = None  # whatever the summary does: the policy of its owner, what is not in the cluster

    def retry_at(self, revision: int | None) -> datetime:
        """A first refusal counts until the summary moves on; a repeated one for some time even then."""
        if self.lasts is not None:
            return self.at + self.lasts
        if revision == self.revision:
            return self.at + FORGIVEN_AFTER
        backoff_s = 0.0 if self.times < 2 else min(2.0 ** (self.times - 2), LONGEST_BACKOFF_S)
        return self.at + timedelta(seconds=backoff_s)


class Backlog:
    """`wake` is set whenever there may be something to decide."""

    def __init__(self, wake: asyncio.Event) -> None:
        self._wake = wake
        self._jobs: dict[str, PendingJob] = {}
        # Heaps by queue, by priority and then age: those that nobody has decided yet, and those of the pass under way.
        self._fresh: dict[str, list[Rank]] = {}
        self._again: dict[str, list[Rank]] = {}
        self._timers = Timers()
        self._decisions: dict[str, Decision] = {}
        self._refusals: dict[str, dict[str, Refusal]] = {}
        self._promised: set[str] = set()  # before this hub began, and not decided since

    def load(self, pending: Iterable[PendingJob]) -> None:
        for job in pending:
            self._add(job)

    def on_change(self, change: Change) -> None:
        match change:
            case Queued(pending):
                self._add(pending)
            case Unqueued(job):
                self._jobs.pop(job, None)
                self._decisions.pop(job, None)
                self._promised.discard(job)
                self._timers.set(job, ())
            case Happened(event) if event.phase is Phase.RUNNING or event.phase in TERMINAL:
                self._refusals.pop(event.job, None)
            case _:
                pass

    def _add(self, job: PendingJob) -> None:
        self._jobs[job.job] = job
        self._decisions.pop(job.job, None)
        if job.promised:
            self._promised.add(job.job)
        self._timers.set(job.job, _moments_of(job))
        self.reconsider(job.job)

    def __len__(self) -> int:
        return len(self._jobs)

    def reconsider(self, job: str) -> None:
        pending = self._jobs.get(job)
        if pending is not None:
            heapq.heappush(self._fresh.setdefault(pending.workload.hints.queue, []), _rank(pending))
            self._wake.set()

    def reconsider_all(self) -> None:
        """A new pass over all of them, best begun when the last one is `passed`: one that is begun again and again
        never gets to the end of a long queue."""
        self._fresh, self._again = {}, {}
        for pending in self._jobs.values():
            self._again.setdefault(pending.workload.hints.queue, []).append(_rank(pending))
        for heap in self._again.values():
            heapq.heapify(heap)

    @property
    def passed(self) -> bool:
        return not self._again

    def take(self, at_most: int) -> tuple[PendingJob, ...]:
        """The first of each queue in turn, of those that want a decision; they count as decided from here on.

        With them go those for which room is kept, so that it is kept in this cycle too; they do not count in `at_most`.
        """
        taken: dict[str, PendingJob] = {}
        while self.wants_decisions and len(taken) < at_most:
            for queue in sorted(self._fresh.keys() | self._again.keys()):
                _, _, id_, epoch = self._pop(queue)
                pending = self._jobs.get(id_)
                # Cancelled or placed since, or queued again with a later epoch, which has an entry of its own.
                if pending is not None and pending.epoch == epoch:
                    taken[id_] = self._with_promise(pending)
                if len(taken) == at_most:
                    break
        if taken:
            taken |= {pending.job: pending for pending in self.heads()}
        return tuple(taken.values())

    def heads(self) -> tuple[PendingJob, ...]:
        """The jobs that were told when they start, or for which others are evicted: room is kept for them."""
        told = [
            job
            for job, decision in self._decisions.items()
            if isinstance(decision.verdict, Waiting)
            and (decision.verdict.start is not None or decision.verdict.room is not None)
        ]
        return tuple(self._with_promise(self._jobs[job]) for job in (*told, *self._promised) if job in self._jobs)

    def _with_promise(self, pending: PendingJob) -> PendingJob:
        """As the last decision says; until there is one, as it was when this hub began."""
        decision = self._decisions.get(pending.job)
        if decision is None:
            return pending
        room = decision.verdict.room if isinstance(decision.verdict, Waiting) else None
        promised = room.cluster if room is not None else ""
        return pending if pending.promised == promised else replace(pending, promised=promised)

    def position(self, job: str) -> tuple[int, tuple[str, ...]]:
        """Its place in its queue, from 1, and the first of those before it; (0, ()) where it does not wait."""
        pending = self._jobs.get(job)
        if pending is None:
            return 0, ()
        queue, own = pending.workload.hints.queue, _rank(pending)
        before = sorted(
            rank
            for rank in (_rank(each) for each in self._jobs.values() if each.workload.hints.queue == queue)
            if rank < own
        )
        return len(before) + 1, tuple(id_ for _, _, id_, _ in before[:_NAMED])

    def decided_waiting(self) -> tuple[tuple[PendingJob, Decision], ...]:
        """Those that a decision made wait, by priority and then age."""
        waiting = (job for job in self._jobs.values() if job.job in self._decisions)
        return tuple((job, self._decisions[job.job]) for job in sorted(waiting, key=_rank))

    def vary(self, job: str, epoch: int, workload: Workload) -> None:
        """The same workload, with what overrides make of it as of now."""
        known = self._jobs.get(job)
        if known is not None and known.epoch == epoch:
            self._jobs[job] = replace(known, workload=workload)

    def pending(self, job: str) -> PendingJob | None:
        return self._jobs.get(job)

    def queues(self) -> dict[str, int]:
        """How many jobs wait in each."""
        return dict(Counter(pending.workload.hints.queue for pending in self._jobs.values()))

    def _pop(self, queue: str) -> Rank:
        both = [heaps for heaps in (self._fresh, self._again) if queue in heaps]
        heaps = min(both, key=lambda heaps: heaps[queue][0])
        first = heapq.heappop(heaps[queue])
        if not heaps[queue]:
            del heaps[queue]
        return first

    @property
    def wants_decisions(self) -> bool:
        return bool(self._fresh or self._again)

    # ---- refusals ----

    def refused(
        self,
        job: str,
        cluster: str,
        message: str,
        revision: int | None,
        now: datetime,
        *,
        lasts: timedelta | None = None,
    ) -> None:
        """Noted before the job is queued again, so that it is not decided without."""
        by_cluster = self._refusals.setdefault(job, {})
        before = by_cluster.get(cluster)
        by_cluster[cluster] = Refusal(message, revision, now, 1 + (before.times if before else 0), lasts)

    def forgive(self, cluster: str) -> None:
        """Its spoke began anew: its owner may allow what it did not."""
        for job, by_cluster in self._refusals.items():
            found = by_cluster.get(cluster)
            if found is not None and found.lasts is not None:
                del by_cluster[cluster]
                self.reconsider(job)

    def refusals(self, job: str, revision_of: Callable[[str], int | None], now: datetime) -> Mapping[str, str]:
        """Those still in force: cluster -> message."""
        return {
            cluster: refusal.message
            for cluster, refusal in self._refusals.get(job, {}).items()
            if now < refusal.retry_at(revision_of(cluster))
        }

    def next_retry(self, revision_of: Callable[[str], int | None], now: datetime) -> datetime | None:
        """When a refusal of a queued job ends by the passing of time alone."""
        moments = (
            refusal.retry_at(revision_of(cluster))
            for job, by_cluster in self._refusals.items()
            if job in self._jobs
            for cluster, refusal in by_cluster.items()
        )
        return min((moment for moment in moments if moment > now), default=None)

    @property
    def next_timer(self) -> datetime | None:
        return self._timers.next

    def ring(self, now: datetime) -> None:
        """Those whose time has come want a decision: to be given up, to start, wherever, to burst, or with a new
        day's budget."""
        for job in self._timers.rung(now):
            self.reconsider(job)

    # ---- decisions ----

    def decided(self, decision: Decision, now: datetime) -> bool:
        """Keeps why it waits; False where the job has left the queue meanwhile."""
        pending = self._jobs.get(decision.job)
        if pending is None or pending.epoch != decision.epoch:
            return False
        self._decisions[decision.job] = decision
        self._promised.discard(decision.job)
        moments = (*_moments_of(pending), *_moments_until(decision, now))
        self._timers.set(decision.job, [moment for moment in moments if moment > now])
        return True

    def decision(self, job: str) -> Decision | None:
        return self._decisions.get(job)


def _moments_of(pending: PendingJob) -> list[datetime]:
    """When it is to be decided, whatever the last decision was."""
    return [moment for moment in (gives_up_at(pending), locality.waits_until(pending)) if moment is not None]


def _moments_until(decision: Decision, now: datetime) -> Iterator[datetime]:
    """When the decision may be another by the passing of time alone."""
    verdict = decision.verdict
    if not isinstance(verdict, Waiting):
        return
    if verdict.start is not None:
        yield verdict.start.at
    if verdict.look_again is not None:
        yield verdict.look_again
    for reason in verdict.reasons:
        if isinstance(reason, BudgetShort):
            yield day_of(now) + timedelta(days=1)
        elif isinstance(reason, BurstNotYet):
            yield reason.opens


def _rank(pending: PendingJob) -> Rank:
    return (-pending.workload.hints.priority, pending.submitted_at, pending.job, pending.epoch)


def with_refusals(
    pending: PendingJob, refused_by: Mapping[str, str], missing: Mapping[str, Sequence[ObjectName]]
) -> PendingJob:
    if not refused_by and not missing:
        return pending
    lacking = {cluster: tuple(one.words for one in those) for cluster, those in missing.items()}
    return replace(pending, refused_by=refused_by, lacking=lacking)
