"""CronJobs: their calendar is the hub's, and each run is an ordinary job, placed on whichever cluster is best then.

A CronJob is read and judged whole when it is submitted, with the Job that its next run would be, and each run is judged
again when it is due, as its owner is at that time. The same name again changes the one that is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

from sqlalchemy.orm import Session

from hub.errors import ConflictError, Invalid, NotFound
from hub.ids import ID_ALPHABET, ID_LENGTH
from hub.jobs import CANCEL_GRACE_S, Jobs
from hub.records import Actor, Job, Planned, UserRole
from hub.roles import no_viewers
from hub.store import crons, users, wholes
from hub.store.crons import CronRecord, RunRecord
from hub.store.store import Store
from hub.submits import Asked, Submitted, submit_together
from placement.calendar import reading, splitting
from placement.calendar.reading import CronJob
from placement.calendar.schedule import Schedule
from placement.calendar.splitting import Split
from placement.kinds import documents
from placement.kinds.catalogue import Catalogue
from placement.kinds.documents import Document
from placement.kinds.problems import Findings, ManifestError, Problem, TooManyProblems, did_you_mean

MAX_CRONS = 1000  # of one tenant


@dataclass(frozen=True, slots=True)
class Cron:
    record: CronRecord
    runs: tuple[RunRecord, ...]  # the newest first
    next_at: datetime | None = None  # as far as the calendar says; None also where it is suspended

    @property
    def running(self) -> tuple[str, ...]:
        return tuple(run.job for run in self.runs if not run.is_over)


@dataclass(frozen=True, slots=True)
class Made:
    cron: Cron
    created: bool  # False: one of that name was there, and is changed


@dataclass(frozen=True, slots=True)
class Taken:
    jobs: tuple[Submitted, ...]
    crons: tuple[Made, ...]


@dataclass(frozen=True, slots=True)
class _Draft:
    cron: CronJob
    asked: Asked  # the run that it would be now


class Crons:
    def __init__(
        self, store: Store, jobs: Jobs, catalogue: Catalogue, *, clock: Callable[[], datetime], rng: Random
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._catalogue = catalogue
        self._clock = clock
        self._rng = rng

    # ---- submit ----

    async def submit(
        self,
        actor: Actor,
        texts: Sequence[bytes],
        *,
        namespace: str | None = None,
        client_key: str | None = None,
        if_too_large: str | None = None,
    ) -> Taken:
        """Files of which some hold CronJobs: everything in one transaction, or nothing. Raises as `Jobs.submit`."""
        no_viewers(actor, "submit jobs")
        splits = [await self._split(text) for text in texts]
        drafts = [draft for split in splits for draft in await self._drafts(actor, split, namespace, if_too_large)]
        _refuse_twins(drafts)
        rest = [split.rest for split in splits if split.rest]
        asked = None
        if rest:
            asked = await self._jobs.prepare(
                actor, rest, namespace=namespace, client_key=client_key, if_too_large=if_too_large
            )
        now = self._clock()

        def write(session: Session) -> Taken:
            submitted: tuple[Submitted, ...] = ()
            if asked is not None:
                submitted = _done(submit_together(session, [asked]))
            made = tuple(self._save(session, actor, draft, if_too_large, now) for draft in drafts)
            return Taken(submitted, made)

        return await self._store.write(write)

    async def plan(self, actor: Actor, text: bytes, *, namespace: str | None = None) -> tuple[Planned, ...]:
        """Of the other workloads, and of the run that each CronJob would be now. Raises Invalid."""
        split = await self._split(text)
        now, home = self._clock(), self._jobs.home(actor, namespace)
        planned: list[Planned] = []
        if split.rest:
            planned += await self._jobs.plan(actor, split.rest, namespace=namespace)
        for document in split.crons:
            cron = _read(document, home)
            run = reading.run_of(cron.manifest, reading.run_name(cron.name, now), now)
            with _within_template(document.number):
                planned += await self._jobs.plan(actor, split.with_run(document.number, run), namespace=namespace)
        return tuple(planned)

    async def _split(self, text: bytes) -> Split:
        try:
            return await asyncio.to_thread(splitting.split, text, self._catalogue)
        except ManifestError as error:
            raise _invalid(error.problems) from error

    async def _drafts(
        self, actor: Actor, split: Split, namespace: str | None, if_too_large: str | None
    ) -> Sequence[_Draft]:
        now, home = self._clock(), self._jobs.home(actor, namespace)
        drafts = []
        for document in split.crons:
            cron = _read(document, home)
            if cron.rules.schedule.next_after(now) is None:
                message = f"{cron.rules.schedule.expression!r} does not come within fifty years"
                raise _invalid([Problem(document.number, "spec.schedule", message, "write 0 3 * * 1-5")])
            run = reading.run_of(cron.manifest, reading.run_name(cron.name, now), now)
            with _within_template(document.number):
                asked = await self._jobs.prepare(
                    actor,
                    [split.with_run(document.number, run)],
                    namespace=namespace,
                    if_too_large=if_too_large,
                )
            drafts.append(_Draft(cron, asked))
        return drafts

    def _save(self, session: Session, actor: Actor, draft: _Draft, if_too_large: str | None, now: datetime) -> Made:
        cron = draft.cron
        (run,) = draft.asked.new
        known = crons.named(session, actor.tenant, cron.namespace, cron.name)
        one = CronRecord(
            id=known.id if known else "c-" + "".join(self._rng.choices(ID_ALPHABET, k=ID_LENGTH)),
            tenant=actor.tenant,
            owner=actor.user,
            namespace=cron.namespace,
            name=cron.name,
            revision=known.revision + 1 if known else 1,
            suspended=cron.rules.suspended,
            manifest=cron.manifest,
            objects=tuple(run.objects[:-1]),
            if_too_large=if_too_large,
            kept_succeeded=cron.kept_succeeded,
            kept_failed=cron.kept_failed,
            created_at=known.created_at if known else now,
            # Another calendar says nothing of what was before it.
            since=known.since if known and _schedule_of(known) == cron.rules.schedule else now,
            look_at=now,
            note="",
        )
        if known is None:
            if crons.count(session, actor.tenant) >= MAX_CRONS:
                raise ConflictError(
                    f"tenant {actor.tenant} has {MAX_CRONS} CronJobs already",
                    code="too-many-crons",
                    mend="delete some first (muster cron list)",
                )
            crons.add(session, one)
        else:
            crons.change(session, one)
        return Made(_cron(session, one, now), known is None)

    # ---- look ----

    async def list(self, actor: Actor) -> Sequence[Cron]:
        now = self._clock()
        return await self._store.read(lambda session: [_cron(session, one, now) for one in crons.page(session, actor)])

    async def show(self, actor: Actor, ref: str) -> Cron:
        """By id, or by a name that is one's own. Raises NotFound, ConflictError."""
        now = self._clock()
        return await self._store.read(lambda session: _cron(session, _one(session, actor, ref), now))

    # ---- steer ----

    async def suspend(self, actor: Actor, ref: str, on: bool) -> Cron:
        """What is running goes on. Raises Forbidden, NotFound, ConflictError."""
        no_viewers(actor, "suspend CronJobs")
        now = self._clock()

        def write(session: Session) -> Cron:
            known = _one(session, actor, ref)
            changed = replace(known, suspended=on, look_at=now, note="")
            if known.suspended is not on:
                crons.change(session, changed)
            return _cron(session, changed, now)

        return await self._store.write(write)

    async def run(self, actor: Actor, ref: str) -> Job:
        """A run now, beside the calendar: whatever runs, and whatever is suspended.

        Raises Forbidden, NotFound, ConflictError, Invalid.
        """
        no_viewers(actor, "run CronJobs")
        one = (await self.show(actor, ref)).record
        now = self._clock()
        name = f"{one.name}-run-{''.join(self._rng.choices(ID_ALPHABET, k=5))}"
        asked = await self.asked(one, reading.run_of(one.manifest, name, now, by_hand=True))

        def write(session: Session) -> Job:
            _one(session, actor, one.id)
            (submitted,) = _done(submit_together(session, [asked]))
            crons.add_run(session, one.id, submitted.job.id, None, now)
            return submitted.job

        return await self._store.write(write)

    async def delete(self, actor: Actor, ref: str, *, keep_runs: bool = False) -> Sequence[str]:
        """With the runs that have not ended, which it answers, unless they are kept.

        Raises Forbidden, NotFound, ConflictError.
        """
        no_viewers(actor, "delete CronJobs")
        now = self._clock()

        def write(session: Session) -> Sequence[str]:
            found = _cron(session, _one(session, actor, ref), now)
            stopped = () if keep_runs else found.running
            stop_runs(session, stopped, f"{found.record.name} was deleted by {actor.user}", now)
            crons.remove(session, found.record.id)
            return stopped

        return await self._store.write(write)

    # ---- what the calendar needs ----

    async def asked(self, one: CronRecord, job: dict[str, object]) -> Asked:
        """A run, read and judged as its owner may have it now. Raises HubError."""
        owner = await self._store.read(lambda session: _owner(session, one))
        numbered = [Document(number, dict(obj)) for number, obj in enumerate((*one.objects, job), 1)]
        return await self._jobs.prepare(
            owner, [splitting.as_text(numbered)], namespace=one.namespace, if_too_large=one.if_too_large
        )


def stop_runs(session: Session, jobs: Sequence[str], reason: str, now: datetime) -> None:
    wholes.stop(session, jobs, reason, now, CANCEL_GRACE_S)


def _done(answers: Sequence[tuple[Submitted, ...] | Exception]) -> tuple[Submitted, ...]:
    (answer,) = answers
    if isinstance(answer, Exception):
        raise answer
    return answer


def _cron(session: Session, one: CronRecord, now: datetime) -> Cron:
    return Cron(one, crons.runs(session, one.id), None if one.suspended else _schedule_of(one).next_after(now))


def _one(session: Session, actor: Actor, ref: str) -> CronRecord:
    found = crons.by_ref(session, actor, ref)
    if not found:
        close = did_you_mean(ref, [one.name for one in crons.page(session, actor)])
        mend = f"did you mean {close!r}?" if close else "muster cron list shows them"
        raise NotFound(f"there is no CronJob {ref!r}", code="no-such-cron", mend=mend)
    if len(found) > 1:
        ids = ", ".join(f"{one.id} ({one.tenant}, {one.namespace})" for one in found)
        raise ConflictError(
            f"{len(found)} CronJobs are called {ref!r}: {ids}", code="ambiguous-name", mend="name it by its id"
        )
    return found[0]


def _schedule_of(one: CronRecord) -> Schedule:
    return reading.rules_of(one.manifest, suspended=False).schedule


def _owner(session: Session, one: CronRecord) -> Actor:
    """As they are now; who is a user no more may what any submitter of the tenant may."""
    for user in users.everyone(session):
        if (user.name, user.tenant) == (one.owner, one.tenant):
            return Actor(user.name, user.tenant, user.role)
    return Actor(one.owner, one.tenant, UserRole.SUBMITTER)


def _read(document: Document, home: str) -> CronJob:
    """Raises Invalid."""
    found = Findings(document.number, documents.MAX_PROBLEMS)
    cron = None
    with suppress(TooManyProblems):
        cron = reading.read(found, document.body, home)
    if cron is None:
        raise _invalid(found.problems)
    return cron


@contextmanager
def _within_template(document: int) -> Iterator[None]:
    """What is wrong with the Job of a run is told by its place in the CronJob."""
    try:
        yield
    except Invalid as error:
        raise _invalid([_placed(problem, document) for problem in error.problems]) from error


def _placed(problem: Problem, document: int) -> Problem:
    path = problem.path
    if problem.document in (0, document) and path.startswith(("spec", "metadata.labels", "metadata.annotations")):
        path = f"{reading.TEMPLATE}.{path}"
    return replace(problem, path=path)


def _refuse_twins(drafts: Sequence[_Draft]) -> None:
    names = [(draft.cron.namespace, draft.cron.name) for draft in drafts]
    for namespace, name in names:
        if names.count((namespace, name)) > 1:
            message = f"two objects are called CronJob {namespace}/{name}"
            raise _invalid([Problem(0, "metadata.name", message, "give each a name of its own")])


def _invalid(problems: Sequence[Problem]) -> Invalid:
    first = problems[0]
    path = f"{first.path}: " if first.path else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Invalid(f"{path}{first.message}{more}", code="invalid-manifest", mend=first.mend, problems=problems)
