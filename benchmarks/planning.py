"""How fast the hub decides, without its store or its network: `python -m benchmarks.planning --json`.

A cycle is what the placing loop does: a batch of pending jobs is planned by a `Planner` that lives on, what it placed
becomes a reservation, and the next cycle sees those. Jobs are one-GPU pods, mixed with gangs by `--gangs`. When a
cluster is full, the oldest jobs end, so that deciding never runs dry. Every plan is checked by the invariants
(outside the clock) unless `--unchecked`. `--spokes` also measures the spoke's side: summary and assignment.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from placement import topology
from placement.fleet import Cluster, Fleet, Health, PendingJob, Reservation
from placement.invariants import check
from placement.inventory import DeviceClass, DeviceForm, Gpu, Node
from placement.money import Price, PriceBook
from placement.planner import Planner
from placement.resources import Resources
from placement.summary import Summariser, summarise
from placement.survey import Surveyor
from placement.topology import PodToPlace
from placement.verdict import Placed
from placement.workload import (
    DeviceNeed,
    Hints,
    LabelRequirement,
    NodeConstraint,
    Operator,
    Role,
    TopologyMode,
    TopologyRequest,
    Workload,
)

GPU = "nvidia.com/gpu"
PRODUCT = "nvidia.com/gpu.product"
PRODUCTS = ("NVIDIA-A100-SXM4-80GB", "NVIDIA-H100-80GB-HBM3", "Tesla-T4")
NODES_PER_RACK, RACKS_PER_BLOCK = 4, 8
KIND = "kubeflow.org/v1/PyTorchJob"


@dataclass(slots=True)
class Measured:
    decided: int = 0
    placed: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    cycle_ms: list[float] = field(default_factory=list)
    violations: int = 0


def main() -> int:
    args = _arguments()
    rng = random.Random(args.seed)
    clusters = [_cluster(f"c{i:03}", args.nodes, args.gpus) for i in range(args.clusters)]
    measured = _plan(args, clusters, rng)
    result: dict[str, object] = {
        "clusters": args.clusters,
        "nodes_per_cluster": args.nodes,
        "gpus_per_node": args.gpus,
        "batch": args.batch,
        "gang_share": args.gangs,
        "distinct_workloads": args.distinct,
        "decided": measured.decided,
        "placed": measured.placed,
        "decisions_per_s": round(measured.decided / measured.seconds, 1),
        "decisions_per_cpu_s": round(measured.decided / measured.cpu_seconds, 1),
        "cycle_ms": {"p50": _percentile(measured.cycle_ms, 50), "p99": _percentile(measured.cycle_ms, 99)},
        "ms_per_decision": round(1000 * measured.seconds / measured.decided, 4),
        "violations": None if args.unchecked else measured.violations,
    }
    if args.spokes:
        result["spoke"] = _spoke(args.nodes, args.gpus)
    if args.json:
        json.dump(result, sys.stdout, indent=2)
        print()
    else:
        for name, value in result.items():
            print(f"{name:>20}  {value}")
    return 1 if measured.violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planning", description=__doc__)
    parser.add_argument("--clusters", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=50, help="in each cluster")
    parser.add_argument("--gpus", type=int, default=8, help="on each node")
    parser.add_argument("--jobs", type=int, default=10_000, help="to decide in all")
    parser.add_argument("--batch", type=int, default=1_000, help="pending in each cycle")
    parser.add_argument(
        "--gangs", type=float, default=0.0, help="share of jobs that are gangs of 2 to 4 pods of 8 GPUs"
    )
    parser.add_argument("--distinct", type=int, default=1, help="different one-GPU workloads among the jobs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--unchecked", action="store_true", help="do not check the invariants")
    parser.add_argument("--spokes", action="store_true", help="also the spoke's summary and assignment")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


# ---- the hub's side ----


def _plan(args: argparse.Namespace, clusters: list[Cluster], rng: random.Random) -> Measured:
    planner, measured = Planner(), Measured()
    prices = PriceBook({(c.name, "*"): Price(1.0 + 0.1 * i) for i, c in enumerate(clusters)})
    running: deque[Reservation] = deque()
    waiting: list[PendingJob] = []
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = 0
    while measured.decided < args.jobs:
        while len(waiting) < args.batch:
            asked = _workload(rng, args.gangs, args.distinct)
            waiting.append(PendingJob(f"j-{made:08}", 1, asked, "t", start + timedelta(seconds=made)))
            made += 1
        fleet = Fleet({c.name: c for c in clusters}, tuple(running), prices)
        began, cpu_began = time.perf_counter(), time.process_time()
        plan = planner.plan(fleet, waiting, start)
        took = time.perf_counter() - began
        measured.cpu_seconds += time.process_time() - cpu_began
        measured.seconds += took
        measured.cycle_ms.append(took * 1000)
        measured.decided += len(plan.decisions)
        if not args.unchecked:
            measured.violations += len(check(plan, fleet))
        placed = [d.verdict.reservation for d in plan.decisions if isinstance(d.verdict, Placed)]
        measured.placed += len(placed)
        running.extend(placed)
        gone = {reservation.job for reservation in placed}
        waiting = [job for job in waiting if job.job not in gone]
        if waiting:
            # What runs ends; a spoke reports it with a new summary.
            running.clear()
            clusters = [
                replace(c, summary=replace(c.summary, revision=c.summary.revision + 1)) for c in clusters if c.summary
            ]
    return measured


def _workload(rng: random.Random, gangs: float, distinct: int) -> Workload:
    if rng.random() < gangs:
        pods = rng.choice((2, 3, 4))
        topology_request = TopologyRequest("rack", TopologyMode.REQUIRED)
        product = rng.choice(PRODUCTS[:2])
        constraint = NodeConstraint(((LabelRequirement(PRODUCT, Operator.IN, (product,)),),))
        roles: tuple[Role, ...] = (
            _role("Master", 1, 8, 8_000, constraint, product),
            _role("Worker", pods - 1, 8, 8_000, constraint, product),
        )
        return Workload("kubeflow.org/v1", "PyTorchJob", "gang", "default", roles, pods, topology_request)
    roles = (_role("worker", 1, 1, 1_000 + 1_000 * rng.randrange(distinct), NodeConstraint(), ""),)
    return Workload("kubeflow.org/v1", "PyTorchJob", "one", "default", roles, 1, None, Hints())


def _role(name: str, replicas: int, gpus: int, cpu: int, constraint: NodeConstraint, product: str) -> Role:
    requests = Resources({"cpu": cpu, "memory": 4096, GPU: gpus})
    products = (product,) if product else ()
    return Role(name, replicas, replicas, requests, (DeviceNeed(GPU, gpus),), constraint, products)


# ---- the spoke's side ----


def _spoke(nodes: int, gpus: int) -> dict[str, float]:
    made = _nodes(nodes, gpus)
    summariser = Summariser()
    summariser.summarise(made)
    changing = iter(range(5))

    def with_one_node_changed() -> object:
        at = next(changing)
        made[at] = replace(made[at], free=Resources({**made[at].free, GPU: 0}))
        return summariser.summarise(made)

    gang = _workload(random.Random(1), 1.0, 1)
    surveyor = Surveyor()
    surveyor.survey(made)
    pods = [PodToPlace(f"{role.name}-{i}", role.name) for role in gang.roles for i in range(role.replicas)]
    return {
        "nodes": nodes,
        "summarise_cpu_ms": _median_ms(lambda: summarise(made)),
        "summarise_one_changed_cpu_ms": _median_ms(with_one_node_changed),
        "assign_cpu_ms": _median_ms(lambda: topology.assign(made, pods, gang)),
        "assign_with_surveyor_cpu_ms": _median_ms(lambda: topology.assign(made, pods, gang, surveyor=surveyor)),
    }


def _median_ms(work: Callable[[], object]) -> float:
    """Of processor time: the machine may be shared."""
    took = []
    for _ in range(5):
        began = time.process_time()
        work()
        took.append((time.process_time() - began) * 1000)
    return round(sorted(took)[2], 2)


# ---- what there is ----


def _cluster(name: str, nodes: int, gpus: int) -> Cluster:
    return Cluster(name, "eu", {}, Health.READY, False, summarise(_nodes(nodes, gpus), [KIND]))


def _nodes(count: int, gpus: int) -> list[Node]:
    return [_node(i, gpus) for i in range(count)]


def _node(index: int, gpus: int) -> Node:
    """Three products by blocks; forty labels as GPU feature discovery and the clouds set them."""
    rack, block = index // NODES_PER_RACK, index // NODES_PER_RACK // RACKS_PER_BLOCK
    product = PRODUCTS[block % 3]
    amounts = Resources({"cpu": 96_000, "memory": 1_000_000 - index % 5, GPU: gpus, "pods": 110})
    labels = {f"feature.node.kubernetes.io/cpu-cpuid.F{i}": "true" for i in range(35)}
    labels |= {PRODUCT: product, "kubernetes.io/hostname": f"n{index}", "topology.muster.dev/rack": f"r{rack}"}
    labels |= {"topology.kubernetes.io/zone": "z", "instance-id": f"i-{index}"}
    return Node(
        name=f"n{index:05}",
        labels=labels,
        taints=(),
        capacity=amounts,
        free=amounts,
        devices=(DeviceClass(GPU, "nvidia", product, 81_920, DeviceForm.WHOLE),),
        gpus=tuple(Gpu(i) for i in range(gpus)),
        domains={"zone": "z", "block": f"b{block}", "rack": f"r{rack}"},
    )


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 2)


if __name__ == "__main__":
    raise SystemExit(main())
