"""How long it takes to decide on a divided work: `python -m benchmarks.dividing --json`.

A federation of unlike clusters, each with other jobs in it, and one service with a part in every tenth. What is timed,
on the processor's clock and one thread, is one look at the work as the hub's loop takes it: the room of every cluster,
the shares, and the check of their invariants. `first` is the first look of a hub that has just begun; `again` one in
which a single cluster has told something new since, as it mostly is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

from placement.division import invariants
from placement.division.division import divide
from placement.division.rooms import Holding, Rooms
from placement.division.values import Present, Wish
from placement.fleet import Cluster, Fleet, Health, Reservation
from placement.inventory import DeviceClass, DeviceForm, Gpu, Node, Summary
from placement.resources import Resources
from placement.summary import summarise
from placement.workload import DeviceNeed, DivideBy, Role, Workload

GPU = "nvidia.com/gpu"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEVICE = DeviceClass(GPU, "nvidia", "NVIDIA-A100-SXM4-80GB", 81_920, DeviceForm.WHOLE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clusters", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=500, help="of each cluster, with eight GPUs")
    parser.add_argument("--replicas", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="nothing but one JSON object on stdout")
    asked = parser.parse_args()
    print(json.dumps(measure(asked), indent=None if asked.json else 2))
    return 0


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    rng = Random(asked.seed)
    clusters = {f"c{n:04}": _cluster(f"c{n:04}", asked.nodes, rng) for n in range(asked.clusters)}
    parts = {name: 1 + rng.randrange(20) for name in sorted(clusters)[::10]}
    held = tuple(Reservation(f"j-{name}", 1, name, _service(share)) for name, share in parts.items())
    fleet = Fleet(clusters, held)
    found = {by.value: _way(asked, by, fleet, parts, rng) for by in DivideBy}
    return {"clusters": asked.clusters, "nodes": asked.nodes, "replicas": asked.replicas, "ways": found}


def _way(
    asked: argparse.Namespace, by: DivideBy, fleet: Fleet, parts: dict[str, int], rng: Random
) -> dict[str, float | int]:
    rooms, wish = Rooms(), Wish(asked.replicas, by, {}, 0 if by is DivideBy.DUPLICATE else 1)
    first = _look(rooms, wish, fleet, parts)
    took: list[float] = []
    for _ in range(asked.rounds):
        name = rng.choice(sorted(fleet.clusters))
        changed = _cluster(name, asked.nodes, rng)
        fleet = replace(fleet, clusters={**fleet.clusters, name: changed})
        took.append(_look(rooms, wish, fleet, parts))
    took.sort()
    return {
        "first_ms": round(1000 * first, 2),
        "again_p50_ms": round(1000 * took[len(took) // 2], 2),
        "again_max_ms": round(1000 * took[-1], 2),
    }


def _look(rooms: Rooms, wish: Wish, fleet: Fleet, parts: dict[str, int]) -> float:
    began = time.process_time()
    rooms.renew(fleet)
    holding = {name: Holding((f"j-{name}", 1), share, True) for name, share in parts.items()}
    places = rooms.of(_service(wish.replicas), fleet, holding, {})
    made = divide(wish, places, Present(parts, NOW), NOW)
    if faults := invariants.check(wish, places, made):
        raise AssertionError(faults)
    return time.process_time() - began


def _service(replicas: int) -> Workload:
    role = Role("replica", replicas, 0, Resources({"cpu": 4000, "memory": 32_768, GPU: 1}), (DeviceNeed(GPU, 1),))
    return Workload("apps/v1", "Deployment", "llm", "default", (role,), 1, long_running=True)


def _cluster(name: str, nodes: int, rng: Random) -> Cluster:
    summary = _summary(nodes, rng)
    return Cluster(name, f"r{int(name[1:]) % 9}", {}, Health.READY, False, summary)


def _summary(nodes: int, rng: Random) -> Summary:
    return summarise([_node(n, rng.randrange(9)) for n in range(nodes)], {"apps/v1/Deployment"}, revision=1)


def _node(number: int, free: int) -> Node:
    capacity = Resources({"cpu": 96_000, "memory": 1_000_000, GPU: 8, "pods": 110})
    return Node(
        name=f"n{number}",
        labels={"kubernetes.io/hostname": f"n{number}"},
        taints=(),
        capacity=capacity,
        free=Resources({**capacity, GPU: free}),
        devices=(DEVICE,),
        gpus=tuple(Gpu(card, free=card < free) for card in range(8)),
        domains={"rack": f"r{number // 8}"},
    )


if __name__ == "__main__":
    sys.exit(main())
