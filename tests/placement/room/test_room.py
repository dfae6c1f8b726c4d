"""A room answers what the capacity answers that it began with, whatever is taken from both and given back to both."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.capacity import Capacity, Fit, Packed
from placement.fleet import Reservation
from placement.inventory import Node
from placement.resources import Resources
from placement.room.room import Room, Spot
from placement.verdict import LevelUnknown, ResourcesShort, TopologyShort
from placement.workload import Workload
from tests.placement.worlds import GPU, cpu_node, gpu_node, node_lists, role, summary_of, workload, workloads


def taken(fit: Packed) -> Counter[tuple[object, ...]]:
    found: Counter[tuple[object, ...]] = Counter()
    for spec, fill, count in fit.bin_fills():
        found[spec, fill.before, fill.after, fill.pods] += count
    return found


def agree(capacity: Capacity, room: Room, asked: Workload) -> Capacity:
    """Both are asked, and what fits is taken from both."""
    plain, quick = capacity.fit(asked), room.fit(asked)
    if not isinstance(plain, Fit):
        assert quick == plain
        return capacity
    assert isinstance(quick, Fit | Spot)
    assert (quick.rank, taken(quick)) == (plain.rank, taken(plain))
    assert bool(quick.domain) == bool(plain.domain)
    room.take(quick)
    same(plain.left, room)
    return plain.left


def same(capacity: Capacity, room: Room) -> None:
    assert room.capacity.root == capacity.root
    assert room.capacity.root.totals == capacity.root.totals


@given(node_lists(max_nodes=20), st.lists(workloads(), min_size=1, max_size=12))
@settings(max_examples=300, deadline=None)
def test_gangs_go_where_packing_puts_them(nodes: list[Node], gangs: list[Workload]) -> None:
    capacity = Capacity.of("c", summary_of(nodes))
    room = Room(capacity)
    for asked in gangs:
        capacity = agree(capacity, room, asked)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_large_gangs_of_whole_nodes_too(data: st.DataObject) -> None:
    """Racks of a few nodes in blocks of a few racks, all of which often look alike."""
    frees = st.sampled_from([8, 8, 8, 4, 1, 0])
    nodes = [
        gpu_node(f"n{block}{rack}{n}", f"{block}{rack}", free=data.draw(frees), block=f"b{block}", zone=f"z{block % 2}")
        for block in range(data.draw(st.integers(1, 4)))
        for rack in range(data.draw(st.integers(1, 4)))
        for n in range(data.draw(st.integers(1, 4)))
    ]
    capacity = Capacity.of("c", summary_of(nodes))
    room = Room(capacity)
    levels = st.sampled_from(["", "", "rack", "block", "zone"])
    for _ in range(6):
        pods, gpus = data.draw(st.integers(1, 14)), data.draw(st.sampled_from([8, 4, 3, 1]))
        capacity = agree(capacity, room, workload(role(replicas=pods, gpus=gpus), required=data.draw(levels)))


@given(st.lists(node_lists(max_nodes=10), min_size=2, max_size=4), st.data())
@settings(max_examples=150, deadline=None)
def test_a_newer_summary_is_taken_over_whatever_was_there(states: list[list[Node]], data: st.DataObject) -> None:
    """The same nodes with others in use, or quite other nodes; with reservations that may no longer pack."""
    gangs = data.draw(st.lists(workloads(), min_size=1, max_size=4))
    room = Room(Capacity.of("c", summary_of(states[0])))
    for nodes in states:
        for state in (nodes, data.draw(st.just(nodes) | _others_in_use(nodes))):
            room.renew(room.inventory.renewed(summary_of(state)))
            capacity = Capacity.of("c", summary_of(state))
            same(capacity, room)
            for asked in gangs:
                held = Reservation("j", 1, "c", asked)
                capacity = capacity.deduct(held)
                room.deduct(held)
                same(capacity, room)
            for asked in gangs:
                fresh = Room(capacity)
                told, plain = room.fit(asked), fresh.fit(asked)
                assert isinstance(told, Fit | Spot) == isinstance(plain, Fit | Spot)
                if isinstance(told, ResourcesShort | TopologyShort):
                    assert told == plain == capacity.fit(asked)


@st.composite
def _others_in_use(draw: st.DrawFn, nodes: list[Node]) -> list[Node]:
    changed = []
    for node in nodes:
        free = {
            name: draw(st.integers(0, amount)) if draw(st.booleans()) else amount for name, amount in node.free.items()
        }
        changed.append(replace(node, free=Resources(free)))
    return changed


def test_a_summary_read_again_gives_everything_back() -> None:
    capacity = Capacity.of("c", summary_of([gpu_node(f"n{i}", f"r{i % 3}") for i in range(9)]))
    room = Room(capacity)
    for gpus in (8, 3, 1):
        fit = room.fit(workload(role(replicas=2, gpus=gpus)))
        assert isinstance(fit, Spot)
        room.take(fit)
    assert room.capacity.root != capacity.root
    room.renew(room.inventory)
    same(capacity, room)
    assert room.capacity.root is capacity.root


def test_nodes_outside_every_rack_are_no_rack() -> None:
    nodes = [gpu_node("a", "r", block="b"), gpu_node("b", "r", block="b"), gpu_node("c"), cpu_node("d", zone="z")]
    capacity = Capacity.of("c", summary_of(nodes))
    room = Room(capacity)
    for level in ("rack", "block", "", "host"):
        for pods in (1, 2, 3):
            agree(capacity, Room(capacity), workload(role(replicas=pods, gpus=8), required=level))
    short = room.fit(workload(role(replicas=3, gpus=8), required="rack"))
    assert short == TopologyShort("c", "rack", 3, 2, 24, 24, ever=False)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("placement.room.looks._MOST_CELLS", 3000)
    monkeypatch.setattr("placement.room.grid._STALE_MORE", 2)
    capacity = Capacity.of("c", summary_of([gpu_node(f"n{i}", f"r{i % 4}") for i in range(40)]))
    room = Room(capacity)
    grids = {id(room.grid): room.grid}
    for turn in range(150):
        capacity = agree(capacity, room, workload(role(gpus=1 + turn % 2, cpu=turn * 100)))
        grids[id(room.grid)] = room.grid
    assert 1 < len(grids) < 100
    assert all(grid.looks.table.size <= 2 * 3000 + 64 * 64 for grid in grids.values())


def test_a_fit_is_for_one_state_of_one_room() -> None:
    capacity = Capacity.of("c", summary_of([gpu_node("a"), gpu_node("b")]))
    room = Room(capacity)
    fit = room.fit(workload(role(gpus=8)))
    assert isinstance(fit, Spot)
    with pytest.raises(ValueError, match="another state"):
        Room(capacity).take(fit)
    room.take(fit)
    with pytest.raises(ValueError, match="another state"):
        room.take(fit)
    mixed = room.fit(workload(role("a", gpus=4), role("b", gpus=2)))
    assert isinstance(mixed, Fit)
    room.take(mixed)
    with pytest.raises(ValueError, match="another state"):
        room.take(mixed)
    assert room.capacity.root.totals[GPU] == 2


def test_where_it_would_go_is_said_as_a_fit_says_it() -> None:
    nodes = [gpu_node("a", "r1"), gpu_node("b", "r1"), gpu_node("c", "r2"), gpu_node("d", "r2"), gpu_node("e", "r2")]
    room = Room(Capacity.of("c", summary_of(nodes)))
    for pods, domain in ((1, "a node of rack r1"), (2, "rack r1"), (3, "rack r2"), (4, "")):
        fit = room.fit(workload(role(replicas=pods, gpus=8)))
        assert isinstance(fit, Spot)
        assert fit.domain == domain
    assert isinstance(room.fit(workload(role(gpus=1), required="row")), LevelUnknown)
