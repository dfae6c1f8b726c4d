"""The ends of logs whose pods are gone, on the spoke's own disk.

    <directory>/<job>/<epoch>/<uid>.<number>     a pod's log: its facts, then records; two files that take turns

A pod's log is a ring: what was written last, `pod_bytes` at the most. All of them together take `total_bytes`, of jobs
in the order of their age, and no job is kept longer than `keep_s`. A record is whole or it is not read: a spoke killed
while it wrote loses the last one.

Not promised: durability against power loss; the ends of pods that vanished with their node.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from spoke.cluster.port import LogPart
from wire.orders import JobRef

log = logging.getLogger(__name__)

_HEAD = struct.Struct("<HI")  # lengths of a position and of stamped lines
_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]{0,99}")
_SWEEP_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    pod_bytes: int = 4 << 20
    total_bytes: int = 512 << 20
    keep_s: float = 7 * 86_400


@dataclass(frozen=True, slots=True)
class KeptPod:
    name: str
    uid: str
    role: str
    rank: int  # over all roles
    role_rank: int
    container: str = ""


class KeptLogs:
    def __init__(self, directory: Path, limits: Limits = Limits(), clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since the epoch, as file times."""
        self._directory = directory
        self._limits = limits
        self._clock = clock
        self._swept_at = float("-inf")

    def pods(self, ref: JobRef) -> Sequence[KeptPod]:
        """In the order of their names."""
        found: dict[str, KeptPod] = {}
        directory = self._of(ref)
        for path in sorted(directory.glob("*.[01]")) if directory is not None and directory.is_dir() else ():
            pod = _facts(path)
            if pod is not None:
                found[pod.uid] = pod
        return sorted(found.values(), key=lambda pod: pod.name)

    def has(self, ref: JobRef) -> bool:
        return bool(self.pods(ref))

    def writer(self, ref: JobRef, pod: KeptPod) -> Writer | None:
        """Begins anew; None where the job's or the pod's name makes no file name."""
        directory = self._of(ref)
        if directory is None or not _NAME.fullmatch(pod.uid):
            return None
        self._sweep()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in directory.glob(f"{pod.uid}.[01]"):
            path.unlink(missing_ok=True)
        return Writer(directory, pod, self._limits.pod_bytes)

    def read(self, ref: JobRef, uid: str) -> Iterator[LogPart]:
        directory = self._of(ref)
        if directory is None or not directory.is_dir():
            return
        paths = sorted(directory.glob(f"{uid}.[01]"), key=_number)
        for path in paths:
            yield from _records(path)

    def _of(self, ref: JobRef) -> Path | None:
        return self._directory / ref.job / str(ref.epoch) if _NAME.fullmatch(ref.job) else None

    def _sweep(self) -> None:
        """At most once a minute: it looks at every job that is kept."""
        now = self._clock()
        if now - self._swept_at < _SWEEP_AGAIN_S or not self._directory.is_dir():
            return
        self._swept_at = now
        jobs = []
        for directory in self._directory.iterdir():
            sizes = [(path.stat().st_size, path.stat().st_mtime) for path in directory.glob("*/*.[01]")]
            jobs.append((max((at for _, at in sizes), default=0.0), sum(size for size, _ in sizes), directory))
        total = sum(size for _, size, _ in jobs)
        for at, size, directory in sorted(jobs, key=lambda job: job[:2]):
            if total <= self._limits.total_bytes and now - at <= self._limits.keep_s:
                break
            log.info("the kept logs of %s are removed", directory.name)
            shutil.rmtree(directory, ignore_errors=True)
            total -= size


class Writer:
    """One pod's ring. Close it."""

    def __init__(self, directory: Path, pod: KeptPod, pod_bytes: int) -> None:
        self._directory = directory
        self._pod = pod
        self._half = max(pod_bytes // 2, 1)
        self._turn = 0
        self._size = 0
        self._file = self._open()

    def add(self, part: LogPart) -> None:
        """Raises OSError."""
        position, lines = part.position.encode(), part.stamped
        if self._size and self._size + len(lines) > self._half:
            self._file.close()
            self._turn += 1
            (self._directory / f"{self._pod.uid}.{self._turn % 2}").unlink(missing_ok=True)
            self._file, self._size = self._open(), 0
        self._file.write(_HEAD.pack(len(position), len(lines)) + position + lines)
        self._size += len(lines)

    def close(self) -> None:
        self._file.close()

    def _open(self) -> BinaryIO:
        file = (self._directory / f"{self._pod.uid}.{self._turn % 2}").open("xb")
        file.write(json.dumps(asdict(self._pod) | {"turn": self._turn}).encode() + b"\n")
        return file


def _facts(path: Path) -> KeptPod | None:
    try:
        with path.open("rb") as file:
            found = json.loads(file.readline())
        found.pop("turn")
        return KeptPod(**found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _number(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return int(json.loads(file.readline())["turn"])
    except (OSError, ValueError, TypeError, KeyError):
        return -1


def _records(path: Path) -> Iterator[LogPart]:
    try:
        with path.open("rb") as file:
            file.readline()
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                position_size, lines_size = _HEAD.unpack(head)
                position, lines = file.read(position_size), file.read(lines_size)
                if len(lines) < lines_size:
                    return
                yield LogPart(lines, position.decode())
    except (OSError, UnicodeDecodeError):
        return
