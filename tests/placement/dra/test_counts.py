"""How many devices of each class a node is said to have."""

from __future__ import annotations

from placement.dra.counts import counted
from placement.dra.requests import ClassSpec
from placement.inventory import DeviceClass, DeviceForm
from tests.placement.dra.offers import CLASSES, DRIVER, device, named, offer, slice_of


def test_devices_are_counted_by_class_and_what_somebody_has_is_not_free() -> None:
    both = {**CLASSES, "gpu-a": ClassSpec("gpu-a", (named("A"),)), "none": ClassSpec("none", ("false",))}
    devices = [device("a0", product="A"), device("a1", product="A"), device("b0", product="B")]
    found = counted(offer(slice_of("n", *devices)).nodes["n"], {(DRIVER, "n", "a0")}, both)
    assert dict(found.capacity.items()) == {"dra/gpu": 3, "dra/gpu-a": 2}
    assert dict(found.free.items()) == {"dra/gpu": 2, "dra/gpu-a": 1}


def test_product_and_memory_are_told_where_all_of_a_class_say_the_same() -> None:
    made = [
        device(f"d{i}", productName="NVIDIA H100 80GB HBM3") | {"capacity": {"memory": {"value": "80Gi"}}}
        for i in range(2)
    ]
    found = counted(offer(slice_of("n", *made)).nodes["n"], (), CLASSES)
    assert found.devices == (DeviceClass("dra/gpu", "gpu", "NVIDIA-H100-80GB-HBM3", 81920, DeviceForm.DRA),)
    made[1] |= device("d1", productName="A100")
    assert counted(offer(slice_of("n", *made)).nodes["n"], (), CLASSES).devices[0].product == ""


def test_parts_of_a_card_count_as_often_as_they_go_together() -> None:
    counters = {"sharedCounters": [{"name": "card", "counters": {"slices": {"value": "7"}}}]}
    parts = [(f"p{i}", size) for i, size in enumerate((7, 3, 3, 2))]
    devices = [
        device(name, uses=[{"counterSet": "card", "counters": {"slices": {"value": str(size)}}}])
        for name, size in parts
    ]
    node = offer(slice_of("n", name="c", slices=2, **counters), slice_of("n", *devices, name="d", slices=2)).nodes["n"]
    assert counted(node, (), CLASSES).capacity["dra/gpu"] == 2
    assert counted(node, {(DRIVER, "n", "p1")}, CLASSES).free["dra/gpu"] == 1
    assert counted(node, {(DRIVER, "n", "p0")}, CLASSES).free["dra/gpu"] == 0


def test_a_device_that_nobody_should_be_given_is_not_counted() -> None:
    tainted = device("a", taints=[{"key": "broken", "effect": "NoExecute"}])
    assert not counted(offer(slice_of("n", tainted)).nodes["n"], (), CLASSES).capacity
