"""Starts the runs of CronJobs when they are due.

Each look is load, decide, apply: the CronJob and its runs, `placement.calendar.decisions.decide`, and one transaction
that submits the run, records that its moment is taken, and stops what it takes the place of. So a run is there once,
whatever the hub does in between, and whoever leads after it. What cannot be submitted is told, and its moment is past.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from hub.crons import Cron, Crons, stop_runs
from hub.errors import HubError
from hub.store import crons
from hub.store.changes import Change, CronSaved, Happened
from hub.store.store import Store, StoreClosed
from hub.submits import Asked, submit_together
from placement.calendar import reading
from placement.calendar.decisions import Decision, decide
from placement.lifecycle import TERMINAL

log = logging.getLogger(__name__)

LONGEST_SLEEP_S = 30.0  # clocks are set, and machines are suspended
REST = timedelta(minutes=1)  # of one that cannot be looked at


class CalendarLoop:
    def __init__(self, store: Store, service: Crons, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._service = service
        self._clock = clock
        self._woken = asyncio.Event()
        self._saved: set[str] = set()
        self._ended: set[str] = set()  # jobs; those that are no runs are told apart in the store
        self._resting: dict[str, datetime] = {}
        self._any = True  # there are CronJobs, as far as is known
        self._all = True  # the first look is at every one: a run may have ended while no hub was there
        store.subscribe(self.on_change)

    def on_change(self, change: Change) -> None:
        if isinstance(change, CronSaved):
            self._any = True
            self._saved.add(change.cron)
            self._woken.set()
        elif self._any and isinstance(change, Happened) and change.event.phase in TERMINAL:
            self._ended.add(change.event.job)
            self._woken.set()

    async def run(self) -> None:
        """For ever; ends when cancelled or when the store is closed."""
        while True:
            sleep_s = LONGEST_SLEEP_S
            self._woken.clear()
            try:
                again = await self.tick()
                if again is not None:
                    sleep_s = min(max((again - self._clock()).total_seconds(), 0.0), LONGEST_SLEEP_S)
            except StoreClosed:
                return
            except Exception:
                log.exception("the calendar could not be looked at")
            try:
                async with asyncio.timeout(sleep_s):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def tick(self) -> datetime | None:
        """Does what is due; answers when something will be, as far as is known now."""
        now = self._clock()
        saved, ended, look_at_all = self._saved, self._ended, self._all
        self._saved, self._ended, self._all = set(), set(), False

        def due(session: Session) -> list[str]:
            found = dict.fromkeys(crons.every_id(session) if look_at_all else crons.due_ids(session, now))
            return list(found | dict.fromkeys(crons.ids_of_runs(session, ended)) | dict.fromkeys(sorted(saved)))

        for id_ in await self._store.read(due):
            if self._resting.get(id_, now) > now:
                continue
            self._resting.pop(id_, None)
            try:
                await self._look(id_, now)
            except StoreClosed:
                raise
            except Exception:
                log.exception("the CronJob %s cannot be looked at; again in %s", id_, REST)
                self._resting[id_] = now + REST
        self._any, again = await self._store.read(lambda session: (crons.any_there(session), crons.next_look(session)))
        return max(again, min(self._resting.values(), default=again)) if again is not None and again <= now else again

    async def _look(self, id_: str, now: datetime) -> None:
        found = await self._store.read(lambda session: _loaded(session, id_))
        if found is None:
            return
        rules = reading.rules_of(found.record.manifest, suspended=found.record.suspended)
        decision = decide(rules, found.record.since, found.running, now)
        asked, problem = await self._asked(found, decision)
        await self._store.write(lambda session: _apply(session, found, decision, asked, problem, now))
        if decision.start is not None:
            name = f"{found.record.namespace}/{found.record.name}"
            log.info("CronJob %s: the run of %s %s", name, decision.start, problem or "is submitted")

    async def _asked(self, found: Cron, decision: Decision) -> tuple[Asked | None, str]:
        """The run, or why there is none."""
        if decision.start is None:
            return None, ""
        one = found.record
        job = reading.run_of(one.manifest, reading.run_name(one.name, decision.start), decision.start)
        try:
            return await self._service.asked(one, job), ""
        except HubError as error:
            return None, error.message


def _loaded(session: Session, id_: str) -> Cron | None:
    one = crons.record(session, id_)
    return None if one is None else Cron(one, crons.runs(session, id_))


def _apply(session: Session, seen: Cron, decision: Decision, asked: Asked | None, problem: str, now: datetime) -> None:
    present = crons.record(session, seen.record.id)
    if present is None or (present.revision, present.suspended, present.since) != (
        seen.record.revision,
        seen.record.suspended,
        seen.record.since,
    ):
        return  # somebody changed it meanwhile, and it is looked at again
    crons.forget_runs(session, present)
    note = decision.note
    if asked is not None:
        (answer,) = submit_together(session, [asked])
        if isinstance(answer, Exception):
            problem = str(answer)
        else:
            stop_runs(session, decision.stop, f"replaced by the next run of {present.name}", now)
            crons.add_run(session, present.id, answer[0].job.id, decision.start, now)
    if problem:
        note = f"the run of {decision.start:%F %H:%M} UTC could not be submitted: {problem}"
    crons.looked(session, present.id, decision.look_again, note, decision.start)
