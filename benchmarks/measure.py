"""What the benchmarks measure with: percentiles, and what processes cost while something runs."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

import psutil


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank). NaN for no values."""
    if not values:
        return math.nan
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def latency_ms(seconds: Sequence[float]) -> dict[str, float | None]:
    """p50 and p99; null in JSON where nothing was measured."""
    if not seconds:
        return {"p50": None, "p99": None}
    return {f"p{round(share * 100)}": round(percentile(seconds, share) * 1000, 1) for share in (0.5, 0.99)}


@dataclass(frozen=True, slots=True)
class Cost:
    cpu_s: float
    peak_rss_mib: float


class Watched:
    """CPU seconds and peak memory of named processes (each may be several pids) from `with` to its end."""

    def __init__(self, pids: Mapping[str, Sequence[int]], every_s: float = 0.1) -> None:
        self._processes = {name: [psutil.Process(pid) for pid in group] for name, group in pids.items()}
        self._every_s = every_s
        self._peak = dict.fromkeys(self._processes, 0)
        self._before: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Watched:
        self._before = {name: _cpu_s(group) for name, group in self._processes.items()}
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def costs(self) -> dict[str, Cost]:
        """So far, or of the whole time once it is over."""
        return {
            name: Cost(round(_cpu_s(group) - self._before[name], 2), round(self._peak[name] / 2**20, 1))
            for name, group in self._processes.items()
        }

    def _sample(self) -> None:
        while True:
            for name, group in self._processes.items():
                self._peak[name] = max(self._peak[name], sum(_rss(process) for process in group))
            if self._stop.wait(self._every_s):
                return


def _cpu_s(group: Sequence[psutil.Process]) -> float:
    total = 0.0
    for process in group:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
