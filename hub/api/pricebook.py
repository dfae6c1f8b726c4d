"""The price book as people write it: YAML or JSON text to `placement.money.PriceBook` and back.

prices:
  - {cluster: cloud-b, product: NVIDIA-H100-80GB-HBM3, on_demand: 4.1, spot: 1.9, spot_interruptions_per_hour: 0.05}
  - {cluster: onprem-a, amortised: {usd_per_card: 25000, years: 4, utilisation: 0.7, watts: 700, usd_per_kwh: 0.12}}
usd_per_cpu_hour: 0.04
public: [cloud-b]
transfers:
  routes: [{source: us-east, target: "*", usd_per_gb: 0.09, gbit_per_s: 2}]

An entry without `product` is for every other device of its cluster. The same mapping is the `spec` of kind PriceBook.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError

from hub.api import field_errors
from hub.api.schemas import AmortisedDoc, DefaultPrice, PriceBookDoc, PriceEntry, RouteDoc, RouteEntry, TransfersDoc
from placement.amortised import Amortised
from placement.kinds import documents
from placement.kinds.fields import join
from placement.kinds.problems import ManifestError, Problem
from placement.money import Price, PriceBook
from placement.transfers import Route, Transfers

KIND = "PriceBook"
DECLARED = frozenset({"apiVersion", "kind", "metadata", "spec"})  # the fields around a declared book


def parse(text: bytes) -> PriceBook:
    """Raises ManifestError, with every problem found; nothing of the book counts then."""
    bodies = documents.parse(text) if text.strip() else ()
    if len(bodies) != 1:
        raise _wrong("", f"there are {len(bodies)} documents, not one", "give one mapping with the key prices")
    body, root = _unwrapped(bodies[0])
    try:
        doc = PriceBookDoc.model_validate(body)
    except ValidationError as error:
        raise ManifestError(field_errors.problems(error, 1, root, PriceBookDoc.model_fields)) from error
    if found := problems(doc, 1, root):
        raise ManifestError(found)
    return read(doc)


def problems(doc: PriceBookDoc, document: int, root: str) -> list[Problem]:
    """What fields by themselves do not tell: entries that are doubled, or that name no price or two."""
    found = [*_unpriced(doc), *_doubled_entries(doc), *_doubled_names(doc)]
    return [Problem(document, f"{root}.{path}" if root else path, message, mend) for path, message, mend in found]


def read(doc: PriceBookDoc) -> PriceBook:
    """Of a document without problems."""
    plain, moves = PriceBook(), doc.transfers
    return PriceBook(
        prices={(entry.cluster, entry.product): price_of(entry) for entry in doc.prices},
        usd_per_cpu_hour=doc.usd_per_cpu_hour,
        default=plain.default if doc.default is None else _rented(doc.default, doc.default.on_demand),
        transfers=Transfers(
            {(one.source, one.target): _route(one) for one in moves.routes},
            plain.transfers.within if moves.within is None else _route(moves.within),
            plain.transfers.default if moves.default is None else _route(moves.default),
        ),
        public=frozenset(doc.public),
        regions=frozenset(doc.regions),
    )


def price_of(entry: PriceEntry) -> Price:
    if entry.amortised is None:
        return _rented(entry, entry.on_demand or 0.0)
    own = Amortised(**entry.amortised.model_dump())
    return Price(own.usd_per_gpu_hour, entry.spot, entry.spot_interruptions_per_hour, own)


def render(book: PriceBook) -> PriceBookDoc:
    moves = book.transfers
    return PriceBookDoc(
        prices=[_entry(*key, price) for key, price in sorted(book.prices.items())],
        usd_per_cpu_hour=book.usd_per_cpu_hour,
        default=DefaultPrice(
            on_demand=book.default.on_demand_usd_per_gpu_hour,
            spot=book.default.spot_usd_per_gpu_hour,
            spot_interruptions_per_hour=book.default.spot_interruptions_per_hour,
        ),
        public=sorted(book.public),
        transfers=TransfersDoc(
            routes=[
                RouteEntry(source=source, target=target, **asdict(route))
                for (source, target), route in sorted(moves.routes.items())
            ],
            within=RouteDoc(**asdict(moves.within)),
            default=RouteDoc(**asdict(moves.default)),
        ),
        regions=sorted(book.regions),
    )


def _unwrapped(body: Mapping[str, Any]) -> tuple[Any, str]:
    """What `muster apply` takes is taken here too."""
    if body.get("kind") == KIND and body.keys() <= DECLARED:
        return body.get("spec") or {}, "spec"
    return body, ""


def _unpriced(doc: PriceBookDoc) -> Iterator[tuple[str, str, str]]:
    for index, entry in enumerate(doc.prices):
        at = f"prices[{index}]"
        own = entry.amortised
        if own is None and entry.on_demand is None:
            yield f"{at}.on_demand", "is missing", "give dollars per GPU-hour, or amortised"
        elif own is not None and entry.on_demand is not None:
            makes = Amortised(**own.model_dump()).usd_per_gpu_hour
            yield f"{at}.on_demand", f"is {entry.on_demand:g}, and amortised makes it {makes:.4f}", "keep one of them"
        if own is not None and own.residual_usd > own.usd_per_card:
            said = f"{own.residual_usd:g} is more than usd_per_card, {own.usd_per_card:g}"
            yield f"{at}.amortised.residual_usd", said, "give what it is sold for in the end"


def _doubled_entries(doc: PriceBookDoc) -> Iterator[tuple[str, str, str]]:
    for index in _doubled((entry.cluster, entry.product) for entry in doc.prices):
        entry = doc.prices[index]
        yield f"prices[{index}]", f"{entry.cluster} {entry.product} is priced twice", "leave one of the entries out"
    for index in _doubled((one.source, one.target) for one in doc.transfers.routes):
        one = doc.transfers.routes[index]
        said = f"the route from {one.source} to {one.target} is named twice"
        yield f"transfers.routes[{index}]", said, "leave one of them out"


def _doubled_names(doc: PriceBookDoc) -> Iterator[tuple[str, str, str]]:
    for field, names in (("public", doc.public), ("regions", doc.regions)):
        for index in _doubled(names):
            yield join(field, index), f"{names[index]!r} is named twice", "leave one of them out"


def _doubled(keys: Iterable[Hashable]) -> Iterator[int]:
    """Where a key is that was there before."""
    seen: set[Hashable] = set()
    for index, key in enumerate(keys):
        if key in seen:
            yield index
        seen.add(key)


def _entry(cluster: str, product: str, price: Price) -> PriceEntry:
    own = price.amortised
    return PriceEntry(
        cluster=cluster,
        product=product,
        on_demand=None if own is not None else price.on_demand_usd_per_gpu_hour,
        amortised=None if own is None else AmortisedDoc(**asdict(own)),
        spot=price.spot_usd_per_gpu_hour,
        spot_interruptions_per_hour=price.spot_interruptions_per_hour,
    )


def _rented(entry: PriceEntry | DefaultPrice, on_demand: float) -> Price:
    return Price(on_demand, entry.spot, entry.spot_interruptions_per_hour)


def _route(doc: RouteDoc) -> Route:
    return Route(doc.usd_per_gb, doc.gbit_per_s)


def _wrong(path: str, message: str, mend: str) -> ManifestError:
    return ManifestError([Problem(1 if path else 0, path, message, mend)])
