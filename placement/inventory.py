"""What a cluster has: nodes and GPUs exactly (the spoke's view), and the summary of them that the hub decides on.

The summary groups nodes that no decision can tell apart. A `NodeClass` is what constraints are matched against
(labels, taints, devices); a `Shape` is a class with so much free on one node; a `DomainGroup` is one histogram of
shapes and how many domains of a level look just like it. Everything in it is rounded down: what the summary says fits,
the nodes can hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from placement.resources import Resources
from placement.safety.policy import Policy

HOST_LEVEL = "host"
NVLINK_LEVEL = "nvlink"

# Coarse to fine; the label that names the domain at each level. Clusters may configure others.
DEFAULT_LEVELS: tuple[tuple[str, str], ...] = (
    ("zone", "topology.kubernetes.io/zone"),
    ("block", "topology.muster.dev/block"),
    ("rack", "topology.muster.dev/rack"),
    (NVLINK_LEVEL, "nvidia.com/gpu.clique"),  # by GPU Feature Discovery, on nodes whose GPUs share one NVLink fabric
    (HOST_LEVEL, "kubernetes.io/hostname"),
)
# Few clusters have these: where no node is in such a domain, the level is none of the cluster's.
RARE_LEVELS = frozenset({NVLINK_LEVEL})
# "tier-1" is the finest level above the node, whatever it is called in a cluster, "tier-2" the next.
TIER = "tier-"


class DeviceForm(StrEnum):
    WHOLE = "whole"
    MIG = "mig"
    TIME_SLICED = "time-sliced"
    SHARED_MEMORY = "shared-memory"
    VGPU = "vgpu"
    DRA = "dra"  # devices of one DeviceClass, had by ResourceClaim


@dataclass(frozen=True, slots=True)
class DeviceClass:
    resource: str  # the name pods ask for: "nvidia.com/gpu"
    vendor: str  # "nvidia"
    product: str  # "NVIDIA-A100-SXM4-80GB"; "" where the node does not say
    memory_mib: int  # of one card or slice; 0 where the node does not say
    form: DeviceForm
    share_unit_mib: int = 0  # SHARED_MEMORY: the size of one unit of `resource`


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str  # NoSchedule | PreferNoSchedule | NoExecute


@dataclass(frozen=True, slots=True)
class Gpu:
    """One card of a node. `links[j]` scores the link to card j (higher is closer); empty where unknown."""

    index: int
    healthy: bool = True
    free: bool = True
    free_share: int = 0  # SHARED_MEMORY: units free on this card
    numa: int = -1
    links: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Nic:
    """One RDMA NIC of a node, asked for as one of `resource` ("rdma/hca")."""

    resource: str
    index: int
    numa: int  # -1 where unknown
    free: bool = True  # always, where pods share it


@dataclass(frozen=True, slots=True)
class Node:
    """A node exactly as the spoke sees it. `free` is allocatable minus what every pod on it requests."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    capacity: Resources  # allocatable
    free: Resources
    devices: tuple[DeviceClass, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    ready: bool = True  # Ready condition true and not cordoned
    domains: Mapping[str, str] = field(default_factory=dict)  # level name -> domain name
    nics: tuple[Nic, ...] = ()  # where the node tells which NUMA nodes they are on


@dataclass(frozen=True, slots=True)
class NodeClass:
    """Nodes alike in everything a constraint can ask about. Labels unique to a node are left out of `labels`."""

    labels: tuple[tuple[str, str], ...]
    taints: tuple[Taint, ...]
    devices: tuple[DeviceClass, ...]
    capacity: Resources


@dataclass(frozen=True, slots=True)
class Shape:
    """`nodes` nodes of `node_class` (an index) have at least `free`; `shares`: the free units of each shared card."""

    node_class: int
    free: Resources
    nodes: int
    shares: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DomainGroup:
    """`count` domains of `level` that each hold exactly `nodes[i] = (shape index, how many)`.

    `children` are the finer domains inside each of them, `(index into Summary.domains, how many)`: their nodes are
    among `nodes`. Without it the hub cannot tell which rack lies in which zone and proves less.
    """

    level: str
    count: int
    nodes: tuple[tuple[int, int], ...]
    example: str = ""  # the name of one of them, for people
    children: tuple[tuple[int, int], ...] = ()


JobEpoch = tuple[str, int]
JobEpochSize = tuple[str, int, int]  # with the revision of its size


@dataclass(frozen=True, slots=True)
class Summary:
    """What a spoke reports of its cluster. `counted` are the jobs whose pods `free` already leaves out."""

    revision: int
    levels: tuple[tuple[str, str], ...]  # (level name, label key), coarse to fine
    node_classes: tuple[NodeClass, ...]
    shapes: tuple[Shape, ...]
    domains: tuple[DomainGroup, ...]  # every level but host, where each node is a domain of its own
    kinds: frozenset[str]  # "kubeflow.org/v1/PyTorchJob": what the cluster's API serves
    hidden_labels: frozenset[str] = frozenset()  # keys left out of the classes: constraints on them prove nothing
    counted: frozenset[JobEpoch] = frozenset()
    resized: frozenset[JobEpochSize] = frozenset()  # of those, the ones whose size was changed: which one is counted
    resizes: bool = False  # its spoke can change the size of a job that runs
    gpus_total: int = 0
    gpus_free: int = 0
    nodes_total: int = 0
    gpus_unusable: int = 0  # unfit or missing: in neither of the two above
    why_unusable: tuple[str, ...] = ()  # for people: "node-a: GPU 3: Xid 79 (GPU has fallen off the bus)"
    policy: Policy | None = None  # what may run there, by its owner; None: its spoke does not say
