"""What is written into claims, and what stays of it when calls fail in the middle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from placement.dra.allocate import allocate
from placement.dra.counts import Counted
from placement.dra.requests import read
from placement.dra.stock import Stock
from spoke import pods
from spoke.claim_writing import ClaimWriter, Writing
from spoke.claims import ClaimGrant
from spoke.cluster import backoff
from spoke.cluster.fake import FakeCluster
from spoke.cluster.port import ClusterError, Object, ObjectKey, Refused, Unavailable
from spoke.device_book import DeviceBook
from spoke.pods import PodFacts
from tests.spoke.driver import API, DEVICE_CLASS, DRIVER, KINDS, claim, devices_of, resource_slice
from tests.spoke.stage import foreign_pod

ASKED = {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu", "count": 2}}]}}


class Losing(FakeCluster):
    """Does what it is asked, and loses the answers of the next so many updates."""

    lost = 0

    async def update(self, obj: Object, *, subresource: str = "") -> Object:
        made = await super().update(obj, subresource=subresource)
        if self.lost:
            self.lost -= 1
            raise Unavailable("the answer was lost")
        return made


class Desk:
    def __init__(self) -> None:
        self.cluster = Losing(kinds=KINDS)
        self.book = DeviceBook()
        self.writer = ClaimWriter(self.cluster, self.book, Random(1))
        self.taken: set[str] = set()
        self.book.put = self._put
        [(_, classes), (_, slices), (_, self.claims)] = self.book.sinks()
        classes.reset([DEVICE_CLASS])
        slices.reset([resource_slice("n1", 4)])
        self.claims.reset([])

    def _put(self, node: str, stock: Stock, counted: Counted) -> None:
        self.taken = {name for _, _, name in stock.taken}

    def pod(self, name: str = "p", node: str = "") -> PodFacts:
        return pods.read(self.cluster.put(foreign_pod(name, node, 0)))

    def claim(self, name: str = "c", **more: Any) -> Object:
        made = self.cluster.put({**claim(name, ASKED), **more})
        self.claims.upsert(made)
        return made

    def grant(self, obj: Object, *gone: str) -> ClaimGrant:
        """Devices for the claim but those, assumed for it."""
        offered = self.book._offered["n1"]
        taken = {(DRIVER, "n1", name) for name in (*gone, *self.taken)}
        found = allocate(offered, taken, [read(ASKED)], self.book.classes)
        assert found is not None
        uid = obj["metadata"]["uid"]
        self.book.assume(uid, "n1", [grant.device.id for grant in found[0]])
        return ClaimGrant("team", obj["metadata"]["name"], uid, found[0])

    async def write(self, pod: PodFacts, *grants: ClaimGrant, wanted: Callable[[], bool] = lambda: True) -> str:
        return await self.writer.all_or_none([Writing(pod, "n1", grants, wanted)])

    def now(self, name: str = "c") -> Object:
        return self.cluster._objects[ObjectKey(API, "ResourceClaim", "team", name)]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    async def at_once(self: backoff.Backoff) -> None:
        return None

    monkeypatch.setattr(backoff.Backoff, "wait", at_once)
    return Desk()


async def test_a_write_whose_answer_is_lost_is_found_done(desk: Desk) -> None:
    grant = desk.grant(desk.claim())
    desk.cluster.lost = 2
    assert await desk.write(desk.pod(), grant) == ""
    assert devices_of(desk.now()) == [("n1", "d0"), ("n1", "d1")]
    assert len(desk.now()["status"]["reservedFor"]) == 1


async def test_devices_stay_taken_until_it_is_known_that_nothing_was_written(desk: Desk) -> None:
    """The write is done and its answer lost, the pod is not to run any more, and the API server is away for a while."""
    grant, left = desk.grant(desk.claim()), 3
    seen: list[set[str]] = []

    def away(verb: str, key: ObjectKey | None) -> Unavailable | None:
        nonlocal left
        if verb == "get" and left:
            left -= 1
            seen.append(set(desk.taken))
            return Unavailable("away")
        return None

    desk.cluster.faults.append(away)
    desk.cluster.lost = 2
    writes = iter([True, True, True, False])  # nothing to clear, the finalizer, the status, and then no more
    problem = await desk.write(desk.pod(), grant, wanted=lambda: next(writes, False))
    assert problem == "claim c: it is not to run any more"
    assert seen == [{"d0", "d1"}] * 3
    assert devices_of(desk.now()) == []
    assert desk.taken == set()


async def test_what_somebody_else_allocated_meanwhile_is_left_alone(desk: Desk) -> None:
    grant = desk.grant(desk.claim())
    result = {"request": "gpu", "driver": DRIVER, "pool": "n1", "device": "d3"}
    theirs = {"allocation": {"devices": {"results": [result]}}, "reservedFor": [{"uid": "other"}]}
    desk.cluster.put({**desk.now(), "status": theirs})
    assert "somebody else has allocated it" in await desk.write(desk.pod(), grant)
    assert desk.now()["status"] == theirs
    assert desk.taken == {"d3"}


async def test_an_earlier_allocation_for_the_same_pod_is_cleared_before_another_is_written(desk: Desk) -> None:
    pod = desk.pod()
    made = desk.claim()
    assert await desk.write(pod, desk.grant(made)) == ""
    assert await desk.write(pod, desk.grant(made, "d0", "d1")) == ""
    assert devices_of(desk.now()) == [("n1", "d2"), ("n1", "d3")]
    assert desk.taken == {"d2", "d3"}


async def test_pods_that_change_their_devices_among_themselves_never_have_one_twice(desk: Desk) -> None:
    """What one of them has cannot be cleared at once, or not at all: the other does not take it meanwhile."""
    first, second = desk.pod("first"), desk.pod("second")
    one, two = desk.claim("one"), desk.claim("two")
    low, high = desk.grant(one), desk.grant(two)
    assert await desk.writer.all_or_none([Writing(first, "n1", [low], _yes), Writing(second, "n1", [high], _yes)]) == ""
    swapped = [replace(low, grants=high.grants), replace(high, grants=low.grants)]
    stubborn = True

    def fault(verb: str, key: ObjectKey | None) -> ClusterError | None:
        both = [*devices_of(desk.now("one")), *devices_of(desk.now("two"))]
        assert len(set(both)) == len(both)
        return Refused("no") if verb == "update" and key is not None and key.name == "one" and stubborn else None

    desk.cluster.faults.append(fault)
    for stubborn in (True, False):
        for grant in swapped:
            assert grant.grants is not None
            desk.book.assume(grant.uid, "n1", [each.device.id for each in grant.grants])
        writings = [Writing(pod, "n1", [grant], _yes) for pod, grant in zip((first, second), swapped, strict=True)]
        assert (await desk.writer.all_or_none(writings) == "") is not stubborn
    assert devices_of(desk.now("one")) == [("n1", "d2"), ("n1", "d3")]
    assert devices_of(desk.now("two")) == [("n1", "d0"), ("n1", "d1")]


def _yes() -> bool:
    return True


async def test_a_pod_that_joins_waits_for_the_one_that_allocates_and_leaves_it_what_it_has(desk: Desk) -> None:
    made, first, second = desk.claim(), desk.pod("first"), desk.pod("second")
    joining = ClaimGrant("team", "c", made["metadata"]["uid"], None)
    allocating = desk.grant(made)
    assert "has not had it allocated" in await desk.write(second, joining)
    assert desk.taken == {"d0", "d1"}  # still assumed for the first
    assert await desk.write(first, allocating) == ""
    assert await desk.write(second, joining) == ""
    await desk.writer.take_back(second, [joining])
    assert [user["name"] for user in desk.now()["status"]["reservedFor"]] == ["first"]
    assert desk.taken == {"d0", "d1"}


async def test_a_pod_that_was_bound_after_all_keeps_its_devices(desk: Desk) -> None:
    pod, grant = desk.pod(), desk.grant(desk.claim())
    assert await desk.write(pod, grant) == ""
    desk.pod(node="n1")
    await desk.writer.take_back(pod, [grant])
    assert desk.taken == {"d0", "d1"}


async def test_of_two_claims_of_a_pod_none_stays_where_one_is_gone(desk: Desk) -> None:
    first = desk.grant(desk.claim("one"))
    second = desk.grant(desk.claim("two"))
    desk.cluster.remove(ObjectKey(API, "ResourceClaim", "team", "two"))
    desk.cluster.put(claim("two", ASKED))
    assert "another one made" in await desk.write(desk.pod(), first, second)
    assert devices_of(desk.now("one")) == []
    assert desk.taken == set()
