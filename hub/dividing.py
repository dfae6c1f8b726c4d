"""What is to become of one divided work, as a function of values: what `placement.division` decides, in terms of parts.

A service follows the clusters for as long as it lives. Training is divided once, when there is room for all of it, and
from then on its parts are jobs like any others; one that has not started moves where its cluster is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hub.records import DivisionRecord, Job, PlannedDivision, Shunned
from hub.store.wholes import Whole, cluster_of
from placement.division import invariants, standing
from placement.division.division import divide
from placement.division.rooms import Holding, Rooms
from placement.division.standing import PartStanding, WholeStanding
from placement.division.values import Division, Place, Present, Wish
from placement.fleet import Fleet, Health, Reservation
from placement.lifecycle import HOLDING, Phase
from placement.verdict import (
    ConstraintUnmet,
    Decision,
    DeviceMissing,
    KindNotServed,
    NotAllowed,
    PolicyForbids,
    Reason,
    RefusedBySpoke,
    ResourcesShort,
    Waiting,
)
from placement.workload import IfTooLarge, Workload

log = logging.getLogger(__name__)

SHUNNED_FOR = timedelta(minutes=5)
# A refusal mostly means that the hub's numbers were late: the next summary tells how much room there is. One that still
# stands after so long has another cause.
REFUSED_FOR = timedelta(seconds=30)
# A room that is gone for a moment (a pod that starts anew, a report that is late) moves nothing.
PATIENCE = timedelta(seconds=30)

Asked = Callable[[str], Decision | None]  # the last decision about a job that waits


@dataclass(frozen=True, slots=True)
class Outcome:
    standing: WholeStanding
    record: DivisionRecord
    make: Mapping[str, int] = field(default_factory=dict)  # cluster -> replicas
    move: Mapping[str, Job] = field(default_factory=dict)  # cluster -> the part that is to be there instead
    stop: tuple[str, ...] = ()
    resize: frozenset[str] = frozenset()  # parts that are to have another number of replicas
    staying: Mapping[str, Job] = field(default_factory=dict)  # by cluster, the parts that stay where they are
    said: str = ""
    look_again: datetime | None = None


class Shortages:
    """Since when a part has had less room than replicas: only what lasts counts."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], datetime] = {}

    def endured(self, work: str, place: Place, has: int, now: datetime) -> tuple[Place, datetime | None]:
        """The place as it counts, and when it is to be looked at again."""
        key = work, place.cluster
        if place.room >= has:
            self._since.pop(key, None)
            return place, None
        until = self._since.setdefault(key, now) + PATIENCE
        return (place, None) if now >= until else (replace(place, room=has), until)

    def forget(self, work: str) -> None:
        self._since = {key: since for key, since in self._since.items() if key[0] != work}


def decide(whole: Whole, fleet: Fleet, rooms: Rooms, shortages: Shortages, asked: Asked, now: datetime) -> Outcome:
    """`rooms` knows this fleet."""
    work = whole.job
    record = work.division or DivisionRecord(work.workload.pods, False)
    if work.phase is Phase.CANCELLING and not _has_failed(whole):
        return Outcome(standing.of_cancelled(_standings(whole, fleet, asked), work.reason), record)
    record = replace(record, shunned=_shunned(whole, record, asked, now))
    stand = _standings(whole, fleet, asked)
    if work.workload.long_running:
        made = _service(whole, record, stand, fleet, rooms, shortages, now)
    else:
        made = _training(whole, record, stand, fleet, rooms, now)
    moments = [one for one in (made.look_again, *_refused_until(whole, asked, now)) if one is not None]
    return replace(made, look_again=min(moments, default=None))


def plan(workload: Workload, replicas: int, fleet: Fleet, now: datetime) -> PlannedDivision:
    """How it would be divided now."""
    rooms = Rooms()
    rooms.renew(fleet)
    places = rooms.of(workload, fleet, {}, {})
    wish = wish_of(workload, replicas)
    return PlannedDivision(_sound(wish, places, Present(), divide(wish, places, Present(), now)), places)


def wish_of(workload: Workload, replicas: int) -> Wish:
    divided = workload.hints.divide
    assert divided is not None  # noqa: S101  it is a divided work
    return Wish(replicas, divided.by, dict(divided.weights), divided.min_per_region, divided.max_clusters)


# ---- services ----


def _service(
    whole: Whole,
    record: DivisionRecord,
    stand: Sequence[PartStanding],
    fleet: Fleet,
    rooms: Rooms,
    shortages: Shortages,
    now: datetime,
) -> Outcome:
    work = whole.job
    staying = {cluster_of(part): part for part in whole.live if part.phase is not Phase.CANCELLING}
    lost = {cluster for cluster in staying if is_lost(cluster, fleet)}
    there = {cluster: part for cluster, part in staying.items() if cluster not in lost}
    places, moments = _places(whole, record, there, fleet, rooms, shortages, now)
    wish = wish_of(work.workload, record.replicas)
    present = Present({cluster: part.workload.pods for cluster, part in there.items()}, record.changed_at)
    made = _sound(wish, places, present, divide(wish, places, present, now))
    busy = {cluster_of(part) for part in whole.live}
    changed = dict(made.shares) != dict(present.shares)
    after = replace(
        record,
        shares=dict(made.shares),
        wanted=made.wanted,
        reasons=tuple((one.code, one.message) for one in made.reasons),
        changed_at=now if changed and dict(made.shares) != dict(record.shares) else record.changed_at,
    )
    short = "; ".join(one.message for one in made.reasons)
    stands = standing.of_service(made.wanted, stand, short, scaled=record.scaled)
    if (why := _hopeless(whole, after, places, made, now)) is not None:
        stands = WholeStanding(Phase.FAILED, why)
    gone = [part.id for cluster, part in there.items() if cluster not in made.shares]
    # What waits for a lost cluster runs nowhere, and would begin where nobody needs it any more.
    gone += [staying[cluster].id for cluster in lost if staying[cluster].phase is Phase.QUEUED]
    staying_on = {cluster: part for cluster, part in there.items() if cluster in made.shares}
    held = {one.job: one for one in fleet.reservations}
    other = {c: part for c, part in staying_on.items() if _size_of(part, held.get(part.id)) != made.shares[c]}
    for cluster, part in list(other.items()):
        if part.phase in HOLDING and not (record.resizes and _resizes(cluster, fleet)):
            # Its kind has no such number, or its spoke is too old: another part takes its place once it is gone.
            gone.append(part.id)
            del other[cluster], staying_on[cluster]
    return Outcome(
        stands,
        after,
        make={cluster: share for cluster, share in made.shares.items() if cluster not in busy},
        stop=tuple(gone),
        resize=frozenset(part.id for part in other.values()),
        staying=staying_on,
        said=_said(record, after, lost),
        look_again=min((one for one in (made.look_again, *moments) if one is not None), default=None),
    )


def _size_of(part: Job, held: Reservation | None) -> int:
    """What it is to have, as it was told. Where its cluster could not do that, what it has: it is told again."""
    wanted = part.workload.pods
    if held is None or held.epoch != part.epoch or held.settles:
        return wanted
    return held.workload.pods


def _resizes(cluster: str, fleet: Fleet) -> bool:
    known = fleet.clusters.get(cluster)
    return known is not None and known.summary is not None and known.summary.resizes


def _places(
    whole: Whole,
    record: DivisionRecord,
    there: Mapping[str, Job],
    fleet: Fleet,
    rooms: Rooms,
    shortages: Shortages,
    now: datetime,
) -> tuple[tuple[Place, ...], list[datetime | None]]:
    holding = {
        cluster: Holding((part.id, part.epoch), part.workload.pods, part.phase in HOLDING, record.scaled)
        for cluster, part in there.items()
    }
    refused = {cluster: one.why for cluster, one in record.shunned.items()}
    found: list[Place] = []
    moments: list[datetime | None] = [_given_up_at(whole.job), *(one.until for one in record.shunned.values())]
    for place in rooms.of(whole.job.workload, fleet, holding, refused):
        held = holding.get(place.cluster)
        counted, again = shortages.endured(whole.job.id, place, held.replicas if held and held.placed else 0, now)
        found.append(counted)
        moments.append(again)
    return tuple(found), moments


def _sound(wish: Wish, places: Sequence[Place], present: Present, made: Division) -> Division:
    """What breaks a rule is not done: the replicas stay as they are."""
    faults = invariants.check(wish, places, made)
    if not faults:
        return made
    log.error("a division breaks invariants and is dropped: %s", "; ".join(faults))
    return Division(present.shares, wish.replicas)


def _said(before: DivisionRecord, after: DivisionRecord, lost: set[str]) -> str:
    if dict(before.shares) == dict(after.shares):
        return ""
    shares = ", ".join(
        f"{cluster} {share}{_was(before.shares.get(cluster, 0), share)}" for cluster, share in after.shares.items()
    )
    gone = [f"{cluster} none (was {share})" for cluster, share in before.shares.items() if cluster not in after.shares]
    why = f"; {', '.join(sorted(lost))} {'is' if len(lost) == 1 else 'are'} lost" if lost else ""
    return ", ".join(filter(None, (shares, *gone))) + why


def _was(before: int, now: int) -> str:
    return f" (was {before})" if before not in (0, now) else ""


_NEVER = (DeviceMissing, ConstraintUnmet, KindNotServed, NotAllowed, PolicyForbids)


def _hopeless(
    whole: Whole, record: DivisionRecord, places: Sequence[Place], made: Division, now: datetime
) -> str | None:
    """Why it has come to its end without anybody having asked for that."""
    work, hints = whole.job, whole.job.workload.hints
    if made.shares or whole.live:
        return None
    failed = [(cluster, one.why) for cluster, one in record.shunned.items() if one.until is None]
    open_ = [one for one in places if one.cluster not in dict(failed) and not isinstance(one.why, _NEVER)]
    if failed and not open_:
        return "; ".join(f"its part in {cluster} failed: {why}" for cluster, why in failed)
    if hints.if_too_large is IfTooLarge.REJECT and places and all(_takes_none_ever(one) for one in places):
        return "; ".join(one.why.message for one in places if one.why is not None)
    until = _given_up_at(work)
    if until is not None and now >= until:
        return f"given up after {hints.give_up_hours:g} h: " + "; ".join(one.message for one in made.reasons)
    return None


def _takes_none_ever(place: Place) -> bool:
    return isinstance(place.why, _NEVER) or (isinstance(place.why, ResourcesShort) and not place.why.ever)


def _given_up_at(work: Job) -> datetime | None:
    hours = work.workload.hints.give_up_hours
    return None if hours is None or work.phase is not Phase.QUEUED else work.submitted_at + timedelta(hours=hours)


# ---- training ----


def _training(
    whole: Whole,
    record: DivisionRecord,
    stand: Sequence[PartStanding],
    fleet: Fleet,
    rooms: Rooms,
    now: datetime,
) -> Outcome:
    work = whole.job
    if whole.parts:
        stands = standing.of_training(stand, "")
        stop = [part.id for part in whole.live if part.phase is not Phase.CANCELLING] if _has_failed(whole) else []
        move = {} if stop else _elsewhere(whole, record, fleet, rooms, now)
        return Outcome(stands, record, stop=(*stop, *(part.id for part in move.values())), move=move)
    places, moments = _places(whole, record, {}, fleet, rooms, Shortages(), now)
    wish = wish_of(work.workload, record.replicas)
    made = _sound(wish, places, Present(), divide(wish, places, Present(), now))
    short = "; ".join(one.message for one in made.reasons)
    if made.total < made.wanted or not made.shares:
        after = replace(record, wanted=made.wanted, reasons=tuple((one.code, one.message) for one in made.reasons))
        stands = standing.of_training((), short)
        if (why := _hopeless(whole, after, places, Division({}, made.wanted, made.reasons), now)) is not None:
            stands = WholeStanding(Phase.FAILED, why)
        again = min((one for one in moments if one is not None), default=None)
        return Outcome(stands, after, look_again=again)
    after = replace(
        record,
        shares=dict(made.shares),
        wanted=made.wanted,
        reasons=tuple((one.code, one.message) for one in made.reasons),
        changed_at=now,
    )
    return Outcome(standing.of_training((), ""), after, make=dict(made.shares), said=_said(record, after, set()))


def _elsewhere(whole: Whole, record: DivisionRecord, fleet: Fleet, rooms: Rooms, now: datetime) -> dict[str, Job]:
    """Parts that wait for a cluster that is lost, is no more, or refuses them; by the cluster that could take them."""
    stuck = [
        part
        for part in whole.live
        if part.phase is Phase.QUEUED and (is_lost(cluster_of(part), fleet) or cluster_of(part) in record.shunned)
    ]
    if not stuck:
        return {}
    places, _ = _places(whole, record, {}, fleet, rooms, Shortages(), now)
    wish = wish_of(whole.job.workload, record.replicas)
    taken = {cluster_of(part) for part in whole.parts}
    free = [one for one in places if one.cluster not in taken and wish.weight_of(one.cluster) > 0]
    found: dict[str, Job] = {}
    for part in stuck:
        able = [one for one in free if one.room >= part.workload.pods and one.cluster not in found]
        if able:
            best = min(able, key=lambda one: (-wish.weight_of(one.cluster), one.usd_per_hour, one.cluster))
            found[best.cluster] = part
    return found


# ---- both ----


def _has_failed(whole: Whole) -> bool:
    return not whole.job.workload.long_running and any(part.phase is Phase.FAILED for part in whole.parts)


def is_lost(cluster: str, fleet: Fleet) -> bool:
    known = fleet.clusters.get(cluster)
    return known is None or known.health is Health.LOST


def _standings(whole: Whole, fleet: Fleet, asked: Asked) -> list[PartStanding]:
    return [
        PartStanding(
            cluster_of(part),
            part.workload.pods,
            sum(one.ready for one in part.roles),
            part.phase,
            "; ".join(one.message for one in _why(part, asked)) or part.reason,
            away=is_lost(cluster_of(part), fleet),
        )
        for part in whole.parts
    ]


def _shunned(whole: Whole, record: DivisionRecord, asked: Asked, now: datetime) -> dict[str, Shunned]:
    """Those that still are; with clusters whose part failed, and those that refuse one that waits for them."""
    found = {name: one for name, one in record.shunned.items() if one.until is None or one.until > now}
    for part in whole.parts:
        cluster = cluster_of(part)
        if part.phase is Phase.FAILED:
            found[cluster] = Shunned(part.reason)
        elif part.phase is Phase.QUEUED and now - part.submitted_at >= REFUSED_FOR and cluster not in found:
            refusals = [one.detail for one in _why(part, asked) if isinstance(one, RefusedBySpoke)]
            if refusals:
                found[cluster] = Shunned(refusals[0], now + SHUNNED_FOR)
    return found


def _refused_until(whole: Whole, asked: Asked, now: datetime) -> list[datetime | None]:
    """When those that are refused now are to be looked at again."""
    waiting = [part for part in whole.live if part.phase is Phase.QUEUED and now - part.submitted_at < REFUSED_FOR]
    refused = [part for part in waiting if any(isinstance(one, RefusedBySpoke) for one in _why(part, asked))]
    return [part.submitted_at + REFUSED_FOR for part in refused]


def _why(part: Job, asked: Asked) -> list[Reason]:
    """What its cluster says to a part that waits for it; of others it has nothing to hope for."""
    decision = asked(part.id)
    if decision is None or not isinstance(decision.verdict, Waiting):
        return []
    return [reason for one in decision.candidates if one.cluster == cluster_of(part) for reason in one.reasons]
