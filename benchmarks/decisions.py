"""How fast the hub decides on a large federation: `python -m benchmarks.decisions --clusters 100 --nodes 5000 --json`.

Every node has a random part of its GPUs in use, so that hardly two racks are alike. Jobs are gangs of 1 to 256 GPUs of
three products, a third of the larger ones bound to a rack or a block. A cycle is what the placing loop does: a batch of
pending jobs is planned by a `Planner` that lives on, and what it placed becomes a reservation. Jobs end: a cluster with
`--turnover` reservations reports a new summary without them, in which `--drift` of its nodes have another part in use.

`p99_ms` is of single decisions, with taking in what changed shared out among those of its cycle. `--clock cpu` measures
all times on the processor, for machines that do other things meanwhile. `--prices equal` makes every cluster as dear as
the others, so that each decision compares them all. The invariants are checked on every `--check`-th cycle, outside the
clock.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from placement.fleet import Cluster, Fleet, Health, PendingJob, Reservation
from placement.invariants import check
from placement.inventory import DeviceClass, DeviceForm, Node
from placement.money import Price, PriceBook
from placement.planner import Cycle, Planner
from placement.resources import Resources
from placement.summary import Summariser, summarise
from placement.verdict import Decision, Placed
from placement.workload import (
    DeviceNeed,
    LabelRequirement,
    NodeConstraint,
    Operator,
    Role,
    TopologyMode,
    TopologyRequest,
    Workload,
)
from wire.service_loop import collect_less

GPU = "nvidia.com/gpu"
PRODUCT = "nvidia.com/gpu.product"
PRODUCTS = ("NVIDIA-A100-SXM4-80GB", "NVIDIA-H100-80GB-HBM3", "Tesla-T4")
KIND = "batch/v1/Job"
GPUS_PER_NODE, NODES_PER_RACK, RACKS_PER_BLOCK = 8, 16, 8
# GPUs of a job, and how common: most are small, most GPUs are in large ones.
SIZES = {1: 40, 2: 10, 4: 12, 8: 16, 16: 8, 32: 6, 64: 4, 128: 2, 256: 2}
CORES_PER_GPU = (4, 8, 11)
USED = (0, 0, 0, 0, 1, 2, 4, 6, 7, 8, 8)  # GPUs of a node
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Measured:
    decision_ms: list[float] = field(default_factory=list)
    clock_s: float = 0.0
    cpu_s: float = 0.0
    placed: int = 0
    checked: int = 0
    violations: int = 0
    renewed: int = 0


class Timed(Planner):
    """Notes how long each decision took."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.took: list[float] = []
        self._clock = clock

    def _decide(self, job: PendingJob, cycle: Cycle) -> Decision:
        began = self._clock()
        made = super()._decide(job, cycle)
        self.took.append(self._clock() - began)
        return made


def main() -> int:
    args = _arguments()
    collect_less()  # as the hub does
    rng = random.Random(args.seed)
    sites = {name: Site(name, args) for name in (f"c{i:03}" for i in range(args.clusters))}
    workloads = _workloads(rng, args.distinct)
    measured = _measure(args, sites, workloads, rng)
    decisions = len(measured.decision_ms)
    result = {
        "clusters": args.clusters,
        "nodes": args.clusters * args.nodes,
        "gpus": args.clusters * args.nodes * GPUS_PER_NODE,
        "distinct_workloads": len(workloads),
        "decisions": decisions,
        "placed": measured.placed,
        "decisions_per_s": round(decisions / measured.clock_s, 1),
        "decisions_per_cpu_s": round(decisions / measured.cpu_s, 1),
        "p50_ms": _percentile(measured.decision_ms, 50),
        "p99_ms": _percentile(measured.decision_ms, 99),
        "max_ms": _percentile(measured.decision_ms, 100),
        "summaries_renewed": measured.renewed,
        "rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "plans_checked": measured.checked,
        "violations": measured.violations,
    }
    if args.json:
        json.dump(result, sys.stdout, indent=2)
        print()
    else:
        for name, value in result.items():
            print(f"{name:>20}  {value}")
    return 1 if measured.violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decisions", description=__doc__)
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=5000, help="in each cluster, of 8 GPUs")
    parser.add_argument("--decisions", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=500, help="pending in each cycle")
    parser.add_argument("--distinct", type=int, default=200, help="different workloads among the jobs")
    parser.add_argument("--turnover", type=int, default=300, help="reservations of a cluster that end together")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--drift", type=float, default=0.01, help="share of the nodes that a new summary has changed")
    parser.add_argument("--prices", choices=("apart", "equal"), default="apart", help="of the clusters")
    parser.add_argument("--check", type=int, default=20, help="the invariants on each so-many-th cycle; 0: never")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _measure(
    args: argparse.Namespace, sites: dict[str, Site], workloads: list[Workload], rng: random.Random
) -> Measured:
    clock = time.thread_time if args.clock == "cpu" else time.perf_counter
    planner, measured = Timed(clock), Measured()
    clusters = {name: site.cluster for name, site in sites.items()}
    dearer = 0.01 if args.prices == "apart" else 0.0
    prices = PriceBook({(name, "*"): Price(1.0 + dearer * i) for i, name in enumerate(clusters)})
    running: dict[str, list[Reservation]] = {name: [] for name in clusters}
    waiting: list[PendingJob] = []
    made = cycle = 0
    weights = [SIZES[workload.total_gpus] for workload in workloads]
    while len(measured.decision_ms) < args.decisions:
        for asked in rng.choices(workloads, weights, k=args.batch - len(waiting)):
            waiting.append(PendingJob(f"j-{made:08}", 1, asked, "t", START + timedelta(seconds=made)))
            made += 1
        fleet = Fleet(dict(clusters), tuple(r for held in running.values() for r in held), prices)
        planner.took.clear()
        began, cpu_began = clock(), time.process_time()
        plan = planner.plan(fleet, waiting, START)
        took = clock() - began
        measured.cpu_s += time.process_time() - cpu_began
        measured.clock_s += took
        beside = (took - sum(planner.took)) / len(planner.took)
        measured.decision_ms += [1000 * (each + beside) for each in planner.took]
        cycle += 1
        if args.check and cycle % args.check == 0:
            measured.checked += 1
            measured.violations += len(check(plan, fleet))
        placed = {d.job: d.verdict.reservation for d in plan.decisions if isinstance(d.verdict, Placed)}
        measured.placed += len(placed)
        waiting = [job for job in waiting if job.job not in placed]
        for reservation in placed.values():
            running[reservation.cluster].append(reservation)
        for name, held in running.items():
            if len(held) >= args.turnover or (waiting and held):
                measured.renewed += 1
                held.clear()
                clusters[name] = sites[name].renewed()
    return measured


# ---- what is asked for ----


def _workloads(rng: random.Random, distinct: int) -> list[Workload]:
    """Every size once at least."""
    sizes = list(SIZES)
    rest = rng.choices(sizes, list(SIZES.values()), k=max(distinct - len(sizes), 0))
    return [_workload(rng, gpus) for gpus in (*sizes, *rest)]


def _workload(rng: random.Random, gpus: int) -> Workload:
    each = min(gpus, GPUS_PER_NODE)
    pods, product = gpus // each, rng.choice(PRODUCTS)
    level = rng.choice(("rack", "block", "", "", "", "")) if pods > 1 else ""
    if level == "rack" and pods > NODES_PER_RACK // 2:
        level = "block"  # so many whole nodes no rack has free
    constraint = NodeConstraint(((LabelRequirement(PRODUCT, Operator.IN, (product,)),),))
    cores = rng.choice(CORES_PER_GPU)
    requests = Resources({"cpu": each * cores * 1000, "memory": each * cores * 8192, GPU: each})
    role = Role("worker", pods, pods, requests, (DeviceNeed(GPU, each),), constraint, (product,))
    request = TopologyRequest(level, TopologyMode.REQUIRED) if level else None
    return Workload("batch/v1", "Job", "gang", "default", (role,), pods, request)


# ---- what there is ----


class Site:
    """A cluster whose nodes are known by what is used of them; as nodes they are kept while they are summarised."""

    _KEPT = 4  # sites whose nodes and summariser are
    _kept: ClassVar[dict[str, tuple[Summariser, list[Node]]]] = {}

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        self._name = name
        self._rng = random.Random(f"{args.seed} {name}")
        self._used = self._rng.choices(USED, k=args.nodes)
        self._drift = round(args.nodes * args.drift)
        self._revision = 0
        self.cluster = Cluster(name, "eu", {}, Health.READY, False, summarise(self._nodes(), [KIND]))

    def renewed(self) -> Cluster:
        if self._name not in self._kept:
            if len(self._kept) >= self._KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[self._name] = Summariser(), self._nodes()
        summariser, nodes = self._kept[self._name]
        for index in self._rng.sample(range(len(nodes)), self._drift):
            self._used[index] = self._rng.choice(USED)
            nodes[index] = _node(index, self._used[index])
        self._revision += 1
        self.cluster = replace(self.cluster, summary=summariser.summarise(nodes, [KIND], self._revision))
        return self.cluster

    def _nodes(self) -> list[Node]:
        return [_node(index, used) for index, used in enumerate(self._used)]


def _node(index: int, used: int) -> Node:
    rack = index // NODES_PER_RACK
    block = rack // RACKS_PER_BLOCK
    product = PRODUCTS[block % len(PRODUCTS)]
    capacity = Resources({"cpu": 96_000, "memory": 1_000_000, GPU: GPUS_PER_NODE, "pods": 110})
    free = {"cpu": 96_000 - used * 8_000, "memory": 1_000_000 - used * 64_000, GPU: GPUS_PER_NODE - used, "pods": 100}
    return Node(
        name=f"n{index:05}",
        labels={PRODUCT: product, "kubernetes.io/hostname": f"n{index}"},
        taints=(),
        capacity=capacity,
        free=Resources(free),
        devices=(DeviceClass(GPU, "nvidia", product, 81_920, DeviceForm.WHOLE),),
        domains={"zone": "z", "block": f"b{block}", "rack": f"r{rack}"},
    )


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 3)


if __name__ == "__main__":
    raise SystemExit(main())
