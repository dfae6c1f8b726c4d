"""Devices of one node: by example, and against a search that tries everything."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from placement.dra.allocate import Grants, allocate
from placement.dra.devices import NodeDevices
from placement.dra.requests import ClaimSpec
from placement.dra.selectors import suits
from tests.placement.dra.offers import CLASS, CLASSES, DRIVER, claim, device, exactly, named, offer, slice_of

ROOT = "resource.kubernetes.io/pcieRoot"


def node(*devices: Any, **spec: Any) -> NodeDevices:
    found = offer(slice_of("n", *devices, **spec))
    assert not found.problems
    return found.nodes["n"]


def given_names(found: tuple[Grants, ...] | None) -> list[list[str]]:
    assert found is not None
    return [[grant.device.name for grant in grants] for grants in found]


def taken(*names: str) -> frozenset[tuple[str, str, str]]:
    return frozenset((DRIVER, "n", name) for name in names)


def test_as_many_as_are_asked_and_none_that_somebody_has() -> None:
    four = node(*(device(f"d{i}") for i in range(4)))
    assert given_names(allocate(four, taken("d1"), [claim(exactly(count=2))], CLASSES)) == [["d0", "d2"]]
    assert allocate(four, taken("d1"), [claim(exactly(count=4))], CLASSES) is None
    both = allocate(four, (), [claim(exactly(count=2)), claim(exactly(count=2))], CLASSES)
    assert given_names(both) == [["d0", "d1"], ["d2", "d3"]]


def test_selectors_of_request_and_class_both_hold() -> None:
    mixed = node(device("a", product="A"), device("b", product="B"), device("c"))
    assert given_names(allocate(mixed, (), [claim(exactly("x", 1, named("B")))], CLASSES)) == [["b"]]
    assert allocate(mixed, (), [claim(exactly("x", 1, named("B"), named("A")))], CLASSES) is None
    assert allocate(mixed, (), [claim(exactly(deviceClassName="other"))], CLASSES) is None


def test_a_request_does_not_take_what_only_another_can_use() -> None:
    mixed = node(device("a", product="A"), device("b", product="B"))
    any_then_a = claim(exactly("any"), exactly("only-a", 1, named("A")))
    assert given_names(allocate(mixed, (), [any_then_a], CLASSES)) == [["b", "a"]]


def test_alternatives_are_taken_in_their_order_and_no_further_than_allowed() -> None:
    mixed = node(device("a", product="A"), device("b", product="B"), device("c", product="B"))
    first_a = {
        "name": "r",
        "firstAvailable": [
            {"name": "best", "deviceClassName": CLASS, "selectors": [{"cel": {"expression": named("A")}}]},
            {"name": "good", "deviceClassName": CLASS, "count": 2, "selectors": [{"cel": {"expression": named("B")}}]},
        ],
    }
    best = allocate(mixed, (), [claim(first_a)], CLASSES)
    assert best is not None
    assert [(g.request, g.device.name) for g in best[0]] == [("r/best", "a")]
    good = allocate(mixed, taken("a"), [claim(first_a)], CLASSES)
    assert good is not None
    assert [(g.request, g.device.name) for g in good[0]] == [("r/good", "b"), ("r/good", "c")]
    assert allocate(mixed, taken("a"), [claim(first_a)], CLASSES, widest=0) is None


def test_all_means_every_device_that_matches_and_at_least_one() -> None:
    mixed = node(device("a", product="A"), device("b", product="B"), device("c", product="B"))
    every_b = claim(exactly("r", 1, named("B"), allocationMode="All"))
    assert given_names(allocate(mixed, taken("a"), [every_b], CLASSES)) == [["b", "c"]]
    assert allocate(mixed, taken("c"), [every_b], CLASSES) is None
    assert allocate(mixed, (), [claim(exactly("r", 1, named("C"), allocationMode="All"))], CLASSES) is None


def test_devices_of_a_constraint_agree_in_the_attribute_and_have_it() -> None:
    split = node(device("a", root="r0"), device("b", root="r1"), device("c", root="r1"), device("d"))
    two = claim(exactly(count=2), match=[(ROOT, ["gpu"])])
    assert given_names(allocate(split, (), [two], CLASSES)) == [["b", "c"]]
    assert allocate(split, taken("c"), [two], CLASSES) is None
    across = claim(exactly("x", 1, named("none")), match=[(ROOT, [])])
    assert allocate(split, (), [across], CLASSES) is None


def test_a_tainted_device_needs_a_toleration() -> None:
    tainted = node(device("a", taints=[{"key": "broken", "value": "yes", "effect": "NoSchedule"}]))
    assert allocate(tainted, (), [claim(exactly())], CLASSES) is None
    for toleration in (
        {"operator": "Exists"},
        {"key": "broken", "value": "yes"},
        {"key": "broken", "operator": "Exists"},
    ):
        assert allocate(tainted, (), [claim(exactly(tolerations=[toleration]))], CLASSES) is not None
    for toleration in ({"key": "broken", "value": "no"}, {"key": "x", "operator": "Exists"}):
        assert allocate(tainted, (), [claim(exactly(tolerations=[toleration]))], CLASSES) is None
    told = node(device("a", taints=[{"key": "old", "effect": "None"}]))
    assert allocate(told, (), [claim(exactly())], CLASSES) is not None


def part(name: str, card: int, slices: int) -> Any:
    return device(name, uses=[{"counterSet": f"card-{card}", "counters": {"slices": {"value": str(slices)}}}])


CARDS = {
    "sharedCounters": [{"name": f"card-{i}", "counters": {"slices": {"value": "7"}}} for i in range(2)],
    "slices": 2,
    "name": "counters",
}


def cards() -> NodeDevices:
    """Two cards of seven slices, each to be had whole, as 3 + 4, or in ones."""
    parts = [p for i in range(2) for p in (part(f"whole-{i}", i, 7), part(f"four-{i}", i, 4), part(f"three-{i}", i, 3))]
    ones = [part(f"one-{i}-{n}", i, 1) for i in range(2) for n in range(7)]
    found = offer(slice_of("n", **CARDS), slice_of("n", *parts, *ones, name="parts", slices=2))
    assert not found.problems
    return found.nodes["n"]


def test_parts_of_a_card_share_its_counters() -> None:
    assert given_names(allocate(cards(), (), [claim(exactly())], CLASSES)) == [["whole-0"]]
    assert given_names(allocate(cards(), taken("one-0-3"), [claim(exactly())], CLASSES)) == [["four-0"]]
    both_whole = taken("whole-0", "four-1")
    left = given_names(allocate(cards(), both_whole, [claim(exactly(count=3))], CLASSES))
    assert all("-1" in name for name in left[0])
    assert allocate(cards(), taken("whole-0", "whole-1"), [claim(exactly())], CLASSES) is None


def test_a_card_that_is_begun_is_cut_up_before_another() -> None:
    found = allocate(cards(), taken("one-1-0"), [claim(exactly("r", 1))], CLASSES)
    assert given_names(found)[0][0].split("-")[1] == "1"


def test_devices_close_together_are_taken() -> None:
    spread = node(
        device("a", root="r0", numa=0),
        device("b", root="r1", numa=1),
        device("c", root="r1", numa=1),
        device("d", numa=0),
    )
    assert given_names(allocate(spread, (), [claim(exactly(count=2))], CLASSES)) == [["b", "c"]]
    near = claim(exactly("gpu", 1), exactly("nic", 1))
    assert given_names(allocate(spread, taken("c"), [near], CLASSES)) == [["a", "d"]]


def test_a_node_of_many_equal_devices_is_decided_at_once() -> None:
    many = node(*(device(f"d{i}", root=f"r{i}") for i in range(60)))
    apart = claim(exactly(count=2), match=[(ROOT, ["gpu"])])
    assert allocate(many, (), [apart], CLASSES) is None
    equal = node(*(device(f"d{i}") for i in range(120)))
    assert (
        allocate(
            equal, (), [claim(exactly(count=32)), claim(exactly(count=32)), claim(exactly("x", 1, named("A")))], CLASSES
        )
        is None
    )


# ---- against a search that tries everything ----

_DEVICES = st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(["r0", "r1", ""])), min_size=1, max_size=5)
_REQUESTS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["A", "B", ""])), min_size=1, max_size=2)


@settings(max_examples=150)
@given(
    _DEVICES,
    st.lists(st.tuples(_REQUESTS, st.booleans()), min_size=1, max_size=2),
    st.sets(st.integers(0, 4), max_size=2),
)
def test_it_finds_an_allocation_exactly_where_there_is_one(
    devices: list[tuple[str, str]], claims: list[tuple[list[tuple[int, str]], bool]], used: set[int]
) -> None:
    here = node(*(device(f"d{i}", product=product, root=root) for i, (product, root) in enumerate(devices)))
    specs = [
        claim(
            *(
                exactly(f"r{i}", count, *([named(product)] if product else []))
                for i, (count, product) in enumerate(asked)
            ),
            match=[(ROOT, [])] if together else [],
        )
        for asked, together in claims
    ]
    gone = taken(*(f"d{i}" for i in used))
    found = allocate(here, gone, specs, CLASSES)
    assert (found is not None) == _possible(here, gone, specs)
    if found is not None:
        _check(found, specs, gone)


def _check(found: tuple[Grants, ...], specs: list[ClaimSpec], gone: frozenset[Any]) -> None:
    ids = [grant.device.id for grants in found for grant in grants]
    assert len(set(ids)) == len(ids)
    assert not gone & set(ids)
    for grants, spec in zip(found, specs, strict=True):
        assert [g.request for g in grants] == [r.name for r in spec.requests for _ in range(r.alternatives[0].count)]
        assert all(suits(g.device, g.alternative, CLASSES) for g in grants)
        if spec.constraints:
            roots = {g.device.attribute(ROOT) for g in grants}
            assert len(roots) == 1
            assert None not in roots


def _possible(here: NodeDevices, gone: frozenset[Any], specs: list[ClaimSpec]) -> bool:
    free = [device for device in here.devices if device.id not in gone]
    places = [
        (spec, request.alternatives[0])
        for spec in specs
        for request in spec.requests
        for _ in range(request.alternatives[0].count)
    ]
    if len(places) > len(free):
        return False
    for choice in itertools.permutations(free, len(places)):
        fits = all(suits(d, alternative, CLASSES) for d, (_, alternative) in zip(choice, places, strict=True))
        roots: dict[int, set[Any]] = {}
        for chosen, (spec, _) in zip(choice, places, strict=True):
            if spec.constraints:
                roots.setdefault(id(spec), set()).add(chosen.attribute(ROOT))
        if fits and all(len(values) == 1 and None not in values for values in roots.values()):
            return True
    return False
