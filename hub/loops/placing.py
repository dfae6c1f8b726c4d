"""Queued jobs to placed ones: load the fleet, decide, and apply in one transaction per cycle.

Load is free (fleet and queue are in memory), deciding happens on a thread so that streams go on meanwhile, and
applying is guarded by the job's phase and epoch and by the clusters' own rows: what changed in between is simply not
applied and decided again. Reservation, phase, event and command are committed together or not at all.

The loop sleeps while nothing changes. It is woken by a submit, a summary, a release or a cluster's health, and runs at
most every `pause_s`, so that a burst becomes a few large cycles.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict, TypeVar

from sqlalchemy.orm import Session

from hub.federation import Federation
from hub.loops import attempt
from hub.loops.attempt import Checker, Failure, Planner, Renderer, Round
from hub.loops.backlog import Backlog, with_refusals
from hub.overriding import Overriding
from hub.presence import Presence
from hub.records import Object
from hub.store import clusters, jobs, moves, resizing
from hub.store.jobs import WaitingReason, name_of
from hub.store.moves import Move, Placing
from hub.store.resizing import Resize
from hub.store.store import OutcomeUnknown, Store, StoreClosed, StoreUnavailable
from placement.elastic import growing, sizes
from placement.fleet import Fleet, PendingJob
from placement.lifecycle import Event
from placement.planner import PAID
from placement.verdict import Decision, Eviction, Placed, Reason, Rejected, Shrink, Waiting
from wire.orders import Start, Stop

log = logging.getLogger(__name__)

BATCH = 256
AFTER_A_FAILURE_S = 1.0
DROPPED = "the hub's own check refused what it had planned for this job; it is planned again when something changes"
REASON_LIMIT = 2000  # characters of the text in the job's row; `explain` has all of it


_Evicting = tuple[Eviction, int]  # with the epoch of the job that it is for
_Shrinking = tuple[Shrink, int]  # likewise
_STORE_IS_AWAY = (StoreClosed, StoreUnavailable, OutcomeUnknown)


class _Part(TypedDict, total=False):
    """Of what `_apply` takes."""

    placings: Sequence[Placing]
    failures: Sequence[Failure]
    waiting: Sequence[WaitingReason]
    evictions: Sequence[_Evicting]
    shrinks: Sequence[_Shrinking]


@dataclass(frozen=True, slots=True)
class Planning:
    """The decisions this loop carries out."""

    plan: Planner
    check: Checker
    render: Renderer
    overriding: Overriding
    presence: Presence


class PlacingLoop:
    def __init__(
        self,
        store: Store,
        federation: Federation,
        backlog: Backlog,
        planning: Planning,
        *,
        clock: Callable[[], datetime],
        batch: int = BATCH,
        pause_s: float = 0.05,
        reconsider_s: float = 0.2,
    ) -> None:
        self._store = store
        self._federation = federation
        self._backlog = backlog
        self._planning = planning
        self._clock = clock
        self._batch = batch
        self._pause_s = pause_s
        self._reconsider_s = reconsider_s
        self._improvements_seen = -1
        self._grown_as_of = -1  # which improvements jobs have had a chance to grow by
        self._grows_at: datetime | None = None  # when time alone may let one

    async def run(self) -> None:
        """For ever; ends when cancelled or when the store is closed."""
        loop = asyncio.get_running_loop()
        reconsidered = loop.time() - self._reconsider_s
        while True:
            await self._wait()
            started = loop.time()
            if self._improved and self._backlog.passed and started - reconsidered >= self._reconsider_s:
                self._reconsider()
                reconsidered = started
            try:
                await self.cycle()
                await self.grow()
            except StoreClosed:
                return
            except Exception:
                log.exception("a placing cycle failed; the jobs stay queued")
                await asyncio.sleep(AFTER_A_FAILURE_S)
            if self._improved:
                # Not sooner than `reconsider_s` after the last time, however often things change.
                loop.call_later(max(0.0, reconsidered + self._reconsider_s - loop.time()), self._federation.wake.set)
            if not self._backlog.wants_decisions:
                await asyncio.sleep(max(0.0, started + self._pause_s - loop.time()))

    async def settle(self) -> int:
        """Decides until nothing wants a decision any more; answers how many decisions that were."""
        decided = 0
        while self._improved or self._backlog.wants_decisions:
            if self._improved and self._backlog.passed:
                self._reconsider()
            decided += await self.cycle()
        return decided

    async def cycle(self) -> int:
        """One batch: load, decide, apply. Answers how many jobs were looked at."""
        taken = self._backlog.take(self._batch)
        if not taken:
            return 0
        try:
            await self._place(taken)
        except BaseException:
            for pending in taken:
                self._backlog.reconsider(pending.job)
            raise
        if self._backlog.wants_decisions:
            self._federation.wake.set()
        return len(taken)

    async def grow(self) -> int:
        """Gives room that nobody waits for to running jobs that could use it; answers to how many.

        Asked again only when something changed, or when another of them has kept its size for long enough.
        """
        now, seen = self._clock(), self._federation.improvements
        elastic = self._federation.elastic
        is_due = self._grown_as_of != seen or (self._grows_at is not None and self._grows_at <= now)
        if not is_due or self._backlog.wants_decisions:
            return 0
        self._grown_as_of, self._grows_at = seen, growing.next_moment(elastic, now)
        if not elastic:
            return 0
        waiting = [decision for _, decision in self._backlog.decided_waiting()]
        plan, fleet = self._planning.plan, self._federation.fleet()
        found = await asyncio.to_thread(growing.grow, plan, fleet, elastic, waiting, now)
        if not found:
            return 0
        wanted = [
            Resize(
                one.held.job, one.held.epoch, one.held.cluster, sizes.pods_of(one.target), one.reason, grows=one.uses
            )
            for one in found
        ]
        begun = await self._store.write(lambda session: resizing.begin(session, wanted, self._clock()))
        return len(begun)

    async def _wait(self) -> None:
        now = self._clock()
        retry, timer = self._backlog.next_retry(self._federation.revision, now), self._backlog.next_timer
        first = min((moment for moment in (retry, timer, self._grows_at) if moment is not None), default=None)
        timeout = None if first is None else max(0.0, (first - now).total_seconds()) + 0.01
        try:
            await asyncio.wait_for(self._federation.wake.wait(), timeout)
        except TimeoutError:
            if retry is not None and retry <= self._clock():
                self._backlog.reconsider_all()
        self._federation.wake.clear()
        self._backlog.ring(self._clock())

    @property
    def _improved(self) -> bool:
        return self._improvements_seen != self._federation.improvements

    def _reconsider(self) -> None:
        self._improvements_seen = self._federation.improvements
        self._backlog.reconsider_all()

    async def _place(self, taken: Sequence[PendingJob]) -> None:
        now, fleet = self._clock(), self._federation.fleet()
        taken, overrides = await self._planning.overriding.varied(taken, fleet, self._objects_of)
        pending = [self._with_refusals(one, fleet, now) for one in taken]
        found = await asyncio.to_thread(attempt.decide, self._planning.plan, self._planning.check, fleet, pending, now)
        chosen, namesakes = _without_namesakes(found.decisions, taken)
        placed = [one.verdict for one in chosen if isinstance(one.verdict, Placed)]
        ids = [one.reservation.job for one in placed]
        objects = await self._objects_of(ids) if ids else {}
        override = functools.partial(self._planning.overriding.rendered_from, overrides=overrides)
        rendered, unrendered = await asyncio.to_thread(
            attempt.render, self._planning.render, override, placed, objects, fleet
        )
        placings = [
            Placing(
                one.verdict.reservation,
                Start(
                    rendered[one.job],
                    one.verdict.reservation.workload.at(one.verdict.cluster),
                    one.verdict.reservation.spot,
                    tuple(move for move in one.verdict.moves if move.place),
                    one.verdict.cluster in one.verdict.reservation.workload.variants,
                ),
                one,
                usd_per_hour(one.verdict),
            )
            for one in chosen
            if isinstance(one.verdict, Placed) and one.job in rendered
        ]
        waiting = self._new_reasons(found, taken)
        failures = (*found.failures, *unrendered, *_rejections(found.decisions))
        epochs = {one.job: one.epoch for one in found.decisions}
        evictions = [(one, epochs[one.for_job]) for one in found.evictions]
        shrinks = [(one, epochs[one.for_job]) for one in found.shrinks]
        unplaced = await self._commit(placings, failures, waiting, evictions, shrinks)
        for one in found.decisions:
            if isinstance(one.verdict, Waiting):
                self._backlog.decided(one, now)
        for job in (*unplaced, *namesakes):
            self._backlog.reconsider(job)

    async def _objects_of(self, ids: Sequence[str]) -> Mapping[str, Sequence[Object]]:
        return await self._store.read(lambda session: jobs.objects_of(session, ids))

    async def _commit(
        self,
        placings: Sequence[Placing],
        failures: Sequence[Failure],
        waiting: Sequence[WaitingReason],
        evictions: Sequence[_Evicting],
        shrinks: Sequence[_Shrinking],
    ) -> tuple[str, ...]:
        """Answers the jobs whose cluster has changed meanwhile."""
        if not (placings or failures or waiting or evictions or shrinks):
            return ()
        now = self._clock()
        try:
            return await self._store.write(
                lambda session: _apply(session, placings, failures, waiting, evictions, shrinks, now=now)
            )
        except _STORE_IS_AWAY:
            raise
        except Exception:
            log.exception("what was decided cannot be stored together; storing it one by one")
        parts: list[tuple[str, _Part]] = [
            *((one.reservation.job, _Part(placings=(one,))) for one in placings),
            *((one.job, _Part(failures=(one,))) for one in failures),
            *((one.job, _Part(waiting=(one,))) for one in waiting),
            *((job, _Part(evictions=theirs)) for job, theirs in _by_beneficiary(evictions).items()),
            *((job, _Part(shrinks=some)) for job, some in _by_beneficiary(shrinks).items()),
        ]
        unplaced: list[str] = []
        errors: list[Exception] = []
        for job, part in parts:
            try:
                unplaced += await self._store.write(functools.partial(_apply, **part, now=now))
            except _STORE_IS_AWAY:
                raise
            except Exception as error:
                # It stays as it is, and is tried again when something changes.
                log.exception("what was decided for %s cannot be stored", job)
                errors.append(error)
        if len(errors) == len(parts):
            raise errors[0]  # it is not the job's fault
        return tuple(unplaced)

    def _with_refusals(self, pending: PendingJob, fleet: Fleet, now: datetime) -> PendingJob:
        refused = dict(self._backlog.refusals(pending.job, self._federation.revision, now))
        name = name_of(pending.workload)
        for cluster in self._federation.clusters_with(name):
            refused[cluster] = f"a {name.kind} {name.namespace}/{name.name} of another job is there"
        return with_refusals(pending, refused, self._planning.presence.missing(pending.workload, fleet))

    def _new_reasons(self, found: Round, taken: Sequence[PendingJob]) -> list[WaitingReason]:
        changed: list[WaitingReason] = []
        for one in found.decisions:
            known = self._backlog.decision(one.job)
            if known is None or known.verdict != one.verdict:
                said = _reason_of(one)
                # Moments in it may be others each time, and the words the same.
                if said is not None and (known is None or _reason_of(known) != said):
                    changed.append(said)
        dropped = set(found.dropped)
        changed.extend(WaitingReason(one.job, one.epoch, DROPPED, one.promised) for one in taken if one.job in dropped)
        return changed


E = TypeVar("E", _Evicting, _Shrinking)


def _by_beneficiary(leaving: Sequence[E]) -> dict[str, list[E]]:
    """All that leave for one job leave together."""
    found: dict[str, list[E]] = {}
    for one in leaving:
        found.setdefault(one[0].for_job, []).append(one)
    return found


def _without_namesakes(
    decisions: Sequence[Decision], taken: Sequence[PendingJob]
) -> tuple[tuple[Decision, ...], tuple[str, ...]]:
    """Of placements in this batch that would write one object in one cluster, the first; and the jobs of the others."""
    names = {pending.job: name_of(pending.workload) for pending in taken}
    seen: set[object] = set()
    chosen: list[Decision] = []
    namesakes: list[str] = []
    for decision in decisions:
        if isinstance(decision.verdict, Placed):
            target = (decision.verdict.cluster, names[decision.job])
            if target in seen:
                namesakes.append(decision.job)
                continue
            seen.add(target)
        chosen.append(decision)
    return tuple(chosen), tuple(namesakes)


def _apply(
    session: Session,
    placings: Sequence[Placing] = (),
    failures: Sequence[Failure] = (),
    waiting: Sequence[WaitingReason] = (),
    evictions: Sequence[_Evicting] = (),
    shrinks: Sequence[_Shrinking] = (),
    *,
    now: datetime,
) -> tuple[str, ...]:
    """Commits a round; answers the jobs that could not be placed because their cluster has changed meanwhile."""
    open_clusters = clusters.open_names(session)
    possible = [one for one in placings if one.reservation.cluster in open_clusters]
    # Nobody is evicted for a job that was cancelled meanwhile.
    for_jobs = {one.for_job for one, _ in evictions} | {one.for_job for one, _ in shrinks}
    queued = jobs.queued_epochs(session, for_jobs) if for_jobs else {}
    needed = [one for one, epoch in evictions if queued.get(one.for_job) == epoch]
    smaller = [_shrinking(one) for one, epoch in shrinks if queued.get(one.for_job) == epoch]
    moves.apply(
        session,
        [_placing_move(one, now) for one in possible]
        + [_failing_move(one, now) for one in failures]
        + [_evicting_move(one, now) for one in needed],
    )
    resizing.begin(session, smaller, now)
    jobs.note_reasons(session, waiting)
    return tuple(one.reservation.job for one in placings if one.reservation.cluster not in open_clusters)


def _placing_move(placing: Placing, now: datetime) -> Move:
    held = placing.reservation
    variant = held.workload.variants.get(held.cluster)
    names = f", with the overrides {', '.join(variant.overrides)}" if variant is not None else ""
    without = next((one.without for one in placing.decision.candidates if one.cluster == held.cluster), ())
    names += f", without {', '.join(without)} (not served there)" if without else ""
    names += f" ({size})" if (size := sizes.in_words(held.workload)) else ""
    return Move(held.job, Event.PLACE, f"placed on {held.cluster}{names}", now, epoch=held.epoch, placing=placing)


def _evicting_move(eviction: Eviction, now: datetime) -> Move:
    """Fenced by epoch and cluster: what has ended or moved meanwhile stays as it is."""
    return Move(
        eviction.job,
        Event.EVICT,
        eviction.reason,
        now,
        epoch=eviction.epoch,
        cluster=eviction.cluster,
        stop=Stop(eviction.grace_s, eviction.reason),
        evicted_for=eviction.for_job,
    )


def _shrinking(shrink: Shrink) -> Resize:
    return Resize(shrink.job, shrink.epoch, shrink.cluster, shrink.pods, shrink.reason, for_job=shrink.for_job)


def _failing_move(failure: Failure, now: datetime) -> Move:
    return Move(failure.job, Event.REJECT, failure.message, now, epoch=failure.epoch)


def _rejections(decisions: Sequence[Decision]) -> tuple[Failure, ...]:
    return tuple(
        Failure(one.job, one.epoch, in_words(one.verdict.reasons))
        for one in decisions
        if isinstance(one.verdict, Rejected)
    )


def usd_per_hour(placed: Placed) -> float | None:
    """What the placement costs by the price book; None where it has no price at all."""
    return placed.reservation.usd_per_hour if any(term in placed.score.terms for term in PAID) else None


def _reason_of(decision: Decision) -> WaitingReason | None:
    verdict = decision.verdict
    if not isinstance(verdict, Waiting):
        return None
    promised = verdict.room.cluster if verdict.room is not None else ""
    return WaitingReason(decision.job, decision.epoch, _why(verdict), promised)


def _why(waiting: Waiting) -> str:
    start = f"{waiting.start.message}; " if waiting.start is not None else ""
    if waiting.room is not None:
        start = f"{waiting.room.message}; "
    return start + in_words(waiting.reasons)


def in_words(reasons: Sequence[Reason]) -> str:
    text = "; ".join(reason.message for reason in reasons)
    return text if len(text) <= REASON_LIMIT else text[: REASON_LIMIT - 2] + " …"
