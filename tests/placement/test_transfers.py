"""Routes by region pair: which one a move takes, what it costs and how long it lasts."""

import pytest

from placement.transfers import Route, Transfers

TB = 10**12


def test_a_move_costs_its_bytes_at_the_route_declared_for_the_pair() -> None:
    transfers = Transfers({("eu", "us"): Route(usd_per_gb=0.02, gbit_per_s=8.0)})
    move = transfers.move(TB, "eu", "us")
    assert move.usd == pytest.approx(20.0)
    assert move.hours == pytest.approx(1000 / 3600)


def test_a_route_is_of_one_direction() -> None:
    transfers = Transfers({("eu", "us"): Route(0.02, 8.0)})
    assert transfers.route("us", "eu") == transfers.default


@pytest.mark.parametrize(
    ("declared", "usd"),
    [
        ([("eu", "us"), ("eu", "*"), ("*", "us"), ("*", "*")], 0),
        ([("eu", "*"), ("*", "us"), ("*", "*")], 0),
        ([("*", "us"), ("*", "*")], 0),
        ([("*", "*")], 0),
    ],
)
def test_the_most_exact_route_wins_and_the_source_counts_more(declared: list[tuple[str, str]], usd: int) -> None:
    transfers = Transfers({pair: Route(float(at), 1.0) for at, pair in enumerate(declared)})
    assert transfers.route("eu", "us").usd_per_gb == usd


def test_inside_a_region_the_wildcards_do_not_hold() -> None:
    transfers = Transfers({("*", "*"): Route(9.0, 1.0), ("us", "us"): Route(0.01, 40.0)})
    assert transfers.route("eu", "eu") == transfers.within
    assert transfers.route("us", "us").usd_per_gb == 0.01


def test_unknown_regions_are_not_one_region() -> None:
    assert Transfers().route("", "") == Transfers().default
