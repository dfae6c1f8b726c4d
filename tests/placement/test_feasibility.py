from dataclasses import replace

import pytest

from placement.capacity import Capacity
from placement.feasibility import could_ever, telling, why_not
from placement.fleet import Cluster, Health
from placement.inventory import Node, Taint
from placement.verdict import (
    ClusterNotReady,
    ConstraintUnmet,
    Cordoned,
    DeviceMissing,
    KindNotServed,
    NotAllowed,
    Reason,
    RefusedBySpoke,
    ResourcesShort,
    TopologyShort,
)
from placement.workload import Hints, NodeConstraint, Operator, Workload
from tests.placement.worlds import (
    A100,
    GPU,
    H100,
    MEM_SHARE,
    PRODUCT_LABEL,
    T4,
    cluster,
    cpu_node,
    gpu_node,
    role,
    selecting,
    shared_node,
    workload,
)


def asked_of(asked: Workload, *nodes: Node, **changes: object) -> tuple[Reason, ...]:
    made = cluster("bj", nodes, **changes)
    return why_not(asked, made, capacity_of(made))


def capacity_of(made: Cluster) -> Capacity | None:
    return Capacity.of(made.name, made.summary) if made.summary else None


ONE = workload(role(gpus=1))


def test_a_cluster_with_room_has_nothing_against_it() -> None:
    assert asked_of(ONE, gpu_node("n")) == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"health": Health.DISCONNECTED}, ClusterNotReady("bj", "disconnected")),
        ({"cordoned": True}, Cordoned("bj")),
        ({"summary": None}, ClusterNotReady("bj", "joining")),
    ],
)
def test_a_cluster_that_takes_nothing_now(changes: dict[str, object], expected: Reason) -> None:
    assert asked_of(ONE, gpu_node("n"), **changes) == (expected,)


def test_everything_that_closes_a_cluster_is_said_at_once_and_ends_it_there() -> None:
    hints = Hints(clusters=("sh",), excluded_clusters=("bj",), regions=("us", "cn"))
    asked = workload(role(gpus=99), hints=hints)
    reasons = asked_of(asked, gpu_node("n"), health=Health.LOST, cordoned=True)
    assert reasons == (
        ClusterNotReady("bj", "lost"),
        Cordoned("bj"),
        NotAllowed("bj", "clusters (sh)"),
        NotAllowed("bj", "exclude-clusters (bj)"),
        NotAllowed("bj", "regions (us, cn)"),
    )


def test_a_kind_that_is_not_served() -> None:
    asked = replace(ONE, api_version="kubeflow.org/v1", kind="PyTorchJob")
    assert asked_of(asked, gpu_node("n")) == (KindNotServed("bj", "kubeflow.org/v1/PyTorchJob"),)


def test_a_product_that_no_node_has_names_those_there_are() -> None:
    asked = workload(role(gpus=1, product=H100))
    assert asked_of(asked, gpu_node("a"), gpu_node("t", product=T4)) == (DeviceMissing("bj", GPU, (H100,), (A100, T4)),)
    assert asked_of(workload(role(share=1)), cpu_node("c")) == (DeviceMissing("bj", MEM_SHARE, (), ()),)


def test_a_node_that_does_not_say_its_product_may_have_it() -> None:
    silent = gpu_node("a", labels={PRODUCT_LABEL: H100})
    silent = replace(silent, devices=tuple(replace(device, product="") for device in silent.devices))
    assert asked_of(workload(role(gpus=1, product=H100)), silent) == ()


def test_what_keeps_most_nodes_out_is_named_over_those_with_the_device() -> None:
    tainted = [replace(gpu_node(f"n{i}"), taints=(Taint("team", "x", "NoSchedule"),)) for i in range(3)]
    asked = workload(role(gpus=1, constraint=selecting("pool", "blue")))
    reasons = asked_of(asked, *tainted, gpu_node("n3"), cpu_node("c"))
    detail = "on 3 of 4 nodes its taint team=x:NoSchedule is not tolerated"
    assert reasons == (ConstraintUnmet("bj", "worker", detail),)


def test_a_constraint_that_the_hub_cannot_check_says_so() -> None:
    constraint = selecting("kubernetes.io/hostname", "n", operator=Operator.NOT_IN)
    (reason,) = asked_of(workload(role(gpus=1, constraint=constraint)), gpu_node("n"))
    assert "the hub is not told label kubernetes.io/hostname" in reason.message


def test_too_little_in_sum_comes_before_too_little_in_one_rack() -> None:
    racks = [gpu_node(f"n{i}", f"r{i // 3}") for i in range(6)]
    assert asked_of(workload(role(replicas=7, gpus=8), required="rack"), *racks) == (
        ResourcesShort("bj", GPU, need=56, free=48, pods_fit=6, pods_need=7, ever=False),
    )
    (reason,) = asked_of(workload(role(replicas=4, gpus=8), required="rack"), *racks)
    assert reason == TopologyShort("bj", "rack", 4, 3, free_gpus=48, need_gpus=32, ever=False)


def test_the_scarcest_resource_on_matching_nodes_is_named() -> None:
    full = gpu_node("n")
    full = replace(full, free=type(full.free)({**full.free, "cpu": 2_000}))
    (reason,) = asked_of(workload(role(replicas=2, gpus=1, cpu=4_000)), full, cpu_node("c"))
    assert isinstance(reason, ResourcesShort)
    assert reason.ever
    constrained = workload(role(replicas=2, gpus=1, cpu=4_000, constraint=selecting(PRODUCT_LABEL, A100)))
    assert asked_of(constrained, full, cpu_node("c")) == (
        ResourcesShort("bj", "cpu", need=8_000, free=2_000, pods_fit=0, pods_need=2, ever=True),
    )


def test_scattered_devices_are_short_though_there_are_enough() -> None:
    (reason,) = asked_of(workload(role(gpus=8)), gpu_node("a", free=4), gpu_node("b", free=4))
    assert reason == ResourcesShort("bj", GPU, need=8, free=8, pods_fit=0, pods_need=1, ever=True)


def test_shares_are_named_too() -> None:
    (reason,) = asked_of(workload(role(share=9)), shared_node("s", [8, 8]))
    assert reason == ResourcesShort("bj", MEM_SHARE, need=9, free=16, pods_fit=0, pods_need=1, ever=True)


@pytest.mark.parametrize(
    ("asked", "changes", "expected"),
    [
        (ONE, {"cordoned": True, "health": Health.LOST}, True),
        (workload(role(gpus=8)), {}, True),
        (workload(role(gpus=9)), {}, False),
        (workload(role(gpus=1, product=H100)), {}, False),
        (workload(role(gpus=1, constraint=selecting("pool", "blue"))), {}, False),
        (workload(role(gpus=1), hints=Hints(regions=("us",))), {}, False),
        (replace(ONE, kind="Job"), {}, True),
        (workload(role(gpus=99)), {"summary": None}, True),
    ],
)
def test_whether_it_could_ever_run_there(asked: Workload, changes: dict[str, object], expected: bool) -> None:
    made = cluster("bj", [gpu_node("n", free=0)], **changes)
    assert could_ever(asked, made, capacity_of(made)) is expected


def test_roles_without_pods_ask_for_nothing() -> None:
    asked = workload(role(gpus=1), role("spare", 0, gpus=1, product=H100))
    assert asked_of(asked, gpu_node("n")) == ()
    assert asked_of(workload(role(gpus=1, constraint=NodeConstraint(((),)))), gpu_node("n")) != ()


def test_the_reason_nearest_to_being_mended_comes_first() -> None:
    reasons = [
        NotAllowed("a", "regions"),
        DeviceMissing("b", GPU, (), ()),
        Cordoned("c"),
        ResourcesShort("d", GPU, 8, 4, 0, 1, ever=False),
        ResourcesShort("e", GPU, 8, 4, 0, 1, ever=True),
        RefusedBySpoke("f", "no room"),
        KindNotServed("g", "v1/X"),
    ]
    assert [r.cluster for r in sorted(reasons, key=telling)] == ["e", "f", "c", "d", "b", "g", "a"]  # type: ignore[attr-defined]
