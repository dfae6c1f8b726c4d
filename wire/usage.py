"""What the jobs of a cluster use of what they were given, as a value and as messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wire import link_pb2 as pb
from wire.checks import ProtocolError, fits
from wire.orders import JobRef
from wire.translate import ref_from_wire, ref_to_wire

PER_MESSAGE = 500
MOST_NOTES = 20
_NOTE = 300


@dataclass(frozen=True, slots=True)
class JobUse:
    """None: nothing measures it. `gpus` are those that its pods were given, `measured` those of them that are told."""

    ref: JobRef
    gpus: int
    measured: int = 0
    util_percent: float | None = None  # the mean over those measured
    active_percent: float | None = None  # likewise: of the time, how much any engine was busy
    used_mib: float | None = None  # the sum, as all below
    total_mib: float | None = None
    power_w: float | None = None
    idle: int = 0  # cards that were hardly used for ten minutes
    cpu_millicores: float | None = None
    ram_mib: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    jobs: tuple[JobUse, ...]
    notes: tuple[str, ...] = ()  # for people: what could not be read


@fits("usage")
def to_wire(request: int, usage: Usage) -> Sequence[pb.Usage]:
    """In parts; the last one says that it is."""
    parts = [usage.jobs[i : i + PER_MESSAGE] for i in range(0, len(usage.jobs), PER_MESSAGE)] or [()]
    messages = [pb.Usage(id=request, jobs=[_job_to_wire(job) for job in part]) for part in parts]
    messages[-1].end = True
    messages[-1].notes.extend(note[:_NOTE] for note in usage.notes[:MOST_NOTES])
    return messages


def _job_to_wire(job: JobUse) -> pb.JobUse:
    return pb.JobUse(
        ref=ref_to_wire(job.ref),
        gpus=job.gpus,
        measured=job.measured,
        util_percent=job.util_percent,
        active_percent=job.active_percent,
        used_mib=job.used_mib,
        total_mib=job.total_mib,
        power_w=job.power_w,
        idle=job.idle,
        cpu_millicores=job.cpu_millicores,
        ram_mib=job.ram_mib,
    )


def jobs_from_wire(messages: Iterable[pb.JobUse]) -> list[JobUse]:
    """Those that cannot be read are left out: they are for people's eyes, and come again."""
    found = []
    for message in messages:
        try:
            found.append(_job_from_wire(message))
        except ProtocolError:
            continue
    return found


def _job_from_wire(message: pb.JobUse) -> JobUse:
    def told(name: str) -> float | None:
        return float(getattr(message, name)) if message.HasField(name) else None  # type: ignore[arg-type]  # one of the optional fields

    return JobUse(
        ref=ref_from_wire(message.ref, "usage.jobs.ref"),
        gpus=message.gpus,
        measured=message.measured,
        util_percent=told("util_percent"),
        active_percent=told("active_percent"),
        used_mib=told("used_mib"),
        total_mib=told("total_mib"),
        power_w=told("power_w"),
        idle=message.idle,
        cpu_millicores=told("cpu_millicores"),
        ram_mib=told("ram_mib"),
    )
