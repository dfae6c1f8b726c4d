"""How fast gangs are bound, by the spoke and by kube-scheduler: `python -m benchmarks.binding --json`.

One real API server with its etcd, 1,000 kwok nodes of 8 GPUs, and Jobs whose pods its Job controller makes. The two
take turns, round by round, on the same gangs: 1, 8 and 64 pods of one GPU each. kube-scheduler runs as Kubernetes
ships it, with its client's limits out of the way; the spoke is the real agent with its ledger on disk, as the service
account that its chart makes.

`pods_per_s`: who binds is frozen while the pods of a round are made, so their creation costs neither of them anything.
Then the Job controller and kwok are frozen and the clock runs from the moment that the one who binds goes on, with the
events of all those pods before it, until a watch has told that the last of them is bound. The spoke decides on places
earlier, when it is told of a gang; the time that took (until it is durable) is added to its clock.

`gang_ms`: one gang at a time with everything running, from its first pod's creation to its last pod's binding, both as
that watch tells them.

Nobody else should use the machine meanwhile; the one whose turn it is not is frozen.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import latency_ms
from benchmarks.rivals import KubeScheduler, Rival, Spoke, gang, wait_removed
from benchmarks.unbound import GANG_LABEL, Unbound
from e2e.planes.plane import PlaneSettings
from e2e.planes.provider import PlaneCluster, PlanesProvider
from e2e.shapes import A100, ClusterShape, Pool
from e2e.waiting import until

GPUS_PER_NODE = 8
_IDLE_CPU_S = 0.1  # in half a second
NODES_PER_RACK = 20
SETTINGS = PlaneSettings(
    controller_manager=("--kube-api-qps=2000", "--kube-api-burst=4000", "--concurrent-job-syncs=20"),
    scheduler=("--kube-api-qps=10000", "--kube-api-burst=10000"),
)
DONE = (
    "the same Jobs for both, only the scheduler's name and Muster's labels differ; rounds alternate; who binds is "
    "frozen while pods are made, the Job controller and kwok while they are bound, the other one all the time; the "
    "spoke's time to decide and write its ledger is counted; kube-scheduler's client limits are raised to 10,000/s"
)


@dataclass(slots=True)
class Found:
    """Of one rival and one size of gangs."""

    pods_per_s: list[float] = field(default_factory=list)
    decide_s: list[float] = field(default_factory=list)
    gang_s: list[float] = field(default_factory=list)
    cpu_ms_per_pod: list[dict[str, float]] = field(default_factory=list)
    requests_per_pod: list[float] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=1000, help=f"of {GPUS_PER_NODE} GPUs each")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 8, 64], help="pods of a gang")
    parser.add_argument("--pods", type=int, default=512, help="of a round, in gangs of one size")
    parser.add_argument("--gpus", type=int, default=1, help="of each pod")
    parser.add_argument("--rounds", type=int, default=5, help="of each size and each rival")
    parser.add_argument("--one-by-one", type=int, default=10, help="gangs of each round that are bound one at a time")
    parser.add_argument("--json", action="store_true", help="nothing but one JSON object on stdout")
    asked = parser.parse_args()
    if asked.pods * asked.gpus > asked.nodes * GPUS_PER_NODE or asked.pods < max(asked.sizes):
        parser.error(f"--pods: {asked.pods} must be at least one gang, and fit on {asked.nodes} nodes")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the control plane is ended too
    print(json.dumps(measure(asked), indent=None if asked.json else 2))
    return 0


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="muster-binding-", ignore_cleanup_errors=True) as directory:
        provider = PlanesProvider(Path(directory), SETTINGS)
        try:
            _say(f"a control plane with {asked.nodes} nodes")
            [cluster] = provider.make([_shape(asked.nodes)]).values()
            spoke = Spoke(cluster.plane)
            try:
                bench = Bench(cluster, [spoke, KubeScheduler(cluster.plane)], asked)
                return _summary(bench.run(), asked)
            finally:
                spoke.close()
        finally:
            provider.close()


class Bench:
    def __init__(self, cluster: PlaneCluster, rivals: Sequence[Rival], asked: argparse.Namespace) -> None:
        self._plane = cluster.plane
        self._client = cluster.client
        self._rivals = rivals
        self._asked = asked
        self._seen = Unbound(cluster.plane.kubeconfig)
        self._others = [psutil.Process(self._plane[name].pid) for name in ("kube-controller-manager", "kwok")]
        self._server = [psutil.Process(self._plane[name].pid) for name in ("kube-apiserver", "etcd")]
        self._gangs = 0

    def run(self) -> Mapping[tuple[str, int], Found]:
        found = {(rival.name, size): Found() for rival in self._rivals for size in self._asked.sizes}
        try:
            for turn in range(-1, self._asked.rounds):  # the first one warms up
                for size in self._asked.sizes:
                    for rival in self._rivals if turn % 2 else reversed(self._rivals):
                        with self._alone(rival):
                            self._round(rival, size, Found() if turn < 0 else found[rival.name, size])
        finally:
            self._seen.stop()
        return found

    def _round(self, rival: Rival, size: int, found: Found) -> None:
        self._backlog(rival, size, found)
        self._one_by_one(rival, size, found)
        rate = f"{found.pods_per_s[-1]:.0f} pods/s" if found.pods_per_s else "done"
        _say(f"{rival.name}, gangs of {size}: {rate}")

    def _backlog(self, rival: Rival, size: int, found: Found) -> None:
        gangs = self._manifests(size, self._asked.pods // size)
        pods = size * len(gangs)
        decide_s = self._make_pods(rival, gangs, pods)
        before, requests = self._cpu_s(rival), self._requests()
        with _frozen(*self._others):
            began = time.perf_counter()
            rival.process.resume()
            until("every pod to be bound", lambda: self._seen.bound_so_far >= pods, timeout_s=300, every_s=0.005)
            took_s = max(self._seen.bound.values()) - began
        found.decide_s.append(decide_s)
        found.pods_per_s.append(pods / (took_s + decide_s))
        found.cpu_ms_per_pod.append({name: (s - before[name]) * 1000 / pods for name, s in self._cpu_s(rival).items()})
        found.requests_per_pod.append((self._requests() - requests) / pods)
        self._check(pods)
        self._clear(rival)

    def _make_pods(self, rival: Rival, gangs: Sequence[dict[str, Any]], pods: int) -> float:
        """All pods exist, none is bound, and who is to bind them is frozen. Answers the seconds that deciding took."""
        controllers = self._others[0]
        with _frozen(controllers):
            decide_s = rival.begin(gangs)
            until("every Job", lambda: len(self._client.list("batch/v1", "Job", "", GANG_LABEL)) == len(gangs), 120)
            _settle(rival.process)
            rival.process.suspend()
        until("every pod", lambda: len(self._seen.created) == pods, timeout_s=300)
        _settle(controllers)
        assert not self._seen.bound, "a pod was bound by somebody else"
        return decide_s

    def _one_by_one(self, rival: Rival, size: int, found: Found) -> None:
        for manifest in self._manifests(size, self._asked.one_by_one):
            rival.begin([manifest])
            found.gang_s.append(self._gang_s(manifest["metadata"]["name"], size))
        self._clear(rival)

    def _gang_s(self, name: str, size: int) -> float:
        """Waits until it is bound whole; seconds since its first pod was there."""
        seen = self._seen

        def bound() -> bool:
            pods = seen.gangs.get(name, ())
            return len(pods) == size and all(pod in seen.bound for pod in pods)

        until(f"{name} to be bound", bound, timeout_s=120, every_s=0.005)
        pods = seen.gangs[name]
        return max(seen.bound[pod] for pod in pods) - min(seen.created[pod] for pod in pods)

    def _check(self, pods: int) -> None:
        """By the API server's own word: every pod is on a node, and no node has more than its GPUs."""
        bound = self._client.list("v1", "Pod", "default", GANG_LABEL)
        on_nodes = Counter(pod["spec"].get("nodeName") for pod in bound)
        assert len(bound) == pods, f"{len(bound)} pods of {pods}"
        assert None not in on_nodes, f"{on_nodes[None]} pods are on no node"
        assert max(on_nodes.values()) * self._asked.gpus <= GPUS_PER_NODE, f"{on_nodes.most_common(1)} has too many"

    def _clear(self, rival: Rival) -> None:
        rival.end()
        wait_removed(self._client)
        self._seen.forget()

    @contextmanager
    def _alone(self, rival: Rival) -> Iterator[None]:
        """The others catch up with what they missed while it was not their turn, and then are frozen."""
        _settle(*(each.process for each in self._rivals))
        with _frozen(*(each.process for each in self._rivals if each is not rival)):
            yield

    def _manifests(self, size: int, count: int) -> list[dict[str, Any]]:
        first = self._gangs
        self._gangs += count
        return [gang(f"g{size}-{number}", size, self._asked.gpus) for number in range(first, first + count)]

    def _cpu_s(self, rival: Rival) -> dict[str, float]:
        processes = {"scheduler": rival.process, "kube-apiserver": self._server[0], "etcd": self._server[1]}
        return {name: _cpu_s(process) for name, process in processes.items()}

    def _requests(self) -> int:
        metrics: str = self._client.request("GET", "/metrics")
        lines = (line for line in metrics.splitlines() if line.startswith("apiserver_request_total{"))
        return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


@contextmanager
def _frozen(*processes: psutil.Process) -> Iterator[None]:
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def _settle(*processes: psutil.Process) -> None:
    """Until they use no more of the CPU than a thousand nodes' leases cost them."""
    used = [sum(map(_cpu_s, processes))]

    def quiet() -> bool:
        used.append(sum(map(_cpu_s, processes)))
        return len(used) > 2 and used[-1] - used[-3] <= _IDLE_CPU_S

    until("the processes to have nothing to do", quiet, timeout_s=60, every_s=0.25)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _summary(found: Mapping[tuple[str, int], Found], asked: argparse.Namespace) -> dict[str, Any]:
    sizes = {}
    for size in asked.sizes:
        rows = {name: _row(each) for (name, of), each in found.items() if of == size}
        rates = {name: row["pods_per_s"] for name, row in rows.items()}
        cpu_ms = {name: sum(row["cpu_ms_per_pod"].values()) for name, row in rows.items()}
        sizes[str(size)] = rows | {
            "ratio": round(rates["muster"] / rates["kube_scheduler"], 2),
            "cpu_ratio": round(cpu_ms["kube_scheduler"] / cpu_ms["muster"], 2),
        }
    return {
        "nodes": asked.nodes,
        "pods": asked.pods,
        "gpus_per_pod": asked.gpus,
        "rounds": asked.rounds,
        "gangs": sizes,
        "ratio": min(row["ratio"] for row in sizes.values()),
        "done": DONE,
    }


def _row(found: Found) -> dict[str, Any]:
    return {
        "pods_per_s": round(statistics.median(found.pods_per_s), 1),
        "pods_per_s_rounds": [round(rate, 1) for rate in found.pods_per_s],
        "decide_s": round(statistics.median(found.decide_s), 3),
        "gang_ms": latency_ms(found.gang_s),
        "cpu_ms_per_pod": {
            name: round(statistics.median(one[name] for one in found.cpu_ms_per_pod), 2)
            for name in found.cpu_ms_per_pod[0]
        },
        "api_requests_per_pod": round(statistics.median(found.requests_per_pod), 2),
    }


def _shape(nodes: int) -> ClusterShape:
    pool = Pool("gpu", max(nodes // NODES_PER_RACK, 1), min(nodes, NODES_PER_RACK), product=A100, gpus=GPUS_PER_NODE)
    return ClusterShape("binding", "here", (pool,))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
