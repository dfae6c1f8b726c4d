"""What people do with jobs: submit, plan, look, cancel, explain, follow.

A submit is one transaction for all its documents: every one of them is queued, or none is. A client key makes it
idempotent; a live job's name is its own within its tenant and kind. The tenant of the caller narrows every query below
this module, so that another's job is not found rather than refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Protocol

from sqlalchemy.orm import Session

from hub import dividing
from hub.admission import Admitted, Submission, home_of
from hub.dividing import is_lost
from hub.errors import ConflictError, Invalid, NotFound, TooLarge
from hub.federation import Federation
from hub.ids import new_id
from hub.link.directory import NotConnected
from hub.link.log_flow import LogBroken
from hub.loops.attempt import Planner, Renderer, data_of, served_there
from hub.loops.backlog import Backlog, with_refusals
from hub.merging import Found, merged
from hub.overriding import OverrideRefused, Overriding
from hub.presence import Presence
from hub.records import (
    Actor,
    DivisionRecord,
    Explanation,
    Job,
    JobEvent,
    JobFilter,
    Manifest,
    Object,
    Page,
    PartState,
    Planned,
)
from hub.roles import no_viewers
from hub.store import events, jobs, wholes
from hub.store.feed import Feed
from hub.store.jobs import NewJob, name_of
from hub.store.store import Store
from hub.store.wholes import cluster_of
from hub.submits import Asked, Submitted, content_hash, submit_together
from placement.division import manifests
from placement.fleet import Fleet, PendingJob
from placement.kinds.catalogue import Catalogue
from placement.kinds.problems import ManifestError, Problem, did_you_mean
from placement.lifecycle import TERMINAL, Phase
from placement.outlook.outlook import Outlook, outlook
from placement.safety.patterns import any_matches
from placement.safety.secrets import without_data
from placement.verdict import Decision, Waiting
from placement.workload import IfTooLarge, Workload
from wire import capabilities
from wire.orders import JobRef, LogLines, LogQuery

log = logging.getLogger(__name__)

CANCEL_GRACE_S = 30.0
MAX_JOBS_PER_SUBMIT = 10_000
MAX_PAGE = 1000
MOST_LOOKED_FOR = 500  # jobs of one submit whose names are looked for in clusters before they are taken
MAX_KEY = 253
UNNUMBERED = "j-planned"  # stands for the id that a job gets when it is submitted
NOWHERE = "put it into the file, make it in a cluster, or write optional: true where it is named"
HIDDEN = "hidden"  # stands for what is in a Secret


class Reader(Protocol):
    def __call__(self, text: bytes, *, namespace: str) -> Sequence[Submission]:
        """Raises ManifestError."""


Admission = Callable[[Submission, Actor], Admitted]  # why the actor may not submit it, and what it asks for


class LogSource(Protocol):
    """Where the logs of a cluster's jobs come from: its spoke."""

    def can(self, cluster: str, capability: str) -> bool:
        """Raises hub.link.directory.NotConnected."""

    def open_logs(self, cluster: str, query: LogQuery) -> AsyncGenerator[LogLines, None]:
        """Raises hub.link.directory.NotConnected at once, hub.link.log_flow.LogBroken while it is read."""


class Jobs:
    def __init__(
        self,
        store: Store,
        federation: Federation,
        backlog: Backlog,
        feed: Feed,
        read: Reader,
        admission: Admission,
        plan: Planner,
        logs: LogSource,
        overriding: Overriding,
        render: Renderer,
        presence: Presence,
        catalogue: Catalogue,
        *,
        clock: Callable[[], datetime],
        rng: Random,
    ) -> None:
        self._store = store
        self._federation = federation
        self._backlog = backlog
        self._feed = feed
        self._read = read
        self._admission = admission
        self._plan = plan
        self._logs = logs
        self._overriding = overriding
        self._render = render
        self._presence = presence
        self._catalogue = catalogue
        self._clock = clock
        self._rng = rng

    # ---- submit ----

    async def submit(
        self,
        actor: Actor,
        text: bytes,
        *,
        namespace: str | None = None,
        client_key: str | None = None,
        if_too_large: str | None = None,
    ) -> tuple[Submitted, ...]:
        """Raises Forbidden, Invalid, ConflictError, TooLarge; then nothing was stored."""
        return await self.submit_many(
            actor, [text], namespace=namespace, client_key=client_key, if_too_large=if_too_large
        )

    async def submit_many(
        self,
        actor: Actor,
        texts: Sequence[bytes],
        *,
        namespace: str | None = None,
        client_key: str | None = None,
        if_too_large: str | None = None,
    ) -> tuple[Submitted, ...]:
        """As `submit`, for many files: all of them in one transaction, or none. `client_key` stands for the whole."""
        asked = await self.prepare(actor, texts, namespace=namespace, client_key=client_key, if_too_large=if_too_large)
        return await self._store.write_together(submit_together, asked)

    async def prepare(
        self,
        actor: Actor,
        texts: Sequence[bytes],
        *,
        namespace: str | None = None,
        client_key: str | None = None,
        if_too_large: str | None = None,
    ) -> Asked:
        """Read and checked, for whoever submits it together with something else. Raises as `submit` does."""
        no_viewers(actor, "submit jobs")
        _check_key(client_key)
        found = await self._submissions(actor, texts, namespace)
        if len(found) > MAX_JOBS_PER_SUBMIT:
            raise TooLarge(
                f"{len(found)} jobs in one submit",
                code="too-many-jobs",
                mend=f"submit at most {MAX_JOBS_PER_SUBMIT} at once",
            )
        admitted = self._admitted(actor, found)
        naming = [(workload, one) for workload, one in zip(admitted, found, strict=True) if workload.references]
        if 0 < len(naming) <= MOST_LOOKED_FOR:  # of more, each waits with its own reason
            fleet = self._federation.fleet()
            await self._varied(actor, [one for one, _ in naming], [one for _, one in naming], fleet)
        now = self._clock()
        new = [
            self._new_job(_asked(workload, if_too_large), one, now + timedelta(microseconds=number))
            for number, (workload, one) in enumerate(zip(admitted, found, strict=True))
        ]
        content = content_hash(texts, namespace or "", if_too_large)
        return Asked(actor, tuple(new), client_key, content, now)

    def home(self, actor: Actor, namespace: str | None) -> str:
        """For manifests that name no namespace."""
        home = home_of(actor, self._federation.tenants) if namespace is None else namespace
        # Where a tenant has no namespace, what names none is of one of its name, and refused with that.
        return home or actor.tenant

    async def plan(self, actor: Actor, text: bytes, *, namespace: str | None = None) -> tuple[Planned, ...]:
        """What would become of the file's workloads now, or what a submit would refuse; nothing is stored. Raises
        Invalid."""
        planned, _, _ = await self._planned(actor, text, namespace)
        return planned

    async def manifest(
        self, actor: Actor, text: bytes, cluster: str, *, namespace: str | None = None, show_secrets: bool = False
    ) -> tuple[Manifest, ...]:
        """What would be applied on that cluster if the file's workloads went there, whether they would or not; without
        what is in its Secrets unless asked. Raises Invalid, NotFound."""
        if cluster not in self._federation.members:
            close = did_you_mean(cluster, list(self._federation.members))
            mend = f"did you mean {close!r}?" if close else "muster cluster list shows them"
            raise NotFound(f"there is no cluster {cluster!r}", code="no-such-cluster", mend=mend)
        planned, submissions, fleet = await self._planned(actor, text, namespace)
        made = []
        for one, submission in zip(planned, submissions, strict=True):
            objects = self._rendered(one, submission, cluster, fleet)
            variant = one.workload.variants.get(cluster)
            shown = objects if show_secrets else without_data(objects, HIDDEN)
            made.append(Manifest(one, cluster, variant.overrides if variant is not None else (), shown))
        return tuple(made)

    def _rendered(self, one: Planned, submission: Submission, cluster: str, fleet: Fleet) -> Sequence[Object]:
        moves = next((each.moves for each in one.decision.candidates if each.cluster == cluster), ())
        objects = (*submission.dependencies, submission.manifest)
        try:
            changed = self._overriding.rendered_from(objects, one.workload, cluster, self._overriding.overrides)
        except OverrideRefused as error:
            message = f"{one.workload.name} cannot be applied on {cluster}: {error}"
            raise Invalid(message, code="override-refused", mend=error.refusal.mend) from error
        changed = served_there(changed, one.workload, cluster, fleet)
        data = data_of(one.workload, cluster, moves, fleet)
        return self._render(changed, job=UNNUMBERED, epoch=1, data=data)

    async def _planned(
        self, actor: Actor, text: bytes, namespace: str | None
    ) -> tuple[tuple[Planned, ...], Sequence[Submission], Fleet]:
        submissions = await self._submissions(actor, [text], namespace)
        admitted = self._admitted(actor, submissions)
        now, fleet = self._clock(), self._federation.fleet()
        found = await self._varied(actor, admitted, submissions, fleet)
        divided = {
            number: manifests.replicas_of(workload, (*one.dependencies, one.manifest))
            for number, (workload, one) in enumerate(zip(found, submissions, strict=True), 1)
            if workload.hints.divide is not None
        }
        everything = [
            self._pending(f"plan-{number}", workload, actor.tenant, fleet, now)
            for number, workload in enumerate(found, 1)
        ]
        pending = [one for number, one in enumerate(everything, 1) if number not in divided]
        # Room that is kept for others is not offered.
        planned = await asyncio.to_thread(self._plan, fleet, [*self._backlog.heads(), *pending], now)
        decisions = {decision.job: decision for decision in planned.decisions}

        def planned_one(number: int, one: PendingJob) -> Planned:
            if number in divided:
                division = dividing.plan(one.workload, divided[number], fleet, now)
                return Planned(one.workload, Decision(one.job, 1, Waiting(division.made.reasons), ()), None, division)
            return Planned(one.workload, decisions[one.job], _seen(one, decisions[one.job], fleet, now))

        answer = await asyncio.to_thread(
            lambda: tuple(planned_one(number, one) for number, one in enumerate(everything, 1))
        )
        return answer, submissions, fleet

    async def _varied(
        self, actor: Actor, admitted: Sequence[Workload], found: Sequence[Submission], fleet: Fleet
    ) -> Sequence[Workload]:
        """With what overrides make of them. Raises Invalid where one names what none of its clusters has."""
        varied = [
            await self._overriding.planned(workload, actor.tenant, (*one.dependencies, one.manifest), fleet)
            for workload, one in zip(admitted, found, strict=True)
        ]
        await self._presence.ask(varied, fleet, anew=True)
        problems = [
            Problem(0, "", f"{one.kind} {one.name} names {name.words}, which is in none of its clusters", NOWHERE)
            for one in varied
            for name in self._presence.nowhere(one, fleet)
        ]
        if problems:
            raise _invalid(problems)
        return varied

    def _pending(self, name: str, workload: Workload, tenant: str, fleet: Fleet, now: datetime) -> PendingJob:
        return with_refusals(PendingJob(name, 1, workload, tenant, now), {}, self._presence.missing(workload, fleet))

    async def _submissions(self, actor: Actor, texts: Sequence[bytes], namespace: str | None) -> Sequence[Submission]:
        home = self.home(actor, namespace)
        try:
            return await asyncio.to_thread(_read_all, self._read, texts, home)
        except ManifestError as error:
            raise _invalid(error.problems) from error

    def _admitted(self, actor: Actor, found: Sequence[Submission]) -> Sequence[Workload]:
        """As they are to be decided on. Raises Invalid with every problem of all of them."""
        problems: list[Problem] = []
        workloads: list[Workload] = []
        for number, one in enumerate(found, 1):
            admitted = self._admission(one, actor)
            problems.extend(admitted.problems)
            problems.extend(self._wrong_queue(actor, number, one.workload.hints.queue))
            workloads.append(replace(_of_tenant(one.workload, actor.tenant), footprint=admitted.footprint))
        for name, times in Counter(name_of(one.workload) for one in found).items():
            if times > 1:
                message = f"{times} objects are called {name.kind} {name.namespace}/{name.name}"
                problems.append(Problem(0, "metadata.name", message, "give each a name of its own"))
        if problems:
            raise _invalid(problems)
        return workloads

    def _wrong_queue(self, actor: Actor, number: int, queue: str) -> Iterator[Problem]:
        tree = self._federation.queues
        if queue not in tree.open:
            close = did_you_mean(queue, tree.open)
            mend = f"did you mean {close!r}?" if close else f"the queues are: {', '.join(sorted(tree.open))}"
            problem = "there is no queue" if queue not in tree.queues else "no job waits in cohort"
            yield Problem(number, "muster.dev/queue", f"{problem} {queue!r}", mend)
        elif not actor.sees_every_tenant:
            allowed = self._federation.tenants.of(actor.tenant).queues
            if not any_matches(allowed, queue):
                message = f"tenant {actor.tenant} may not use queue {queue!r}"
                yield Problem(number, "muster.dev/queue", message, f"its queues: {', '.join(allowed) or 'none'}")

    def _new_job(self, workload: Workload, found: Submission, at: datetime) -> NewJob:
        id_, objects = new_id(self._rng), (*found.dependencies, found.manifest)
        try:
            if workload.hints.divide is None:
                return jobs.new_job(id_, workload, objects, at)
            nature = manifests.nature_of(workload, objects, self._catalogue)
            asked = DivisionRecord(nature.replicas, nature.scaled, resizes=nature.resizes)
            return jobs.new_job(id_, workload, objects, at, whole=id_, division=asked)
        except TypeError as error:
            raise Invalid(
                f"{workload.name} cannot be stored: {error}",
                code="invalid-manifest",
                mend="use text, booleans and numbers of at most 64 bits",
            ) from error

    # ---- look ----

    async def show(self, actor: Actor, ref: str) -> Job:
        """By id, or by a name that is the name of one live job (or else of the last that had it).

        Raises NotFound, ConflictError.
        """
        return await self._store.read(lambda session: _one(session, actor, ref))

    async def parts(self, actor: Actor, work: Job) -> tuple[Job, ...]:
        """Of a divided work that the actor was shown: all but those that were stopped."""
        found = await self._store.read(lambda session: wholes.load(session, [work.id]))
        return tuple(part for whole in found for part in whole.parts)

    async def part_states(self, actor: Actor, work: Job) -> tuple[PartState, ...]:
        """As `parts`, in the order of their clusters' names."""
        fleet, regions = self._federation.fleet(), self._federation.members
        parts = [(cluster_of(part), part) for part in await self.parts(actor, work)]
        return tuple(
            PartState(part, cluster, regions.get(cluster, ""), is_lost(cluster, fleet))
            for cluster, part in sorted(parts, key=lambda one: (one[0], one[1].submitted_at))
        )

    async def reach(self, actor: Actor, ref: str) -> Job:
        """As `show`; of a divided work the part that has most replicas ready. Raises NotFound, ConflictError."""
        job = await self.show(actor, ref)
        running = [part for part in await self.parts(actor, job) if part.phase is Phase.RUNNING] if job.is_whole else []
        return max(running, key=lambda part: (sum(one.ready for one in part.roles), part.id), default=job)

    async def list(self, actor: Actor, job_filter: JobFilter) -> Page:
        """Newest first. Raises Invalid."""
        if not 1 <= job_filter.limit <= MAX_PAGE:
            raise Invalid(
                f"limit is {job_filter.limit}", code="bad-limit", mend=f"ask for 1 to {MAX_PAGE} jobs at a time"
            )
        try:
            return await self._store.read(lambda session: jobs.page(session, actor, job_filter))
        except jobs.BadCursor as error:
            raise Invalid(
                str(error), code="bad-cursor", mend="use next_cursor of the page before, as it was given"
            ) from error

    async def explain(self, actor: Actor, ref: str) -> Explanation:
        """Raises NotFound, ConflictError."""

        def read(session: Session) -> Explanation:
            job = _one(session, actor, ref)
            placed = jobs.decision(session, job.id, job.epoch, job.workload)
            return Explanation(job, placed, tuple(events.history(session, actor, job.id)))

        found = await self._store.read(read)
        waiting = self._backlog.decision(found.job.id)
        pending = self._backlog.pending(found.job.id)
        if (
            found.job.phase is not Phase.QUEUED
            or pending is None
            or waiting is None
            or waiting.epoch != found.job.epoch
        ):
            held = self._federation.held(found.job.cluster or "", found.job.id)
            return found if held is None else replace(found, job=replace(found.job, workload=held.workload))
        place, ahead = self._backlog.position(found.job.id)
        seen = await asyncio.to_thread(
            _seen, pending, waiting, self._federation.fleet(), self._clock(), place=place, ahead=ahead
        )
        job = replace(found.job, workload=pending.workload)  # with what overrides make of it
        return replace(found, job=job, decision=waiting, outlook=seen)

    def events(self, actor: Actor, *, after: int | None, job: str | None, follow: bool) -> AsyncIterator[JobEvent]:
        """Those with a larger number than `after` (None: from the first), of one job (an id) or of all; with `follow`
        for ever. None is missed and none comes twice."""
        return self._feed.read(self._store, actor, after=after, job=job, follow=follow)

    async def logs(
        self,
        actor: Actor,
        ref: str,
        *,
        role: str = "",
        follow: bool,
        tail_lines: int,
        rank: int | None = None,
        since: datetime | None = None,
        previous: bool = False,
        timestamps: bool = False,
        container: str = "",
        after: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[LogLines, None]:
        """`after`: the positions of what was read last, by pod. Close the generator to stop early.

        Raises NotFound, ConflictError (not placed, its cluster is away, or its spoke too old for what is asked).
        """
        job = await self.show(actor, ref)
        asked = LogQuery(
            JobRef(job.id, job.epoch),
            role,
            follow,
            tail_lines,
            rank,
            since,
            previous,
            timestamps,
            container,
            tuple(sorted((after or {}).items())),
        )
        source = self._logs_of_parts(actor, job, asked) if job.is_whole else self._logs_of(job, asked)
        async with aclosing(source) as found:
            async for lines in found:
                yield lines

    async def _logs_of(self, job: Job, query: LogQuery) -> AsyncGenerator[LogLines, None]:
        if job.cluster is None or job.phase is Phase.QUEUED:
            raise _has_no_pods(job)
        try:
            if not query.is_plain and not self._logs.can(job.cluster, capabilities.LOGS_RESUME):
                raise ConflictError(
                    f"the spoke of {job.cluster} is too old for these options of a log",
                    code="spoke-too-old",
                    mend=f"ask without --rank, --since, --previous, --timestamps and --container, or have the spoke of "
                    f"{job.cluster} updated",
                )
            async with aclosing(self._logs.open_logs(job.cluster, query)) as source:
                async for lines in source:
                    yield lines
        except NotConnected as error:
            raise ConflictError(
                f"the logs of {job.name} are on {job.cluster}, which is not connected now",
                code="cluster-not-connected",
                mend=f"try again when it is back (muster cluster show {job.cluster})",
            ) from error
        except LogBroken as error:
            raise ConflictError(
                f"the log of {job.name} ended early: {error}", code="log-broken", mend="ask for it again"
            ) from error

    async def _logs_of_parts(self, actor: Actor, whole: Job, query: LogQuery) -> AsyncGenerator[LogLines, None]:
        """Of all of them at once, each pod with its cluster before its name. What cannot be had is told in a line."""
        if query.rank is not None:
            raise ConflictError(
                f"{whole.name} is divided, and each of its parts has a pod of rank {query.rank}",
                code="divided",
                mend=f"name a part by its id (muster show {whole.id})",
            )

        async def find() -> Found[tuple[str, int], LogLines]:
            work = await self.show(actor, whole.id)
            parts = await self.parts(actor, work)
            sources = {
                (part.id, part.epoch): partial(self._part_of_log, part, query)
                for part in parts
                if part.cluster is not None and part.phase is not Phase.QUEUED
            }
            return sources, not query.follow or work.phase in TERMINAL

        if not query.follow and not (await find())[0]:
            raise _has_no_pods(whole)
        async with aclosing(merged(find)) as found:
            async for lines in found:
                yield lines

    async def _part_of_log(self, part: Job, query: LogQuery) -> AsyncGenerator[LogLines, None]:
        prefix = f"{part.cluster}/"
        after = tuple((pod.removeprefix(prefix), at) for pod, at in query.after if pod.startswith(prefix))
        try:
            async with aclosing(
                self._logs_of(part, replace(query, ref=JobRef(part.id, part.epoch), after=after))
            ) as found:
                async for lines in found:
                    yield LogLines(prefix + lines.pod, lines.data, lines.position)
        except ConflictError as error:
            yield LogLines(prefix + "?", f"{error.message}\n".encode())

    # ---- cancel ----

    async def cancel(self, actor: Actor, ref: str) -> Job:
        """Cancelling what has ended or is being cancelled changes nothing.

        Raises Forbidden, NotFound, ConflictError.
        """
        no_viewers(actor, "cancel jobs")
        now, reason = self._clock(), f"cancelled by {actor.user}"

        def write(session: Session) -> Job:
            job = _one(session, actor, ref)
            if job.phase in TERMINAL or job.phase is Phase.CANCELLING:
                return job
            if job.is_part:
                raise ConflictError(
                    f"{job.id} is the part of {job.name} in {job.workload.hints.clusters[0]}",
                    code="is-a-part",
                    mend=f"cancel the whole (muster cancel {job.whole}), or submit it with other weights",
                )
            wholes.stop(session, [job.id], reason, now, CANCEL_GRACE_S)
            return _one(session, actor, job.id)

        return await self._store.write(write)


def _seen(
    job: PendingJob, decision: Decision, fleet: Fleet, now: datetime, *, place: int = 0, ahead: Sequence[str] = ()
) -> Outlook | None:
    """None where it cannot be worked out: the decision is told all the same."""
    try:
        return outlook(job, decision, fleet, now, place=place, ahead=ahead)
    except Exception:
        log.exception("the outlook of %s cannot be worked out", job.job)
        return None


def _has_no_pods(job: Job) -> ConflictError:
    return ConflictError(
        f"{job.name} ({job.id}) is {job.phase} and has no pods: {job.reason or 'it is not placed yet'}",
        code="not-placed",
        mend=f"muster explain {job.id} says what it waits for"
        if job.phase not in TERMINAL
        else f"muster explain {job.id} says why it was never placed",
    )


def _one(session: Session, actor: Actor, ref: str) -> Job:
    found = jobs.by_ref(session, actor, ref)
    if not found:
        raise NotFound(f"there is no job {ref!r}", code="no-such-job", mend="muster jobs lists them")
    if len(found) > 1:
        ids = ", ".join(job.id for job in found)
        raise ConflictError(
            f"{len(found)} live jobs are called {ref!r}: {ids}", code="ambiguous-name", mend="name the job by its id"
        )
    return found[0]


def _read_all(read: Reader, texts: Sequence[bytes], namespace: str) -> list[Submission]:
    """Raises ManifestError with the problems of every text."""
    found: list[Submission] = []
    problems: list[Problem] = []
    for number, text in enumerate(texts, 1):
        try:
            found.extend(read(text, namespace=namespace))
        except ManifestError as error:
            where = f"file {number}: " if len(texts) > 1 else ""
            problems.extend(replace(problem, message=where + problem.message) for problem in error.problems)
    if problems:
        raise ManifestError(problems)
    return found


def _invalid(problems: Sequence[Problem]) -> Invalid:
    first = problems[0]
    path = f"{first.path}: " if first.path else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Invalid(f"{path}{first.message}{more}", code="invalid-manifest", mend=first.mend, problems=problems)


def _of_tenant(workload: Workload, tenant: str) -> Workload:
    """Whose datasets it may use."""
    if not workload.data:
        return workload
    return replace(workload, data=tuple(replace(use, tenant=tenant) for use in workload.data))


def _asked(workload: Workload, if_too_large: str | None) -> Workload:
    if if_too_large is None:
        return workload
    try:
        wanted = IfTooLarge(if_too_large)
    except ValueError as error:
        raise Invalid(
            f"if_too_large is {if_too_large!r}", code="bad-if-too-large", mend="say 'wait' or 'reject'"
        ) from error
    return replace(workload, hints=replace(workload.hints, if_too_large=wanted))


def _check_key(client_key: str | None) -> None:
    if client_key is not None and not 1 <= len(client_key) <= MAX_KEY:
        raise Invalid(
            f"the client key has {len(client_key)} characters", code="bad-client-key", mend=f"use 1 to {MAX_KEY}"
        )
