"""Prices as the hub knows them: dollars per GPU-hour by cluster and product, on demand and spot, rented or own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from placement.amortised import Amortised
from placement.transfers import Transfers


@dataclass(frozen=True, slots=True)
class Price:
    on_demand_usd_per_gpu_hour: float
    spot_usd_per_gpu_hour: float | None = None
    spot_interruptions_per_hour: float = 0.0
    amortised: Amortised | None = None  # where the price on demand was computed from a purchase: from this one

    @classmethod
    def of_own(cls, amortised: Amortised) -> Price:
        return cls(amortised.usd_per_gpu_hour, amortised=amortised)


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Keyed by (cluster, product); the product `*` is the cluster's price for every other device."""

    prices: Mapping[tuple[str, str], Price] = field(default_factory=dict)
    usd_per_cpu_hour: float = 0.04  # CPU-only pods, where a cluster names no price of its own
    default: Price = Price(on_demand_usd_per_gpu_hour=2.0)  # a cluster nobody priced: shown as such in the terms
    transfers: Transfers = field(default_factory=Transfers)  # what data costs from region to region
    public: frozenset[str] = frozenset()  # clusters that a queue may have to wait for (`placement.bursting`)
    regions: frozenset[str] = frozenset()  # regions of routes in which there is no cluster: of a data store, or to come

    def price_of(self, cluster: str, product: str) -> tuple[Price, bool]:
        """The price and whether anybody set it."""
        for key in ((cluster, product), (cluster, "*")):
            if key in self.prices:
                return self.prices[key], True
        return self.default, False
