"""What every division must keep to, checked by eyes that do not know how it was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from placement.division.values import Division, Place, Wish
from placement.workload import DivideBy


def check(wish: Wish, places: Sequence[Place], made: Division) -> tuple[str, ...]:
    return tuple(_faults(wish, {one.cluster: one for one in places}, made))


def _faults(wish: Wish, places: dict[str, Place], made: Division) -> Iterator[str]:
    for cluster, share in made.shares.items():
        place = places.get(cluster)
        if share < 1:
            yield f"{cluster} has a share of {share}"
        elif place is None:
            yield f"{cluster} is no cluster"
        elif share > max(place.room, place.keeps):
            yield f"{cluster} has room for {place.room} and a share of {share}"
        elif not place.keeps and wish.weights and not wish.weights.get(cluster):
            yield f"{cluster} is not among the weights"
    for place in places.values():
        if made.shares.get(place.cluster, 0) < place.keeps:
            yield f"{place.cluster} keeps {place.keeps} and has {made.shares.get(place.cluster, 0)}"
    kept = sum(1 for place in places.values() if place.keeps)
    if wish.max_clusters is not None and len(made.shares) > max(wish.max_clusters, kept):
        yield f"{len(made.shares)} clusters, at most {wish.max_clusters} were asked for"
    if wish.by is DivideBy.DUPLICATE:
        if any(share > wish.replicas and not places[name].keeps for name, share in made.shares.items()):
            yield f"a cluster has more than the {wish.replicas} that each is to have"
        return
    keeps = sum(place.keeps for place in places.values())
    if made.total > max(wish.replicas, keeps):
        yield f"{made.total} replicas, {wish.replicas} were asked for"
    open_ = [one for one in places.values() if one.room > 0 and (not wish.weights or wish.weights.get(one.cluster))]
    if made.total < wish.replicas and wish.max_clusters is None and sum(one.room for one in open_) >= wish.replicas:
        yield f"{made.total} of {wish.replicas} replicas have a place, and there is room for all"
    if made.total < wish.replicas and not made.reasons:
        yield "replicas are without a place, and nobody says why"
    yield from _regions(wish, open_, made, keeps)


def _regions(wish: Wish, open_: Sequence[Place], made: Division, keeps: int) -> Iterator[str]:
    """Each region has its minimum where the wish is large enough for all of them."""
    if not wish.min_per_region or wish.max_clusters is not None or keeps:
        return
    able = {
        region: min(wish.min_per_region, sum(one.room for one in open_ if one.region == region))
        for region in {one.region for one in open_}
    }
    if sum(able.values()) > wish.replicas:
        return
    for region, least in able.items():
        has = sum(made.shares.get(one.cluster, 0) for one in open_ if one.region == region)
        if has < least:
            yield f"region {region} has {has} and could have {least}"
