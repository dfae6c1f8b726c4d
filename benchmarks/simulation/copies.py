"""Where datasets lie now, and what bringing one to a region costs.

A copy that was made stays for the rest of the day, whoever had it made, as in a cache on the spot; so a policy that
knows nothing of data pays for a region once for each dataset, not once for each job.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.simulation.federation import Federation
from placement.transfers import Move

HOUR_S = 3600.0
_BYTES_PER_GB = 1e9


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a gang that is placed has to wait for, and what was paid for it now."""

    ready_s: float
    gb: float = 0.0
    usd: float = 0.0


class Copies:
    def __init__(self, federation: Federation) -> None:
        self._federation = federation
        self._ready_s: dict[str, dict[str, float]] = {
            dataset.name: dict.fromkeys(dataset.regions, 0.0) for dataset in federation.datasets.values()
        }

    def ready_s(self, dataset: str, region: str) -> float | None:
        """When its copy there is or was whole; None where there is none and none is on its way."""
        return self._ready_s[dataset].get(region)

    def regions(self, dataset: str) -> dict[str, float]:
        """Every region with a copy, or with one on its way, and when that is whole."""
        return dict(self._ready_s[dataset])

    def fetch(self, dataset: str, region: str, now_s: float) -> Fetched:
        """Pays for a copy where there is none yet, from wherever that is cheapest, then quickest."""
        if not dataset:
            return Fetched(now_s)
        known = self._ready_s[dataset]
        if region in known:
            return Fetched(max(now_s, known[region]))
        size = self._federation.datasets[dataset].size_bytes
        ready = {source: at for source, at in known.items() if at <= now_s} or known
        moves = [(self._move(size, source, region), max(0.0, at - now_s)) for source, at in ready.items()]
        move, wait_s = min(moves, key=lambda found: (found[0].usd, found[0].hours, found[1]))
        known[region] = now_s + wait_s + move.hours * HOUR_S
        return Fetched(known[region], size / _BYTES_PER_GB, move.usd)

    def _move(self, size_bytes: int, source: str, target: str) -> Move:
        return self._federation.transfers.move(size_bytes, source, target)
