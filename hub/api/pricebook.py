"""The price book as people write it: YAML or JSON text to `placement.money.PriceBook` and back.

prices:
  - {cluster: cloud-b, product: NVIDIA-H100-80GB-HBM3, on_demand: 4.1, spot: 1.9, spot_interruptions_per_hour: 0.05}
  - {cluster: onprem-a, on_demand: 1.2}       # no product: every device of that cluster
usd_per_cpu_hour: 0.04
"""

from __future__ import annotations

from functools import reduce

from pydantic import ValidationError

from hub.api.schemas import DefaultPrice, PriceBookDoc, PriceEntry
from placement.kinds import documents
from placement.kinds.fields import join
from placement.kinds.problems import ManifestError, Problem
from placement.money import Price, PriceBook


def parse(text: bytes) -> PriceBook:
    """Raises ManifestError, with every problem found; nothing of the book counts then."""
    bodies = documents.parse(text) if text.strip() else ()
    if len(bodies) != 1:
        raise _wrong("", f"there are {len(bodies)} documents, not one", "give one mapping with the key prices")
    try:
        doc = PriceBookDoc.model_validate(bodies[0])
    except ValidationError as error:
        raise ManifestError(
            [
                Problem(1, reduce(join, found["loc"], ""), *_sentence(found["type"], found["msg"]))
                for found in error.errors(include_url=False)
            ]
        ) from error
    return _book(doc)


def render(book: PriceBook) -> PriceBookDoc:
    return PriceBookDoc(
        prices=[
            PriceEntry(
                cluster=cluster,
                product=product,
                on_demand=price.on_demand_usd_per_gpu_hour,
                spot=price.spot_usd_per_gpu_hour,
                spot_interruptions_per_hour=price.spot_interruptions_per_hour,
            )
            for (cluster, product), price in sorted(book.prices.items())
        ],
        usd_per_cpu_hour=book.usd_per_cpu_hour,
        default=DefaultPrice(
            on_demand=book.default.on_demand_usd_per_gpu_hour,
            spot=book.default.spot_usd_per_gpu_hour,
            spot_interruptions_per_hour=book.default.spot_interruptions_per_hour,
        ),
    )


def _book(doc: PriceBookDoc) -> PriceBook:
    prices: dict[tuple[str, str], Price] = {}
    for index, entry in enumerate(doc.prices):
        key = (entry.cluster, entry.product)
        if key in prices:
            raise _wrong(
                f"prices[{index}]", f"{entry.cluster} {entry.product} is priced twice", "leave one of the entries out"
            )
        prices[key] = _price(entry)
    default = PriceBook().default if doc.default is None else _price(doc.default)
    return PriceBook(prices=prices, usd_per_cpu_hour=doc.usd_per_cpu_hour, default=default)


def _price(entry: PriceEntry | DefaultPrice) -> Price:
    return Price(
        on_demand_usd_per_gpu_hour=entry.on_demand,
        spot_usd_per_gpu_hour=entry.spot,
        spot_interruptions_per_hour=entry.spot_interruptions_per_hour,
    )


def _sentence(kind: str, message: str) -> tuple[str, str]:
    if kind == "extra_forbidden":
        return (
            "this field is not known",
            "as `muster price show -o yaml` prints them",
        )
    return message, "give it" if kind == "missing" else "mend the value"


def _wrong(path: str, message: str, mend: str) -> ManifestError:
    return ManifestError([Problem(1 if path else 0, path, message, mend)])
