"""Nodes read from JSON: devices from discovery labels of every vendor, health, topology, links."""

from __future__ import annotations

from typing import Any

import pytest

from placement.inventory import DEFAULT_LEVELS, DeviceClass, DeviceForm, Taint
from placement.resources import Resources
from spoke import devices, nodes
from tests.spoke.stage import A100, node

T4 = {"nvidia.com/gpu.product": "Tesla-T4", "nvidia.com/gpu.memory": "15360"}


@pytest.mark.parametrize(
    ("labels", "allocatable", "expected"),
    [
        ({**T4}, {"nvidia.com/gpu": 4}, [DeviceClass("nvidia.com/gpu", "nvidia", "Tesla-T4", 15360, DeviceForm.WHOLE)]),
        (
            {**T4, "nvidia.com/gpu.replicas": "4"},
            {"nvidia.com/gpu": 16},
            [DeviceClass("nvidia.com/gpu", "nvidia", "Tesla-T4", 15360, DeviceForm.TIME_SLICED)],
        ),
        (
            {**T4, "nvidia.com/gpu.product": "Tesla-T4-SHARED"},
            {"nvidia.com/gpu": 16},
            [DeviceClass("nvidia.com/gpu", "nvidia", "Tesla-T4-SHARED", 15360, DeviceForm.TIME_SLICED)],
        ),
        (
            {
                "nvidia.com/mig.strategy": "single",
                "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb",
                "nvidia.com/gpu.memory": "9728",
            },
            {"nvidia.com/gpu": 56},
            [DeviceClass("nvidia.com/gpu", "nvidia", "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", 9728, DeviceForm.MIG)],
        ),
        (
            {
                "nvidia.com/mig.strategy": "mixed",
                "nvidia.com/gpu.product": A100,
                "nvidia.com/gpu.memory": "81920",
                "nvidia.com/mig-3g.40gb.product": f"{A100}-MIG-3g.40gb",
                "nvidia.com/mig-3g.40gb.memory": "40192",
            },
            {"nvidia.com/gpu": 6, "nvidia.com/mig-3g.40gb": 4},
            [
                DeviceClass("nvidia.com/gpu", "nvidia", A100, 81920, DeviceForm.WHOLE),
                DeviceClass("nvidia.com/mig-3g.40gb", "nvidia", f"{A100}-MIG-3g.40gb", 40192, DeviceForm.MIG),
            ],
        ),
        (
            {**T4, "nvidia.com/vgpu.present": "true"},
            {"nvidia.com/gpu": 1},
            [DeviceClass("nvidia.com/gpu", "nvidia", "Tesla-T4", 15360, DeviceForm.VGPU)],
        ),
        (
            {**T4},
            {"aliyun.com/gpu-mem": 4 * 15109, "aliyun.com/gpu-count": 4},
            [DeviceClass("aliyun.com/gpu-mem", "nvidia", "Tesla-T4", 15360, DeviceForm.SHARED_MEMORY, 1)],
        ),
        (
            {},
            {"aliyun.com/gpu-mem": 4 * 15, "aliyun.com/gpu-count": 4},
            [DeviceClass("aliyun.com/gpu-mem", "nvidia", "", 15360, DeviceForm.SHARED_MEMORY, 1024)],
        ),
        (
            {"amd.com/gpu.product-name": "AMD_Instinct_MI300X", "amd.com/gpu.vram": "192G"},
            {"amd.com/gpu": 8},
            [DeviceClass("amd.com/gpu", "amd", "AMD_Instinct_MI300X", 192 * 1024, DeviceForm.WHOLE)],
        ),
        (
            {"gpu.intel.com/product": "Max_1100", "gpu.intel.com/memory.max": str(48 << 30)},
            {"gpu.intel.com/i915": 2},
            [DeviceClass("gpu.intel.com/i915", "intel", "Max_1100", 48 * 1024, DeviceForm.WHOLE)],
        ),
        ({**T4}, {"nvidia.com/gpu": 0, "rdma/hca": 8, "cpu": 64000}, []),
    ],
)
def test_devices(labels: dict[str, str], allocatable: dict[str, int], expected: list[DeviceClass]) -> None:
    assert list(devices.classes(labels, Resources(allocatable))) == expected


def read(**more: Any) -> nodes.NodeFacts:
    return nodes.read(node("n1", **more), DEFAULT_LEVELS)


def test_amounts_are_rounded_down() -> None:
    facts = read(allocatable={"cpu": "63500m", "memory": "527925452Ki", "junk.io/x": "one"})
    assert facts.capacity["cpu"] == 63500
    assert facts.capacity["memory"] == 515552
    assert "junk.io/x" not in facts.capacity


def test_domains_are_what_the_labels_name() -> None:
    assert read(rack="r7").domains == {"rack": "r7", "host": "n1"}
    unnamed = node("n2")
    unnamed["metadata"]["labels"] = {}
    assert nodes.read(unnamed, DEFAULT_LEVELS).domains == {"host": "n2"}
    custom = nodes.read(node("n1", labels={"example.com/pod": "p1"}), (("pod", "example.com/pod"),))
    assert custom.domains == {"pod": "p1"}


def test_health() -> None:
    assert read().ready
    assert not read(spec={"unschedulable": True}).ready
    not_ready = node("n1")
    not_ready["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    assert not nodes.read(not_ready, DEFAULT_LEVELS).ready
    tainted = read(spec={"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]})
    assert tainted.taints == (Taint("nvidia.com/gpu", "", "NoSchedule"),)
    assert read(annotations={"muster.dev/unhealthy-gpus": "2, 5"}).unhealthy == {2, 5}


@pytest.mark.parametrize("links", ["", "nonsense", "[[0,1]]", "[[0,1],[1]]", '[["a","b"],["c","d"]]', "{}", "3"])
def test_links_that_describe_other_cards_are_ignored(links: str) -> None:
    assert read(gpus=2, annotations={"muster.dev/gpu-links": links}).links == ()


def test_links() -> None:
    assert read(gpus=2, annotations={"muster.dev/gpu-links": "[[0,12],[12,0]]"}).links == ((0, 12), (12, 0))


def test_a_card_that_its_plugin_calls_unhealthy_keeps_its_index() -> None:
    degraded = node("n1")
    degraded["status"]["allocatable"]["nvidia.com/gpu"] = "7"
    facts = nodes.read(degraded, DEFAULT_LEVELS)
    assert (facts.cards, facts.capacity["nvidia.com/gpu"]) == (8, 7)


def test_where_cards_and_nics_are() -> None:
    told = {"muster.dev/gpu-numa": "0, 1", "muster.dev/nic-numa": '{"rdma/hca": [0, 1, 1], "x/y": ["a"], "z/z": 3}'}
    found = read(gpus=2, annotations=told)
    assert found.numa == (0, 1)
    assert found.nics == (("rdma/hca", (0, 1, 1)),)


@pytest.mark.parametrize("numa", ["", "0", "0,1,0", "0,x", "0,-1"])
def test_numa_nodes_of_other_cards_are_ignored(numa: str) -> None:
    assert read(gpus=2, annotations={"muster.dev/gpu-numa": numa}).numa == ()


@pytest.mark.parametrize("nics", ["", "nonsense", "[0]", '{"rdma/hca": [true]}'])
def test_nics_that_cannot_be_read_are_ignored(nics: str) -> None:
    assert read(gpus=2, annotations={"muster.dev/nic-numa": nics}).nics == ()
