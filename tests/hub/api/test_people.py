from __future__ import annotations

import pytest

from placement.money import Price
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
        {"cluster": "cloud-b", "product": "H100", "on_demand": 4.1, "spot": 1.9, "spot_interruptions_per_hour": 0.05}
    ]
    book = b"prices: [{cluster: onprem-a, on_demand: 1}]\nusd_per_cpu_hour: 0.03\n"
    assert (await as_("admin-token").put("/prices", content=book, headers=YAML)).status_code == 200
    assert hub.prices.kept.prices == {("onprem-a", "*"): Price(1.0)}
    assert hub.prices.kept.usd_per_cpu_hour == 0.03


async def test_the_book_shown_can_be_set_again(as_: As, hub: FakeHub) -> None:
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
        (b"prices: [{cluster: a}]", "prices[0].on_demand"),
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
