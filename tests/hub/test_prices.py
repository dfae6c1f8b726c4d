from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hub.errors import Forbidden, Invalid
from placement.amortised import Amortised
from placement.money import Price, PriceBook
from placement.transfers import Route, Transfers
from tests.hub.loops.rig import ADMIN, ANN, FakeSpoke, Hub, a_hub

ROUTE = Route(0.02, 5)
BOOK = PriceBook(
    prices={
        ("east", "A100"): Price(3.0, 1.0, 0.1),
        ("east", "*"): Price.of_own(Amortised(25_000, 4, 0.7, watts=700, usd_per_kwh=0.12, pue=1.3)),
    },
    usd_per_cpu_hour=0.03,
    default=Price(9.0, 3.0, 0.2),
    transfers=Transfers({("us-east", "*"): ROUTE, ("us-east", "us-west"): Route(0, 40)}, Route(0.01, 8), Route(0.1, 2)),
    public=frozenset({"east"}),
    regions=frozenset({"us-west"}),
)


async def in_us_east(hub: Hub) -> None:
    await FakeSpoke("east").join(hub, region="us-east")


async def test_the_whole_book_is_kept_over_a_restart(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        await in_us_east(hub)
        assert await hub.prices.replace(ADMIN, BOOK) == ()
        assert await hub.prices.book(ANN) == BOOK
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        assert await hub.prices.book(ANN) == BOOK
        assert await hub.prices.replace(ADMIN, PriceBook()) == ()
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        assert await hub.prices.book(ANN) == PriceBook()


async def test_a_region_that_nobody_knows_is_refused_and_changes_nothing(hub: Hub) -> None:
    await in_us_east(hub)
    wrong = replace(BOOK, transfers=Transfers({("us-eas", "us-west"): ROUTE, ("us-east", "mars"): ROUTE}))
    with pytest.raises(Invalid) as refused:
        await hub.prices.replace(ADMIN, wrong)
    assert [problem.path for problem in refused.value.problems] == [
        "transfers.routes[us-eas to us-west].source",
        "transfers.routes[us-east to mars].target",
    ]
    assert any("did you mean us-east?" in problem.mend for problem in refused.value.problems)
    assert await hub.prices.book(ANN) == PriceBook()
    # At start, before clusters have joined, it is a warning.
    warned = await hub.prices.replace(ADMIN, wrong, regions_may_come=True)
    assert "no cluster is in a region 'mars'" in "".join(warned)


async def test_a_route_that_was_let_in_stays_when_its_cluster_has_left(hub: Hub) -> None:
    await in_us_east(hub)
    await hub.prices.replace(ADMIN, BOOK)
    await hub.clusters.remove(ADMIN, "east", force=False)
    warnings = await hub.prices.replace(ADMIN, BOOK)
    assert warnings == ("there is no cluster east yet: its prices wait for it",)


async def test_what_is_doubtful_is_warned_about(hub: Hub) -> None:
    await in_us_east(hub)
    book = PriceBook({("eats", "*"): Price(1.0), ("east", "*"): Price(1.0, 2.0)}, public=frozenset({"zz-1"}))
    assert await hub.prices.replace(ADMIN, book) == (
        "there is no cluster eats yet: its prices wait for it (did you mean east?)",
        "public names zz-1, and there is no such cluster yet",
        "east *: spot (2) costs more than on demand (1) and is never taken",
    )


async def test_prices_are_the_admins_business(hub: Hub) -> None:
    with pytest.raises(Forbidden):
        await hub.prices.replace(ANN, BOOK)
