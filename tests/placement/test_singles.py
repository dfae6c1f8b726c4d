"""Single pods: wherever one node has room there is a seat, and every seat keeps the rules that any assignment keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.assignment import Assignment, NodeAssignment
from placement.invariants import check_assignment
from placement.inventory import DeviceClass, DeviceForm, Gpu, Node, Taint
from placement.matching import admits
from placement.mix import Ask
from placement.resources import Resources
from placement.singles import Seat, Singles
from placement.workload import DeviceNeed, LabelRequirement, NodeConstraint, Operator, Role, Toleration, Workload

WHOLE, SHARE, SLICE, PRODUCT = "volcano.sh/gpu-number", "volcano.sh/gpu-memory", "nvidia.com/mig-1g.10gb", "product"
UNITS = 40
TOLERANT = (Toleration(operator="Exists"),)


def cards_node(name: str, cards: int, *, cpu: int = 64_000, product: str = "A100") -> Node:
    """Gives out whole cards, and shares of the same cards."""
    has = Resources({"cpu": cpu, "memory": 1000, "pods": 20, WHOLE: cards, SHARE: cards * UNITS})
    devices = (
        DeviceClass(WHOLE, "nvidia", product, 40_960, DeviceForm.WHOLE),
        DeviceClass(SHARE, "nvidia", product, 40_960, DeviceForm.SHARED_MEMORY, 1024),
    )
    gpus = tuple(Gpu(i, free_share=UNITS) for i in range(cards))
    return Node(name, {PRODUCT: product}, (), has, has, devices, gpus)


def sliced_node(name: str, slices: int) -> Node:
    has = Resources({"cpu": 64_000, "memory": 1000, "pods": 20, SLICE: slices})
    return Node(name, {}, (), has, has, (DeviceClass(SLICE, "nvidia", "", 9728, DeviceForm.MIG),))


def plain_node(name: str) -> Node:
    has = Resources({"cpu": 64_000, "memory": 1000, "pods": 20})
    return Node(name, {}, (Taint("dedicated", "cpu", "NoSchedule"),), has, has)


def role(resource: str = "", amount: int = 0, *, cpu: int = 1000, product: str = "", tolerant: bool = False) -> Role:
    devices = (DeviceNeed(resource, amount, resource == SHARE),) if resource else ()
    terms = ((LabelRequirement(PRODUCT, Operator.IN, (product,)),),) if product else ()
    need = Resources({"cpu": cpu, "memory": 10, resource: amount} if resource else {"cpu": cpu, "memory": 10})
    constraint = NodeConstraint(terms, TOLERANT if tolerant else ())
    return Role("pod", 1, 1, need, devices, constraint, (product,) if product else ())


class Yard:
    """Nodes, and pods that are put onto them."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.singles = Singles(self.nodes.get)
        for name in self.nodes:
            self.singles.changed(name)

    def put(self, asked: Role) -> Seat | None:
        self.singles.note(workload(asked))
        seat = self.singles.seat(asked)
        if seat is not None:
            self.change(taken(self.nodes[seat.node], asked, seat.gpus))
        return seat

    def change(self, node: Node) -> None:
        self.nodes[node.name] = node
        self.singles.changed(node.name)

    def remove(self, name: str) -> None:
        self.nodes.pop(name, None)
        self.singles.changed(name)


def workload(asked: Role) -> Workload:
    return Workload("v1", "Pod", "p", "team", (asked,), 1)


def taken(node: Node, asked: Role, given: tuple[int, ...]) -> Node:
    share = asked.requests[SHARE]
    gpus = tuple(
        replace(gpu, free=False, free_share=gpu.free_share - share if share else 0) if gpu.index in given else gpu
        for gpu in node.gpus
    )
    return replace(node, free=node.free - asked.requests - Resources({"pods": 1}), gpus=gpus)


def has_room(node: Node, asked: Role) -> bool:
    """By the rules alone."""
    need, share = asked.requests + Resources({"pods": 1}), asked.requests[SHARE]
    healthy = [gpu for gpu in node.gpus if gpu.healthy]
    return (
        node.ready
        and admits(asked.constraint, node.labels, node.taints)
        and node.free.covers(need)
        and asked.requests[WHOLE] <= sum(gpu.free for gpu in healthy)
        and (not share or any(gpu.free_share >= share for gpu in healthy))
    )


def test_a_share_goes_to_the_card_that_is_cut_already() -> None:
    yard = Yard(cards_node("n", 4))
    first = yard.put(role(SHARE, 10))
    assert first is not None
    assert yard.put(role(SHARE, 10)) == first
    whole = yard.put(role(WHOLE, 3))
    assert whole is not None
    assert set(whole.gpus).isdisjoint(first.gpus)


def test_a_share_fills_the_card_that_it_fits() -> None:
    yard = Yard(cards_node("n", 2))
    yard.singles.keep_to(((Ask(1000, SHARE, 16, True), 0.5), (Ask(1000, SHARE, 24, True), 0.5)))
    [a] = yard.put(role(SHARE, 24)).gpus  # type: ignore[union-attr]  # there is room
    [b] = yard.put(role(SHARE, 16)).gpus  # type: ignore[union-attr]
    assert a == b


def test_a_scarce_product_is_left_to_those_who_insist_on_it() -> None:
    yard = Yard(cards_node("rare", 4, product="H100"), *(cards_node(f"n{i}", 4) for i in range(3)))
    for _ in range(8):
        yard.singles.note(workload(role(WHOLE, 1, product="H100")))
    assert yard.put(role(WHOLE, 1)) == Seat("n0", (0,))
    assert yard.put(role(WHOLE, 1, product="H100")) == Seat("rare", (0,))


def test_pods_without_devices_keep_off_cards() -> None:
    yard = Yard(cards_node("a", 8), plain_node("b"))
    yard.singles.note(workload(role(WHOLE, 1)))
    assert yard.put(role(tolerant=True)) == Seat("b", ())


def test_whole_nodes_are_kept_for_those_who_need_them() -> None:
    yard = Yard(*(cards_node(f"n{i}", 8) for i in range(3)))
    for _ in range(20):
        yard.singles.note(workload(role(WHOLE, 8)))
    assert {yard.put(role(WHOLE, 1)).node for _ in range(8)} == {"n0"}  # type: ignore[union-attr]
    assert yard.put(role(WHOLE, 8)) == Seat("n1", tuple(range(8)))


def test_slices_are_counted_and_have_no_index() -> None:
    yard = Yard(sliced_node("n", 7))
    assert [yard.put(role(SLICE, 3)) for _ in range(3)] == [Seat("n", ()), Seat("n", ()), None]


def test_an_unhealthy_card_is_not_given() -> None:
    node = cards_node("n", 2)
    yard = Yard(replace(node, gpus=(replace(node.gpus[0], healthy=False), node.gpus[1])))
    assert yard.put(role(SHARE, 5)) == Seat("n", (1,))
    assert yard.put(role(WHOLE, 1)) is None


def test_why_there_is_no_seat_in_numbers() -> None:
    yard = Yard(cards_node("n", 4), cards_node("m", 4))
    yard.put(role(WHOLE, 4))
    yard.put(role(WHOLE, 3))
    short = yard.singles.shortage(role(WHOLE, 2), "c")
    assert (short.resource, short.need, short.free, short.ever) == (WHOLE, 2, 1, True)
    assert not yard.singles.shortage(role(WHOLE, 9), "c").ever
    assert not yard.singles.shortage(role(SHARE, UNITS + 1), "c").ever


def test_a_node_that_is_not_ready_may_come_back() -> None:
    yard = Yard(replace(cards_node("n", 4), ready=False))
    assert yard.singles.seat(role(WHOLE, 1)) is None
    assert yard.singles.shortage(role(WHOLE, 1), "c").ever
    yard.change(cards_node("n", 4))
    assert yard.singles.seat(role(WHOLE, 1)) == Seat("n", (0,))


roles = st.one_of(
    st.builds(lambda cpu, tolerant: role(cpu=cpu, tolerant=tolerant), st.integers(0, 40_000), st.booleans()),
    st.builds(
        lambda resource, amount, cpu, product: role(resource, amount, cpu=cpu, product=product),
        st.sampled_from([WHOLE, SHARE, SLICE]),
        st.integers(1, 9),
        st.integers(0, 20_000),
        st.sampled_from(["", "", "A100", "H100"]),
    ),
    st.builds(lambda amount: role(SHARE, amount), st.integers(1, UNITS + 1)),
)
nodes = st.one_of(
    st.builds(cards_node, st.sampled_from("abc"), st.integers(1, 8), product=st.sampled_from(["A100", "H100"])),
    st.builds(sliced_node, st.sampled_from("def"), st.integers(1, 9)),
    st.builds(plain_node, st.sampled_from("gh")),
)
changes = st.one_of(roles, roles, roles, nodes, st.sampled_from("abcdefgh"))


@settings(max_examples=200, deadline=None)
@given(st.lists(nodes, max_size=5), st.lists(changes, max_size=30))
def test_there_is_a_seat_where_there_is_room_and_it_breaks_no_rule(
    begin: list[Node], history: list[Role | Node | str]
) -> None:
    yard = Yard(*begin)
    for change in history:
        if isinstance(change, Node):
            yard.change(change)
        elif isinstance(change, str):
            yard.remove(change)
        else:
            before = dict(yard.nodes)
            seat = yard.put(change)
            assert (seat is not None) == any(has_room(node, change) for node in before.values())
            if seat is None:
                assert yard.singles.shortage(change, "c").pods_fit == 0
                continue
            assignment = Assignment((NodeAssignment("p", "pod", seat.node, seat.gpus),))
            assert check_assignment(assignment, before.values(), workload(change)) == ()


@settings(max_examples=60, deadline=None)
@given(st.lists(nodes, min_size=1, max_size=5), st.lists(roles, max_size=25))
def test_what_is_remembered_decides_as_one_who_looks_for_the_first_time(begin: list[Node], asked: list[Role]) -> None:
    typical = ((Ask(1000, WHOLE, 1), 0.5), (Ask(2000, SHARE, 13, True), 0.3), (Ask(0, SLICE, 2), 0.2))
    yard = Yard(*{node.name: node for node in begin}.values())
    yard.singles.keep_to(typical)
    for each in asked:
        fresh = Yard(*yard.nodes.values())
        fresh.singles.keep_to(typical)
        assert fresh.singles.seat(each) == yard.put(each)


@pytest.mark.parametrize("kinds", [0, 5000])
def test_states_that_nobody_is_in_are_forgotten(kinds: int) -> None:
    yard = Yard(cards_node("n", 4), cards_node("m", 4))
    for cpu in range(kinds):
        yard.change(replace(cards_node("m", 4), free=Resources({"cpu": cpu + 2000, "memory": 99, "pods": 9, WHOLE: 4})))
        if cpu % 500 == 0:
            assert yard.singles.seat(role(WHOLE, 1)) is not None
    assert yard.singles._rows.states_known <= 4098
    assert yard.singles.seat(role(WHOLE, 4)) is not None
