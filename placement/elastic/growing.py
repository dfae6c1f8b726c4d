"""Running jobs that could use more pods, and room that nobody waits for.

A job grows where its pods are, by as many pods as have room there, once it has kept its size for a while (each change
costs its program a restart from its last checkpoint). Nothing grows in a cluster that a waiting job could start in,
were there room: what a job takes beyond its minimum is only ever what would stand idle. What grew is the first to be
given back (`shrinking`).

Not grown: a gang that must lie in one domain, since in which one it lies the hub does not know; and roles in slices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from placement.elastic import sizes
from placement.elastic.uses import Uses
from placement.fleet import Fleet, Health, PendingJob, Reservation
from placement.preemption.planning import is_only_short
from placement.verdict import Candidate, Decision, Placed, Plan, Waiting
from placement.workload import TopologyMode, TopologyRequest, Workload

MOST = 8  # jobs that grow in one round

Planner = Callable[[Fleet, Sequence[PendingJob], datetime], Plan]


@dataclass(frozen=True, slots=True)
class Growth:
    held: Reservation
    target: Workload
    uses: Uses  # of the pods that are added

    @property
    def reason(self) -> str:
        now, then = self.held.workload.pods, self.target.pods
        return f"grows from {now} to {then} pods: nobody waits for the room on {self.held.cluster}"


def grow(
    plan: Planner, fleet: Fleet, elastic: Iterable[Reservation], waiting: Iterable[Decision], now: datetime
) -> tuple[Growth, ...]:
    """`elastic`: the reservations that might grow; `plan` is asked for room, quota and budget."""
    wanted = wanted_clusters(waiting)
    ready = [one for one in elastic if one.cluster not in wanted and _may(one, fleet, now)]
    found: list[Growth] = []
    # First those that have least of what they could use, and among them those of higher priority.
    for held in sorted(ready, key=lambda one: (-one.workload.hints.priority, _part(one.workload), one.job))[: 4 * MOST]:
        growth = _largest(plan, fleet, held, now)
        if growth is None:
            continue
        found.append(growth)
        if len(found) == MOST:
            break
        fleet = replace(fleet, reservations=(*(grown(growth) if one is held else one for one in fleet.reservations),))
    return tuple(found)


def next_moment(elastic: Iterable[Reservation], now: datetime) -> datetime | None:
    """When time alone lets another of them grow."""
    moments = (_rested(one) for one in elastic if not one.settles)
    return min((at for at in moments if at is not None and at > now), default=None)


def grown(growth: Growth) -> Reservation:
    """As the fleet has it once the growth is written."""
    held = growth.held
    uses = Uses(held.uses, held.usd_per_hour) + growth.uses
    return replace(
        held,
        workload=growth.target,
        was=held.workload,
        revision=held.revision + 1,
        settles=True,
        uses=uses.products,
        usd_per_hour=uses.usd_per_hour,
    )


def wanted_clusters(waiting: Iterable[Decision]) -> frozenset[str]:
    """Where somebody waits for room or quota, or has been promised some."""
    found: set[str] = set()
    for one in waiting:
        if not isinstance(one.verdict, Waiting):
            continue
        found.update(each.cluster for each in one.candidates if _is_wanted(each))
        if one.verdict.start is not None:
            found.add(one.verdict.start.cluster)
        if one.verdict.room is not None:
            found.add(one.verdict.room.cluster)
    return frozenset(found)


def _is_wanted(candidate: Candidate) -> bool:
    # One that was not asked said nothing against the job.
    return not candidate.reasons or is_only_short(candidate)


def _may(held: Reservation, fleet: Fleet, now: datetime) -> bool:
    cluster, progress = fleet.clusters.get(held.cluster), fleet.progress.get(held.job)
    rested = _rested(held)
    return (
        sizes.headroom(held.workload) > 0
        and not held.settles
        and rested is not None
        and rested <= now
        and fleet.leave_of(held) is None
        and progress is not None
        and progress.epoch == held.epoch
        and progress.running_since is not None
        and cluster is not None
        and cluster.health is Health.READY
        and not cluster.cordoned
        and cluster.summary is not None
        and cluster.summary.resizes
        and not any(_is_required(each) for each in _topologies(held.workload))
    )


def _rested(held: Reservation) -> datetime | None:
    """When it has kept its size for long enough; None: it never grows."""
    after_s = held.workload.hints.grow_after_s
    return None if after_s is None or held.since is None else held.since + timedelta(seconds=after_s)


def _topologies(workload: Workload) -> list[TopologyRequest | None]:
    return [workload.topology, *(role.topology for role in workload.roles)]


def _is_required(asked: TopologyRequest | None) -> bool:
    return asked is not None and asked.mode is TopologyMode.REQUIRED


def _part(workload: Workload) -> float:
    return workload.pods / (workload.pods + sizes.headroom(workload))


def _largest(plan: Planner, fleet: Fleet, held: Reservation, now: datetime) -> Growth | None:
    """By as many pods as there is room for, up to all that it could use."""
    enough, too_many = 0, sizes.headroom(held.workload) + 1
    best: Growth | None = None
    asked = too_many - 1
    while too_many - enough > 1:
        found = _by(plan, fleet, held, asked, now)
        if found is None:
            too_many = asked
        else:
            best, enough = found, asked
        asked = (enough + too_many) // 2
    return best


def _by(plan: Planner, fleet: Fleet, held: Reservation, pods: int, now: datetime) -> Growth | None:
    target = sizes.more(held.workload, pods)
    added = sizes.added(target, held.workload)
    if added is None:
        return None
    hints = replace(held.workload.hints, clusters=(held.cluster,), excluded_clusters=(), regions=())
    # Its data is there already. It is asked for as a job of its own, so that quota and budget have their say.
    asked = replace(added, hints=hints, data=())
    decided = plan(fleet, [PendingJob(f"{held.job}+", held.epoch, asked, "", now)], now).decisions
    verdict = decided[0].verdict if decided else None
    if not isinstance(verdict, Placed):
        return None
    cpu_usd = verdict.score.terms.get("cpu", 0.0) / hints.expected_hours
    made = verdict.reservation
    return Growth(held, target, Uses(made.uses, made.usd_per_hour, min(cpu_usd, made.usd_per_hour)))
