from placement.demand import Demands
from placement.inventory import NodeClass
from placement.resources import Resources
from placement.workload import DeviceNeed, NodeConstraint, Role, Toleration
from tests.placement.worlds import A100, GPU, H100, PRODUCT_LABEL, role, selecting

GPUS = Resources({"cpu": 8_000, GPU: 8, "pods": 110})
A = NodeClass(((PRODUCT_LABEL, A100),), (), (), GPUS)
B = NodeClass(((PRODUCT_LABEL, H100),), (), (), GPUS)
PLAIN = NodeClass((), (), (), Resources({"cpu": 8_000, "pods": 110}))


def demands() -> Demands:
    return Demands((A, B, PLAIN), frozenset({"rack"}))


def test_roles_that_ask_for_the_same_are_packed_as_one() -> None:
    (slots,) = demands().of((role("master", 1, gpus=8), role("worker", 3, gpus=8), role("log", 1, gpus=1)))
    assert [(slot.pods, slot.roles) for slot in slots] == [
        (4, (("master", 1), ("worker", 3))),
        (1, (("log", 1),)),
    ]


def test_the_largest_pods_come_first_and_roles_without_pods_not_at_all() -> None:
    (slots,) = demands().of((role("small", gpus=1), role("big", gpus=8), role("none", 0, gpus=4)))
    assert [slot.roles[0][0] for slot in slots] == ["big", "small"]


def test_every_pod_takes_one_of_the_pods_of_a_node_and_its_devices() -> None:
    forgotten = Role("r", 1, 1, Resources({"cpu": 1}), (DeviceNeed(GPU, 2),))
    assert demands().spec(forgotten).need == Resources({"cpu": 1, GPU: 2, "pods": 1})


def test_equal_needs_are_the_same_spec() -> None:
    known = demands()
    assert known.spec(role("a", 1, gpus=2)) is known.spec(role("b", 9, gpus=2))
    assert known.of((role(gpus=2),)) is known.of((role(gpus=2),))


def test_constraints_choose_classes_and_hidden_labels_none() -> None:
    known = demands()
    assert known.admitting(selecting(PRODUCT_LABEL, A100)) == {0}
    assert known.admitting(selecting("rack", "r1")) == frozenset()
    assert known.admitting(NodeConstraint(tolerations=(Toleration("", "Exists"),))) == {0, 1, 2}


def test_pods_that_need_nothing_scarce_try_plain_nodes_first() -> None:
    first, last = demands().of((role(cpu=1_000),))
    assert (first[0].spec.classes, last[0].spec.classes) == ({2}, {0, 1, 2})
    assert len(demands().of((role("a", cpu=1_000), role("b", gpus=1)))) == 1
    assert len(Demands((A,), frozenset()).of((role(cpu=1_000),))) == 1
