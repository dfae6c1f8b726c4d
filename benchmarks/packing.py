"""How full a cluster gets: `python -m benchmarks.packing --nodes NODES.csv --pods PODS.csv --json`.

The Alibaba openb trace (repository alibaba/clusterdata, `cluster-trace-gpu-v2023/csv`; its licence is for research, so
the files are arguments) through the spoke's own scheduler, by the protocol of "Beware of Fragmentation" (USENIX ATC
2023): the pods are shuffled by a seed, and pods drawn at random are added until they ask for 130 % of all GPUs. None
ever ends. `gpu_allocated_pct` is read where what has arrived rounds to 100 % of the GPUs, as the mean over those
arrivals; a run ends there. Mean over the seeds.

With `--known` the scheduler is told the mix of pods beforehand, as the paper's was; without it, it learns the mix from
what it has seen, as in a live cluster. `--check` looks after each run that no card was given twice.

Each pod is a job of its own: `pods_per_s` counts the whole of `Scheduler.decide` (which pods may be placed, where to,
what is left there), placed or not, by the wall clock, with the garbage collector set as in the spoke's process; binding
and the API server are left out.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from placement import mix
from placement.inventory import DEFAULT_LEVELS
from placement.resources import Resources
from placement.workload import DeviceNeed, LabelRequirement, NodeConstraint, Operator, Role, Workload
from spoke.binding import Placing
from spoke.entry import Desired
from spoke.inventory import Inventory
from spoke.jobs import Job, Jobs
from spoke.pods import Life, PodFacts
from spoke.schedule import Scheduler
from wire import service_loop
from wire.orders import JobRef

# Both count the same cards: whole, and in thousandths.
WHOLE = "volcano.sh/gpu-number"
SHARE = "volcano.sh/gpu-memory"
PRODUCT = "nvidia.com/gpu.product"
MILLI = 1000
INFLATED_TO = 1.3


@dataclass(slots=True)
class Run:
    allocated_pct: float
    pods: int
    placed: int
    took_s: float
    cpu_s: float
    took_ms: list[float] = field(default_factory=list)
    violations: int = 0


class Bound:
    """Stands for the API server: every binding succeeds and costs nothing."""

    def __init__(self) -> None:
        self.placings: list[Placing] = []

    def bind(self, job: Job, placings: Sequence[Placing], *, together: bool) -> None:
        self.placings += placings

    def roll_back(self, job: Job, reason: str) -> None:
        raise AssertionError(f"{job.ref} is a single pod and has nothing to roll back")

    def is_resting(self, ref: JobRef) -> bool:
        return False


def main() -> int:
    args = _arguments()
    service_loop.collect_less()
    nodes, roles = read_nodes(args.nodes), read_pods(args.pods)
    runs = [run(nodes, roles, Random(seed), known=args.known, check=args.check) for seed in range(args.seeds)]
    pods = sum(each.pods for each in runs)
    took_ms = sorted(took for each in runs for took in each.took_ms)
    result: dict[str, Any] = {
        "nodes": len(nodes),
        "gpus": sum(int(node["status"]["allocatable"][WHOLE]) for node in nodes),
        "mix": "known" if args.known else "learned",
        "seeds": args.seeds,
        "gpu_allocated_pct": round(sum(each.allocated_pct for each in runs) / len(runs), 2),
        "gpu_allocated_pct_by_seed": [round(each.allocated_pct, 2) for each in runs],
        "pods_per_s": round(pods / sum(each.took_s for each in runs)),
        "pods_per_cpu_s": round(pods / sum(each.cpu_s for each in runs)),
        "p50_ms": round(took_ms[len(took_ms) // 2], 3),
        "p99_ms": round(took_ms[len(took_ms) * 99 // 100], 3),
        "pods": pods,
        "placed": sum(each.placed for each in runs),
        "violations": sum(each.violations for each in runs) if args.check else None,
    }
    if args.json:
        json.dump(result, sys.stdout, indent=2)
        print()
    else:
        for name, value in result.items():
            print(f"{name:>26}  {value}")
    return 1 if result["violations"] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packing", description=__doc__)
    parser.add_argument("--nodes", type=Path, required=True, help="csv: sn, cpu_milli, memory_mib, gpu, model")
    parser.add_argument("--pods", type=Path, required=True, help="csv: cpu_milli, memory_mib, num_gpu, gpu_milli, …")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--known", action="store_true", help="the mix of pods is told beforehand")
    parser.add_argument("--check", action="store_true", help="no card is given twice")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def read_nodes(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as rows:
        return [_node(row) for row in csv.DictReader(rows)]


def read_pods(path: Path) -> list[Role]:
    """One role per pod; equal ones are one object."""
    known: dict[tuple[str, ...], Role] = {}
    roles = []
    with path.open(newline="") as rows:
        for row in csv.DictReader(rows):
            row.setdefault("gpu_spec", "")  # some of the traces have no such column
            key = tuple(row[name] for name in ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec"))
            if key not in known:
                known[key] = _role(row)
            roles.append(known[key])
    return roles


def run(nodes: Sequence[dict[str, Any]], roles: Sequence[Role], rng: Random, *, known: bool, check: bool) -> Run:
    inventory, jobs, bound = Inventory(DEFAULT_LEVELS), Jobs(), Bound()
    for node in nodes:
        inventory.put_node(node)
    scheduler = Scheduler(jobs, inventory, bound, lambda job: None)  # type: ignore[arg-type]  # a fake
    if known:
        asks = Counter(map(mix.ask_of, roles))
        inventory.singles.keep_to(mix.typical({ask: pods / len(roles) for ask, pods in asks.items()}))
    there = sum(int(node["status"]["allocatable"][SHARE]) for node in nodes)
    arrived = allocated = 0
    read: list[float] = []
    took_ms: list[float] = []
    cpu_s = 0.0
    arriving = _inflated(roles, there, rng)
    for number, role in enumerate(arriving):
        if round(100 * arrived / there) > 100:
            break
        job = _job(number, role)
        jobs._jobs[job.ref.job] = job
        placed_before = len(bound.placings)
        began, cpu_began = time.perf_counter(), time.process_time()
        scheduler.poke(job.ref.job)
        scheduler.decide()
        cpu_s += time.process_time() - cpu_began
        took_ms.append((time.perf_counter() - began) * 1000)
        arrived += milli(role)
        if len(bound.placings) > placed_before:
            allocated += milli(role)
        if round(100 * arrived / there) == 100:
            read.append(allocated / there)
    return Run(
        allocated_pct=100 * sum(read) / len(read),
        pods=len(took_ms),
        placed=len(bound.placings),
        took_s=sum(took_ms) / 1000,
        cpu_s=cpu_s,
        took_ms=took_ms,
        violations=violations(nodes, bound.placings) if check else 0,
    )


def milli(role: Role) -> int:
    """Thousandths of GPUs."""
    return sum(need.amount if need.is_share else need.amount * MILLI for need in role.devices)


def violations(nodes: Sequence[Mapping[str, Any]], placings: Sequence[Placing]) -> int:
    """Cards and nodes of which more was given than there is, counted from the bindings alone."""
    taken: Counter[tuple[str, int]] = Counter()
    used: Counter[tuple[str, str]] = Counter()
    for placing in placings:
        at, pod = placing.assignment, placing.pod
        if len(at.gpus) != sum(1 if need.is_share else need.amount for need in pod.devices):
            return len(placings)
        for index in at.gpus:
            taken[at.node, index] += pod.requests[SHARE] or MILLI
        used.update({(at.node, name): pod.requests[name] for name in ("cpu", "memory")})
    broken = sum(amount > MILLI for amount in taken.values())
    for node in nodes:
        name, has = node["metadata"]["name"], node["status"]["allocatable"]
        broken += used[name, "cpu"] > int(has["cpu"][:-1]) or used[name, "memory"] > int(has["memory"][:-2])
    return broken


def _inflated(roles: Sequence[Role], there: int, rng: Random) -> list[Role]:
    arriving = list(roles)
    rng.shuffle(arriving)
    asked = sum(map(milli, arriving))
    while asked > INFLATED_TO * there:
        asked -= milli(arriving.pop(rng.randrange(len(arriving))))
    while asked < INFLATED_TO * there:
        arriving.append(rng.choice(roles))
        asked += milli(arriving[-1])
    return arriving


def _node(row: Mapping[str, str]) -> dict[str, Any]:
    gpus = int(row["gpu"])
    has = {
        "cpu": f"{row['cpu_milli']}m",
        "memory": f"{row['memory_mib']}Mi",
        "pods": "1000000",
        WHOLE: str(gpus),
        SHARE: str(gpus * MILLI),
    }
    return {
        "metadata": {"name": row["sn"], "labels": {PRODUCT: row["model"]}},
        "status": {"allocatable": has, "capacity": has, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def _role(row: Mapping[str, str]) -> Role:
    gpus, share = int(row["num_gpu"]), int(row["gpu_milli"])
    need = {"cpu": int(row["cpu_milli"]), "memory": int(row["memory_mib"]), "pods": 1}
    devices: tuple[DeviceNeed, ...] = ()
    if gpus:
        device = DeviceNeed(SHARE, share, is_share=True) if gpus == 1 and share < MILLI else DeviceNeed(WHOLE, gpus)
        need[device.resource] = device.amount
        devices = (device,)
    products = tuple(sorted({product for product in row["gpu_spec"].split("|") if product}))
    terms = ((LabelRequirement(PRODUCT, Operator.IN, products),),) if products else ()
    return Role("pod", 1, 1, Resources(need), devices, NodeConstraint(terms), products)


def _job(number: int, role: Role) -> Job:
    ref = JobRef(f"j{number}", 1)
    workload = Workload("batch/v1", "Job", ref.job, "trace", (role,), 1)
    pod = PodFacts(
        namespace="trace",
        name=ref.job,
        uid=ref.job,
        generation=1,
        ref=ref,
        role=role.name,
        node="",
        life=Life.PENDING,
        ready=False,
        terminating=False,
        schedulable=True,
        owner_kind="Job",
        requests=role.requests,
        devices=role.devices,
        gpus=(),
    )
    return Job(ref, number, workload, Desired.START, created=True, pods={pod.uid: pod})


if __name__ == "__main__":
    sys.exit(main())
