"""What clusters hold of the objects that jobs name and do not bring: asked of their spokes, by name, and kept a while.

Asked when a file is planned or submitted, so that a name that is nowhere is refused at once; and again and again of
jobs that wait, so that one starts once somebody has made what it names. A spoke that is away or too old tells nothing:
what nobody knows stands in no job's way here, and the spoke asks once more before it starts anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from hub.federation import Federation
from hub.link.directory import NotConnected
from hub.link.stream import PresenceBroken
from hub.loops.backlog import Backlog
from placement.data import needed_moves
from placement.feasibility import left_out
from placement.fleet import Fleet, Health
from placement.presence import ObjectName, needed
from placement.workload import Reference, Workload
from wire.presence import MOST_NAMES

log = logging.getLogger(__name__)

PATIENCE_S = 2.0
INTERVAL_S = 10.0
_MISSING_LASTS = timedelta(seconds=60)  # unless it is asked again before
_PRESENT_LASTS = timedelta(minutes=5)
_MOST_FACTS = 20_000  # of one cluster, of each sort

Missing = Mapping[str, tuple[ObjectName, ...]]  # by cluster


class Source(Protocol):
    """The spokes."""

    def connected(self, cluster: str) -> bool: ...
    async def missing(self, cluster: str, names: Sequence[ObjectName]) -> frozenset[ObjectName]:
        """Raises NotConnected, PresenceBroken."""


class Presence:
    def __init__(
        self, source: Source, federation: Federation, backlog: Backlog, *, clock: Callable[[], datetime]
    ) -> None:
        self._source = source
        self._federation = federation
        self._backlog = backlog
        self._clock = clock
        # By cluster, and when that was told.
        self._there: dict[str, dict[ObjectName, datetime]] = defaultdict(dict)
        self._absent: dict[str, dict[ObjectName, datetime]] = defaultdict(dict)

    # ---- what is known ----

    def missing(self, workload: Workload, fleet: Fleet) -> Missing:
        """What it names and a cluster is known not to have."""
        if not workload.references and not workload.variants:
            return {}
        asked = [name for name, names in self._absent.items() if names and name in fleet.clusters]
        found = {name: self._missing_on(name, self._needed(workload, name, fleet)) for name in asked}
        return {name: those for name, those in found.items() if those}

    def nowhere(self, workload: Workload, fleet: Fleet) -> tuple[ObjectName, ...]:
        """What none of the clusters that it could go to has; nothing where any of them does not tell."""
        common: set[ObjectName] | None = None
        for name, cluster in fleet.clusters.items():
            if cluster.health in (Health.JOINING, Health.LOST) or any(left_out(workload, cluster, fleet.data)):
                continue
            wanted = self._needed(workload, name, fleet)
            if any(self._fact(name, one) is None for one in wanted):
                return ()
            lacking = set(self._missing_on(name, wanted))
            common = lacking if common is None else common & lacking
        return tuple(sorted(common or ()))

    def _needed(self, workload: Workload, cluster: str, fleet: Fleet) -> tuple[ObjectName, ...]:
        there = workload.at(cluster)
        if not there.references:
            return ()
        region = fleet.clusters[cluster].region
        moves = needed_moves(fleet.data, there, cluster, region, fleet.prices.transfers) if there.data else ()
        return needed(there, {move.place for move in moves})

    def _missing_on(self, cluster: str, names: Iterable[ObjectName]) -> tuple[ObjectName, ...]:
        return tuple(one for one in names if self._fact(cluster, one) is False)

    def _fact(self, cluster: str, name: ObjectName) -> bool | None:
        now = self._clock()
        if (at := self._absent[cluster].get(name)) is not None and now - at < _MISSING_LASTS:
            return False
        if (at := self._there[cluster].get(name)) is not None and now - at < _PRESENT_LASTS:
            return True
        return None

    # ---- asking ----

    async def ask(self, workloads: Iterable[Workload], fleet: Fleet, *, anew: bool = False) -> bool:
        """Of every cluster that is connected; whether anything came to be there. `anew`: also what is known to be
        missing, for somebody may have made it."""
        wanted: dict[str, set[ObjectName]] = defaultdict(set)
        asking = [name for name in fleet.clusters if self._source.connected(name)]
        for workload in _distinct(workloads):
            for cluster in asking:
                names = self._needed(workload, cluster, fleet)
                wanted[cluster].update(one for one in names if self._is_open(cluster, one, anew))
        answers = await asyncio.gather(*(self._ask(name, sorted(names)) for name, names in wanted.items() if names))
        return any(answers)

    def _is_open(self, cluster: str, name: ObjectName, anew: bool) -> bool:
        known = self._fact(cluster, name)
        return known is None or (anew and not known)

    async def _ask(self, cluster: str, names: Sequence[ObjectName]) -> bool:
        came = False
        try:
            async with asyncio.timeout(PATIENCE_S):
                for start in range(0, len(names), MOST_NAMES):
                    part = names[start : start + MOST_NAMES]
                    gone, now = await self._source.missing(cluster, part), self._clock()
                    came |= self._learn(cluster, part, gone, now)
        except TimeoutError:
            log.warning("%s did not say within %g s what is there", cluster, PATIENCE_S)
        except (NotConnected, PresenceBroken) as error:
            log.debug("%s does not say what is there: %s", cluster, error)
        return came

    def _learn(self, cluster: str, names: Sequence[ObjectName], gone: frozenset[ObjectName], now: datetime) -> bool:
        there, absent = self._there[cluster], self._absent[cluster]
        came = any(one in absent and one not in gone for one in names)
        for one in names:
            known, other = (absent, there) if one in gone else (there, absent)
            known[one] = now
            other.pop(one, None)
        for facts in (there, absent):
            while len(facts) > _MOST_FACTS:
                del facts[next(iter(facts))]
        return came

    async def run(self) -> None:
        """For jobs that wait, for ever."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.look_again()
            except Exception:
                log.exception("what clusters hold could not be asked")

    async def look_again(self) -> None:
        """Jobs that lacked something may start now."""
        waiting = [pending.workload for pending, _ in self._backlog.decided_waiting()]
        if await self.ask(waiting, self._federation.fleet(), anew=True):
            self._backlog.reconsider_all()
            self._federation.wake.set()


def _distinct(workloads: Iterable[Workload]) -> Iterable[Workload]:
    """Thousands of jobs may name the same few objects."""
    plain: dict[tuple[str, tuple[Reference, ...]], Workload] = {}
    for workload in workloads:
        if workload.variants or (workload.references and workload.data):
            yield workload
        elif workload.references:
            plain[workload.namespace, workload.references] = workload
    yield from plain.values()
