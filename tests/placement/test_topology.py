"""The promise between hub and spoke, and what an assignment must look like."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement import topology
from placement.capacity import Capacity, Fit
from placement.invariants import check_assignment
from placement.inventory import Node
from placement.resources import Resources
from placement.survey import Surveyor
from placement.topology import Assignment, NodeAssignment, PodToPlace, Shortfall
from placement.verdict import LevelUnknown, ResourcesShort, TopologyShort
from placement.workload import Workload
from tests.placement.worlds import (
    after,
    gpu_node,
    node_lists,
    pods_of,
    role,
    selecting,
    shared_node,
    summary_of,
    workload,
    workloads,
)


@given(node_lists(), workloads())
@settings(max_examples=200, deadline=None)
def test_what_the_hub_says_fits_the_spoke_assigns(nodes: list[Node], asked: Workload) -> None:
    fit = Capacity.of("c", summary_of(nodes)).fit(asked)
    answer = topology.assign(nodes, pods_of(asked), asked)
    if isinstance(fit, Fit):
        assert isinstance(answer, Assignment)


@given(node_lists(), st.lists(workloads(whole=True), min_size=2, max_size=6))
@settings(max_examples=200, deadline=None)
def test_so_it_stays_through_a_cycle_of_takes(nodes: list[Node], asked: list[Workload]) -> None:
    capacity = Capacity.of("c", summary_of(nodes))
    for one in asked:
        fit = capacity.fit(one)
        if isinstance(fit, Fit):
            capacity = capacity.take(fit)
            answer = topology.assign(nodes, pods_of(one), one)
            assert isinstance(answer, Assignment)
            nodes = after(nodes, answer, one)


@given(node_lists(), workloads())
@settings(max_examples=200, deadline=None)
def test_an_assignment_breaks_no_invariant(nodes: list[Node], asked: Workload) -> None:
    answer = topology.assign(nodes, pods_of(asked), asked)
    if isinstance(answer, Assignment):
        assert check_assignment(answer, nodes, asked, pods=pods_of(asked)) == ()


@given(node_lists(), workloads())
@settings(max_examples=100, deadline=None)
def test_the_order_of_nodes_and_pods_does_not_matter(nodes: list[Node], asked: Workload) -> None:
    answer = topology.assign(nodes, pods_of(asked), asked)
    other = topology.assign(nodes[::-1], pods_of(asked)[::-1], asked)
    if isinstance(answer, Assignment):
        assert isinstance(other, Assignment)
        assert {*answer.pods} == {*other.pods}
    else:
        assert answer == other


@given(node_lists(max_nodes=10), workloads(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_gang_that_comes_in_parts_stays_together(nodes: list[Node], asked: Workload, data: st.DataObject) -> None:
    pods = data.draw(st.permutations(pods_of(asked)))
    cut = data.draw(st.integers(0, len(pods)))
    first = topology.assign(nodes, pods[:cut], asked)
    if not isinstance(first, Assignment):
        return
    assert check_assignment(first, nodes, asked, pods=pods[:cut]) == ()
    nodes = after(nodes, first, asked)
    second = topology.assign(nodes, pods[cut:], asked, placed=first.pods)
    if isinstance(second, Assignment):
        assert check_assignment(second, nodes, asked, pods=pods[cut:], placed=first.pods) == ()


@given(st.lists(node_lists(max_nodes=8), min_size=2, max_size=3), workloads())
@settings(max_examples=50, deadline=None)
def test_a_surveyor_that_is_kept_changes_nothing(states: list[list[Node]], asked: Workload) -> None:
    surveyor = Surveyor()
    for nodes in states:
        kept = topology.assign(nodes, pods_of(asked), asked, surveyor=surveyor)
        assert kept == topology.assign(nodes, pods_of(asked), asked)


def racks(*free: list[int]) -> list[Node]:
    """One rack for each list, one node for each number of free GPUs in it."""
    return [gpu_node(f"r{r}n{n}", f"r{r}", free=gpus) for r, rack in enumerate(free) for n, gpus in enumerate(rack)]


def placed_on(answer: Assignment | Shortfall) -> list[str]:
    assert isinstance(answer, Assignment)
    return [pod.node for pod in answer.pods]


def test_a_gang_takes_the_smallest_rack_that_suffices() -> None:
    nodes = racks([8, 8, 8], [8, 8], [8, 4])
    asked = workload(role(replicas=2, gpus=8), required="rack")
    assert placed_on(topology.assign(nodes, pods_of(asked), asked)) == ["r1n0", "r1n1"]


def test_a_required_rack_that_nobody_has_is_a_shortfall_with_numbers() -> None:
    asked = workload(role(replicas=4, gpus=8), required="rack")
    answer = topology.assign(racks([8, 8, 8], [8, 8]), pods_of(asked), asked, cluster="bj")
    assert answer == Shortfall(TopologyShort("bj", "rack", 4, 3, free_gpus=40, need_gpus=32, ever=False))
    assert answer.reason.message.startswith("largest rack of bj fits 3 of 4 pods (40 GPUs free in all, 32 needed)")


def test_a_preferred_rack_relaxes_to_few_racks() -> None:
    asked = workload(role(replicas=4, gpus=8), preferred="rack")
    nodes = racks([8], [8, 8, 8], [8, 8])
    assert sorted(placed_on(topology.assign(nodes, pods_of(asked), asked))) == ["r0n0", "r1n0", "r1n1", "r1n2"]


def test_a_level_may_be_named_by_its_label_and_an_unknown_one_is_said() -> None:
    asked = workload(role(replicas=2, gpus=8), required="topology.muster.dev/rack")
    assert placed_on(topology.assign(racks([8], [8, 8]), pods_of(asked), asked)) == ["r1n0", "r1n1"]
    asked = workload(role(gpus=8), required="row")
    answer = topology.assign(racks([8]), pods_of(asked), asked)
    assert answer == Shortfall(LevelUnknown("the cluster", "row", ("zone", "block", "rack", "host")))


def test_a_required_level_leaves_out_nodes_that_are_in_no_such_domain() -> None:
    asked = workload(role(gpus=8), required="rack")
    answer = topology.assign([gpu_node("alone")], pods_of(asked), asked)
    assert isinstance(answer, Shortfall)
    assert isinstance(answer.reason, TopologyShort)
    assert answer.reason.pods_fit_largest == 0


def test_the_spoke_finds_what_rounding_and_hidden_labels_keep_from_the_hub() -> None:
    node = gpu_node("n7")
    node = replace(node, free=Resources({**node.free, "cpu": 7_900}))
    asked = workload(role(gpus=1, cpu=7_800, constraint=selecting("kubernetes.io/hostname", "n7")))
    assert not isinstance(Capacity.of("c", summary_of([node])).fit(asked), Fit)
    assert placed_on(topology.assign([node], pods_of(asked), asked)) == ["n7"]


def test_ranks_follow_the_nodes() -> None:
    asked = workload(role("worker", 12, gpus=2))
    answer = topology.assign(racks([8, 8, 8]), pods_of(asked), asked)
    assert isinstance(answer, Assignment)
    seats = [(pod.node, pod.gpus) for pod in answer.pods]
    assert seats == sorted(seats)  # worker-2 before worker-10
    assert {len(pod.gpus) for pod in answer.pods} == {2}


def test_room_is_sought_for_the_replicas_that_are_yet_to_come() -> None:
    nodes = racks([8, 8], [8, 8, 8])
    asked = workload(role(replicas=3, gpus=8), required="rack")
    early = topology.assign(nodes, pods_of(asked)[:1], asked)
    assert placed_on(early) == ["r1n0"]
    assert isinstance(early, Assignment)
    late = topology.assign(after(nodes, early, asked), pods_of(asked)[1:], asked, placed=early.pods)
    assert placed_on(late) == ["r1n1", "r1n2"]


def test_a_replacement_goes_where_the_others_are_or_nowhere() -> None:
    nodes = racks([0, 0, 8], [8, 8, 8])
    asked = workload(role(replicas=3, gpus=8), required="rack")
    placed = [NodeAssignment(f"worker-{i}", "worker", f"r0n{i}", tuple(range(8))) for i in range(2)]
    spare = [PodToPlace("worker-2b", "worker")]
    assert placed_on(topology.assign(nodes, spare, asked, placed=placed)) == ["r0n2"]
    full = topology.assign(racks([0, 0, 4], [8, 8, 8]), spare, asked, placed=placed)
    assert isinstance(full, Shortfall)
    assert isinstance(full.reason, TopologyShort)
    assert (full.reason.pods_fit_largest, full.reason.pods_need) == (0, 1)


def test_a_replacement_that_only_prefers_goes_as_near_as_it_can() -> None:
    asked = workload(role(replicas=2, gpus=8), preferred="rack")
    placed = [NodeAssignment("worker-0", "worker", "r1n0", tuple(range(8)))]
    spare = [PodToPlace("worker-1", "worker")]
    assert placed_on(topology.assign(racks([8], [0, 8]), spare, asked, placed=placed)) == ["r1n1"]
    assert placed_on(topology.assign(racks([8], [0, 4]), spare, asked, placed=placed)) == ["r0n0"]


def test_more_pods_than_replicas_are_an_elastic_gang() -> None:
    asked = workload(role(replicas=1, gpus=8))
    pods = [PodToPlace(f"worker-{i}", "worker") for i in range(3)]
    assert placed_on(topology.assign(racks([8, 8, 8]), pods, asked)) == ["r0n0", "r0n1", "r0n2"]


def test_shares_of_one_card_are_never_put_together_from_two() -> None:
    nodes = [shared_node("n", [7, 8])]
    asked = workload(role(replicas=2, share=8))
    answer = topology.assign(nodes, pods_of(asked), asked)
    assert isinstance(answer, Shortfall)
    assert isinstance(answer.reason, ResourcesShort)
    assert (answer.reason.pods_fit, answer.reason.ever) == (1, True)


def test_no_pods_are_assigned_at_once_and_odd_ones_are_a_mistake() -> None:
    asked = workload(role())
    assert topology.assign([], [], asked) == Assignment(())
    with pytest.raises(ValueError, match="has role 'chief'"):
        topology.assign([], [PodToPlace("p", "chief")], asked)
    with pytest.raises(ValueError, match="named twice"):
        topology.assign([], [PodToPlace("p", "worker")] * 2, asked)
