"""Who has which device, in whatever order slices, classes and claims are heard of."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.dra.counts import Counted
from placement.dra.devices import DeviceId
from placement.dra.requests import ClaimRefused
from placement.dra.stock import Stock
from spoke.cluster.port import Object
from spoke.device_book import DeviceBook
from spoke.gpus import claimed
from spoke.pods import read
from tests.spoke.driver import DEVICE_CLASS, DRIVER, resource_slice
from tests.spoke.stage import foreign_pod


class Desk:
    def __init__(self) -> None:
        self.book = DeviceBook()
        self.stocks: dict[str, tuple[Stock, Counted]] = {}
        self.book.put = lambda node, stock, counted: self.stocks.__setitem__(node, (stock, counted))
        [(_, self.classes), (_, self.slices), (_, self.claims)] = self.book.sinks()

    def taken(self, node: str) -> set[str]:
        return {name for _, _, name in self.stocks[node][0].taken}


def claim(name: str, *devices: str, version: int = 1, node: str = "n1", uid: str = "") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team", "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    results = [{"request": "gpu", "driver": DRIVER, "pool": node, "device": device} for device in devices]
    status = {"allocation": {"devices": {"results": results}}} if devices else {}
    spec = {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu"}}]}}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


def device(name: str, node: str = "n1") -> DeviceId:
    return DRIVER, node, name


def a_desk(*claims: Object) -> Desk:
    desk = Desk()
    desk.classes.reset([DEVICE_CLASS])
    desk.slices.reset([resource_slice("n1", 4)])
    desk.claims.reset(claims)
    return desk


def test_it_is_read_once_all_three_kinds_are() -> None:
    desk = Desk()
    desk.slices.reset([])
    desk.classes.reset([])
    assert not desk.book.is_read
    desk.claims.reset([])
    assert desk.book.is_read


def test_what_claims_have_is_taken_until_they_are_gone() -> None:
    desk = a_desk(claim("a", "d0", "d1"))
    assert desk.taken("n1") == {"d0", "d1"}
    assert desk.stocks["n1"][1].free["dra/gpu"] == 2
    desk.claims.upsert(claim("a", version=2))
    assert desk.taken("n1") == set()
    desk.claims.upsert(claim("b", "d3"))
    desk.claims.gone(claim("b", "d3"))
    assert desk.taken("n1") == set()


def test_devices_had_with_admin_access_are_free_for_others() -> None:
    watching = claim("a", "d0")
    watching["status"]["allocation"]["devices"]["results"][0]["adminAccess"] = True
    assert a_desk(watching).taken("n1") == set()


def test_what_is_assumed_holds_until_the_claim_as_written_is_seen() -> None:
    desk = a_desk(claim("a", version=5))
    desk.book.assume("uid-a", "n1", [device("d2")])
    assert desk.taken("n1") == {"d2"}
    desk.claims.upsert(claim("a", version=6))  # its finalizer
    assert desk.taken("n1") == {"d2"}
    desk.book.written(claim("a", "d2", version=8))
    desk.claims.upsert(claim("a", version=7))  # an event from before
    assert desk.taken("n1") == {"d2"}
    desk.claims.upsert(claim("a", "d2", version=8))
    desk.claims.upsert(claim("a", version=9))
    assert desk.taken("n1") == set()


def test_what_was_not_written_is_given_back() -> None:
    desk = a_desk(claim("a", "d0"))
    desk.book.assume("uid-a", "n1", [device("d2")])
    assert desk.taken("n1") == {"d0", "d2"}
    desk.book.unassume("uid-a")
    assert desk.taken("n1") == {"d0"}


def test_a_claim_made_anew_under_its_name_is_another() -> None:
    desk = a_desk(claim("a", "d0"))
    desk.claims.upsert(claim("a", uid="another", version=3))
    assert desk.taken("n1") == set()
    found = desk.book.claim("team", "a")
    assert found is not None
    assert found.uid == "another"


def test_a_claim_that_was_asked_for_and_comes_is_told() -> None:
    desk, came = a_desk(), []
    desk.book.awaited_came = lambda: came.append(1)
    assert desk.book.claim("team", "a") is None
    desk.claims.upsert(claim("b"))
    assert not came
    desk.claims.upsert(claim("a"))
    assert came


def test_slices_that_go_or_cannot_be_read_offer_nothing() -> None:
    desk = a_desk(claim("a", "d0"))
    broken = resource_slice("n1", 4)
    del broken["spec"]["pool"]
    desk.slices.upsert(broken)
    assert not desk.stocks["n1"][0].offered.devices
    desk.slices.upsert(resource_slice("n1", 2))
    assert desk.taken("n1") == {"d0"}
    desk.slices.gone(resource_slice("n1", 2))
    assert not desk.stocks["n1"][0].offered.devices


def test_a_class_that_changes_is_counted_anew() -> None:
    desk = a_desk()
    desk.classes.upsert({**DEVICE_CLASS, "spec": {"selectors": [{"cel": {"expression": "false"}}]}})
    assert not desk.stocks["n1"][1].capacity
    desk.classes.upsert(DEVICE_CLASS)
    assert desk.stocks["n1"][1].capacity
    with pytest.raises(ClaimRefused):
        desk.classes.upsert({**DEVICE_CLASS, "spec": {"selectors": [{"rego": "x"}]}})
    assert not desk.stocks["n1"][1].capacity
    desk.classes.gone(DEVICE_CLASS)
    assert not desk.book.classes


@given(st.integers(0, 2**32), st.lists(st.sets(st.integers(0, 3), max_size=2), min_size=1, max_size=6))
def test_in_whatever_order_things_are_heard_of_the_end_is_the_same(seed: int, held: list[set[int]]) -> None:
    events: list[tuple[str, Object]] = [("slice", resource_slice("n1", 4)), ("class", DEVICE_CLASS)]
    last: dict[str, set[int]] = {}
    for number, devices in enumerate(held):
        name = f"c{number % 3}"
        events.append(("claim", claim(name, *(f"d{d}" for d in devices), version=number + 1)))
        last[name] = devices
    Random(seed).shuffle(events)
    desk = Desk()
    for sink in (desk.classes, desk.slices, desk.claims):
        sink.reset([])
    for kind, obj in events:
        {"slice": desk.slices, "class": desk.classes, "claim": desk.claims}[kind].upsert(obj)
    assert desk.taken("n1") == {f"d{d}" for devices in last.values() for d in devices}
    assert desk.stocks["n1"][1].capacity["dra/gpu"] == 4


def test_a_device_that_is_tainted_under_its_pod_or_gone() -> None:
    desk = a_desk(claim("c", "d0"))
    pod = replace(read(foreign_pod("p", "n1", 0, uid="u")), namespace="team", claims=("c",))
    assert claimed.trouble(desk.book, pod) == ""
    whole = resource_slice("n1", 4)
    tainted = deepcopy(whole)
    taint = {"key": "gpu.nvidia.com/xid", "value": "79", "effect": "NoSchedule"}
    tainted["spec"]["devices"][0]["taints"] = [taint]
    desk.slices.upsert(tainted)
    assert claimed.trouble(desk.book, pod) == ""  # nobody new is to have it
    taint["effect"] = "NoExecute"
    desk.slices.upsert(deepcopy(tainted))
    assert claimed.trouble(desk.book, pod) == "device d0 of n1: taint gpu.nvidia.com/xid=79:NoExecute"
    without = deepcopy(whole)
    del without["spec"]["devices"][0]
    desk.slices.upsert(without)
    assert claimed.trouble(desk.book, pod) == f"device d0 of n1: {DRIVER} offers it no more"
    desk.slices.gone(without)  # the driver is being started anew
    assert claimed.trouble(desk.book, pod) == ""
