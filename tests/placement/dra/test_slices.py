"""What drivers offer, as it is read: pools whole, devices by node, and what is left out with its reason."""

from __future__ import annotations

import pytest

from placement.dra.cel_values import Quantity, semver
from placement.dra.slices import read
from tests.placement.dra.offers import DRIVER, device, offer, slice_of


def test_attributes_without_a_domain_are_the_drivers() -> None:
    made = device("a", root="r0")
    made["attributes"] |= {
        "count": {"int": 2},
        "on": {"bool": True},
        "v": {"version": "1.2.3"},
        "many": {"ints": [1, 2]},
    }
    made["capacity"] = {"memory": {"value": "80Gi"}}
    [found] = offer(slice_of("n", made)).nodes["n"].devices
    assert found.id == (DRIVER, "n", "a")
    assert found.attribute("count") == found.attribute(f"{DRIVER}/count") == 2
    assert found.attribute("resource.kubernetes.io/pcieRoot") == "r0"
    assert found.attribute("none") is None
    assert found.attributes[DRIVER]["v"] == semver("1.2.3")
    assert found.attributes[DRIVER]["many"] == [1, 2]
    assert found.capacity[DRIVER]["memory"] == Quantity(80 * 2**30)


def test_a_pool_counts_once_all_slices_of_its_newest_generation_are_there() -> None:
    old = slice_of("n", device("old"), name="s0", generation=1)
    first = slice_of("n", device("a"), name="s1", generation=2, slices=2)
    second = slice_of("n", device("b"), name="s2", generation=2, slices=2)
    assert [d.name for d in offer(old).nodes["n"].devices] == ["old"]
    halfway = offer(old, first)
    assert not halfway.nodes
    assert "is being updated: 1 of 2 slices" in halfway.problems[0]
    assert [d.name for d in offer(old, second, first).nodes["n"].devices] == ["a", "b"]


def test_devices_may_be_of_several_nodes_one_by_one() -> None:
    mixed = slice_of(
        "p", device("a") | {"nodeName": "n1"}, device("b") | {"nodeName": "n2"}, perDeviceNodeSelection=True
    )
    del mixed["spec"]["nodeName"]
    assert {node: [d.name for d in found.devices] for node, found in offer(mixed).nodes.items()} == {
        "n1": ["a"],
        "n2": ["b"],
    }


def test_what_muster_cannot_give_is_left_out_with_the_reason() -> None:
    shared, prepared = device("a") | {"allowMultipleAllocations": True}, device("b") | {"bindingConditions": ["ready"]}
    found = offer(slice_of("n", shared, prepared, device("c")))
    assert [d.name for d in found.nodes["n"].devices] == ["c"]
    assert "several claims may share them" in " ".join(found.problems)
    assert "prepared before a pod is bound" in " ".join(found.problems)
    everywhere = slice_of("n", device("net"), allNodes=True)
    del everywhere["spec"]["nodeName"]
    assert "not of one node" in offer(everywhere).problems[0]


def test_what_cannot_be_true_of_a_pool_offers_nothing() -> None:
    assert "has two devices a" in offer(slice_of("n", device("a"), device("a"))).problems[0]
    uses = [{"counterSet": "c", "counters": {"x": {"value": "1"}}}]
    assert "counters that the pool does not have" in offer(slice_of("n", device("a", uses=uses))).problems[0]


@pytest.mark.parametrize(
    "broken", [{"metadata": {"name": "x"}}, slice_of("n", {"name": "a", "attributes": {"v": {"version": "x"}}})]
)
def test_what_is_no_slice_is_an_error(broken: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, Exception)):
        read(broken)
