from __future__ import annotations

import pytest

from placement.amortised import Amortised
from placement.money import Price, PriceBook
from placement.transfers import Route
from tests.hub.api.conftest import As
from tests.hub.api.fakes import FakeHub

YAML = {"Content-Type": "application/yaml"}


async def test_whoami(as_: As) -> None:
    assert (await as_("vic-token").get("/whoami")).json() == {"user": "vic", "tenant": "red", "role": "viewer"}


async def test_users_come_and_go(as_: As) -> None:
    admin = as_("admin-token")
    added = await admin.post("/users", json={"name": "eve", "tenant": "blue", "role": "viewer"})
    assert added.status_code == 201
    assert added.json() == {"name": "eve", "tenant": "blue", "role": "viewer", "token": "eve-token"}
    listed = (await admin.get("/users")).json()["users"]
    assert {"name": "eve", "tenant": "blue", "role": "viewer"} in listed
    assert "token" not in listed[0]
    assert (await as_("eve-token").get("/whoami")).status_code == 200
    assert (await admin.delete("/users/eve")).status_code == 204
    assert (await as_("eve-token").get("/whoami")).status_code == 401
    assert (await admin.delete("/users/eve")).status_code == 404


async def test_users_are_the_admins_business(as_: As) -> None:
    client = as_("alice-token")
    assert (await client.get("/users")).status_code == 403
    assert (await client.post("/users", json={"name": "x"})).status_code == 403
    assert (await client.delete("/users/vic")).status_code == 403


async def test_prices_are_shown_and_replaced_as_a_whole(as_: As, hub: FakeHub) -> None:
    shown = (await as_("vic-token").get("/prices")).json()
    assert shown["prices"] == [
        {
            "cluster": "cloud-b",
            "product": "H100",
            "on_demand": 4.1,
            "amortised": None,
            "spot": 1.9,
            "spot_interruptions_per_hour": 0.05,
        }
    ]
    book = b"prices: [{cluster: onprem-a, on_demand: 1}]\nusd_per_cpu_hour: 0.03\n"
    assert (await as_("admin-token").put("/prices", content=book, headers=YAML)).status_code == 200
    assert hub.prices.kept.prices == {("onprem-a", "*"): Price(1.0)}
    assert hub.prices.kept.usd_per_cpu_hour == 0.03


WHOLE = b"""
prices:
  - {cluster: cloud-b, product: H100, on_demand: 4.1, spot: 1.9, spot_interruptions_per_hour: 0.05}
  - cluster: nowhere
    amortised: {usd_per_card: 25000, years: 4, utilisation: 0.7, watts: 700, usd_per_kwh: 0.12, pue: 1.3}
usd_per_cpu_hour: 0.05
default: {on_demand: 3}
public: [cloud-b]
transfers:
  routes:
    - {source: us-east, target: "*", usd_per_gb: 0.09, gbit_per_s: 2}
    - {source: us-east, target: eu-west, usd_per_gb: 0.02, gbit_per_s: 5}
  within: {usd_per_gb: 0.01, gbit_per_s: 20}
regions: [us-east]
"""


async def test_a_whole_book_is_declared_set_and_shown(as_: As, hub: FakeHub) -> None:
    answer = await as_("admin-token").put("/prices", content=WHOLE, headers=YAML)
    assert answer.status_code == 200, answer.text
    assert answer.json()["warnings"] == ["there is no cluster nowhere yet"]
    set_, book = hub.prices.kept, hub.prices.kept
    assert book.prices["nowhere", "*"] == Price.of_own(Amortised(25000, 4, 0.7, watts=700, usd_per_kwh=0.12, pue=1.3))
    assert book.transfers.route("us-east", "eu-west") == Route(0.02, 5)
    assert book.transfers.route("us-east", "ap") == Route(0.09, 2)
    assert (book.transfers.within, book.public, book.regions) == (Route(0.01, 20), {"cloud-b"}, {"us-east"})
    declared = b"apiVersion: muster.dev/v1\nkind: PriceBook\nmetadata: {name: default}\nspec:" + WHOLE.replace(
        b"\n", b"\n  "
    )
    hub.prices.kept = PriceBook()
    applied = await as_("admin-token").post("/apply", content=declared, headers=YAML)
    assert applied.json() == {
        "applied": [["PriceBook", "default"]],
        "warnings": ["there is no cluster nowhere yet"],
    }
    assert hub.prices.kept == set_
    hub.prices.kept = PriceBook()
    assert (await as_("admin-token").put("/prices", content=declared, headers=YAML)).status_code == 200
    assert hub.prices.kept == set_


async def test_the_book_shown_can_be_set_again(as_: As, hub: FakeHub) -> None:
    await as_("admin-token").put("/prices", content=WHOLE, headers=YAML)
    before = hub.prices.kept
    shown = await as_("admin-token").get("/prices")
    answer = await as_("admin-token").put("/prices", json=shown.json())
    assert answer.status_code == 200, answer.text
    assert hub.prices.kept == before


@pytest.mark.parametrize(
    ("book", "says"),
    [
        (b"prices: [{cluster: a, on_demand: -1}]", "prices[0].on_demand"),
        (b"prices: [{cluster: a, on_demand: .nan}]", "prices[0].on_demand"),
        (b"prices: [{cluster: a, on_demand: cheap}]", "prices[0].on_demand"),
        (b"prices: [{cluster: a, on_demand: -1}]", "-1 is too small"),
        (b"prices: [{cluster: a, on_demand: 1, spot: -2}]", "prices[0].spot: -2"),
        (b"prices: [{cluster: a}]", "prices[0].on_demand: is missing"),
        (
            b"prices: [{cluster: a, on_demand: 1, amortised: {usd_per_card: 8760, years: 1, utilisation: 0.5}}]",
            "prices[0].on_demand: is 1, and amortised makes it 2.0000",
        ),
        (
            b"prices: [{cluster: a, amortised: {usd_per_card: 1, years: 4, utilisation: 0}}]",
            "prices[0].amortised.utilisation: 0 is too small (give more than 0)",
        ),
        (
            b"prices: [{cluster: a, amortised: {usd_per_card: 1, years: 4, utilisation: 1, residual_usd: 2}}]",
            "prices[0].amortised.residual_usd",
        ),
        (b"prices: [{cluster: a, on_demand: 1, colour: red}]", "prices[0].colour: this field is not known"),
        (
            b"transfers: {routes: [{source: a, target: b, usd_per_gb: 0, gbit_per_s: 0}]}",
            "transfers.routes[0].gbit_per_s: 0 is too small",
        ),
        (b"transfers: {routes: [{source: a, target: b, usd_per_gb: 0}]}", "transfers.routes[0].gbit_per_s: is missing"),
        (b"transfers: {within: {usd_per_gb: .inf, gbit_per_s: 1}}", "transfers.within.usd_per_gb"),
        (
            b"transfers: {routes: [{source: a, target: b, usd_per_gb: 0, gbit_per_s: 1}, "
            b"{source: a, target: b, usd_per_gb: 1, gbit_per_s: 1}]}",
            "transfers.routes[1]: the route from a to b is named twice",
        ),
        (b"public: [a, a]", "public[1]: 'a' is named twice"),
        (b"price: []", "price"),
        (b"prices: [{cluster: a, on_demand: 1}, {cluster: a, product: '*', on_demand: 2}]", "priced twice"),
        (b"prices: [{cluster: a, on_demand: 1}]\nprices: []", "twice"),
        (b"[1, 2", "YAML"),
        (b"", "0 documents"),
        (b"prices: []\n---\nprices: []", "2 documents"),
        (b"[" * 100_000, "deep"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
async def test_a_book_with_anything_wrong_changes_nothing(as_: As, hub: FakeHub, book: bytes, says: str) -> None:
    before = hub.prices.kept
    answer = await as_("admin-token").put("/prices", content=book, headers=YAML)
    assert answer.status_code == 422
    assert says in answer.json()["error"]["message"]
    assert hub.prices.kept == before


async def test_only_admins_set_prices(as_: As) -> None:
    assert (await as_("alice-token").put("/prices", content=b"prices: []", headers=YAML)).status_code == 403


async def test_probes_need_no_token(as_: As, hub: FakeHub) -> None:
    assert (await as_("").get("/healthz")).json()["status"] == "ok"
    assert (await as_("").get("/readyz")).status_code == 200
    hub.store_error = OSError("disk full on /var/lib/muster")
    broken = await as_("").get("/readyz")
    assert (broken.status_code, broken.json()["error"]["code"]) == (503, "not-ready")
    assert "/var/lib" not in broken.text
    hub.store_error = None
    hub.closing.set()
    assert (await as_("").get("/readyz")).status_code == 503
