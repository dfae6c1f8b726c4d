"""What each cluster could hold of a divided workload: its room in replicas, its price, and why it has no more.

Not promised: that a queue lets them in. A part waits in its queue like any job, in whichever cluster it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from placement import feasibility, scoring
from placement.capacity import Capacity, Fit
from placement.division.values import UNLIMITED, Place
from placement.fleet import Cluster, Fleet, Health, Reservation
from placement.inventory import JobEpoch
from placement.members import Member, renewed, same_objects
from placement.planner import PAID
from placement.verdict import ClusterNotReady, Reason, RefusedBySpoke, ResourcesShort, TopologyShort
from placement.workload import Workload


@dataclass(frozen=True, slots=True)
class Holding:
    """A part as it lies in a cluster."""

    job: JobEpoch
    replicas: int
    placed: bool  # room is reserved for it
    scaled: bool = False  # an autoscaler may have made fewer of its pods


class Rooms:
    """Keeps what it worked out of the clusters between calls; it is not for several threads."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._held: dict[str, list[Reservation]] = {}

    def renew(self, fleet: Fleet) -> None:
        reserved: dict[str, list[Reservation]] = {}
        for one in fleet.reservations:
            reserved.setdefault(one.cluster, []).append(one)
        known, were_held, self._held = self._members, self._held, {}
        self._members = {
            name: renewed(
                cluster,
                reserved.get(name, []),
                known.get(name),
                unmoved=name in were_held and same_objects(reserved.get(name, []), were_held[name]),
            )
            for name, cluster in fleet.clusters.items()
        }
        self._held = reserved

    def of(
        self,
        workload: Workload,
        fleet: Fleet,
        holding: Mapping[str, Holding],
        shunned: Mapping[str, str],
    ) -> tuple[Place, ...]:
        """`holding`: the parts that there are, by cluster; `shunned`: clusters that refused or failed one, and why."""
        single = _with_replicas(workload, 1)
        return tuple(
            self._place(single, fleet, cluster, holding.get(name), shunned.get(name, ""))
            for name, cluster in sorted(fleet.clusters.items())
        )

    def _place(self, single: Workload, fleet: Fleet, cluster: Cluster, held: Holding | None, refusal: str) -> Place:
        name, has = cluster.name, held.replicas if held is not None and held.placed else 0
        if cluster.health is Health.LOST:
            # Its pods may run on; nobody can say so, and whoever asks the service may not reach them.
            return Place(name, cluster.region, why=ClusterNotReady(name, cluster.health.value))
        capacity = self._capacity(name)
        answer: Fit | tuple[Reason, ...] = feasibility.judge(single, cluster, capacity, fleet.data)
        usd = 0.0 if capacity is None else _usd_per_hour(single, name, capacity, fleet)
        keeps = has if cluster.health is Health.DISCONNECTED else 0
        if refusal:
            answer = (RefusedBySpoke(name, refusal),)
        if isinstance(answer, tuple):
            no_room = isinstance(answer[0], ResourcesShort | TopologyShort)
            room = _on_nodes(held, has, fleet) if no_room else has
            return Place(name, cluster.region, max(room, keeps), keeps, usd, answer[0])
        assert capacity is not None  # noqa: S101  it was asked for room
        more, why = _more(single, capacity)
        room = min(_on_nodes(held, has, fleet) + more, UNLIMITED)
        return Place(name, cluster.region, max(room, keeps), keeps, usd, why)

    def _capacity(self, cluster: str) -> Capacity | None:
        room = self._members[cluster].room
        return None if room is None else room.capacity


def _on_nodes(held: Holding | None, has: int, fleet: Fleet) -> int:
    """Replicas of the part that have their room beside what is free: those on nodes, once it is known which are. One
    that lost its node takes what is free, or has no room."""
    progress = None if held is None or held.scaled else fleet.progress.get(held.job[0])
    if held is None or progress is None or progress.epoch != held.job[1] or not progress.pods:
        return has
    return min(sum(count for _, _, count in progress.pods), has)


def _with_replicas(workload: Workload, replicas: int) -> Workload:
    """All that a cluster needs to say whether so many fit: its own lists are the division's to keep."""
    roles = tuple(
        replace(role, replicas=replicas, minimum=min(role.minimum, replicas)) if role.replicas else role
        for role in workload.roles
    )
    return replace(workload, roles=roles, min_pods=1)


def _more(single: Workload, capacity: Capacity) -> tuple[int, Reason | None]:
    """How many fit besides what is there, and what stands in the way of more."""
    answer = capacity.fit(_with_replicas(single, UNLIMITED))
    match answer:
        case ResourcesShort(pods_fit=fit) | TopologyShort(pods_fit_largest=fit):
            return fit, None
        case Fit():
            return UNLIMITED, None
        case _:
            return 0, answer


def _usd_per_hour(single: Workload, cluster: str, capacity: Capacity, fleet: Fleet) -> float:
    """At least, wherever in the cluster it goes: the same while its room comes and goes."""
    terms = scoring.at_least(single, cluster, capacity.inventory, fleet.prices).terms
    return sum(terms.get(term, 0.0) for term in PAID) / single.hints.expected_hours
