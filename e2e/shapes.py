"""Member clusters as plain data: which GPUs, in which racks, which kinds. `STANDARD` is what bare planes are made like.

A scenario that runs on other shapes too asks the shape for its numbers (`nodes_of`, `rack_of`), and names nothing
but the three clusters and their products.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

A100 = "NVIDIA-A100-SXM4-80GB"
H100 = "NVIDIA-H100-80GB-HBM3"
T4 = "Tesla-T4"
L4 = "NVIDIA-L4"
MEMORY_MIB = {A100: 81920, H100: 81559, T4: 15360, L4: 23034}

RACK = "topology.muster.dev/rack"
BLOCK = "topology.muster.dev/block"
ZONE = "topology.kubernetes.io/zone"


@dataclass(frozen=True, slots=True)
class Pool:
    """Racks of equal nodes. A pool without a product has no GPUs."""

    prefix: str  # node names are PREFIX-RACK-NUMBER
    racks: int
    nodes_per_rack: int
    product: str = ""
    gpus: int = 0
    cpu: int = 96
    memory_gib: int = 768
    labels: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)  # further allocatable: {"rdma/hca": "8"}

    @property
    def nodes(self) -> int:
        return self.racks * self.nodes_per_rack

    def labels_in(self, region: str, rack: int) -> dict[str, str]:
        """Topology, and what GPU Feature Discovery would say, of a node in the pool's rack number so-and-so."""
        topology = {
            "topology.kubernetes.io/region": region,
            ZONE: f"{region}-1",
            BLOCK: self.prefix,
            RACK: f"{self.prefix}-{rack}",
        }
        if not self.gpus:
            return topology | dict(self.labels)
        gpus = {
            "nvidia.com/gpu.present": "true",
            "nvidia.com/gpu.product": self.product,
            "nvidia.com/gpu.count": str(self.gpus),
            "nvidia.com/gpu.memory": str(MEMORY_MIB[self.product]),
            "nvidia.com/gpu.replicas": "1",
            "nvidia.com/mig.capable": str(self.product in (A100, H100)).lower(),
        }
        return topology | gpus | dict(self.labels)


@dataclass(frozen=True, slots=True)
class ClusterShape:
    name: str
    region: str
    pools: tuple[Pool, ...]
    training_operator: bool = False  # the PyTorchJob CRD and the real operator
    volcano: bool = False  # the Volcano Job CRD; the scenario plays its controller
    played_operators: bool = False  # the CRDs of e2e.kinds; the scenario plays their operators
    single_node: bool = False  # kind: the control plane is the only node, and has the GPUs

    @property
    def gpus(self) -> int:
        return sum(pool.nodes * pool.gpus for pool in self.pools)

    @property
    def nodes(self) -> int:
        return sum(pool.nodes for pool in self.pools)

    def nodes_of(self, product: str) -> int:
        return sum(pool.nodes for pool in self.pools if pool.product == product)

    def rack_of(self, product: str) -> int:
        """The nodes of its largest rack."""
        return max(pool.nodes_per_rack for pool in self.pools if pool.product == product)


ONPREM_A = ClusterShape(
    "onprem-a",
    "beijing",
    (Pool("a100", racks=2, nodes_per_rack=4, product=A100, gpus=8, extra={"rdma/hca": "8"}),),
    training_operator=True,
    volcano=True,
)
# More GPUs than onprem-a, in smaller racks: four nodes never fit in one.
CLOUD_B = ClusterShape(
    "cloud-b",
    "us-east",
    (
        Pool("h100", racks=3, nodes_per_rack=3, product=H100, gpus=8),
        Pool("t4", racks=1, nodes_per_rack=2, product=T4, gpus=4, cpu=32, memory_gib=128),
    ),
    training_operator=True,
    volcano=True,
    played_operators=True,
)
# No operator and no CRD: batch Jobs and services only.
EDGE_C = ClusterShape(
    "edge-c",
    "shanghai",
    (
        Pool("edge-t4", racks=1, nodes_per_rack=3, product=T4, gpus=2, cpu=16, memory_gib=64),
        Pool("edge-l4", racks=1, nodes_per_rack=1, product=L4, gpus=1, cpu=16, memory_gib=64),
    ),
)
STANDARD = (ONPREM_A, CLOUD_B, EDGE_C)


def nodes(shape: ClusterShape) -> list[dict[str, Any]]:
    """Node objects with the labels that GPU Feature Discovery would set."""
    return [
        _node(shape, pool, rack, number)
        for pool in shape.pools
        for rack in range(1, pool.racks + 1)
        for number in range(1, pool.nodes_per_rack + 1)
    ]


def _node(shape: ClusterShape, pool: Pool, rack: int, number: int) -> dict[str, Any]:
    name = f"{pool.prefix}-{rack}-{number}"
    amounts = {"cpu": str(pool.cpu), "memory": f"{pool.memory_gib}Gi", "pods": "110", "ephemeral-storage": "1Ti"}
    machine = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    if pool.gpus:
        amounts["nvidia.com/gpu"] = str(pool.gpus)
    amounts |= pool.extra
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": machine | pool.labels_in(shape.region, rack)},
        "status": {"capacity": amounts, "allocatable": amounts, "nodeInfo": _node_info(name)},
    }


def _node_info(name: str) -> dict[str, str]:
    unsaid = (
        "bootID",
        "containerRuntimeVersion",
        "kernelVersion",
        "kubeProxyVersion",
        "machineID",
        "osImage",
        "systemUUID",
    )
    return dict.fromkeys(unsaid, "") | {
        "kubeletVersion": "v1.36.3",
        "architecture": "amd64",
        "operatingSystem": "linux",
    }
