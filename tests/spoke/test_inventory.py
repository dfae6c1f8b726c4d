"""What is free: every pod counted once, whatever order the news comes in, and held places kept apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.inventory import DEFAULT_LEVELS, Node
from placement.resources import Resources
from placement.workload import DeviceNeed, Role
from spoke import pods
from spoke.inventory import Inventory, Slot, Usage
from spoke.pods import Life, PodFacts
from tests.spoke.stage import foreign_pod, node
from wire.orders import JobRef

GPU = "nvidia.com/gpu"
REF = JobRef("j-1", 1)


def inventory(*names: str, **more: Any) -> Inventory:
    found = Inventory(DEFAULT_LEVELS)
    for name in names:
        found.put_node(node(name, **more))
    return found


def pod(uid: str, at: str, gpus: int, indices: tuple[int, ...] = ()) -> PodFacts:
    facts = pods.read(foreign_pod(uid, at, gpus, uid=uid))
    return replace(facts, gpus=indices)


def usage(gpus: int, indices: tuple[int, ...] = ()) -> Usage:
    return Usage(Resources({GPU: gpus, "pods": 1}), indices)


def free(found: Inventory, name: str = "n1") -> tuple[int, list[int]]:
    at = found.node(name)
    assert at is not None
    return at.free[GPU], [gpu.index for gpu in at.gpus if gpu.free]


def test_pods_of_any_scheduler_are_counted_and_take_the_highest_indices() -> None:
    found = inventory("n1")
    found.put_pod(pod("theirs", "n1", 2))
    found.put_pod(pod("ours", "n1", 2, (6, 0)))
    assert free(found) == (4, [1, 2, 3, 4])


def test_a_pod_that_is_over_takes_nothing() -> None:
    found = inventory("n1")
    running = pod("p", "n1", 4)
    found.put_pod(running)
    found.put_pod(replace(running, life=Life.SUCCEEDED))
    assert free(found)[0] == 8


def test_pods_may_be_known_before_their_node_and_outlive_it() -> None:
    found = Inventory(DEFAULT_LEVELS)
    found.put_pod(pod("p", "n1", 3))
    assert found.nodes() == []
    found.put_node(node("n1"))
    assert free(found)[0] == 5
    found.drop_node("n1")
    found.put_node(node("n1"))
    assert free(found)[0] == 5


def test_what_is_being_bound_is_taken_at_once_and_given_back_where_it_fails() -> None:
    found = inventory("n1", "n2")
    found.assume("u", "n1", usage(8))
    found.put_pod(replace(pod("u", "n1", 8), node=""))  # news from before the binding
    assert free(found)[0] == 0
    found.unassume("u")
    assert free(found)[0] == 8
    found.assume("u", "n1", usage(8))
    found.put_pod(pod("u", "n1", 8))
    found.unassume("u")  # too late: it is bound
    assert free(found)[0] == 0


def test_nodes_that_are_not_kept_are_gone() -> None:
    found = inventory("n1", "n2")
    found.put_pod(pod("b", "n2", 2))
    found.keep_nodes({"n1"})
    assert [at.name for at in found.nodes()] == ["n1"]


def test_held_places_are_free_for_the_hub_and_taken_for_others() -> None:
    found = inventory("n1")
    found.hold(REF, [Slot("worker", "n1", usage(4, (0, 1, 2, 3)))])
    assert free(found) == (4, [4, 5, 6, 7])
    [actual] = found.actual_nodes()
    assert actual.free[GPU] == 8
    slot = found.redeem(REF, 0, "u")
    assert (slot.node, found.is_assumed("u"), found.slots(REF)) == ("n1", True, {})
    assert free(found) == (4, [4, 5, 6, 7])
    assert found.actual_nodes()[0].free[GPU] == 4


def test_held_places_are_unsound_once_somebody_else_is_there() -> None:
    found = inventory("n1", "n2")
    found.hold(REF, [Slot("worker", "n1", usage(8, tuple(range(8))))])
    assert found.is_sound(REF)
    found.put_pod(pod("theirs", "n1", 1))
    assert not found.is_sound(REF)
    found.drop_pod("theirs")
    assert found.is_sound(REF)
    found.put_node(node("n1", annotations={"muster.dev/unhealthy-gpus": "3"}))
    assert not found.is_sound(REF)
    found.drop_node("n1")
    assert not found.is_sound(REF)


def test_a_card_known_to_be_anothers_makes_a_held_place_unsound() -> None:
    found = inventory("n1")
    found.hold(REF, [Slot("worker", "n1", usage(1, (0,)))])
    found.put_pod(pod("restarted", "n1", 1, (0,)))
    assert not found.is_sound(REF)


def shared(cards: int, units: int) -> dict[str, Any]:
    at = node("n1", gpus=0, allocatable={"aliyun.com/gpu-mem": str(cards * units), "aliyun.com/gpu-count": str(cards)})
    at["metadata"]["labels"].pop("nvidia.com/gpu.count")
    return at


def share(uid: str, amount: int, card: int | None) -> PodFacts:
    facts = pods.read(foreign_pod(uid, "n1", 0, uid=uid))
    need = Resources({"aliyun.com/gpu-mem": amount, "pods": 1})
    return replace(facts, requests=need, gpus=() if card is None else (card,))


def test_shares_of_a_cards_memory() -> None:
    found = Inventory(DEFAULT_LEVELS)
    found.put_node(shared(cards=2, units=16))
    found.put_pod(share("a", 4, 1))
    found.put_pod(share("b", 6, None))  # on the emptiest card, for all that is known
    at = found.node("n1")
    assert at is not None
    assert [gpu.free_share for gpu in at.gpus] == [10, 12]
    assert [gpu.free for gpu in at.gpus] == [False, False]


def test_room_grows_only_when_something_may_fit_that_did_not() -> None:
    found = inventory("n1")
    room = found.room
    found.put_pod(pod("a", "n1", 1))
    found.hold(REF, [Slot("worker", "n1", usage(1))])
    found.redeem(REF, 0, "u")
    found.put_node(node("n1"))  # a heartbeat
    assert found.room == room
    found.drop_pod("a")
    assert found.room > room


Step = tuple[str, int, int, int]
steps = st.lists(
    st.tuples(st.sampled_from(["put", "drop", "assume", "unassume", "node", "lose"]), *[st.integers(0, 3)] * 3),
    max_size=40,
)


@given(steps)
def test_whatever_order_the_news_comes_in_free_is_capacity_minus_pods(history: list[Step]) -> None:
    found, there, present = Inventory(DEFAULT_LEVELS), dict[str, tuple[str, int]](), set[str]()
    bound = set[str]()
    for verb, a, b, c in history:
        uid, at = f"u{a}", f"n{b}"
        if verb == "put":
            found.put_pod(pod(uid, at, c))
            there[uid] = (at, c)
            bound.add(uid)
        elif verb == "drop":
            found.drop_pod(uid)
            there.pop(uid, None)
            bound.discard(uid)
        elif verb == "assume" and uid not in there:
            found.assume(uid, at, usage(c))
            there[uid] = (at, c)
        elif verb == "unassume":
            found.unassume(uid)
            if uid not in bound:
                there.pop(uid, None)
        elif verb == "node":
            found.put_node(node(at))
            present.add(at)
        elif verb == "lose":
            found.drop_node(at)
            present.discard(at)
        seen: dict[str, Node] = {each.name: each for each in found.nodes()}
        assert set(seen) == present
        for name, each in seen.items():
            assert each.free[GPU] == 8 - sum(gpus for where, gpus in there.values() if where == name)
        role = Role("worker", 1, 1, usage(c).requests, (DeviceNeed(GPU, c),) if c else ())
        seat = found.singles.seat(role)
        assert (seat is not None) == any(each.free.covers(role.requests) for each in seen.values())
        assert seat is None or len(seat.gpus) == c


@pytest.mark.parametrize("taken", range(9))
def test_the_number_of_free_cards_is_right_without_any_index(taken: int) -> None:
    found = inventory("n1")
    for i in range(taken):
        found.put_pod(pod(f"p{i}", "n1", 1))
    assert free(found) == (8 - taken, list(range(8 - taken)))
