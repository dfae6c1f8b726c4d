"""The clusters between the planner's cycles: what is taken out of each one's room, and what changed since.

A room is kept for as long as the cluster has a summary, whatever the planner's decisions come to. What it took for a
job that was never written is in no later fleet: the room begins anew from its summary then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import is_

from placement.capacity import Capacity, Fit
from placement.fleet import Cluster, Reservation
from placement.inventory import JobEpochSize, Summary
from placement.room.room import Room, Spot


@dataclass(slots=True, eq=False)
class Member:
    """One cluster as the next decision sees it; another object when anything but its room changed."""

    cluster: Cluster
    room: Room | None
    summary: Summary | None
    applied: list[JobEpochSize]  # the reservations taken out of `room`, in that order

    @property
    def capacity(self) -> Capacity | None:
        """For what does not depend on how much of it is taken."""
        return None if self.room is None else self.room.inventory.untouched

    @property
    def version(self) -> int:
        return 0 if self.room is None else self.room.version

    def take(self, job: str, epoch: int, fit: Fit | Spot) -> None:
        assert self.room is not None  # noqa: S101  the fit is one of its room
        self.room.take(fit)
        self.applied.append((job, epoch, 0))


class Present(Mapping[str, Capacity]):
    """What the clusters that have a summary can take now; each is worked out when it is asked for."""

    def __init__(self, members: Mapping[str, Member]) -> None:
        self._rooms = {name: each.room for name, each in members.items() if each.room is not None}

    def __getitem__(self, cluster: str) -> Capacity:
        return self._rooms[cluster].capacity

    def __iter__(self) -> Iterator[str]:
        return iter(self._rooms)

    def __len__(self) -> int:
        return len(self._rooms)


def renewed(cluster: Cluster, reserved: Sequence[Reservation], before: Member | None, *, unmoved: bool) -> Member:
    """The member of the last cycle where nothing changed, or one that starts from what it had worked out.

    `unmoved`: the reservations are those of the last cycle and those that were made in it.
    """
    summary = cluster.summary
    if summary is None:
        unchanged = before is not None and before.cluster == cluster
        return before if before and unchanged else Member(cluster, None, None, [])
    if before is None or before.room is None:
        before = None
        member = Member(cluster, Room(Capacity.of(cluster.name, summary)), summary, [])
    elif before.summary is summary and _same(cluster, before.cluster):
        member = before
    else:
        member = Member(cluster, before.room, summary, before.applied)
    if not unmoved or member is not before:
        uncounted = (one.uncounted(summary) for one in reserved)
        _apply(member, summary, [one for one in uncounted if one is not None], before)
    return member


def same_objects(one: Sequence[object], other: Sequence[object]) -> bool:
    return len(one) == len(other) and all(map(is_, one, other))


def _apply(member: Member, summary: Summary, uncounted: Sequence[Reservation], before: Member | None) -> None:
    """Takes what is reserved out of the member's room; what is taken out already and is not reserved, back."""
    room, applied = member.room, member.applied
    assert room is not None  # noqa: S101  it has a summary
    refs = [(r.job, r.epoch, r.revision) for r in uncounted]
    if (before is not None and before.summary is not summary) or refs[: len(applied)] != applied:
        applied.clear()  # first, so that whatever fails below begins anew in the next cycle
        room.renew(room.inventory if room.inventory.summary is summary else room.inventory.renewed(summary))
    for reservation in uncounted[len(applied) :]:
        room.deduct(reservation)
        applied.append((reservation.job, reservation.epoch, reservation.revision))


def _same(one: Cluster, other: Cluster) -> bool:
    """In what decisions read; the summary was compared already, and `last_seen` moves with every heartbeat."""
    return (one.health, one.cordoned, one.region) == (other.health, other.cordoned, other.region)
