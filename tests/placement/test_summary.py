from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from placement.bins import Bin
from placement.capacity import Capacity
from placement.inventory import DEFAULT_LEVELS, DomainGroup, Node
from placement.resources import Resources
from placement.summary import Summariser, summarise
from placement.survey import survey
from tests.placement.worlds import A100, GPU, H100, MEM_SHARE, cpu_node, gpu_node, node_lists, shared_node


@given(node_lists())
@settings(max_examples=150, deadline=None)
def test_the_hub_reads_from_it_the_very_tree_that_the_spoke_packs_into(nodes: list[Node]) -> None:
    assert Capacity.of("c", summarise(nodes)).root == survey(nodes).top.domain


@given(node_lists())
@settings(max_examples=100, deadline=None)
def test_it_promises_no_more_than_there_is_and_loses_no_node(nodes: list[Node]) -> None:
    summary = summarise(nodes)
    assert sum(shape.nodes for shape in summary.shapes) == summary.nodes_total == len(nodes)
    for name in {name for shape in summary.shapes for name in shape.free}:
        promised = sum(shape.free[name] * shape.nodes for shape in summary.shapes)
        assert promised <= sum(max(node.free[name], 0) for node in nodes if node.ready)
    for group in summary.domains:
        inside = [summary.domains[child].nodes for child, count in group.children for _ in range(count)]
        assert sum(n for nodes in inside for _, n in nodes) <= sum(n for _, n in group.nodes)


@given(st.lists(node_lists(max_nodes=8), min_size=2, max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_summariser_that_remembers_answers_what_a_fresh_one_does(states: list[list[Node]]) -> None:
    summariser = Summariser()
    for nodes in states:
        assert summariser.summarise(nodes) == summarise(nodes)


def test_the_order_of_nodes_does_not_matter() -> None:
    nodes = [gpu_node(f"n{i}", f"r{i % 3}", free=i % 4) for i in range(9)]
    assert summarise(nodes) == summarise(reversed(nodes))


def test_equal_racks_are_counted_once_and_know_their_children() -> None:
    nodes = [gpu_node(f"n{i}", f"r{i // 2}", zone="a") for i in range(6)]
    zone, rack = summarise(nodes).domains
    assert zone == DomainGroup("zone", 1, ((0, 6),), "a", ((1, 3),))
    assert rack == DomainGroup("rack", 3, ((0, 2),), "r0")


def test_a_rack_name_used_in_two_zones_means_two_racks() -> None:
    nodes = [gpu_node("n0", "r1", zone="a"), gpu_node("n1", "r1", zone="b")]
    assert [(g.level, g.count) for g in summarise(nodes).domains] == [("zone", 2), ("rack", 2)]


def test_free_is_rounded_down_and_devices_are_exact() -> None:
    node = gpu_node("n", free=3)
    free = Resources({**node.free, "cpu": 31_999, "memory": 5_000})
    assert summarise([replace(node, free=free)]).shapes[0].free == Resources(
        {"cpu": 31_000, "memory": 4_096, GPU: 3, "pods": 110}
    )
    small = Resources({"cpu": 950, "memory": 700, "pods": 1})
    assert summarise([replace(node, free=small)]).shapes[0].free == Resources({"cpu": 900, "memory": 640, "pods": 1})


def test_a_node_that_is_not_ready_is_counted_and_offers_nothing() -> None:
    away = replace(gpu_node("n"), ready=False)
    summary = summarise([away])
    assert (summary.nodes_total, summary.gpus_total, summary.gpus_free) == (1, 8, 0)
    assert summary.shapes[0].free == Resources()
    assert summary.node_classes[0].capacity[GPU] == 8


def test_a_sick_card_is_not_offered() -> None:
    node = gpu_node("n", free=4)
    sick = tuple(replace(gpu, healthy=gpu.index != 7) for gpu in node.gpus)
    assert summarise([replace(node, gpus=sick)]).shapes[0].free[GPU] == 3


def test_labels_that_name_a_node_or_a_rack_are_left_out_and_said_so() -> None:
    nodes = [
        gpu_node(
            f"n{i}",
            labels={
                "instance-id": f"i-{i}",
                "topology.muster.dev/rack": f"r{i}",
                "topology.kubernetes.io/zone": f"z{i % 2}",
                "team": f"t{i % 5}",
            },
        )
        for i in range(40)
    ]
    summary = summarise(nodes)
    assert {"instance-id", "kubernetes.io/hostname", "topology.muster.dev/rack"} <= summary.hidden_labels
    assert {key for key, _ in summary.node_classes[0].labels} == {
        "nvidia.com/gpu.product",
        "team",
        "topology.kubernetes.io/zone",
    }


def test_few_nodes_keep_their_products_even_if_each_has_its_own() -> None:
    summary = summarise([gpu_node("a", product=A100), gpu_node("b", product=H100)])
    assert len(summary.node_classes) == 2


def test_shares_of_cards_are_listed_card_by_card() -> None:
    summary = summarise([shared_node("n", [4, 16, 0])])
    assert summary.shapes[0].shares == (0, 4, 16)
    assert summary.shapes[0].free[MEM_SHARE] == 20
    assert (summary.gpus_total, summary.gpus_free) == (3, 1)


def test_a_card_is_offered_whole_or_in_shares_but_not_both() -> None:
    whole, shared = gpu_node("n", cards=2, free=1), shared_node("n", [16, 16])
    both = replace(
        whole,
        devices=(*whole.devices, *shared.devices),
        capacity=whole.capacity + Resources({MEM_SHARE: 32}),
        free=whole.free + Resources({MEM_SHARE: 32}),
        gpus=tuple(replace(gpu, free_share=16) for gpu in whole.gpus),
    )
    shape = summarise([both]).shapes[0]
    assert (shape.free[GPU], shape.shares, shape.free[MEM_SHARE]) == (1, (16,), 16)


def test_what_the_caller_knows_travels_along() -> None:
    summary = summarise([cpu_node("n")], ["v1/Pod"], DEFAULT_LEVELS, 7, [("j-1", 2)])
    assert (summary.revision, summary.kinds, summary.counted) == (7, {"v1/Pod"}, {("j-1", 2)})
    assert summary.levels == tuple(level for level in DEFAULT_LEVELS if level[0] != "nvlink")


def test_five_thousand_nodes_alike_make_a_handful_of_rows() -> None:
    nodes = [gpu_node(f"n{i:04}", f"r{i // 4}", zone=f"z{i // 2500}") for i in range(5_000)]
    summary = summarise(nodes)
    assert (len(summary.shapes), len(summary.domains)) == (1, 2)
    assert isinstance(next(iter(survey(nodes).top.domain.bins())), Bin)


def test_the_nvlink_level_is_there_while_some_node_is_in_one() -> None:
    plain, linked = gpu_node("a", "r1"), gpu_node("b", "r1", nvlink="c.1")
    kept = Summariser()
    assert [name for name, _ in kept.summarise([plain]).levels] == ["zone", "block", "rack", "host"]
    with_one = kept.summarise([plain, linked])
    assert with_one.levels == DEFAULT_LEVELS
    assert [(group.level, group.count) for group in with_one.domains] == [("rack", 1), ("nvlink", 1)]
    assert kept.summarise([plain]) == summarise([plain])
