"""The price book as a whole: read by everybody, replaced by admins, at work from the next decision on.

A region that nobody knows is most likely misspelt, and its route would never be used: it is refused. A cluster that is
not there may still come, and its price waits for it: that is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hub.errors import Invalid
from hub.federation import Federation
from hub.records import Actor
from hub.roles import admins_only
from hub.store import prices
from hub.store.store import Store
from placement.kinds.problems import Problem, did_you_mean
from placement.money import PriceBook
from placement.transfers import ANY_REGION


class Prices:
    def __init__(self, store: Store, federation: Federation) -> None:
        self._store = store
        self._federation = federation

    async def book(self, actor: Actor) -> PriceBook:
        return self._federation.prices

    async def check(self, actor: Actor, book: PriceBook) -> tuple[str, ...]:
        """What `replace` would say of it; nothing is changed. Raises Forbidden, Invalid."""
        admins_only(actor, "change prices")
        if found := list(_unknown_regions(book, self._known_regions(book))):
            raise Invalid(
                f"{found[0].path}: {found[0].message}", code="invalid-prices", mend=found[0].mend, problems=found
            )
        return tuple(_doubts(book, self._federation.fleet().clusters.keys()))

    async def replace(self, actor: Actor, book: PriceBook, *, regions_may_come: bool = False) -> tuple[str, ...]:
        """Answers warnings. Raises Forbidden, Invalid; with `regions_may_come` unknown regions are warnings too."""
        admins_only(actor, "change prices")
        unknown: list[Problem] = []
        if regions_may_come:
            unknown = list(_unknown_regions(book, self._known_regions(book)))
        else:
            await self.check(actor, book)
        await self._store.write(lambda session: prices.replace(session, book))
        doubts = _doubts(book, self._federation.fleet().clusters.keys())
        return (*(f"{one.path}: {one.message}" for one in unknown), *doubts)

    def _known_regions(self, book: PriceBook) -> set[str]:
        """A route that was let in once stays, also where its cluster has left."""
        there = {cluster.region for cluster in self._federation.fleet().clusters.values()}
        kept = {region for route in self._federation.prices.transfers.routes for region in route}
        return {ANY_REGION, *there, *kept, *book.regions} - {""}


def _unknown_regions(book: PriceBook, known: set[str]) -> Iterator[Problem]:
    named = ", ".join(sorted(known - {ANY_REGION})) or "none"
    for source, target in sorted(book.transfers.routes):
        for field, region in (("source", source), ("target", target)):
            if region not in known:
                close = did_you_mean(region, known)
                mend = f"did you mean {close}? Else" if close else f"known are: {named};"
                path = f"transfers.routes[{source} to {target}].{field}"
                message = f"no cluster is in a region {region!r}"
                yield Problem(0, path, message, f"{mend} name it under regions too, if it is one without clusters")


def _doubts(book: PriceBook, clusters: Iterable[str]) -> Iterator[str]:
    there = frozenset(clusters)
    priced = {cluster for cluster, _ in book.prices}
    for cluster in sorted(priced - there):
        yield f"there is no cluster {cluster} yet: its prices wait for it{_near(cluster, there)}"
    for cluster in sorted(book.public - there - priced):
        yield f"public names {cluster}, and there is no such cluster yet{_near(cluster, there)}"
    for (cluster, product), price in sorted(book.prices.items()):
        spot = price.spot_usd_per_gpu_hour
        if spot is not None and spot > price.on_demand_usd_per_gpu_hour:
            on_demand = price.on_demand_usd_per_gpu_hour
            yield f"{cluster} {product}: spot ({spot:g}) costs more than on demand ({on_demand:g}) and is never taken"


def _near(name: str, known: frozenset[str]) -> str:
    close = did_you_mean(name, known)
    return f" (did you mean {close}?)" if close else ""
