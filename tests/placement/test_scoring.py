from dataclasses import replace

import pytest

from placement.amortised import Amortised
from placement.capacity import Capacity, Fit
from placement.data import DataMove, Replica
from placement.inventory import Node
from placement.money import Price, PriceBook
from placement.scoring import (
    BROKEN_NODE_SHARE,
    SLOWER_PER_LEVEL,
    SLOWER_PER_LEVEL_IF_PREFERRED,
    Offer,
    at_least,
    offer,
)
from placement.spot import LOST_WORK_HOURS, RESTART_HOURS
from placement.workload import Hints, TopologyMode, TopologyRequest, Workload
from tests.placement.worlds import A100, T4, cpu_node, gpu_node, role, shared_node, summary_of, workload


def offered(asked: Workload, *nodes: Node, **prices: Price) -> Offer:
    fit = Capacity.of("c", summary_of(nodes)).fit(asked)
    assert isinstance(fit, Fit)
    return offer(asked, "c", fit, PriceBook({("c", name): price for name, price in prices.items()}))


EVERY = "*"
TEN_HOURS = Hints(expected_hours=10)
SPOT_10H = Hints(expected_hours=10, tolerates_spot=True)


def book(price: Price, product: str = EVERY) -> dict[str, Price]:
    return {product: price}


def test_gpus_cost_their_hours() -> None:
    made = offered(
        workload(role(replicas=2, gpus=8), hints=TEN_HOURS), gpu_node("a"), gpu_node("b"), **book(Price(2.5))
    )
    assert made.score.terms["gpu"] == pytest.approx(16 * 2.5 * 10)
    assert "unpriced" not in made.score.terms
    assert not made.spot


def test_a_cluster_that_nobody_priced_says_so_and_costs_the_default() -> None:
    made = offered(workload(role(gpus=8)), gpu_node("a"))
    assert made.score.terms == {"gpu": 16.0, "fragmentation": 0.0, "unpriced": 0.0}


def test_each_product_at_its_own_price() -> None:
    asked = workload(role("a", gpus=8, product=A100), role("t", gpus=4, product=T4))
    fit = Capacity.of("c", summary_of([gpu_node("x"), gpu_node("y", product=T4, cards=4)])).fit(asked)
    assert isinstance(fit, Fit)
    prices = PriceBook({("c", A100): Price(3.0), ("c", T4): Price(0.5)})
    assert offer(asked, "c", fit, prices).score.terms["gpu"] == pytest.approx(26.0)


def test_spot_is_taken_with_its_risk_where_the_job_tolerates_it() -> None:
    spot = book(Price(2.0, 0.5, 0.1))
    node = gpu_node("a")
    made = offered(workload(role(gpus=8), hints=SPOT_10H), node, **spot)
    assert made.spot
    assert made.score.terms["gpu"] == pytest.approx(8 * 0.5 * 10)
    assert made.score.terms["spot-risk"] == pytest.approx(8 * 0.5 * 10 * (1 / (1 - 0.1 * LOST_WORK_HOURS) - 1))
    assert not offered(workload(role(gpus=8), hints=TEN_HOURS), node, **spot).spot


def test_spot_that_costs_more_with_its_risk_is_left() -> None:
    made = offered(workload(role(gpus=8), hints=SPOT_10H), gpu_node("a"), **book(Price(2.0, 1.9, 5.0)))
    assert not made.spot
    assert made.score.terms["gpu"] == pytest.approx(160)
    assert "spot-risk" not in made.score.terms


def test_the_risk_of_spot_is_what_lies_between_checkpoints() -> None:
    spot, node = book(Price(2.0, 0.5, 0.1)), gpu_node("a")
    saves = Hints(expected_hours=10, checkpoint_minutes=60)
    made = offered(workload(role(gpus=8), hints=saves), node, **spot)
    assert made.spot  # it has checkpoints and does not say that it will not
    each = 0.5 + RESTART_HOURS
    assert made.score.terms["spot-risk"] == pytest.approx(40 * (1 / (1 - 0.1 * each) - 1))
    never = replace(saves, tolerates_spot=False)
    assert not offered(workload(role(gpus=8), hints=never), node, **spot).spot


def test_spot_that_is_taken_away_faster_than_the_job_gets_on_is_left() -> None:
    asked = workload(role(gpus=8), hints=replace(SPOT_10H, checkpoint_minutes=600))
    assert not offered(asked, gpu_node("a"), **book(Price(100.0, 0.01, 0.2))).spot


def test_who_loses_a_card_of_one_product_loses_the_whole_gang() -> None:
    asked = workload(role("a", gpus=8, product=A100), role("t", gpus=4, product=T4), hints=SPOT_10H)
    fit = Capacity.of("c", summary_of([gpu_node("x"), gpu_node("y", product=T4, cards=4)])).fit(asked)
    assert isinstance(fit, Fit)
    prices = PriceBook({("c", A100): Price(3.0, 1.0, 0.1), ("c", T4): Price(0.5, 0.25, 0.3)})
    terms = offer(asked, "c", fit, prices).score.terms
    assert terms["spot-risk"] == pytest.approx(90 * (1 / (1 - 0.4 * LOST_WORK_HOURS) - 1))
    least = at_least(asked, "c", fit.inventory, prices)
    assert least.total_usd <= terms["gpu"] + terms["spot-risk"]


def test_no_offer_of_spot_with_data_to_wait_for_is_below_the_least() -> None:
    """The cards are held for the copy at the price of spot; the risk is of the work alone."""
    asked = workload(role(gpus=8), hints=SPOT_10H)
    fit = Capacity.of("c", summary_of([gpu_node("a")])).fit(asked)
    assert isinstance(fit, Fit)
    prices = PriceBook({("c", A100): Price(2.0, 1.0, 0.6)})
    moves = [DataMove("images", 1, Replica("us"), "c", 3.0, 100.0)]
    made, least = offer(asked, "c", fit, prices, moves), at_least(asked, "c", fit.inventory, prices, moves)
    assert made.spot
    assert least.total_usd <= made.score.total_usd + 1e-9
    assert least.terms["data-wait"] == pytest.approx(made.score.terms["data-wait"])


def test_the_price_of_own_cards_says_so() -> None:
    own = Price.of_own(Amortised(35_040, 4, 0.5))
    made = offered(workload(role(gpus=8), hints=TEN_HOURS), gpu_node("a"), **book(own))
    assert made.score.terms["gpu"] == pytest.approx(160)
    assert "amortised" in made.score.terms


def test_pods_without_devices_cost_their_cores() -> None:
    asked = workload(role(replicas=3, cpu=4_000), hints=TEN_HOURS)
    assert offered(asked, cpu_node("c")).score.terms == {"cpu": pytest.approx(3 * 4 * 10 * 0.04)}
    assert offered(asked, cpu_node("c"), cpu=Price(0.01)).score.total_usd == pytest.approx(1.2)


def test_a_share_costs_its_part_of_the_card() -> None:
    asked = workload(role(share=4))
    assert offered(asked, shared_node("s", [16]), **book(Price(2.0))).score.terms["gpu"] == pytest.approx(0.5)
    silent = shared_node("s", [16])
    silent = replace(silent, devices=tuple(replace(device, memory_mib=0) for device in silent.devices))
    assert offered(asked, silent, **book(Price(2.0))).score.terms["gpu"] == pytest.approx(2.0)


def test_breaking_into_a_whole_node_costs_a_little_and_filling_a_broken_one_nothing() -> None:
    asked = workload(role(gpus=2), hints=TEN_HOURS)
    whole = offered(asked, gpu_node("a"), **book(Price(1.0))).score.terms["fragmentation"]
    assert whole == pytest.approx(6 * 10 * BROKEN_NODE_SHARE)
    assert offered(asked, gpu_node("a", free=4), **book(Price(1.0))).score.terms["fragmentation"] == 0


def test_a_gang_stretched_over_levels_costs_a_little_more_if_it_prefers_fewer() -> None:
    racks = [gpu_node("a", "r1", block="b"), gpu_node("b", "r2", block="b")]
    two = role(replicas=2, gpus=8)
    free = offered(workload(two), *racks, **book(Price(1.0))).score.terms
    assert free["locality"] == pytest.approx(16 * 2 * SLOWER_PER_LEVEL)
    prefers = offered(workload(two, preferred="rack"), *racks, **book(Price(1.0))).score.terms
    assert prefers["locality"] == pytest.approx(16 * SLOWER_PER_LEVEL_IF_PREFERRED)
    together = [gpu_node("a", "r1"), gpu_node("b", "r1")]
    assert "locality" not in offered(workload(two, preferred="rack"), *together).score.terms
    assert "locality" not in offered(workload(role(gpus=8)), *racks).score.terms


def test_what_a_role_prefers_and_does_not_get_costs_as_much() -> None:
    near = TopologyRequest("rack", TopologyMode.PREFERRED)
    asked = workload(replace(role("trainer", 2, gpus=8), topology=near), role("reader", cpu=1000))
    apart = [gpu_node("a", "r1", block="b"), gpu_node("b", "r2", block="b")]
    stretched = offered(asked, *apart, **book(Price(1.0))).score.terms["locality"]
    assert stretched == pytest.approx(16 * (2 * SLOWER_PER_LEVEL + SLOWER_PER_LEVEL_IF_PREFERRED))
    together = [gpu_node("a", "r1", block="b"), gpu_node("b", "r1", block="b")]
    assert offered(asked, *together, **book(Price(1.0))).score.terms["locality"] == pytest.approx(16 * SLOWER_PER_LEVEL)
