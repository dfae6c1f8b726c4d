"""Roles and slices with domains of their own: as good as trying everything, and decided alike at hub and spoke."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from placement import nested, topology
from placement.assignment import Assignment, NodeAssignment, PodToPlace, Shortfall
from placement.bins import Bin, Domain, Spec, Unit
from placement.capacity import Capacity, Fit
from placement.invariants import check_assignment
from placement.inventory import DEFAULT_LEVELS, HOST_LEVEL, Node
from placement.nested import Group, Part
from placement.packing import bin_fills
from placement.resources import Resources
from placement.survey import Surveyor
from placement.verdict import LevelUnknown, ResourcesShort, TopologyShort
from placement.workload import SliceRequest, TopologyMode, TopologyRequest, Workload
from tests.placement.worlds import (
    after,
    gpu_node,
    nested_workloads,
    node_lists,
    pods_of,
    racked_nodes,
    role,
    summary_of,
    workload,
    workloads,
)

GPU = "gpu"
RACK, BLOCK, CLUSTER = 1, 2, 3


def spec(gpus: int) -> Spec:
    return Spec(Resources({GPU: gpus, "pods": 1}), 0, frozenset({0}))


def node(gpus: int) -> Bin:
    return Bin(0, Resources({GPU: gpus, "pods": 100}))


racks = st.lists(st.integers(0, 8), min_size=1, max_size=3).map(lambda gpus: Domain(RACK, Counter(map(node, gpus))))
blocks = st.lists(racks | st.integers(0, 8).map(node), min_size=1, max_size=3).map(lambda u: Domain(BLOCK, Counter(u)))
clusters = st.lists(blocks | racks | st.integers(0, 8).map(node), min_size=1, max_size=4).map(
    lambda units: Domain(CLUSTER, Counter(units))
)


@given(clusters, st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=250, deadline=None)
def test_identical_slices_fit_exactly_when_trying_everything_finds_a_way(
    tree: Domain, gpus: int, size: int, count: int, rank: int, ceiling: int
) -> None:
    part = Part(spec(gpus), size, count, rank)
    found = nested.place(tree, [Group("r", (part,), ceiling)], CLUSTER)
    assert (found is not None) == any_way(tree, part, ceiling)
    if found is not None:
        [(_, filled)] = found.placement.fills
        assert sum(fill.pods * times for fill, times in bin_fills(filled)) == size * count
        assert isinstance(found.placement.after, Domain)
        assert found.placement.after.totals == Domain(CLUSTER, found.placement.after.units).totals
        assert tree.totals[GPU] - found.placement.after.totals[GPU] == size * count * gpus


def any_way(tree: Domain, part: Part, ceiling: int) -> bool:
    """Counts slices one by one into every domain of their rank that lies in one of the ceiling's."""
    for outer in within(tree, ceiling, CLUSTER):
        slices = [0]
        if ceiling >= part.rank:
            slices = [pods_in(unit, part.spec) // part.size for unit in within(outer, part.rank, ceiling)]
        elif any(outer is unit for domain in within(tree, part.rank, CLUSTER) for unit in within_any(domain)):
            slices = [pods_in(outer, part.spec) // part.size]
        if sum(slices) >= part.count:
            return True
    return False


def within(unit: Unit, rank: int, top: int) -> list[Unit]:
    if unit.rank == rank:
        return [unit]
    return [found for inner in all_units(unit) for found in within(inner, rank, top)]


def within_any(unit: Unit) -> list[Unit]:
    return [unit, *(found for inner in all_units(unit) for found in within_any(inner))]


def all_units(unit: Unit) -> list[Unit]:
    return [inner for inner, times in unit.units.items() for _ in range(times)] if isinstance(unit, Domain) else []


def pods_in(unit: Unit, one: Spec) -> int:
    if isinstance(unit, Bin):
        return unit.free[GPU] // one.need[GPU]
    return sum(pods_in(inner, one) for inner in all_units(unit))


# ---- hub and spoke ----


@given(node_lists() | racked_nodes(), nested_workloads())
@settings(max_examples=150, deadline=None)
def test_what_the_hub_says_fits_the_spoke_assigns(nodes: list[Node], asked: Workload) -> None:
    fit = Capacity.of("c", summary_of(nodes)).fit(asked)
    answer = topology.assign(nodes, pods_of(asked), asked)
    if isinstance(fit, Fit):
        assert isinstance(answer, Assignment)
    else:
        assert isinstance(fit, ResourcesShort | TopologyShort | LevelUnknown)
    if isinstance(answer, Assignment):
        assert check_assignment(answer, nodes, asked, pods=pods_of(asked)) == ()
    else:
        assert isinstance(answer.reason, ResourcesShort | TopologyShort | LevelUnknown)


@given(node_lists() | racked_nodes(), st.lists(nested_workloads(), min_size=2, max_size=5))
@settings(max_examples=150, deadline=None)
def test_so_it_stays_through_a_cycle_of_takes(nodes: list[Node], asked: list[Workload]) -> None:
    capacity = Capacity.of("c", summary_of(nodes))
    for one in asked:
        fit = capacity.fit(one)
        if isinstance(fit, Fit):
            capacity = capacity.take(fit)
            answer = topology.assign(nodes, pods_of(one), one)
            assert isinstance(answer, Assignment)
            nodes = after(nodes, answer, one)


@given(node_lists(max_nodes=10) | racked_nodes(), nested_workloads(), st.data())
@settings(max_examples=120, deadline=None)
def test_a_gang_that_comes_in_parts_keeps_its_slices(nodes: list[Node], asked: Workload, data: st.DataObject) -> None:
    pods = pods_of(asked)
    if data.draw(st.booleans()):  # names that tell nothing
        pods = [PodToPlace(f"{pod.role}-{chr(97 + i)}x", pod.role) for i, pod in enumerate(pods)]
    pods = data.draw(st.permutations(pods))
    cut = data.draw(st.integers(0, len(pods)))
    first = topology.assign(nodes, pods[:cut], asked)
    if not isinstance(first, Assignment):
        return
    assert check_assignment(first, nodes, asked, pods=pods[:cut]) == ()
    nodes = after(nodes, first, asked)
    second = topology.assign(nodes, pods[cut:], asked, placed=first.pods)
    if isinstance(second, Assignment):
        assert check_assignment(second, nodes, asked, pods=pods[cut:], placed=first.pods) == ()


@given(node_lists() | racked_nodes(), nested_workloads())
@settings(max_examples=100, deadline=None)
def test_the_order_of_nodes_and_pods_does_not_matter(nodes: list[Node], asked: Workload) -> None:
    answer = topology.assign(nodes, pods_of(asked), asked)
    other = topology.assign(nodes[::-1], pods_of(asked)[::-1], asked)
    if isinstance(answer, Assignment):
        assert isinstance(other, Assignment)
        assert {*answer.pods} == {*other.pods}
    else:
        assert answer == other


@given(racked_nodes(max_nodes=5), nested_workloads(max_roles=1, mode="required"))
@settings(max_examples=120, deadline=None)
def test_where_trying_every_node_for_every_pod_finds_a_way_the_spoke_does(nodes: list[Node], asked: Workload) -> None:
    one = asked.roles[0]
    if one.replicas > 4:
        asked = replace(asked, roles=(replace(one, replicas=4, minimum=4),), min_pods=4)
    if one.slices is not None and asked.roles[0].replicas % one.slices.size:
        return  # slices that are not alike are packed well, not exactly
    nodes = [replace(node, gpus=()) for node in nodes]  # which cards is not the question here
    pods = pods_of(asked)
    answer = topology.assign(nodes, pods, asked)
    if isinstance(answer, Shortfall):
        for chosen in product(nodes, repeat=len(pods)):
            tried = Assignment(tuple(NodeAssignment(p.name, p.role, n.name) for p, n in zip(pods, chosen, strict=True)))
            assert check_assignment(tried, nodes, asked, pods=pods) != ()


@given(node_lists() | racked_nodes(), workloads(max_roles=1))
@settings(max_examples=150, deadline=None)
def test_what_the_only_role_asks_for_is_as_if_the_gang_did(nodes: list[Node], asked: Workload) -> None:
    capacity = Capacity.of("c", summary_of(nodes))
    one = replace(asked.roles[0], topology=asked.topology)
    by_role, by_gang = capacity.fit(replace(asked, topology=None, roles=(one,))), capacity.fit(asked)
    assert isinstance(by_role, Fit) == isinstance(by_gang, Fit)
    singly = replace(asked.roles[0], slices=SliceRequest(1, "host"))
    by_slices = capacity.fit(replace(asked, roles=(singly,)))
    assert isinstance(by_slices, Fit) == isinstance(by_gang, Fit)
    if asked.topology is not None and asked.topology.mode is TopologyMode.PREFERRED:
        # A gang would rather be on one node that is in no such domain; a role, in a domain.
        levels = {word: name for pair in DEFAULT_LEVELS for word, name in ((pair[0], pair[0]), (pair[1], pair[0]))}
        level = levels[asked.topology.level]
        if level != HOST_LEVEL and not all(node.domains.get(level) for node in nodes):
            return
    if isinstance(by_role, Fit) and isinstance(by_gang, Fit) and isinstance(by_slices, Fit):
        assert by_role.level == by_gang.level == by_slices.level
        assert by_role.left.root.totals == by_gang.left.root.totals == by_slices.left.root.totals


@given(
    st.lists(racked_nodes(max_nodes=8), min_size=2, max_size=3), st.lists(nested_workloads(), min_size=1, max_size=3)
)
@settings(max_examples=50, deadline=None)
def test_a_surveyor_that_is_kept_changes_nothing(states: list[list[Node]], asked: list[Workload]) -> None:
    surveyor = Surveyor()
    for nodes in states:
        for one in asked:
            kept = topology.assign(nodes, pods_of(one), one, surveyor=surveyor)
            assert kept == topology.assign(nodes, pods_of(one), one)


# ---- by example ----


def block(name: str, *racks: list[int]) -> list[Node]:
    """One rack for each list, one node for each number of free GPUs in it."""
    return [
        gpu_node(f"{name}r{r}n{n}", f"{name}r{r}", free=free, block=name)
        for r, rack in enumerate(racks)
        for n, free in enumerate(rack)
    ]


def sliced(pods: int, size: int, level: str = "rack", **more: str) -> Workload:
    one = replace(role("worker", pods, gpus=8), slices=SliceRequest(size, level))
    return workload(one, **more)


def placed_on(answer: Assignment | Shortfall) -> list[str]:
    assert isinstance(answer, Assignment)
    return [pod.node for pod in answer.pods]


def test_each_slice_is_in_one_rack_and_all_in_the_block_that_is_just_large_enough() -> None:
    nodes = [
        *block("a", [8, 8, 8, 8], [8, 8, 8, 8], [8, 8]),
        *block("b", [8, 8], [8, 8, 8], [8, 8]),
        *block("c", [8] * 4),
    ]
    asked = sliced(6, 2, required="block")
    assert placed_on(topology.assign(nodes, pods_of(asked), asked)) == [
        *("br0n0", "br0n1"),
        *("br1n0", "br1n1"),
        *("br2n0", "br2n1"),
    ]


def test_room_that_is_enough_by_pods_may_not_be_enough_by_slices() -> None:
    nodes = [*block("a", [8, 8, 8], [8, 8, 8]), *block("b", [8, 8, 8])]
    asked = sliced(6, 2, required="block")
    reason = Capacity.of("c", summary_of(nodes)).fit(asked)
    assert reason == TopologyShort(
        "c", "block", 3, 2, free_gpus=72, need_gpus=48, ever=False, slice_size=2, slice_level="rack"
    )
    assert reason.message == (
        "largest block of c fits 2 of 3 slices of 2 pods in one rack domain each "
        "(72 GPUs free in all, 48 needed); even empty, no block could hold it"
    )
    assert topology.assign(nodes, pods_of(asked), asked, cluster="c") == Shortfall(reason)
    assert isinstance(Capacity.of("c", summary_of(nodes)).fit(sliced(6, 2)), Fit)  # over two blocks


def test_a_slice_on_one_node() -> None:
    nodes = block("a", [4, 8], [8])
    asked = workload(replace(role("worker", 8, gpus=2), slices=SliceRequest(4, "host")))
    assert Counter(placed_on(topology.assign(nodes, pods_of(asked), asked))) == {"ar0n1": 4, "ar1n0": 4}


def test_a_role_has_a_domain_of_its_own_within_the_gang_s() -> None:
    nodes = [*block("a", [8, 8], [8, 8]), *block("b", [8, 8, 8], [8])]
    rack = TopologyRequest("rack", TopologyMode.REQUIRED)
    trainer, reader = replace(role("trainer", 3, gpus=8), topology=rack), role("reader", 1, gpus=8)
    asked = workload(reader, trainer, required="block")
    assert placed_on(topology.assign(nodes, pods_of(asked), asked)) == ["br1n0", "br0n0", "br0n1", "br0n2"]
    larger = workload(reader, replace(trainer, replicas=4, minimum=4), required="block")
    reason = Capacity.of("c", summary_of(nodes)).fit(larger)
    assert isinstance(reason, ResourcesShort | TopologyShort)
    two = workload(reader, replace(trainer, replicas=2, minimum=2), replace(trainer, name="judge"), required="zone")
    assert isinstance(Capacity.of("c", summary_of(nodes)).fit(two), TopologyShort)  # no node is in a zone


def test_what_a_role_prefers_is_kept_where_it_can_be_and_relaxed_where_not() -> None:
    rack = TopologyRequest("rack", TopologyMode.PREFERRED)
    trainer, reader = replace(role("trainer", 2, gpus=8), topology=rack), role("reader", 2, gpus=4)
    asked = workload(trainer, reader)
    nodes = [*block("a", [8, 4], [8, 4]), *block("b", [8, 8, 8])]
    # The block that holds it all is `a`; only `b` has two nodes for the trainer in one rack.
    assert placed_on(topology.assign(nodes, pods_of(asked), asked)) == ["br0n0", "br0n1", "br0n2", "br0n2"]
    without = [*block("a", [8, 4], [8, 4])]
    assert placed_on(topology.assign(without, pods_of(asked), asked))[:2] == ["ar0n0", "ar1n0"]


def test_a_pod_made_anew_goes_where_the_rest_of_its_slice_is_or_nowhere() -> None:
    nodes = block("a", [0, 8], [0, 0, 8], [8, 8])
    asked = sliced(4, 2)
    cards = tuple(range(8))
    there = [
        NodeAssignment("job-0-xk2f9", "worker", "ar0n0", cards, 0),
        NodeAssignment("job-2-b7x42", "worker", "ar1n0", cards, 2),
        NodeAssignment("job-3-lkw2x", "worker", "ar1n1", cards, 3),
    ]
    assert placed_on(topology.assign(nodes, [PodToPlace("job-1-99999", "worker", 1)], asked, placed=there)) == ["ar0n1"]
    full = topology.assign(
        block("a", [0, 4], [0, 0, 8], [8, 8]), [PodToPlace("job-1-99999", "worker", 1)], asked, placed=there
    )
    assert isinstance(full, Shortfall)
    assert isinstance(full.reason, TopologyShort)
    assert (full.reason.level, full.reason.pods_fit_largest, full.reason.pods_need) == ("rack", 0, 1)


def test_pods_without_numbers_complete_the_slices_that_are_short_of_some() -> None:
    nodes = block("a", [0, 8], [0, 0, 8], [8, 8])
    there = [
        NodeAssignment(name, "worker", node, tuple(range(8)))
        for name, node in [("web-a", "ar0n0"), ("web-b", "ar1n0"), ("web-c", "ar1n1")]
    ]
    assert placed_on(topology.assign(nodes, [PodToPlace("web-d", "worker")], sliced(4, 2), placed=there)) == ["ar0n1"]


def test_a_level_that_a_cluster_has_not_is_said_for_slices_and_roles_too() -> None:
    nodes = block("a", [8, 8])
    unknown = LevelUnknown("c", "row", ("zone", "block", "rack", "host"))
    one = role("worker", 2, gpus=8)
    for asked in (
        sliced(2, 2, "row"),
        workload(replace(one, topology=TopologyRequest("row", TopologyMode.REQUIRED))),
    ):
        assert Capacity.of("c", summary_of(nodes)).fit(asked) == unknown
        assert topology.assign(nodes, pods_of(asked), asked, cluster="c") == Shortfall(unknown)
    liked = workload(replace(one, topology=TopologyRequest("row", TopologyMode.PREFERRED)))
    assert isinstance(Capacity.of("c", summary_of(nodes)).fit(liked), Fit)


def test_the_last_slice_may_be_smaller() -> None:
    nodes = block("a", [8, 8], [8])
    asked = sliced(3, 2)
    assert placed_on(topology.assign(nodes, pods_of(asked), asked)) == ["ar0n0", "ar0n1", "ar1n0"]
    assert nested.sizes_of(asked.roles[0], 3) == {2: 1, 1: 1}
