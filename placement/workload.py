"""What a user wants to run, in Muster's own words: a workload, its roles, and which pods must start together.

Read from a native manifest by `placement.kinds`; everything that decides reads these values and never a manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from placement.resources import Resources
from placement.safety.footprint import Footprint


class Operator(StrEnum):
    """How a node's label is compared (Kubernetes' node selector operators)."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GT = "Gt"
    LT = "Lt"


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    key: str
    operator: Operator
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Toleration:
    key: str = ""  # "" with EXISTS tolerates every taint
    operator: str = "Equal"  # Equal | Exists
    value: str = ""
    effect: str = ""  # "" means every effect


@dataclass(frozen=True, slots=True)
class NodeConstraint:
    """Which nodes a pod may run on: any one of `terms` (each an AND) must hold; no terms means any node."""

    terms: tuple[tuple[LabelRequirement, ...], ...] = ()
    tolerations: tuple[Toleration, ...] = ()


class TopologyMode(StrEnum):
    REQUIRED = "required"
    PREFERRED = "preferred"


@dataclass(frozen=True, slots=True)
class TopologyRequest:
    """The whole gang inside one domain of `level`. `level` is a level name (`rack`) or a node label key."""

    level: str
    mode: TopologyMode


@dataclass(frozen=True, slots=True)
class SliceRequest:
    """A role's pods in groups of `size` consecutive ones, each group inside one domain of `level`. Always required."""

    size: int
    level: str


@dataclass(frozen=True, slots=True)
class DataUse:
    """Data that the workload reads, or its checkpoints, which it also writes.

    `name` is a declared dataset's (`imagenet`), or a place as the manifest has it: a URI (`s3://bucket/prefix`),
    `pvc://namespace/claim`, `fluid://namespace/dataset`.
    """

    name: str
    checkpoint: bool = False
    tenant: str = ""  # who uses it: another's dataset is none; "" for nobody in particular

    @property
    def is_place(self) -> bool:
        """Then it need not be declared: nothing is known of its size until somebody tells."""
        return "://" in self.name


@dataclass(frozen=True, slots=True)
class DeviceNeed:
    """What one pod asks of accelerators.

    `amount` counts `resource`: cards, MIG slices, time slices, or, where `is_share`, units of one card's memory
    whose size (MiB, GiB) belongs to the cluster.
    """

    resource: str
    amount: int
    is_share: bool = False

    @property
    def gpus(self) -> int:
        """Devices of this pod; a share of one card's memory counts as none."""
        return 0 if self.is_share else self.amount


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many pods of a role may be chosen by whoever places it, where its kind lets that be written."""

    least: int
    most: int
    step: int = 1  # so many pods come and go together
    running: bool = True  # also while it runs; otherwise only before it starts


@dataclass(frozen=True, slots=True)
class Role:
    """Identical pods. `requests` holds everything one pod asks for, its devices included."""

    name: str
    replicas: int
    minimum: int  # of these pods, how many must be there for the gang to start
    requests: Resources
    devices: tuple[DeviceNeed, ...] = ()
    constraint: NodeConstraint = NodeConstraint()
    products: tuple[str, ...] = ()  # products the constraint narrows to, for people; () when any will do
    maximum: int | None = None  # elastic upper bound; None when not elastic
    topology: TopologyRequest | None = None  # this role's pods together, within what the workload's request says
    slices: SliceRequest | None = None
    # Its pods are made by those of the other roles (Spark's executors): its minimum needs room from the start, and yet
    # a cluster that waited for them before it let the others begin would wait for ever.
    late: bool = False
    stage: int = 0  # late roles of one stage come at one time and start together, as a gang of their own; 0: one by one
    sizes: Sizes | None = None  # None: as many as `replicas`, and no others

    @property
    def gpus_per_pod(self) -> int:
        return sum(device.gpus for device in self.devices)


class IfTooLarge(StrEnum):
    """What becomes of a gang that no cluster could hold even when empty."""

    WAIT = "wait"
    REJECT = "reject"


class DivideBy(StrEnum):
    """How a workload's replicas are divided over clusters."""

    WEIGHTS = "weights"  # in proportion; equal ones where none are named
    FREE = "free"  # in proportion to the room that each cluster has
    PRICE = "price"  # the cheapest cluster is filled first
    DUPLICATE = "duplicate"  # every cluster has all of them


@dataclass(frozen=True, slots=True)
class Divide:
    """Its replicas may lie in several clusters at once."""

    by: DivideBy
    weights: tuple[tuple[str, int], ...] = ()  # (cluster, weight): no others then; () all, and alike
    min_per_region: int = 0
    max_clusters: int | None = None


@dataclass(frozen=True, slots=True)
class Hints:
    """What `muster.dev/…` labels and annotations, or the kind's own fields, say about placing."""

    queue: str = "default"
    priority_class: str = ""
    priority: int = 0
    clusters: tuple[str, ...] = ()  # allow-list by name; () means any
    excluded_clusters: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    expected_hours: float = 1.0
    tolerates_spot: bool | None = None  # None: it does not say
    if_too_large: IfTooLarge = IfTooLarge.WAIT
    give_up_hours: float | None = None  # rejected after waiting so long; None: waits for as long as it takes
    wait_for_locality_hours: float = 0.0  # so long a preferred level counts as required
    checkpoint_minutes: float | None = None  # how often it saves what it needs to go on; None: it does not say
    preemptible: bool = True
    min_runtime_hours: float = 0.0  # not preempted before it has run so long
    grace_s: float = 30.0  # from the signal to the end, when it is evicted
    stalled_after_s: float | None = None  # without progress for so long it stands still; None: it does not say
    if_stalled: str = "flag"  # or "restart"
    divide: Divide | None = None  # None: all of it in one cluster
    grow_after_s: float | None = 300.0  # an elastic one grows when it has kept its size so long; None: never


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that the workload names and does not hold. `namespace`: where it is another than the workload's."""

    kind: str
    name: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Brought:
    """An object that travels along, of a kind that not every cluster serves."""

    kind: str  # "monitoring.coreos.com/v1/PodMonitor"
    name: str
    needed: bool  # False: where it is not served, the workload goes without

    @property
    def words(self) -> str:
        return f"{self.kind.rpartition('/')[2]} {self.name}"


@dataclass(frozen=True, slots=True)
class OverrideRefusal:
    """Why the overrides of a cluster cannot be applied to a workload."""

    override: str  # its name
    field: str
    message: str
    mend: str


@dataclass(frozen=True, slots=True)
class Variant:
    """What a cluster's overrides make of a workload. `workload`: as it is there; None where decisions see no change."""

    overrides: tuple[str, ...]  # the names of those that apply there, in the order in which they do
    workload: Workload | None = None
    refusal: OverrideRefusal | None = None  # then it does not run there


@dataclass(frozen=True, slots=True)
class Workload:
    api_version: str  # "kubeflow.org/v1"
    kind: str  # "PyTorchJob"
    name: str
    namespace: str
    roles: tuple[Role, ...]
    min_pods: int  # the gang: so many pods start together, or none; with late roles, the most that run at one time
    topology: TopologyRequest | None = None
    hints: Hints = field(default_factory=Hints)
    references: tuple[Reference, ...] = ()
    data: tuple[DataUse, ...] = ()
    brings: tuple[Brought, ...] = ()
    long_running: bool = False  # a service: RUNNING is its goal, it has no success
    warnings: tuple[str, ...] = ()  # shown by plan and submit ("did you mean …")
    footprint: Footprint = Footprint()  # what policies ask of its objects; the hub's alone
    awaited: int | None = None  # of the gang, the pods that begin first; None: all that belong to no late role
    groups: int = 1  # gangs that are alike, each with its part of every role: each starts for itself
    variants: Mapping[str, Variant] = field(default_factory=dict, hash=False)  # by cluster that overrides it

    @property
    def resource_kind(self) -> str:
        return f"{self.api_version}/{self.kind}"

    def at(self, cluster: str) -> Workload:
        """As it is on that cluster; the same object each time."""
        variant = self.variants.get(cluster) if self.variants else None
        return self if variant is None or variant.workload is None else variant.workload

    @property
    def differing(self) -> tuple[tuple[str, Workload | OverrideRefusal], ...]:
        """The clusters on which it is decided otherwise than elsewhere, by name: as what, or why not at all."""
        found = ((name, one.refusal or one.workload) for name, one in sorted(self.variants.items()))
        return tuple((name, one) for name, one in found if one is not None)

    @property
    def has_checkpoints(self) -> bool:
        return self.hints.checkpoint_minutes is not None or any(use.checkpoint for use in self.data)

    @property
    def may_use_spot(self) -> bool:
        """It says that it tolerates interruptions, or it can go on after one and does not say that it will not."""
        tolerates = self.hints.tolerates_spot
        return self.has_checkpoints if tolerates is None else tolerates

    @property
    def pods(self) -> int:
        return sum(role.replicas for role in self.roles)

    @property
    def awaited_pods(self) -> int:
        """How many of the gang a cluster waits for before it lets any of them begin."""
        if self.awaited is not None:
            return self.awaited
        return self.min_pods - sum(role.minimum for role in self.roles if role.late)

    @property
    def total_gpus(self) -> int:
        return sum(role.replicas * role.gpus_per_pod for role in self.roles)
