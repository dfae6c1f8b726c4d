"""How many replicas each cluster gets: first what the wish would have if nothing ran yet, then the way there.

What must change changes at once, with as few moves as possible: a share beyond its cluster's room, replicas that have
no place, a region without its minimum, a sum that is wrong. What would merely be better waits until the last change is
`REST` ago, and is done only where it is worth it (`_is_worth`): rooms and prices change all the time, and a service
whose replicas follow each of them is always starting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from placement.division.apportion import Bounds, apportion
from placement.division.values import Division, NoSuchCluster, Place, Present, RegionShort, TooFewPlaces, Wish
from placement.verdict import Reason
from placement.workload import DivideBy

REST = timedelta(minutes=5)
UNEVEN = 0.25  # of the replicas would have to move, for evenness alone
CHEAPER = 0.1  # of what all replicas cost

_Shares = dict[str, int]


def divide(wish: Wish, places: Sequence[Place], present: Present, now: datetime) -> Division:
    open_ = {one.cluster: one for each in places if (one := _held_to(wish, each)).room > 0}
    chosen = _chosen(wish, open_, present.shares)
    if wish.by is DivideBy.DUPLICATE:
        wanted = wish.replicas * len(chosen)
        shares = {name: max(min(wish.replicas, one.room), one.keeps) for name, one in chosen.items()}
        return _division(wish, wanted or wish.replicas, shares, places, None)
    floors, short = _floors(wish, chosen)
    best = _best(wish, chosen, floors)
    needed = _nearest(best, {name: (floors[name], one.room) for name, one in chosen.items()}, present.shares)
    shares, look_again = needed, None
    if needed != best and _is_worth(wish, needed, best, chosen):
        rested = present.changed_at is None or now - present.changed_at >= REST
        if rested:
            shares = best
        elif present.changed_at is not None:
            look_again = present.changed_at + REST
    return _division(wish, wish.replicas, shares, places, look_again, short)


def _held_to(wish: Wish, place: Place) -> Place:
    """What the weights leave out gets no more than it keeps."""
    room = place.room if wish.weight_of(place.cluster) > 0 else 0
    return replace(place, room=max(room, place.keeps))


# ---- which clusters ----


def _chosen(wish: Wish, open_: Mapping[str, Place], present: Mapping[str, int]) -> dict[str, Place]:
    """No more than `max_clusters`: those that have replicas already stay, unless others hold more of the wish."""
    most = wish.max_clusters
    if most is None or len(open_) <= most:
        return dict(open_)
    staying = [name for name, one in open_.items() if one.keeps > 0]
    free = max(most - len(staying), 0)
    others = [name for name in open_ if name not in staying]

    def preference(name: str) -> tuple[object, ...]:
        return (present.get(name, 0) == 0, *_order(wish, open_[name]))

    def roomiest(name: str) -> tuple[object, ...]:
        return (-open_[name].room, *preference(name))

    liked = sorted(others, key=preference)[:free]
    held = sum(min(open_[name].room, wish.replicas) for name in (*staying, *liked))
    if held < wish.replicas or not _serves_regions(wish, open_, (*staying, *liked)):
        liked = _roomiest_of_regions(wish, open_, sorted(others, key=roomiest), free)
    return {name: open_[name] for name in open_ if name in {*staying, *liked}}


def _order(wish: Wish, place: Place) -> tuple[object, ...]:
    match wish.by:
        case DivideBy.PRICE:
            return place.usd_per_hour, place.cluster
        case DivideBy.WEIGHTS:
            return -wish.weight_of(place.cluster), -place.room, place.cluster
        case _:
            return -place.room, place.cluster


def _serves_regions(wish: Wish, open_: Mapping[str, Place], names: Sequence[str]) -> bool:
    if not wish.min_per_region:
        return True
    regions = {one.region for one in open_.values()}
    return len({open_[name].region for name in names}) >= min(len(regions), len(names))


def _roomiest_of_regions(wish: Wish, open_: Mapping[str, Place], ordered: Sequence[str], free: int) -> list[str]:
    """The first of each region before the others, where regions count."""
    first: dict[str, str] = {}
    if wish.min_per_region:
        for name in ordered:
            first.setdefault(open_[name].region, name)
    return [*first.values(), *(name for name in ordered if name not in first.values())][:free]


# ---- the least of each region ----


def _floors(wish: Wish, chosen: Mapping[str, Place]) -> tuple[_Shares, dict[str, int]]:
    """What each cluster has at least; and of regions that get less than their minimum because the wish is too small
    for all, how much they were to have."""
    floors = {name: one.keeps for name, one in chosen.items()}
    left = wish.replicas - sum(floors.values())
    short: dict[str, int] = {}
    if not wish.min_per_region:
        return floors, short
    regions: dict[str, list[Place]] = {}
    for one in sorted(chosen.values(), key=lambda one: _order(wish, one)):
        regions.setdefault(one.region, []).append(one)
    # One replica for each region before the second for any.
    for so_many in range(1, min(wish.min_per_region, wish.replicas) + 1):
        for region, members in regions.items():
            has = sum(floors[one.cluster] for one in members)
            able = [one for one in members if one.room > floors[one.cluster]]
            if has >= so_many or not able:
                continue
            if left <= 0:
                short[region] = wish.min_per_region
                continue
            theirs = {one.cluster: one for one in members}
            got = _best(wish, theirs, {name: floors[name] for name in theirs}, has + 1)
            floors.update(got)
            left -= 1
    return floors, short


# ---- the best, and the nearest to what there is ----


def _best(wish: Wish, chosen: Mapping[str, Place], floors: _Shares, total: int | None = None) -> _Shares:
    """As if nothing ran yet."""
    total = wish.replicas if total is None else total
    if wish.by is DivideBy.PRICE:
        shares = dict(floors)
        left = total - sum(shares.values())
        for one in sorted(chosen.values(), key=lambda one: _order(wish, one)):
            more = max(min(one.room - shares[one.cluster], left), 0)
            shares[one.cluster] += more
            left -= more
        return shares
    return apportion(
        total,
        {
            name: Bounds(one.room if wish.by is DivideBy.FREE else wish.weight_of(name), floors[name], one.room)
            for name, one in chosen.items()
        },
    )


def _nearest(best: _Shares, bounds: Mapping[str, tuple[int, int]], present: Mapping[str, int]) -> _Shares:
    """The fewest moves from `present` that end within the bounds and with the sum of `best`, all towards `best`."""
    shares = {name: min(max(present.get(name, 0), least), most) for name, (least, most) in bounds.items()}
    missing = sum(best.values()) - sum(shares.values())
    step = 1 if missing > 0 else -1
    away = {name: max(step * (best[name] - shares[name]), 0) for name in shares}
    moved = apportion(abs(missing), {name: Bounds(far, 0, far) for name, far in away.items()})
    return {name: share + step * moved[name] for name, share in shares.items()}


def _is_worth(wish: Wish, needed: _Shares, best: _Shares, chosen: Mapping[str, Place]) -> bool:
    moved = sum(max(best[name] - needed[name], 0) for name in best)
    match wish.by:
        case DivideBy.PRICE:
            costs, would = (sum(n * chosen[name].usd_per_hour for name, n in one.items()) for one in (needed, best))
            return would < costs * (1 - CHEAPER)
        case DivideBy.FREE:
            return moved >= max(1.0, UNEVEN * wish.replicas)
        case _:
            return moved > 0


# ---- in words ----


def _division(
    wish: Wish,
    wanted: int,
    shares: _Shares,
    places: Sequence[Place],
    look_again: datetime | None,
    short: Mapping[str, int] | None = None,
) -> Division:
    given = {name: share for name, share in sorted(shares.items()) if share > 0}
    return Division(given, wanted, tuple(_reasons(wish, wanted, given, places, short or {})), look_again)


def _reasons(
    wish: Wish, wanted: int, shares: Mapping[str, int], places: Sequence[Place], short: Mapping[str, int]
) -> Iterator[Reason]:
    if unknown := sorted(wish.weights.keys() - {one.cluster for one in places}):
        yield NoSuchCluster(tuple(unknown))
    found = sum(shares.values())
    if found < wanted:
        left_out = tuple(
            one.why.message
            for one in sorted(places, key=lambda one: one.cluster)
            if one.why is not None and one.cluster not in shares and wish.weight_of(one.cluster) > 0
        )
        yield TooFewPlaces(wanted, found, tuple(shares.items()), left_out)
    if not wish.min_per_region:
        return
    regions = {one.region for one in places if wish.weight_of(one.cluster) > 0}
    for region in sorted(regions):
        members = [one for one in places if one.region == region and wish.weight_of(one.cluster) > 0]
        has = sum(shares.get(one.cluster, 0) for one in members)
        if has < wish.min_per_region and wish.by is not DivideBy.DUPLICATE:
            room = sum(one.room for one in members)
            because = f"its clusters have room for {room}"
            if room > has:
                because = (
                    f"{wish.replicas} replicas are not enough for all regions"
                    if region in short
                    else f"at most {wish.max_clusters} clusters"
                )
            yield RegionShort(region, wish.min_per_region, has, because)
