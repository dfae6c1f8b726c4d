"""Divided works kept as they were wished: read them and their parts, decide, and apply each in one transaction.

Woken by the same changes as placing, and by whatever moves a part. What changed between reading and applying is found
by the work's fingerprint, and it is looked at again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from random import Random

from hub import dividing
from hub.dividing import Outcome, Shortages
from hub.federation import Federation
from hub.ids import new_id
from hub.jobs import CANCEL_GRACE_S
from hub.loops.backlog import Backlog
from hub.loops.wholes import WholeBook
from hub.records import Object
from hub.store import jobs, wholes
from hub.store.jobs import NewJob
from hub.store.store import Store, StoreClosed
from hub.store.wholes import Change, Resize, Whole
from placement.division import manifests
from placement.division.rooms import Rooms
from placement.fleet import Fleet
from placement.kinds.catalogue import Catalogue
from placement.workload import Workload

log = logging.getLogger(__name__)

AFTER_A_FAILURE_S = 1.0


class DividingLoop:
    def __init__(
        self,
        store: Store,
        federation: Federation,
        backlog: Backlog,
        book: WholeBook,
        catalogue: Catalogue,
        resize: Resize,
        *,
        clock: Callable[[], datetime],
        rng: Random,
        pause_s: float = 0.2,
    ) -> None:
        self._store = store
        self._federation = federation
        self._backlog = backlog
        self._book = book
        self._catalogue = catalogue
        self._resize = resize
        self._clock = clock
        self._rng = rng
        self._pause_s = pause_s
        self._rooms = Rooms()
        self._shortages = Shortages()
        self._moments: dict[str, datetime] = {}  # when one is to be looked at whatever happens
        federation.watch(book.look_at_all)

    async def run(self) -> None:
        """For ever; ends when cancelled or when the store is closed."""
        while True:
            await self._wait()
            try:
                await self.cycle()
            except StoreClosed:
                return
            except Exception:
                log.exception("a cycle of dividing failed; everything stays as it is")
                self._book.look_at_all()
                await asyncio.sleep(AFTER_A_FAILURE_S)
            await asyncio.sleep(self._pause_s)

    async def settle(self) -> int:
        """Until nothing is to be looked at any more; answers how many times a work was."""
        looked = 0
        self.ring()
        while found := await self.cycle():
            looked += found
        return looked

    def ring(self) -> None:
        """Those whose time has come."""
        now = self._clock()
        for whole in [whole for whole, moment in self._moments.items() if moment <= now]:
            del self._moments[whole]
            self._book.look_at(whole)

    async def cycle(self) -> int:
        ids = self._book.take()
        if not ids:
            return 0
        found = await self._store.read(lambda session: wholes.load(session, ids))
        fleet, now = self._federation.fleet(), self._clock()
        for whole, outcome in await asyncio.to_thread(self._decided, found, fleet, now):
            try:
                await self._carry_out(whole, outcome, now)
            except StoreClosed:
                raise
            except Exception:
                # It stays as it is, and is looked at again when something changes.
                log.exception("what was decided for the divided work %s cannot be done", whole.job.id)
        return len(ids)

    async def _wait(self) -> None:
        first = min(self._moments.values(), default=None)
        timeout = None if first is None else max(0.0, (first - self._clock()).total_seconds()) + 0.01
        try:
            await asyncio.wait_for(self._book.wake.wait(), timeout)
        except TimeoutError:
            self.ring()
        self._book.wake.clear()

    def _decided(self, found: Sequence[Whole], fleet: Fleet, now: datetime) -> list[tuple[Whole, Outcome]]:
        self._rooms.renew(fleet)
        decided: list[tuple[Whole, Outcome]] = []
        for whole in found:
            try:
                outcome = dividing.decide(whole, fleet, self._rooms, self._shortages, self._backlog.decision, now)
            except Exception:
                log.exception("the divided work %s cannot be decided; it stays as it is", whole.job.id)
                continue
            decided.append((whole, outcome))
        return decided

    async def _carry_out(self, whole: Whole, outcome: Outcome, now: datetime) -> None:
        id_ = whole.job.id
        if outcome.look_again is not None:
            self._moments[id_] = outcome.look_again
        else:
            self._moments.pop(id_, None)
        change = Change(
            outcome.standing.phase,
            outcome.standing.reason,
            outcome.record,
            await self._new_parts(whole, outcome, now),
            outcome.stop,
            {part: self._sizes(whole, part, share) for part, share in outcome.resize.items()},
            outcome.said,
        )
        if not wholes.is_news(whole, change):
            return
        done = await self._store.write(
            lambda session: wholes.apply(session, whole, change, self._resize, now=now, grace_s=CANCEL_GRACE_S)
        )
        if not done:
            self._book.look_at(id_)

    async def _new_parts(self, whole: Whole, outcome: Outcome, now: datetime) -> tuple[NewJob, ...]:
        work = whole.job
        asked = [work.id] if outcome.make else []
        asked += [part.id for part in outcome.move.values()]
        if not asked:
            return ()
        objects = await self._store.read(lambda session: jobs.objects_of(session, asked))
        made: list[NewJob] = []
        if outcome.make:
            specs = manifests.parts_of(work.workload, objects[work.id], outcome.record.shares, self._catalogue)
            made += [
                self._part(work.id, cluster, specs[cluster].workload, specs[cluster].objects, now)
                for cluster in outcome.make
            ]
        for cluster, part in outcome.move.items():
            there = manifests.moved(part.workload, cluster)
            made.append(self._part(work.id, cluster, there, objects[part.id], now))
        return tuple(made)

    def _part(self, whole: str, cluster: str, workload: Workload, objects: Sequence[Object], now: datetime) -> NewJob:
        said = f"a part of {whole}: {workload.pods} replicas for {cluster}"
        return jobs.new_job(new_id(self._rng), workload, objects, now, whole=whole, said=said)

    def _sizes(self, whole: Whole, part: str, share: int) -> Mapping[str, int]:
        (workload,) = [one.workload for one in whole.parts if one.id == part]
        (role,) = [role for role in workload.roles if role.replicas > 0]
        return {role.name: share}
