"""From watch events to facts: gaps, bad objects, and updates that say nothing."""

from __future__ import annotations

from typing import Any

import pytest

from placement.inventory import DEFAULT_LEVELS
from spoke.ingest import Ingest
from spoke.inventory import Inventory
from spoke.jobs import Jobs
from tests.spoke.stage import CATALOGUE, foreign_pod, node


@pytest.fixture
def inventory() -> Inventory:
    return Inventory(DEFAULT_LEVELS)


@pytest.fixture
def ingest(inventory: Inventory) -> Ingest:
    return Ingest(inventory, Jobs(), CATALOGUE.find("v1", "Pod"))


def free(inventory: Inventory) -> dict[str, int]:
    return {at.name: at.free["nvidia.com/gpu"] for at in inventory.nodes()}


def theirs(name: str, at: str, gpus: int) -> dict[str, Any]:
    return foreign_pod(name, at, gpus, uid=name)


def test_a_snapshot_forgets_what_is_not_in_it(ingest: Ingest, inventory: Inventory) -> None:
    nodes, pods = ingest.nodes(), ingest.pods()
    nodes.reset([node("n1"), node("n2")])
    pods.reset([theirs("a", "n1", 1), theirs("b", "n1", 2)])
    pods.reset([theirs("b", "n1", 2), theirs("c", "n2", 3)])
    assert free(inventory) == {"n1": 6, "n2": 5}
    nodes.reset([node("n2")])
    assert free(inventory) == {"n2": 5}


def test_a_bad_object_does_not_hide_the_others(ingest: Ingest, inventory: Inventory) -> None:
    broken = node("broken")
    broken["spec"]["taints"] = [{"effect": "NoSchedule"}]  # no key
    ingest.nodes().reset([broken, node("n1")])
    bad = theirs("bad", "n1", 1)
    bad["spec"]["containers"] = [{"resources": {"limits": 3}}]
    ingest.pods().reset([bad, theirs("a", "n1", 1)])
    assert free(inventory)["n1"] == 7


def test_news_are_told_once(ingest: Ingest) -> None:
    told: list[str] = []
    ingest.inventory_changed = lambda: told.append("inventory")
    ingest.room = lambda: told.append("room")
    nodes, pods = ingest.nodes(), ingest.pods()
    nodes.reset([node("n1"), node("n2")])
    nodes.upsert(node("n1"))  # a heartbeat
    assert told == ["room", "inventory"] * 2
    pods.upsert(theirs("a", "n1", 1))
    pods.upsert({**theirs("a", "n1", 1), "status": {"phase": "Running", "podIP": "10.0.0.1"}})
    assert told == ["room", "inventory"] * 3
