"""The cheapest hour of one card, by region and product, from what machines cost.

A card costs its machine's price by the number of its cards, so cores and memory around it are in its price. The
cheapest machine and zone of the region count, on demand and on spot each for itself. Machines with a part of a card
only are passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from placement.market.accelerators import product_of
from placement.market.listing import Listed
from placement.market.machines import around


@dataclass(frozen=True, slots=True)
class Quote:
    on_demand_usd_per_gpu_hour: float | None = None
    spot_usd_per_gpu_hour: float | None = None
    machine: str = ""  # whose price on demand it is; "" where the file names none
    apart: bool = False  # the card alone: what its machine costs is not in it

    def cheaper(self, other: Quote) -> Quote:
        """The better of each price."""
        mine, theirs = self.on_demand_usd_per_gpu_hour, other.on_demand_usd_per_gpu_hour
        first = other if mine is None or (theirs is not None and theirs < mine) else self
        return Quote(
            first.on_demand_usd_per_gpu_hour,
            _least((self.spot_usd_per_gpu_hour, other.spot_usd_per_gpu_hour)),
            first.machine,
            first.apart,
        )


@dataclass(frozen=True, slots=True)
class Quotes:
    by_product: Mapping[str, Quote]
    unknown: Mapping[str, int] = field(default_factory=dict)  # accelerators that no product is known for -> lines

    def of(self, products: Collection[str]) -> Quotes:
        """Those of these products only."""
        return Quotes({name: quote for name, quote in self.by_product.items() if name in products}, self.unknown)


def quotes(
    lines: Iterable[Listed],
    place: str,
    cloud: str,
    present: Collection[str] = (),
    named: Mapping[str, str] | None = None,
) -> Quotes:
    """Of one region or zone. `present`: products of the cluster there; `named`: products of accelerators, by hand."""
    here = [one for one in lines if place in (one.region, one.zone)]
    by_hand = {name.casefold(): product for name, product in (named or {}).items()}
    machines = {(one.machine, one.zone): one for one in here if one.machine and not one.accelerator}
    found: dict[str, Quote] = {}
    unknown: Counter[str] = Counter()
    for one in here:
        if not one.accelerator or one.count < 1:
            continue
        product = by_hand.get(one.accelerator.casefold()) or product_of(
            one.accelerator, one.memory_gib, one.words, present
        )
        if product is None:
            unknown[one.accelerator] += 1
            continue
        quote = _quote(one, cloud, machines)
        found[product] = found[product].cheaper(quote) if product in found else quote
    return Quotes(
        {name: quote for name, quote in sorted(found.items()) if quote.on_demand_usd_per_gpu_hour is not None},
        dict(sorted(unknown.items())),
    )


def _quote(one: Listed, cloud: str, machines: Mapping[tuple[str, str], Listed]) -> Quote:
    on_demand, spot, machine = one.usd_per_hour, one.spot_usd_per_hour, one.machine
    names = () if machine else around(cloud, one.accelerator, one.count)
    if names:
        there = [machines[name, one.zone] for name in names if (name, one.zone) in machines]
        host = min(there, key=lambda each: inf if each.usd_per_hour is None else each.usd_per_hour, default=None)
        # Without its machine it cannot be had there.
        machine = "" if host is None else host.machine
        on_demand = None if host is None else _sum(on_demand, host.usd_per_hour)
        spot = None if host is None else _sum(spot, host.spot_usd_per_hour)
    return Quote(
        None if on_demand is None else on_demand / one.count,
        None if spot is None else spot / one.count,
        machine,
        apart=not one.machine and not names,
    )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _least(amounts: Iterable[float | None]) -> float | None:
    return min((amount for amount in amounts if amount is not None), default=None)
