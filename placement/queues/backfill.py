"""Room kept for gangs at the head: who has it, from when, and who may use it until then.

A job that fits nowhere now, and on some cluster would when what runs there has ended, is given a reserved start: the
earliest that can be foreseen on a cluster that nobody has reserved yet (EASY backfill, for one job on each cluster). A
job behind it may still go there if it is expected to end before that start, or if the gang fits beside it even so. So
none of those behind makes the gang wait longer than it would have; and a small one never waits for nothing.

Room that others are evicted for is kept in the same way (`preemption.promises`), from now on and on as many jobs'
behalf as there are.

Not promised: that the gang starts then. What it waits for may end later than it said; a job ahead of it in a later
cycle may come first; what a backfilled job takes longer than it said, the gang waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from placement.capacity import Capacity, Fit
from placement.fleet import PendingJob
from placement.queues.forecast import Forecast
from placement.queues.reasons import KeptForAnother
from placement.verdict import Candidate, ExpectedStart, ResourcesShort, TopologyShort
from placement.workload import Workload

# Foreseeing costs; a queue of thousands is told about its first ones.
MOST_HOLDS = 8


@dataclass(slots=True)
class _Hold:
    gangs: dict[str, Workload]  # by job: most often one
    start: datetime
    capacity: Capacity  # at the start, with all that was let in beside the gangs, which are not in it


class Holds:
    """Of one cycle."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._by_cluster: dict[str, _Hold] = {}
        self._beside: dict[tuple[str, int, str], Capacity | None] = {}
        self._kept: set[str] = set()  # jobs for which others were evicted

    def keep(self, cluster: str, gangs: dict[str, Workload], capacity: Capacity) -> None:
        """`capacity`: with those gone that leave for these gangs. They may start as soon as there is room."""
        self._by_cluster[cluster] = _Hold(gangs, self._now, capacity)
        self._kept.update(gangs)

    def reserve(
        self,
        job: PendingJob,
        candidates: Iterable[Candidate],
        foresee: Callable[[str, datetime | None], Forecast | None],
        may_have: Callable[[Forecast], bool],
    ) -> ExpectedStart | None:
        """`foresee` tells the earliest start on a cluster, if it is before the given moment; `may_have`, whether the
        job's queue would allow it."""
        if len(self._by_cluster) >= MOST_HOLDS or job.job in self._kept:
            return None
        best: Forecast | None = None
        for candidate in candidates:
            if candidate.cluster in self._by_cluster or not may_fit_later(candidate):
                continue
            found = foresee(candidate.cluster, best.start.at if best else None)
            if found is not None and (best is None or found.start.at < best.start.at) and may_have(found):
                best = found
        if best is None:
            return None
        self._by_cluster[best.start.cluster] = _Hold({job.job: job.workload}, best.start.at, best.capacity)
        return best.start

    def __bool__(self) -> bool:
        return bool(self._by_cluster)

    def refusal(self, job: str, workload: Workload, cluster: str, shape: int) -> KeptForAnother | None:
        """`shape` is the same for workloads that no cluster can tell apart."""
        hold = self._by_cluster.get(cluster)
        if hold is None or hold.gangs.keys() == {job} or self._ends_before(workload, hold):
            return None
        if self._beside_gangs(job, workload, cluster, shape) is not None:
            return None
        end = "" if workload.long_running else _moment(self._end(workload))
        first = next(gang for gang in hold.gangs if gang != job)
        return KeptForAnother(cluster, first, _moment(hold.start), end)

    def take(self, job: str, workload: Workload, cluster: str, shape: int) -> None:
        """It was placed there, and stays beside the gangs if it does not end before."""
        hold = self._by_cluster.get(cluster)
        if hold is None:
            return
        if hold.gangs.keys() == {job}:
            del self._by_cluster[cluster]
            self._beside.clear()  # the cluster may be kept for another yet
        elif not self._ends_before(workload, hold):
            after = self._beside_gangs(job, workload, cluster, shape)
            assert after is not None  # noqa: S101  else it was refused
            hold.capacity = after
            hold.gangs.pop(job, None)
            self._beside.clear()

    def _ends_before(self, workload: Workload, hold: _Hold) -> bool:
        return not workload.long_running and self._end(workload) <= hold.start

    def _beside_gangs(self, job: str, workload: Workload, cluster: str, shape: int) -> Capacity | None:
        """What is left for the others with this job there, if they fit into it."""
        hold = self._by_cluster[cluster]
        key = cluster, shape, job if job in hold.gangs else ""
        if key not in self._beside:
            others = [gang for name, gang in hold.gangs.items() if name != job]
            fit = hold.capacity.fit(workload)
            self._beside[key] = fit.left if isinstance(fit, Fit) and _hold_all(fit.left, others) else None
        return self._beside[key]

    def _end(self, workload: Workload) -> datetime:
        return self._now + timedelta(hours=workload.hints.expected_hours)


def _hold_all(capacity: Capacity, gangs: Iterable[Workload]) -> bool:
    for gang in gangs:
        fit = capacity.fit(gang)
        if not isinstance(fit, Fit):
            return False
        capacity = fit.left
    return True


def may_fit_later(candidate: Candidate) -> bool:
    """Once what runs there has ended: nothing but room is missing."""
    return bool(candidate.reasons) and all(
        isinstance(reason, ResourcesShort | TopologyShort) and reason.ever for reason in candidate.reasons
    )


def _moment(at: datetime) -> str:
    return f"{at:%F %H:%M} UTC"
