"""What the spokes tell and ask, answered from the store and the live fleet: hub.link.port.HubSide.

Everything a spoke says is fenced by the cluster of its certificate and by (job, epoch, seq); what does not fit is
acknowledged, so that the spoke forgets it, and changes nothing. An acknowledgement goes out only after the commit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from hub.clusters import Clusters
from hub.errors import NotFound
from hub.federation import Federation
from hub.link.port import Attached, NotWelcome
from hub.loops.backlog import MISSING_LASTS, POLICY_LASTS, Backlog
from hub.store import clusters, commands, copies, distributions, learned, moves, resizing
from hub.store.changes import ClusterRecord
from hub.store.distribution_calls import DistributionCalls
from hub.store.moves import Move, Outcome
from hub.store.outbox import Outbox
from hub.store.store import Store
from placement.inventory import Summary
from placement.lifecycle import Event
from wire.distribution import DistributionAck, DistributionOrder, DistributionRef, DistributionReport
from wire.orders import Command, CommandAck, DataFound, JobRef, Report, ReportAck
from wire.translate import REPORTABLE

log = logging.getLogger(__name__)

INVALID = "invalid"
OLDER = "older-epoch"
_LASTING = {"policy": POLICY_LASTS, "no-such-object": MISSING_LASTS}


class Uplink:
    def __init__(
        self,
        store: Store,
        federation: Federation,
        backlog: Backlog,
        outbox: Outbox,
        membership: Clusters,
        ca_pem: bytes,
        *,
        clock: Callable[[], datetime],
        kind_files: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._calls = DistributionCalls()
        store.subscribe(self._calls.on_change)
        self._store = store
        self._federation = federation
        self._backlog = backlog
        self._outbox = outbox
        self._membership = membership
        self._ca_pem = ca_pem
        self._clock = clock
        self._kind_files = kind_files

    # ---- the stream ----

    async def attach(self, cluster: str, certificate_serial: str, agent_version: str, session: str) -> Attached:
        record = self._welcome(cluster, certificate_serial)
        # The newest certificate has arrived where it belongs: the one before it is no longer needed.
        forget_previous = record.previous_serial is not None and certificate_serial == record.serial
        if forget_previous or record.agent_version != agent_version:
            now = self._clock()
            await self._store.write(
                lambda db: clusters.seen(db, cluster, agent_version, now, forget_previous=forget_previous)
            )
            self._welcome(cluster, certificate_serial)  # it may have been removed while that was written
        self._backlog.forgive(cluster)
        self._federation.connected(cluster, session, self._clock())
        return Attached(
            self._federation.heartbeat_s,
            self._federation.lease_s,
            tuple(sorted(self._federation.holding(cluster))),
            self._kind_files(),
        )

    async def detach(self, cluster: str, session: str) -> None:
        self._federation.disconnected(cluster, session, self._clock())

    async def heartbeat(self, cluster: str) -> None:
        self._member(cluster)
        self._federation.heartbeat(cluster, self._clock())

    async def summary(self, cluster: str, summary: Summary) -> None:
        self._member(cluster)
        self._federation.summary_arrived(cluster, summary, self._clock())

    async def data(self, cluster: str, found: Sequence[DataFound]) -> None:
        self._member(cluster)
        known, new = self._federation.claims_of(cluster), {one.uri: one.size_bytes for one in found}
        copied = self._federation.copies_in(cluster)
        lost = {key: uris for key, held in copied.items() if (uris := held - new.keys())}
        for uri in (uri for held in copied.values() for uri in held):
            new.pop(uri, None)  # the datasets that they are copies of say it
        gone = known.keys() - new.keys()
        # A size that others share is the largest of theirs: one that says less says nothing.
        changed = {uri: size for uri, size in new.items() if uri not in known or known[uri] != size}
        if gone or changed or lost:
            room = learned.AT_MOST - self._federation.learned

            def write(session: Session) -> None:
                learned.told(session, cluster, changed, gone, room)
                copies.gone(session, cluster, lost)

            await self._store.write(write)
        self._federation.data_told(cluster)

    async def renew(self, cluster: str, certificate_serial: str, csr_pem: bytes) -> tuple[bytes, bytes]:
        self._welcome(cluster, certificate_serial)
        try:
            return await self._membership.renew(cluster, csr_pem, presented=certificate_serial), self._ca_pem
        except NotFound as error:
            raise NotWelcome(error.code, error.message) from error

    def _member(self, cluster: str) -> ClusterRecord:
        record = self._federation.record(cluster)
        if record is None:
            # Not "removed", on which a spoke stops its jobs: perhaps this hub has lost its database.
            raise NotWelcome("unknown", f"this hub knows no cluster {cluster}; join again with a new token")
        if record.removed_at is not None:
            raise NotWelcome("removed", f"{cluster} was removed from the federation")
        return record

    def _welcome(self, cluster: str, certificate_serial: str) -> ClusterRecord:
        record = self._member(cluster)
        if certificate_serial not in (record.serial, record.previous_serial):
            raise NotWelcome("certificate", f"this certificate of {cluster} was replaced; join again with a new token")
        return record

    # ---- commands ----

    async def pending_commands(self, cluster: str) -> Sequence[Command]:
        return self._outbox.pending(cluster)

    async def wait_for_commands(self, cluster: str, after_id: int) -> Sequence[Command]:
        return await self._outbox.wait(cluster, after_id)

    async def acknowledged(self, cluster: str, acks: Sequence[CommandAck]) -> None:
        self._member(cluster)
        now = self._clock()
        for ack in acks:
            if ack.refused_code and ack.refused_code != INVALID:
                lasts = _LASTING.get(ack.refused_code)
                self._note_refusal(cluster, ack.ref.job, ack.refused_message or ack.refused_code, now, lasts=lasts)
        await self._store.write_together(_close, Answers(cluster, {ack.id: ack for ack in acks}, now))

    # ---- reports ----

    async def reported(self, cluster: str, reports: Sequence[Report]) -> Sequence[ReportAck]:
        """One acknowledgement per (job, epoch), up to its last report; in the order they came."""
        self._member(cluster)
        now = self._clock()
        for report in reports:
            if report.event is Event.REFUSE:
                self._note_refusal(cluster, report.ref.job, report.reason, now)
        taken = [report for report in reports if report.event in REPORTABLE]
        if len(taken) < len(reports):
            log.warning("%s reported what is not its to say; ignored", cluster)
        if taken:
            await self._store.write_together(_take, Reports(cluster, taken, now))
        last: dict[JobRef, int] = {}
        for report in reports:
            last[report.ref] = max(report.seq, last.get(report.ref, 0))
        return tuple(ReportAck(ref, seq) for ref, seq in last.items())

    # ---- what configures the clusters ----

    async def standing_distributions(self, cluster: str) -> Sequence[DistributionRef]:
        self._member(cluster)
        return await self._store.read(lambda session: distributions.standing_at(session, cluster))

    async def wait_for_distributions(self, cluster: str, after: int) -> Sequence[DistributionOrder]:
        while True:
            newest = self._calls.newest(cluster)
            found = await self._store.read(lambda session: distributions.pending(session, cluster, after))
            if found:
                return found
            await self._calls.wait(cluster, max(after, newest))

    async def distributions_told(
        self, cluster: str, acks: Sequence[DistributionAck], reports: Sequence[DistributionReport]
    ) -> None:
        self._member(cluster)
        now = self._clock()
        await self._store.write(lambda session: distributions.told(session, cluster, acks, reports, now))

    def _note_refusal(
        self, cluster: str, job: str, message: str, now: datetime, *, lasts: timedelta | None = None
    ) -> None:
        # Only for a job that is really there: nothing is kept for what a confused spoke may say.
        if self._federation.holds(cluster, job):
            self._backlog.refused(job, cluster, message, self._federation.revision(cluster), now, lasts=lasts)


@dataclass(frozen=True, slots=True)
class Answers:
    cluster: str
    acks: Mapping[int, CommandAck]
    at: datetime


@dataclass(frozen=True, slots=True)
class Reports:
    cluster: str
    reports: Sequence[Report]
    at: datetime


def _close(session: Session, answers: Sequence[Answers]) -> list[None]:
    """Closes the commands and moves the jobs that they were about. An id that is not open says nothing."""
    found: list[Move] = []
    for one in answers:
        opened = commands.close(session, one.cluster, one.acks, one.at)
        for id_, (ref, kind) in opened.items():
            ack = one.acks[id_]
            if ack.ref == ref and kind == commands.SCALE:
                if ack.refused_code:
                    resizing.refused(session, ref, one.cluster, ack.refused_message or ack.refused_code, one.at)
            elif ack.ref == ref and kind != commands.STOP:
                found.append(_answer(one.cluster, ref, ack, one.at, stages=kind == commands.STAGE))
            elif ack.ref == ref and ack.refused_code == OLDER:
                found.append(_unstopped(one.cluster, ref, ack, one.at))
    _apply(session, found)
    return [None] * len(answers)


def _answer(cluster: str, ref: JobRef, ack: CommandAck, now: datetime, *, stages: bool) -> Move:
    """What the answer to a Start means. A refusal as older than what the spoke knows, of the epoch that is the newest
    here, comes from a hub restored from a backup: refusing goes on to the next epoch until both agree."""
    if not ack.refused_code:
        event, reason = Event.ACCEPT, f"accepted by {cluster}"
    elif ack.refused_code == INVALID:
        event, reason = Event.FAIL, ack.refused_message or f"{cluster} refused the objects as invalid"
    else:
        event, reason = Event.REFUSE, f"refused by {cluster}: {ack.refused_message or ack.refused_code}"
    return Move(ref.job, event, reason, now, epoch=ref.epoch, cluster=cluster, stages=stages)


def _unstopped(cluster: str, ref: JobRef, ack: CommandAck, now: datetime) -> Move:
    """A Stop that a spoke refuses as older than what it knows finds nothing of that epoch there: no report will ever
    say so, and the job would be stopping for ever. Any other refusal proves nothing: what it holds stays held."""
    reason = f"{cluster} has nothing of it to stop: {ack.refused_message or ack.refused_code}"
    return Move(ref.job, Event.STOPPED, reason, now, epoch=ref.epoch, cluster=cluster)


def _take(session: Session, batches: Sequence[Reports]) -> list[None]:
    reports = [(batch, report) for batch in batches for report in batch.reports]
    outcomes = _apply(
        session,
        [
            Move(
                report.ref.job,
                report.event,
                report.reason,
                min(report.at, batch.at),
                epoch=report.ref.epoch,
                cluster=batch.cluster,
                seq=report.seq,
                roles=report.roles,
                pods=report.pods,
                checkpoint_at=min(report.checkpoint_at, batch.at) if report.checkpoint_at else None,
                stalled_since=min(report.stalled_since, batch.at) if report.stalled_since else None,
                progress=report.progress,
                retries=report.retries,
            )
            for batch, report in reports
        ],
    )
    for (batch, report), outcome in zip(reports, outcomes, strict=True):
        if outcome is Outcome.APPLIED and report.staging is not None and report.staging.staged:
            copies.arrived(session, report.ref, batch.cluster, report.staging.staged)
        if outcome is Outcome.APPLIED and report.checkpoint_at is not None:
            copies.checkpointed(session, report.ref.job, batch.cluster)
        if outcome is Outcome.APPLIED and report.size:
            if report.size_refused:
                resizing.refused(session, report.ref, batch.cluster, report.size_refused, batch.at, report.size)
            else:
                resizing.settled(session, report.ref, batch.cluster, report.size, batch.at)
    return [None] * len(batches)


def _apply(session: Session, found: Sequence[Move]) -> Sequence[Outcome]:
    outcomes = moves.apply(session, found)
    for move, outcome in zip(found, outcomes, strict=True):
        if outcome is Outcome.ILLEGAL or outcome is Outcome.UNKNOWN:
            log.info("%s said %s of %s epoch %s: %s", move.cluster, move.event, move.job, move.epoch, outcome)
    return outcomes
