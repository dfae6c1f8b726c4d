"""Gangs onto nodes and devices: all of the pods or none, no device twice, and the reason with its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from placement.assignment import PodToPlace, Shortfall
from placement.dra import gangs
from placement.dra.gangs import Granted
from placement.dra.memory import Memory
from placement.dra.requests import ClaimSpec, ClassSpec
from placement.dra.stock import Devices, PodClaims, Stock
from placement.inventory import DEFAULT_LEVELS, Node
from placement.resources import Resources
from placement.workload import Role, TopologyMode, TopologyRequest, Workload
from tests.placement.dra.offers import CLASS, CLASSES, DRIVER, claim, device, exactly, named, offer, slice_of


def node(name: str, rack: str = "r0", cpu: int = 64_000) -> Node:
    amounts = Resources({"cpu": cpu, "memory": 1 << 20, "pods": 110})
    return Node(name, {"kubernetes.io/hostname": name}, (), amounts, amounts, domains={"rack": rack, "host": name})


def stocks(**products: str) -> dict[str, Stock]:
    """Node -> a letter for the product of each of its devices."""
    return {
        name: Stock(offer(slice_of(name, *(device(f"d{i}", product=p) for i, p in enumerate(letters)))).nodes[name])
        for name, letters in products.items()
    }


def workload(pods: int, *, topology: TopologyRequest | None = None, roles: tuple[str, ...] = ("worker",)) -> Workload:
    made = tuple(Role(name, pods, pods, Resources({"cpu": 1000, "pods": 1})) for name in roles)
    return Workload("batch/v1", "Job", "job", "team", made, pods * len(roles), topology=topology)


def place(
    held: Mapping[str, Stock],
    asks: Mapping[str, PodClaims],
    *,
    racks: Mapping[str, str] | None = None,
    classes: Mapping[str, ClassSpec] = CLASSES,
    **more: Any,
) -> Granted | Shortfall:
    nodes = [node(name, (racks or {}).get(name, "r0")) for name in held]
    roles = tuple(dict.fromkeys(name.rsplit("-", 1)[0] for name in asks))
    pods = [PodToPlace(name, name.rsplit("-", 1)[0]) for name in asks]
    per_role = max(sum(pod.role == role for pod in pods) for role in roles)
    return gangs.assign(nodes, pods, workload(per_role, roles=roles, **more), asks, Devices(held, classes))


def all_ask(count: int, *specs: ClaimSpec, role: str = "worker") -> dict[str, PodClaims]:
    return {f"{role}-{i}": PodClaims(tuple(specs)) for i in range(count)}


def given_by_pod(found: Granted | Shortfall) -> dict[str, tuple[str, list[str]]]:
    assert isinstance(found, Granted), found
    nodes = {pod.pod: pod.node for pod in found.assignment.pods}
    return {
        pod: (nodes[pod], [grant.device.name for grants in claims for grant in grants])
        for pod, claims in found.devices.items()
    }


def message(found: Granted | Shortfall) -> str:
    assert isinstance(found, Shortfall), found
    return found.reason.message


def test_pods_go_where_matching_devices_are() -> None:
    found = given_by_pod(place(stocks(a="AABB", b="BBBB", c="AAAA"), all_ask(3, claim(exactly("gpu", 2, named("A"))))))
    assert sorted(found.values()) == [("a", ["d0", "d1"]), ("c", ["d0", "d1"]), ("c", ["d2", "d3"])]


def test_all_of_them_or_none_with_the_request_its_selector_and_the_numbers() -> None:
    held = stocks(a="AABB", b="BBBB", c="AAAA")
    held["c"] = Stock(held["c"].offered, frozenset({(DRIVER, "c", "d0")}))
    said = message(place(held, all_ask(3, claim(exactly("gpu", 2, named("A"))))))
    assert "devices for 2 of 3 pods" in said
    assert (
        f"request gpu of role worker, 2 × {CLASS} where {named('A')}: needs 6; 12 offered, 6 match, 5 of them free"
        in said
    )
    assert "at most 3 on one node" in said
    assert "even empty" not in said
    assert "even empty" in message(place(held, all_ask(4, claim(exactly("gpu", 2, named("A"))))))


def test_a_required_rack_holds_for_devices_too() -> None:
    racks = {"a": "r0", "b": "r1", "c": "r1"}
    rack = TopologyRequest("rack", TopologyMode.REQUIRED)
    asks = all_ask(4, claim(exactly("gpu", 2)))
    found = given_by_pod(place(stocks(a="AAAAAA", b="AAAA", c="AAAA"), asks, racks=racks, topology=rack))
    assert {where for where, _ in found.values()} == {"b", "c"}
    short = place(stocks(a="AAAAAA", b="AAAA", c="AA"), asks, racks=racks, topology=rack)
    assert "largest rack of the cluster fits 3 of 4 pods" in message(short)


def test_the_better_alternative_for_all_before_the_lesser_for_any() -> None:
    either = claim(
        {
            "name": "gpu",
            "firstAvailable": [
                {"name": "best", "deviceClassName": CLASS, "selectors": [{"cel": {"expression": named("A")}}]},
                {"name": "good", "deviceClassName": CLASS},
            ],
        }
    )
    held = stocks(a="BBBB", b="AA", c="AA")
    best = given_by_pod(place(held, all_ask(4, either)))
    assert {where for where, _ in best.values()} == {"b", "c"}
    lesser = place(held, all_ask(5, either))
    assert isinstance(lesser, Granted)
    assert {grant.request for claims in lesser.devices.values() for grants in claims for grant in grants} == {
        "gpu/best",
        "gpu/good",
    }


def test_roles_that_take_each_others_devices_are_placed_all_the_same() -> None:
    asks = all_ask(2, claim(exactly("any", 1))) | all_ask(2, claim(exactly("a", 1, named("A"))), role="chief")
    found = given_by_pod(place(stocks(a="AB", b="AB"), asks))
    assert len({(where, name) for where, names in found.values() for name in names}) == 4


def test_a_pod_stays_with_what_is_allocated_already() -> None:
    asks = {"worker-0": PodClaims((), frozenset({"b"})), "worker-1": PodClaims((claim(exactly()),))}
    found = place(stocks(a="A", b="A"), asks)
    assert isinstance(found, Granted)
    assert {pod.pod: pod.node for pod in found.assignment.pods}["worker-0"] == "b"
    assert "worker-0" not in found.devices
    nowhere = place(stocks(a="A"), {"worker-0": PodClaims((), frozenset({"z"}))})
    assert "can be used from z only" in message(nowhere)


def test_what_is_wrong_with_a_request_is_said() -> None:
    held = stocks(a="A")
    unknown = message(place(held, all_ask(1, claim(exactly(deviceClassName="gpus")))))
    assert unknown == "request gpu: the cluster has no DeviceClass gpus; it has gpu"
    misread = message(place(held, all_ask(1, claim(exactly("gpu", 1, "device.drivr == 'x'", "device.no()")))))
    assert "cannot evaluate the selector device.no(): the function no() is not known" in misread
    no_answer = message(place(held, all_ask(1, claim(exactly("gpu", 1, 'device.attributes["x"].y == "z"')))))
    assert "0 match" in no_answer
    assert "on 1 of them: no such key: y" in no_answer


_NODES = st.lists(st.text("AB", min_size=1, max_size=4), min_size=1, max_size=4)
_ASKS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["A", "B", ""])), min_size=1, max_size=5)


@settings(max_examples=100)
@given(_NODES, _ASKS)
def test_no_device_is_given_twice_and_every_pod_has_what_it_asks(
    letters: list[str], asked: list[tuple[int, str]]
) -> None:
    held = stocks(**{f"n{i}": each for i, each in enumerate(letters)})
    asks = {
        f"worker-{i}": PodClaims((claim(exactly("gpu", count, *([named(p)] if p else []))),))
        for i, (count, p) in enumerate(asked)
    }
    found = place(held, asks)
    if isinstance(found, Shortfall):
        assert "of" in found.reason.message
        return
    nodes = {pod.pod: pod.node for pod in found.assignment.pods}
    ids = [grant.device.id for claims in found.devices.values() for grants in claims for grant in grants]
    assert len(ids) == len(set(ids)) == sum(count for count, _ in asked)
    assert all(
        grant.device.pool == nodes[pod]
        for pod, claims in found.devices.items()
        for grants in claims
        for grant in grants
    )


@given(_NODES, st.integers(1, 3), st.integers(1, 6))
def test_equal_pods_fit_exactly_where_counting_says_so(letters: list[str], count: int, pods: int) -> None:
    held = stocks(**{f"n{i}": each for i, each in enumerate(letters)})
    room = sum(len(each) // count for each in letters)
    assert isinstance(place(held, all_ask(pods, claim(exactly("gpu", count)))), Granted) == (pods <= room)


@given(st.lists(st.tuples(_NODES, st.integers(1, 3), st.integers(1, 4)), min_size=2, max_size=4))
def test_what_is_remembered_of_earlier_gangs_changes_nothing(rounds: list[tuple[list[str], int, int]]) -> None:
    memory = Memory(DEFAULT_LEVELS)
    known: dict[Any, Any] = {}
    for letters, count, pods in rounds:
        # A node that has the same devices as in the round before is the same object, as in the spoke's inventory.
        names = {f"n{i}": each for i, each in enumerate(letters)}
        known = {
            name: known.get((name, each)) or (node(name), stocks(**{name: each})[name]) for name, each in names.items()
        }
        asks = all_ask(pods, claim(exactly("gpu", count)))
        asked = [PodToPlace(name, "worker") for name in asks]
        nodes, held = [found for found, _ in known.values()], {name: stock for name, (_, stock) in known.items()}
        ask = partial(gangs.assign, nodes, asked, workload(pods), asks, Devices(held, CLASSES))
        assert ask(memory=memory) == ask()
        known = {(name, names[name]): pair for name, pair in known.items()}
