"""Any price book, written as people write it and read again, is the same."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from hub.api import declared, pricebook
from hub.api.schemas import PriceBookDoc
from placement.amortised import Amortised
from placement.money import Price, PriceBook
from placement.transfers import Route, Transfers

NAMES = st.sampled_from(["onprem-a", "cloud-b", "edge-c", "*", "on", "1e3", "null"])
PRODUCTS = st.sampled_from(["NVIDIA-H100-80GB-HBM3", "Tesla-T4", "*", "cpu", "habana.ai/gaudi"])
USD = st.floats(0, 1e5, allow_nan=False)
OWN = st.builds(
    Amortised,
    usd_per_card=st.floats(1, 1e6),
    years=st.floats(0.1, 20),
    utilisation=st.floats(0.01, 1),
    watts=st.floats(0, 2000),
    idle_watts=st.floats(0, 500),
    usd_per_kwh=st.floats(0, 2),
    pue=st.floats(1, 3),
    usd_per_card_year=st.floats(0, 1e4),
    residual_usd=st.floats(0, 1),
)
RENTED = st.builds(Price, USD, st.none() | USD, st.floats(0, 100))
ROUTE = st.builds(Route, st.floats(0, 10), st.floats(0.001, 1e4))
BOOKS = st.builds(
    PriceBook,
    prices=st.dictionaries(st.tuples(NAMES, PRODUCTS), RENTED | st.builds(Price.of_own, OWN), max_size=8),
    usd_per_cpu_hour=USD,
    default=RENTED,
    transfers=st.builds(Transfers, st.dictionaries(st.tuples(NAMES, NAMES), ROUTE, max_size=6), ROUTE, ROUTE),
    public=st.frozensets(NAMES, max_size=3),
    regions=st.frozensets(NAMES, max_size=3),
)


@given(BOOKS)
def test_as_json_and_as_yaml_and_declared(book: PriceBook) -> None:
    doc = pricebook.render(book)
    assert pricebook.parse(doc.model_dump_json().encode()) == book
    shown = yaml.safe_dump(doc.model_dump(mode="json", exclude_none=True)).encode()
    assert pricebook.parse(shown) == book
    spec = doc.model_dump(mode="json")
    body = {"apiVersion": "muster.dev/v1", "kind": "PriceBook", "metadata": {"name": "default"}, "spec": spec}
    (found,) = declared.parse(yaml.safe_dump(body).encode())
    assert isinstance(found.spec, PriceBookDoc)
    assert pricebook.read(found.spec) == book


def test_a_number_that_yaml_takes_for_a_text() -> None:
    book = pricebook.parse(b'{"prices": [{"cluster": "1e-6", "on_demand": 1e-6}], "usd_per_cpu_hour": 2E-2}')
    assert (book.prices, book.usd_per_cpu_hour) == ({("1e-6", "*"): Price(1e-6)}, 0.02)
