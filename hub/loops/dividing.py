"""Divided works kept as they were wished: read them and their parts, decide, and apply each in one transaction.

Woken by the same changes as placing, and by whatever moves a part. What changed between reading and applying is found
by the work's fingerprint, and it is looked at again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random

from hub import dividing
from hub.dividing import Outcome, Shortages
from hub.federation import Federation
from hub.ids import new_id
from hub.jobs import CANCEL_GRACE_S
from hub.loops.backlog import Backlog
from hub.loops.wholes import WholeBook
from hub.records import Job, Object
from hub.store import jobs, wholes
from hub.store.jobs import NewJob
from hub.store.store import Store, StoreClosed
from hub.store.wholes import Change, Size, Whole
from placement.division import manifests
from placement.division.rooms import Rooms
from placement.fleet import Fleet
from placement.kinds.catalogue import Catalogue
from placement.lifecycle import TERMINAL
from placement.workload import Workload

log = logging.getLogger(__name__)

AFTER_A_FAILURE_S = 1.0
TRY_AGAIN = timedelta(seconds=10)
BUSY_AGAIN = timedelta(seconds=2)  # a part that is being changed is asked again


class DividingLoop:
    def __init__(
        self,
        store: Store,
        federation: Federation,
        backlog: Backlog,
        book: WholeBook,
        catalogue: Catalogue,
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
        self._clock = clock
        self._rng = rng
        self._pause_s = pause_s
        self._rooms = Rooms()
        self._shortages = Shortages()
        self._moments: dict[str, datetime] = {}  # when one is to be looked at whatever happens
        self._tried: dict[str, tuple[Size, datetime]] = {}  # what parts were told last, and when
        self._sized: set[str] = set()  # works whose parts all have, or are told, what goes with their shares
        federation.watch(book.look_at_all)

    async def run(self) -> None:
        """For ever; ends when cancelled or when the store is closed. However many works there are and however often
        things change, it takes no more than a quarter of its thread."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wait()
            began = loop.time()
            try:
                await self.cycle()
            except StoreClosed:
                return
            except Exception:
                log.exception("a cycle of dividing failed; everything stays as it is")
                self._book.look_at_all()
                await asyncio.sleep(AFTER_A_FAILURE_S)
            await asyncio.sleep(max(self._pause_s, 3 * (loop.time() - began)))

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
        if outcome.said:
            self._sized.discard(id_)
        made, resized = await self._parts(whole, outcome, now)
        change = Change(
            outcome.standing.phase,
            outcome.standing.reason,
            outcome.record,
            made,
            outcome.stop,
            resized,
            outcome.said,
        )
        if outcome.standing.phase in TERMINAL:
            self._forget(whole)
        if not wholes.is_news(whole, change):
            if not outcome.resize:
                self._sized.add(id_)
            return
        busy = await self._store.write(
            lambda session: wholes.apply(session, whole, change, now=now, grace_s=CANCEL_GRACE_S)
        )
        if busy is None:
            self._book.look_at(id_)
        elif busy:
            for part in busy:
                self._tried.pop(part, None)
            self._look_again(id_, now + BUSY_AGAIN)
        elif all(part in resized for part in outcome.resize):
            self._sized.add(id_)

    def _forget(self, whole: Whole) -> None:
        self._shortages.forget(whole.job.id)
        self._sized.discard(whole.job.id)
        for part in whole.parts:
            self._tried.pop(part.id, None)

    async def _parts(
        self, whole: Whole, outcome: Outcome, now: datetime
    ) -> tuple[tuple[NewJob, ...], Mapping[str, Size]]:
        """Those that are to be made, and what others are told."""
        work = whole.job
        staying = outcome.staying if outcome.resize or work.id not in self._sized else {}
        asked = {work.id} if outcome.make or outcome.resize or staying else set[str]()
        asked |= {part.id for part in (*outcome.move.values(), *staying.values())}
        if not asked:
            return (), {}
        objects = await self._store.read(lambda session: jobs.objects_of(session, sorted(asked)))
        made = [
            self._part(work.id, cluster, manifests.moved(part.workload, cluster), objects[part.id], now)
            for cluster, part in outcome.move.items()
        ]
        if work.id not in asked:
            return tuple(made), {}
        specs = manifests.parts_of(work.workload, objects[work.id], outcome.record.shares, self._catalogue)
        made += [
            self._part(work.id, cluster, specs[cluster].workload, specs[cluster].objects, now)
            for cluster in outcome.make
        ]
        resized: dict[str, Size] = {}
        for cluster, part in staying.items():
            others = manifests.differing(objects[part.id], specs[cluster].objects)
            if part.id not in outcome.resize and not others:
                continue
            pods = {role.name: role.replicas for role in specs[cluster].workload.roles if role.replicas}
            size = Size(pods, others)
            if self._may_try(part, size, now):
                resized[part.id] = size
        return tuple(made), resized

    def _may_try(self, part: Job, size: Size, now: datetime) -> bool:
        """A cluster that could not give a part its size is not asked again with every summary."""
        tried, at = self._tried.get(part.id, (None, now))
        if tried == size and now - at < TRY_AGAIN:
            self._look_again(part.whole or "", at + TRY_AGAIN)
            return False
        self._tried[part.id] = size, now
        return True

    def _look_again(self, whole: str, at: datetime) -> None:
        self._moments[whole] = min(self._moments.get(whole, at), at)

    def _part(self, whole: str, cluster: str, workload: Workload, objects: Sequence[Object], now: datetime) -> NewJob:
        said = f"a part of {whole}: {workload.pods} replicas for {cluster}"
        return jobs.new_job(new_id(self._rng), workload, objects, now, whole=whole, said=said)
