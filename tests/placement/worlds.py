"""Nodes, clusters and workloads for the tests of decisions: short builders for examples, strategies for properties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from placement.assignment import Assignment, NodeAssignment, PodToPlace
from placement.data import DataCatalog, Dataset, Replica
from placement.fleet import Cluster, Fleet, Health, PendingJob, Reservation
from placement.inventory import DeviceClass, DeviceForm, Gpu, Node, Summary, Taint
from placement.money import Price, PriceBook
from placement.queues.tree import Budget, Queue, QueueTree, Quota
from placement.resources import Resources
from placement.summary import summarise
from placement.workload import (
    DataUse,
    DeviceNeed,
    Hints,
    IfTooLarge,
    LabelRequirement,
    NodeConstraint,
    Operator,
    Role,
    Sizes,
    SliceRequest,
    Toleration,
    TopologyMode,
    TopologyRequest,
    Workload,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GPU, MEM_SHARE, RDMA = "nvidia.com/gpu", "aliyun.com/gpu-mem", "rdma/hca"
PRODUCT_LABEL = "nvidia.com/gpu.product"
A100, H100, T4 = "NVIDIA-A100-SXM4-80GB", "NVIDIA-H100-80GB-HBM3", "Tesla-T4"
POD = "v1/Pod"
CARD_UNITS = 16


# ---- examples ----


def gpu_node(
    name: str,
    rack: str = "",
    *,
    free: int = 8,
    cards: int = 8,
    product: str = A100,
    labels: Mapping[str, str] | None = None,
    **domains: str,
) -> Node:
    """The first cards are the ones in use."""
    capacity = Resources({"cpu": 96_000, "memory": 1_000_000, GPU: cards, "pods": 110})
    return Node(
        name=name,
        labels={"kubernetes.io/hostname": name, PRODUCT_LABEL: product, **(labels or {})},
        taints=(),
        capacity=capacity,
        free=Resources({**capacity, GPU: free}),
        devices=(DeviceClass(GPU, "nvidia", product, 81_920, DeviceForm.WHOLE),),
        gpus=tuple(Gpu(index, free=index >= cards - free) for index in range(cards)),
        domains={**({"rack": rack} if rack else {}), **domains},
    )


def shared_node(name: str, shares: Sequence[int], *, unit_mib: int = 1024, **domains: str) -> Node:
    units = CARD_UNITS * len(shares)
    capacity = Resources({"cpu": 32_000, "memory": 128_000, MEM_SHARE: units, "pods": 110})
    return Node(
        name=name,
        labels={"kubernetes.io/hostname": name},
        taints=(),
        capacity=capacity,
        free=Resources({**capacity, MEM_SHARE: sum(shares)}),
        devices=(
            DeviceClass(
                MEM_SHARE, "nvidia", T4, CARD_UNITS * unit_mib, DeviceForm.SHARED_MEMORY, share_unit_mib=unit_mib
            ),
        ),
        gpus=tuple(Gpu(i, free=units == CARD_UNITS, free_share=units) for i, units in enumerate(shares)),
        domains=domains,
    )


def cpu_node(name: str, *, cores: int = 64, **domains: str) -> Node:
    capacity = Resources({"cpu": cores * 1000, "memory": cores * 4096, "pods": 110})
    return Node(name, {"kubernetes.io/hostname": name}, (), capacity, capacity, domains=domains)


def role(
    name: str = "worker",
    replicas: int = 1,
    *,
    gpus: int = 0,
    share: int = 0,
    cpu: int = 0,
    memory: int = 0,
    product: str = "",
    constraint: NodeConstraint | None = None,
) -> Role:
    requests = {"cpu": cpu, "memory": memory, GPU: gpus, MEM_SHARE: share}
    devices = [DeviceNeed(GPU, gpus)] if gpus else []
    devices += [DeviceNeed(MEM_SHARE, share, is_share=True)] if share else []
    if constraint is None:
        constraint = selecting(PRODUCT_LABEL, product) if product else NodeConstraint()
    products = (product,) if product else ()
    return Role(name, replicas, replicas, Resources(requests), tuple(devices), constraint, products)


def selecting(key: str, *values: str, operator: Operator = Operator.IN) -> NodeConstraint:
    return NodeConstraint(((LabelRequirement(key, operator, values),),))


def workload(*roles: Role, required: str = "", preferred: str = "", hints: Hints | None = None) -> Workload:
    topology = None
    if required:
        topology = TopologyRequest(required, TopologyMode.REQUIRED)
    elif preferred:
        topology = TopologyRequest(preferred, TopologyMode.PREFERRED)
    pods = sum(r.replicas for r in roles)
    return Workload("v1", "Pod", "job", "default", roles, pods, topology, hints or Hints())


def pods_of(asked: Workload) -> list[PodToPlace]:
    return [PodToPlace(f"{role.name}-{i}", role.name) for role in asked.roles for i in range(role.replicas)]


def summary_of(nodes: Iterable[Node], **changes: object) -> Summary:
    return replace(summarise(nodes, [POD]), **changes)  # type: ignore[arg-type]  # names are Summary's own


def cluster(name: str, nodes: Iterable[Node] = (), **changes: object) -> Cluster:
    ready = Cluster(name, "eu", {}, Health.READY, False, summary_of(nodes))
    return replace(ready, **changes)  # type: ignore[arg-type]  # names are Cluster's own


def fleet(*clusters: Cluster, reservations: Sequence[Reservation] = (), prices: PriceBook | None = None) -> Fleet:
    return Fleet({c.name: c for c in clusters}, tuple(reservations), prices or PriceBook())


def pending(
    job: str, asked: Workload, *, minutes: float = 0, refused_by: Mapping[str, str] | None = None
) -> PendingJob:
    return PendingJob(job, 1, asked, "t", NOW + timedelta(minutes=minutes), refused_by or {})


def after(nodes: Sequence[Node], assignment: Assignment, asked: Workload) -> list[Node]:
    """The nodes once the assigned pods are bound."""
    roles = {r.name: r for r in asked.roles}
    left = {node.name: node for node in nodes}
    for pod in assignment.pods:
        left[pod.node] = _with_pod(left[pod.node], pod, roles[pod.role])
    return [left[node.name] for node in nodes]


def _with_pod(node: Node, pod: NodeAssignment, of_role: Role) -> Node:
    share = sum(need.amount for need in of_role.devices if need.is_share)
    used = of_role.requests + Resources({"pods": 1} if "pods" in node.capacity else {})
    gpus = []
    for gpu in node.gpus:
        if gpu.index in pod.gpus:
            shared = share and gpu.index == pod.gpus[-1]
            gpu = replace(gpu, free=False, free_share=gpu.free_share - share if shared else 0)
        gpus.append(gpu)
    return replace(node, free=node.free - used, gpus=tuple(gpus))


# ---- properties ----


@st.composite
def node_lists(draw: st.DrawFn, *, max_nodes: int = 14) -> list[Node]:
    count = draw(st.integers(min(4, max_nodes), max_nodes) | st.integers(1, 3))
    return [draw(_nodes(f"n{i:02}")) for i in range(count)]


@st.composite
def _nodes(draw: st.DrawFn, name: str) -> Node:
    make = draw(st.sampled_from([_a100, _a100, _h100, _t4, _shared, _cpu]))
    node = make(draw, name)
    zone, block, rack = draw(st.sampled_from("aab")), draw(st.sampled_from("xxy")), draw(st.sampled_from("12"))
    domains = {"zone": zone, "block": f"{zone}{block}", "rack": f"{zone}{block}{rack}"}
    for level in draw(st.sampled_from([(), (), (), ("block",), ("zone",), ("rack",), ("zone", "block", "rack")])):
        del domains[level]
    cpu = draw(st.sampled_from([95_500, 95_500, 31_900, 16_000, 7_300, 1_950, 400]))
    memory = draw(st.sampled_from([500_000, 500_000, 65_536, 4_000, 700]))
    labels = {**node.labels, "pool": draw(st.sampled_from(["blue", "green"])), "topology.kubernetes.io/zone": zone}
    taints = draw(
        st.sampled_from([(), (), (), (Taint("gpu", "yes", "NoSchedule"),), (Taint("x", "", "PreferNoSchedule"),)])
    )
    free = {**node.free, "cpu": min(cpu, node.free["cpu"]), "memory": min(memory, node.free["memory"])}
    ready = draw(st.sampled_from([True] * 8 + [False]))
    return replace(node, labels=labels, taints=taints, free=Resources(free), domains=domains, ready=ready)


def _a100(draw: st.DrawFn, name: str) -> Node:
    node = gpu_node(name, free=draw(st.sampled_from([8, 8, 7, 6, 5, 4, 2, 1, 0])))
    if draw(st.booleans()):
        node = replace(node, free=node.free + Resources({RDMA: 4}), capacity=node.capacity + Resources({RDMA: 8}))
    if draw(st.integers(0, 4)) == 0:
        sick = draw(st.integers(0, 7))
        node = replace(node, gpus=tuple(replace(g, healthy=g.index != sick) for g in node.gpus))
    return node


def _h100(draw: st.DrawFn, name: str) -> Node:
    node = gpu_node(name, free=draw(st.sampled_from([8, 3, 0])), product=H100)
    return replace(node, gpus=()) if draw(st.booleans()) else node


def _t4(draw: st.DrawFn, name: str) -> Node:
    return gpu_node(name, cards=4, free=draw(st.integers(0, 4)), product=T4)


def _shared(draw: st.DrawFn, name: str) -> Node:
    return shared_node(name, draw(st.lists(st.integers(0, CARD_UNITS), min_size=1, max_size=3)))


def _cpu(draw: st.DrawFn, name: str) -> Node:
    node = cpu_node(name)
    if draw(st.booleans()):
        return node
    without = {name: amount for name, amount in node.capacity.items() if name != "pods"}
    return replace(node, capacity=Resources(without), free=Resources(without))


_CONSTRAINTS = st.sampled_from(
    [
        NodeConstraint(),
        NodeConstraint(),
        NodeConstraint(),
        NodeConstraint(tolerations=(Toleration("gpu", "Exists"),)),
        NodeConstraint(tolerations=(Toleration("gpu", "Exists"),)),
        selecting(PRODUCT_LABEL, A100),
        selecting("pool", "blue"),
        selecting("pool", "blue", operator=Operator.NOT_IN),
        selecting("topology.kubernetes.io/zone", "a"),
        NodeConstraint((), (Toleration("", "Exists"),)),
        # Its first term is on a label that the hub is not told.
        NodeConstraint(
            (
                (LabelRequirement("kubernetes.io/hostname", Operator.IN, ("n01", "n02")),),
                (LabelRequirement("pool", Operator.IN, ("green",)),),
            )
        ),
    ]
)


@st.composite
def roles(draw: st.DrawFn, name: str, *, whole: bool) -> Role:
    """With `whole`, CPU and memory in whole cores and GiB: amounts that rounding down does not touch."""
    cpus = [0, 1_000, 4_000, 16_000] if whole else [0, 100, 500, 1_500, 7_250, 16_000]
    memories = [0, 1_024, 32_768] if whole else [0, 100, 600, 3_900, 33_000]
    made = role(
        name,
        draw(st.sampled_from([1, 1, 2, 2, 3, 4, 6])),
        cpu=draw(st.sampled_from(cpus)),
        memory=draw(st.sampled_from(memories)),
        constraint=draw(_CONSTRAINTS),
        **draw(
            st.sampled_from(
                [
                    {"gpus": 1},
                    {"gpus": 1},
                    {"gpus": 2},
                    {"gpus": 2},
                    {"gpus": 4},
                    {"gpus": 8},
                    {},
                    {"share": 3},
                    {"share": 9},
                ]
            )
        ),
    )
    if draw(st.integers(0, 9)) == 9:
        made = replace(made, requests=made.requests + Resources({RDMA: 1}))
    return made


@st.composite
def workloads(
    draw: st.DrawFn, *, whole: bool = False, max_roles: int = 3, hints: st.SearchStrategy[Hints] | None = None
) -> Workload:
    count = draw(st.sampled_from([1, 1, 1, 2, 3]).filter(lambda n: n <= max_roles))
    made = [draw(roles(f"r{i}", whole=whole)) for i in range(count)]
    level = draw(st.sampled_from(["", "rack", "rack", "block", "zone", "host", "topology.muster.dev/rack"]))
    mode = draw(st.sampled_from(["required", "preferred"]))
    asked = workload(*made, **{mode: level}, hints=None if hints is None else draw(hints))
    names = draw(
        st.sampled_from(
            [(), (), (), ("images",), ("images", "text"), ("s3://texts/en",), ("s3://else",), ("pvc://default/x",)]
        )
    )
    uses = tuple(DataUse(name, checkpoint=name == "text") for name in names)
    asked = replace(asked, data=() if hints is None else uses)
    return _elastic(asked, draw(st.integers(1, 3))) if draw(st.integers(0, 5)) == 5 else asked


def _elastic(asked: Workload, least: int) -> Workload:
    """Its first role may have fewer pods, or more."""
    first, *others = asked.roles
    least = min(least, first.replicas)
    first = replace(first, minimum=least, maximum=first.replicas + 2, sizes=Sizes(least, first.replicas + 2))
    return replace(asked, roles=(first, *others), min_pods=least + sum(each.replicas for each in others))


@st.composite
def racked_nodes(draw: st.DrawFn, *, max_nodes: int = 14) -> list[Node]:
    """GPU nodes that are mostly free, in racks in blocks in zones; some are outside of one or the other."""
    nodes = []
    linked = draw(st.booleans())
    for i in range(draw(st.integers(4, max_nodes))):
        zone, block, rack = draw(st.sampled_from("aab")), draw(st.sampled_from("xy")), draw(st.sampled_from("12"))
        domains = {"zone": zone, "block": f"{zone}{block}", "rack": f"{zone}{block}{rack}"}
        for level in draw(st.sampled_from([(), (), (), (), (), ("block",), ("zone",), ("rack",), ("zone", "rack")])):
            del domains[level]
        if linked and draw(st.integers(0, 3)):
            domains["nvlink"] = f"{zone}{block}{rack}{draw(st.sampled_from('pq'))}"
        nodes.append(gpu_node(f"n{i:02}", free=draw(st.sampled_from([8, 8, 8, 6, 4, 3, 1])), **domains))
    return nodes


@st.composite
def nested_workloads(
    draw: st.DrawFn, *, max_roles: int = 3, mode: str = "", hints: st.SearchStrategy[Hints] | None = None
) -> Workload:
    """Roles, or slices of them, ask for domains of their own."""
    asked = draw(workloads(whole=True, max_roles=max_roles))
    levels = st.sampled_from(["rack", "rack", "block", "zone", "host", "nvlink", "tier-1"])
    modes = [*TopologyMode]
    plain = draw(st.integers(0, 3)) > 0
    made = []
    for one in asked.roles:
        if plain:
            one = role(one.name, draw(st.sampled_from([2, 3, 4, 6, 8])), gpus=draw(st.sampled_from([1, 2, 3, 4, 8])))
        topology, slices = None, None
        if draw(st.integers(0, 2)) == 0:
            topology = TopologyRequest(draw(levels), TopologyMode(mode or draw(st.sampled_from(modes))))
        if topology is None or draw(st.booleans()):
            slices = SliceRequest(draw(st.sampled_from([1, 2, 2, 3, 4])), draw(levels))
        made.append(replace(one, topology=topology, slices=slices))
    level = draw(st.sampled_from(["", "", "block", "zone"]))
    return workload(*made, required=level, hints=None if hints is None else draw(hints))


@st.composite
def hints(draw: st.DrawFn) -> Hints:
    return Hints(
        queue=draw(st.sampled_from(["default", "default", "a", "b", "gone"])),
        priority=draw(st.integers(-1, 1)),
        clusters=draw(st.sampled_from([(), (), ("a", "b"), ("nowhere",)])),
        excluded_clusters=draw(st.sampled_from([(), (), ("a",)])),
        regions=draw(st.sampled_from([(), (), ("eu",)])),
        expected_hours=draw(st.sampled_from([0.5, 1.0, 24.0])),
        tolerates_spot=draw(st.sampled_from([None, False, True])),
        if_too_large=draw(st.sampled_from(list(IfTooLarge))),
        give_up_hours=draw(st.sampled_from([None, None, 0.0, 5.0])),
        wait_for_locality_hours=draw(st.sampled_from([0.0, 0.0, 0.01, 3.0])),
    )


PRICES = PriceBook(
    {
        ("a", A100): Price(2.0, 0.8, 0.05),
        ("b", "*"): Price(1.5),
        ("c", A100): Price(1.5, 1.4, 0.9),
        ("c", "cpu"): Price(0.03),
    }
)


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    """Up to three clusters, some of them away or cordoned, with reservations that they may or may not hold."""
    clusters = []
    for name in draw(st.sampled_from(["a", "ab", "abc"])):
        made = cluster(name, draw(node_lists(max_nodes=8)), region=draw(st.sampled_from(["eu", "us"])))
        health = draw(st.sampled_from([Health.READY] * 6 + [Health.LOST, Health.JOINING]))
        served = draw(st.sampled_from([True] * 6 + [False]))
        summary = made.summary if served else replace(made.summary, kinds=frozenset())  # type: ignore[type-var]
        clusters.append(
            replace(
                made,
                health=health,
                cordoned=draw(st.integers(0, 7)) == 0,
                summary=None if health is Health.JOINING else summary,
            )
        )
    held = []
    for number in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from([c.name for c in clusters]))
        since = draw(st.sampled_from([None, NOW, NOW - timedelta(hours=9)]))
        held.append(Reservation(f"held-{number}", 1, name, draw(workloads(hints=hints())), since=since))
    made = fleet(*clusters, reservations=held, prices=PRICES)
    return replace(made, queues=draw(queue_trees()), data=draw(catalogs()))


@st.composite
def catalogs(draw: st.DrawFn) -> DataCatalog:
    """Of two datasets, some of them nowhere or unknown, some of them bound to a region."""
    there = [Replica("eu", "a"), Replica("us"), Replica("eu"), Replica("", "gone"), Replica("us", "b")]
    place = st.sampled_from([*there, Replica("eu", "a", "pvc://default/x"), Replica("us", "b", "pvc://ml/x")])
    found = []
    for name in draw(st.sampled_from([("images", "text"), ("text",), ()])):
        replicas = tuple(dict.fromkeys(draw(st.lists(place, max_size=2))))
        if name == "text":
            replicas = tuple(replace(one, uri=one.uri or "s3://texts") for one in replicas)
        size = draw(st.sampled_from([0, 1_000_000_000, 40_000_000_000_000]))
        found.append(Dataset(name, size, replicas, draw(st.sampled_from([(), (), ("eu",)]))))
    return DataCatalog({one.name: one for one in found})


@st.composite
def queue_trees(draw: st.DrawFn) -> QueueTree:
    """`default`, `a` and `b`: without limits, or in a cohort with quota and budgets."""
    if draw(st.booleans()):
        return QueueTree.of([Queue("default"), Queue("a"), Queue("b", weight=2.0)])
    amounts, limits = st.sampled_from([0.0, 2.0, 8.0, 30.0]), st.sampled_from([None, None, 0.0, 4.0])
    budgets = st.sampled_from([Budget(), Budget(), Budget(usd_per_day=20.0), Budget(gpu_hours_per_month=30.0)])

    def quotas() -> dict[str, Quota]:
        devices = draw(st.lists(st.sampled_from([A100, "*", "cpu"]), unique=True))
        return {device: Quota(draw(amounts), draw(limits), draw(limits)) for device in devices}

    return QueueTree.of(
        [
            Queue("org", quotas={"*": Quota(draw(amounts))}, budget=draw(budgets)),
            Queue("default"),
            Queue("a", "org", quotas(), budget=draw(budgets)),
            Queue("b", draw(st.sampled_from(["org", "default"])), quotas(), weight=draw(st.sampled_from([0.0, 2.0]))),
        ]
    )


@st.composite
def queues(draw: st.DrawFn) -> list[PendingJob]:
    """Pending jobs, several of them often alike."""
    kinds = draw(st.lists(workloads(hints=hints()) | nested_workloads(hints=hints()), min_size=1, max_size=4))
    asked = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=8))
    refusing = st.sampled_from([{}, {}, {}, {"a": "no room"}])
    return [
        pending(f"j-{i}", one, minutes=draw(st.integers(0, 2)), refused_by=draw(refusing))
        for i, one in enumerate(asked)
    ]
