from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from placement.bins import UNLIMITED
from placement.inventory import DeviceClass, DeviceForm, Node
from placement.resources import Resources
from placement.survey import Surveyor, gpus_of, offered, resource_of, rounded, survey
from tests.placement.worlds import GPU, MEM_SHARE, cpu_node, gpu_node, node_lists, shared_node


def test_nodes_stand_in_the_places_they_name() -> None:
    top = survey([gpu_node("b", "r2", zone="z"), gpu_node("a", "r1", zone="z"), gpu_node("c")]).top
    assert [leaf.node.name for leaf in top.leaves] == ["c"]
    (zone,) = top.places.values()
    assert [(place.name, [leaf.node.name for leaf in place.leaves]) for place in zone.places.values()] == [
        ("r1", ["a"]),
        ("r2", ["b"]),
    ]
    assert [leaf.order for place in zone.places.values() for leaf in place.leaves] == [1, 2]


def test_exact_sees_every_label_and_rounds_nothing() -> None:
    node = gpu_node("n")
    node = replace(node, free=Resources({**node.free, "cpu": 7_777}))
    found = survey([node], exact=True)
    assert dict(found.classes[0].labels) == node.labels
    assert found.top.leaves[0].bin.free == node.free
    assert found.hidden == frozenset()


def test_a_label_may_be_hidden_and_come_back() -> None:
    surveyor = Surveyor()
    few = [gpu_node(f"n{i}", labels={"serial": f"s{i}"}) for i in range(3)]
    many = [gpu_node(f"n{i}", labels={"serial": f"s{i}"}) for i in range(20)]
    assert "serial" not in surveyor.survey(few).hidden
    assert "serial" in surveyor.survey(many).hidden
    assert len(surveyor.survey(many).classes) == 1
    assert len(surveyor.survey(few).classes) == 3


def test_a_label_that_changes_for_ever_does_not_fill_the_memory() -> None:
    surveyor = Surveyor()
    for tick in range(300):
        surveyor.survey([gpu_node("n", labels={"tick": str(tick)})])
    assert len(surveyor._classes) < 120


def test_a_node_without_a_limit_of_pods_takes_any_number_unless_it_offers_nothing() -> None:
    node = cpu_node("n")
    without = Resources({"cpu": 64_000})
    node = replace(node, capacity=without, free=without)
    assert survey([node]).top.leaves[0].bin.free["pods"] == UNLIMITED
    assert survey([replace(node, ready=False)]).top.leaves[0].bin.free == Resources()


def test_cards_that_nobody_can_tell_apart_are_counted_only() -> None:
    node = replace(gpu_node("n", free=3), gpus=())
    assert offered(node)[0][GPU] == 3
    two_kinds = (*node.devices, DeviceClass("amd.com/gpu", "amd", "MI300X", 0, DeviceForm.WHOLE))
    assert resource_of(two_kinds, DeviceForm.WHOLE) == ""


def test_shares_without_cards_prove_nothing() -> None:
    node = replace(shared_node("n", [16, 16]), gpus=())
    assert offered(node) == (Resources({"cpu": 32_000, "memory": 128_000, "pods": 110}), ())


def test_what_is_overdrawn_offers_nothing() -> None:
    node = gpu_node("n")
    assert offered(replace(node, free=Resources({"cpu": -5, GPU: 1})))[0] == Resources({GPU: 1})


def test_slices_and_cards_are_counted() -> None:
    node = gpu_node("n", free=3)
    assert gpus_of(node, node.free) == (8, 3)
    shared = shared_node("s", [16, 2])
    assert gpus_of(shared, shared.free) == (2, 1)
    assert gpus_of(cpu_node("c"), Resources()) == (0, 0)
    mig = (*node.devices, DeviceClass("nvidia.com/mig-1g.10gb", "nvidia", "A100", 10_240, DeviceForm.MIG))
    sliced = replace(node, devices=mig, capacity=node.capacity + Resources({"nvidia.com/mig-1g.10gb": 7}))
    assert gpus_of(sliced, node.free) == (15, 3)


def test_rounding_is_down_and_never_changes_a_device() -> None:
    amounts = {"cpu": 1_999, "memory": 1_023, "ephemeral-storage": 25_000, MEM_SHARE: 7_161, "hugepages-2Mi": 3}
    assert rounded(Resources(amounts)) == Resources(
        {"cpu": 1_000, "memory": 896, "ephemeral-storage": 20_480, MEM_SHARE: 7_161, "hugepages-2Mi": 3}
    )


@given(st.lists(node_lists(max_nodes=8), min_size=2, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_a_tree_that_is_kept_is_the_one_that_is_made_anew(states: list[list[Node]], rng: Random) -> None:
    surveyor, nodes = Surveyor(), {node.name: node for node in states[0]}
    for state in states:
        nodes |= {node.name: node for node in state if rng.random() < 0.5}
        for name in [name for name in nodes if rng.random() < 0.1]:
            del nodes[name]
        kept, made = surveyor.survey(nodes.values()), survey(nodes.values())
        assert (kept.classes, kept.hidden) == (made.classes, made.hidden)
        assert (kept.gpus_total, kept.gpus_free, kept.nodes) == (made.gpus_total, made.gpus_free, made.nodes)
        assert kept.top.domain == made.top.domain
        assert kept.top.domain.totals == made.top.domain.totals
        of_kept, of_made = [
            {name: (leaf.node, leaf.bin, leaf.order) for name, leaf in found.leaves.items()} for found in (kept, made)
        ]
        assert of_kept == of_made


def test_a_node_that_changes_for_ever_does_not_fill_the_memory() -> None:
    surveyor = Surveyor(exact=True)
    node = gpu_node("n")
    for tick in range(3000):
        surveyor.survey([replace(node, free=Resources({**node.free, "cpu": 10 + tick}))])
    assert surveyor._tree is not None
    assert len(surveyor._tree._bins) < 1500
