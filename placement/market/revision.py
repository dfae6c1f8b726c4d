"""A price book with quotes put into it, and what that changes: shown before anybody says yes to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from placement.market.quotes import Quote
from placement.money import Price, PriceBook


@dataclass(frozen=True, slots=True)
class Change:
    """Of one cluster's price of one product; `before` is None where it has none of its own yet."""

    cluster: str
    product: str
    before: Price | None
    after: Price
    quote: Quote

    @property
    def by_percent(self) -> float | None:
        """Of the price on demand."""
        if self.before is None or self.before.on_demand_usd_per_gpu_hour <= 0:
            return None
        return (self.after.on_demand_usd_per_gpu_hour / self.before.on_demand_usd_per_gpu_hour - 1) * 100

    @property
    def is_none(self) -> bool:
        return self.before == self.after


def changes(
    book: PriceBook, quoted: Mapping[str, Mapping[str, Quote]], interruptions_per_hour: float | None = None
) -> tuple[Change, ...]:
    """`quoted`: by cluster and product. A catalogue does not say how often spot is taken away: what the book says
    stays, unless `interruptions_per_hour` is given."""
    return tuple(
        Change(cluster, product, before, _price(before, quote, interruptions_per_hour), quote)
        for cluster, by_product in sorted(quoted.items())
        for product, quote in sorted(by_product.items())
        for before in (book.prices.get((cluster, product)),)
    )


def revised(book: PriceBook, made: Iterable[Change], public: Iterable[str] = ()) -> PriceBook:
    """Everything else stays."""
    prices = {**book.prices, **{(one.cluster, one.product): one.after for one in made}}
    return replace(book, prices=prices, public=book.public | frozenset(public))


def _price(before: Price | None, quote: Quote, interruptions_per_hour: float | None) -> Price:
    often = interruptions_per_hour
    if often is None:
        often = before.spot_interruptions_per_hour if before is not None else 0.0
    spot = quote.spot_usd_per_gpu_hour
    return Price(
        on_demand_usd_per_gpu_hour=round(quote.on_demand_usd_per_gpu_hour or 0.0, 6),
        spot_usd_per_gpu_hour=None if spot is None else round(spot, 6),
        spot_interruptions_per_hour=often if spot is not None else 0.0,
    )
