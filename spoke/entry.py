"""What the spoke knows of one job, and how commands and reports change it: pure, so that `ledger` only has to store it.

Only the newest epoch of a job counts; whatever else of that job is found in the cluster is to be removed. A job that
is over leaves a tombstone (`Desired.GONE`) behind: the epoch, so that a late or repeated command cannot raise the dead,
and the sequence number, so that a later report is not taken for an old one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from placement.data import DataMove
from placement.elastic import sizes
from placement.lifecycle import Event
from placement.tally import Tally
from placement.workload import Workload
from wire.orders import (
    Command,
    CommandAck,
    JobRef,
    Object,
    PodPlace,
    Report,
    ReportAck,
    RoleCount,
    Scale,
    Staging,
    Start,
    Stop,
    replaced,
)
from wire.translate import objects_from_json, objects_to_json

# A newer report makes an older one of these superfluous. The others tell how an attempt went: each is kept until
# the hub has it, for what comes after (SUCCEED, then STOPPED) would tell another story without it.
_PASSING = frozenset({Event.STARTING, Event.RUNNING})


class Desired(StrEnum):
    START = "start"
    STOP = "stop"
    GONE = "gone"  # a tombstone


@dataclass(frozen=True, slots=True)
class StartOrder:
    """The objects stay text: they are needed once or twice, and thousands of them take ten times the room parsed."""

    objects_json: bytes
    workload: Workload
    spot: bool
    moves: tuple[DataMove, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    ref: JobRef
    desired: Desired
    start: StartOrder | None = None  # None where the epoch was stopped before it ever started
    started: bool = False  # a Start of this epoch was accepted; true still in its tombstone
    grace_s: float | None = 0.0  # with STOP; None: what each pod says itself
    stop_reason: str = ""  # with STOP
    assignment: tuple[PodPlace, ...] = ()  # the intent, written before the first pod is bound
    bound: bool = False  # every pod of the assignment is bound
    seq: int = 0  # of the newest report; kept in tombstones
    acked_seq: int = 0
    created: bool = False  # its workload object was made: never again, whatever becomes of it
    # With STOP: it was not told to stop, it goes back to the hub by this event once nothing of it is left here.
    hand_back: Event | None = None
    reports: tuple[Report, ...] = ()  # oldest first; the newest, and the earlier ones the hub has not acknowledged
    size: int = 0  # the revision of the size that it is to have; 0: the one that it was started with
    pods: Mapping[str, int] = field(default_factory=dict)  # of each role, where `size` is not 0
    pods_before: Mapping[str, int] = field(default_factory=dict)  # that, before the last change

    @property
    def objects(self) -> tuple[Object, ...]:
        return objects_from_json(self.start.objects_json, "objects") if self.start else ()

    @property
    def workload(self) -> Workload | None:
        """With the pods that it is to have."""
        return sizes.with_pods(self.start.workload, self.pods) if self.start else None

    @property
    def report(self) -> Report | None:
        """The newest, acknowledged or not."""
        return self.reports[-1] if self.reports else None

    @property
    def unacked(self) -> tuple[Report, ...]:
        return tuple(report for report in self.reports if report.seq > self.acked_seq)


def accept(entry: Entry | None, command: Command, first_seq: int = 0) -> tuple[Entry | None, CommandAck]:
    """The entry after the command (the same object where nothing changes), and what to answer.

    The same command again gets the same answer and changes nothing. Reports of an epoch that is not known here are
    numbered from `first_seq` on.
    """
    accepted = CommandAck(command.id, command.ref)
    if entry is not None and command.ref.epoch < entry.ref.epoch:
        return entry, _refused(command, f"{command.ref.job} is at epoch {entry.ref.epoch} here")
    known = entry if entry is not None and entry.ref == command.ref else None
    match command.order, known:
        case Start() as start, None:
            order = StartOrder(objects_to_json(start.objects), start.workload, start.spot, start.moves)
            entry = Entry(command.ref, Desired.START, order, started=True, seq=first_seq, acked_seq=first_seq)
            return entry, accepted
        case Start(), Entry(started=True):
            return known, accepted
        case Stop() as stop, None:
            entry = Entry(command.ref, Desired.STOP, grace_s=stop.grace_s, stop_reason=stop.reason)
            return replace(entry, seq=first_seq, acked_seq=first_seq), accepted
        case Stop() as stop, Entry():
            return _stopped(known, stop), accepted
        case Scale() as scale, Entry(desired=Desired.START, hand_back=None):
            return _resized(known, scale), accepted
        case Scale(), _:
            return entry, _refused(command, f"epoch {command.ref.epoch} of {command.ref.job} does not run here")
        case _:
            return known, _refused(command, f"epoch {command.ref.epoch} of {command.ref.job} was stopped already")


def _refused(command: Command, message: str) -> CommandAck:
    return CommandAck(command.id, command.ref, "older-epoch", message)


def _resized(entry: Entry, scale: Scale) -> Entry:
    """An order that was sent again, or overtaken by a newer one, changes nothing."""
    if scale.revision <= entry.size or entry.workload is None:
        return entry
    start = entry.start
    if scale.objects and start is not None:
        objects = replaced(objects_from_json(start.objects_json, "objects"), scale.objects)
        start = replace(start, objects_json=objects_to_json(objects))
    before = sizes.pods_of(entry.workload)
    return replace(entry, size=scale.revision, pods=dict(scale.pods), pods_before=before, start=start)


def kept_size(entry: Entry) -> Entry:
    """The cluster does not take the size that it was to have: it is to have the one before."""
    return replace(entry, pods=entry.pods_before)


def _stopped(entry: Entry, stop: Stop) -> Entry:
    match entry.desired:
        case Desired.START:
            return replace(entry, desired=Desired.STOP, grace_s=stop.grace_s, stop_reason=stop.reason)
        case Desired.STOP:  # the shorter grace counts: a cancel may overtake an eviction
            shorter = entry.grace_s is None or stop.grace_s < entry.grace_s
            return replace(entry, grace_s=stop.grace_s) if shorter else entry
        case Desired.GONE:
            # The hub may still wait for "stopped" (it never got it, or what it got was another outcome). Without the
            # earlier reports to compare with, the agent's next one says it again.
            return replace(entry, desired=Desired.STOP, grace_s=stop.grace_s, stop_reason=stop.reason)


def lost(ref: JobRef, reason: str, first_seq: int) -> Entry:
    """Of an epoch that the hub has here and that is not known: a late Start of it changes nothing."""
    entry = Entry(ref, Desired.STOP, started=True, stop_reason=reason, created=True, hand_back=Event.REFUSE)
    return replace(entry, seq=first_seq, acked_seq=first_seq)


def handed_back(entry: Entry, event: Event, reason: str, grace_s: float | None) -> Entry:
    """The cluster took it away: stopped here, and then said with `event`. The same entry where it is being stopped
    already, or the hub was told how it ended."""
    is_over = any(report.event in (Event.SUCCEED, Event.FAIL) for report in entry.reports)
    if entry.desired is not Desired.START or is_over:
        return entry
    return replace(entry, desired=Desired.STOP, grace_s=grace_s, stop_reason=reason, hand_back=event)


def reported(
    entry: Entry,
    event: Event,
    reason: str,
    roles: Sequence[RoleCount],
    pods: Sequence[PodPlace],
    now: datetime,
    staging: Staging | None = None,
    checkpoint_at: datetime | None = None,
    stalled_since: datetime | None = None,
    progress: Tally | None = None,
    retries: Tally | None = None,
    size: int = 0,
    size_refused: str = "",
) -> Entry:
    """With a new report at the end; the same entry where the newest report said all this."""
    last = entry.report
    report = Report(
        ref=entry.ref,
        seq=entry.seq + 1,
        event=event,
        reason=reason,
        at=now,
        roles=tuple(roles),
        pods=tuple(pods),
        checkpoint_at=checkpoint_at,
        staging=staging,
        stalled_since=stalled_since,
        progress=progress,
        retries=retries,
        size=size,
        size_refused=size_refused,
    )
    if last is not None and report == replace(last, seq=report.seq, at=now):
        return entry
    kept = tuple(old for old in entry.unacked if old.event not in _PASSING and old.event is not event)
    return replace(entry, seq=report.seq, reports=(*kept, report))


def acknowledged(entry: Entry, ack: ReportAck) -> Entry:
    if ack.ref != entry.ref or ack.seq <= entry.acked_seq:
        return entry
    acked_seq = min(ack.seq, entry.seq)
    kept = tuple(report for report in entry.reports if report.seq > acked_seq or report is entry.report)
    return replace(entry, acked_seq=acked_seq, reports=kept)


def tombstone(entry: Entry) -> Entry:
    return Entry(entry.ref, Desired.GONE, started=entry.started, seq=entry.seq, acked_seq=entry.seq)
