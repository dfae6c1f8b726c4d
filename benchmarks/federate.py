"""How fast jobs go from the hub into real clusters and back: `python -m benchmarks.federate --json`.

The real hub and three real spokes on three bare control planes, each with 50 kwok nodes of 8 GPUs. A thousand one-GPU
Jobs, every pod of which runs for a second, are submitted; two clocks stop: when the last Job exists in its cluster (by
a watch on each API server) and when the last one has succeeded at the hub (by its events). All of it, the control
planes included, shares this machine's cores.

By default the control planes run with their controllers' client limits raised, as for the peers that were measured
with every limit raised; `--limits default` leaves them as Kubernetes ships them. The API servers' own stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from benchmarks import history
from benchmarks.measure import Watched, latency_ms
from e2e import manifests
from e2e.objects import ApiError, Object
from e2e.planes.plane import PlaneSettings
from e2e.planes.provider import PlaneCluster, PlanesProvider
from e2e.processes import ProcessFederation
from e2e.programs import HubSettings
from e2e.shapes import A100, H100, T4, ClusterShape, Pool
from e2e.truth import JOB_LABEL
from e2e.waiting import until
from placement.lifecycle import Phase

# Of the clusters' own controllers: as Kubernetes ships them, or out of the way.
LIMITS = {
    "default": PlaneSettings(controller_manager=()),
    "raised": PlaneSettings(
        controller_manager=("--kube-api-qps=2000", "--kube-api-burst=4000", "--concurrent-job-syncs=20"),
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=50, help="per cluster, 8 GPUs each")
    parser.add_argument("--run-for", default="1s", help="how long each pod runs")
    parser.add_argument("--batch", type=int, default=100, help="jobs of one submit request")
    parser.add_argument("--limits", choices=sorted(LIMITS), default="raised", help="the controllers' client limits")
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--json", action="store_true", help="nothing but one JSON object on stdout")
    asked = parser.parse_args()
    result = measure(asked)
    print(json.dumps(result, indent=None if asked.json else 2))
    return 0


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="muster-federate-", ignore_cleanup_errors=True) as directory:
        provider = PlanesProvider(Path(directory) / "clusters", LIMITS[asked.limits])
        try:
            _say(f"three control planes with {asked.nodes} nodes each")
            clusters = provider.make(_shapes(asked.nodes))
            federation = ProcessFederation(
                Path(directory) / "federation", clusters, HubSettings(heartbeat_s=5, lease_s=60)
            )
            try:
                federation.start(witness=False)
                return _run(federation, clusters, asked)
            finally:
                federation.stop()
        finally:
            provider.close()


def _run(
    federation: ProcessFederation, clusters: Mapping[str, PlaneCluster], asked: argparse.Namespace
) -> dict[str, Any]:
    texts = [
        manifests.text(manifests.job(f"job-{i:05}", gpus=1, run_for=asked.run_for)).decode() for i in range(asked.jobs)
    ]
    members = [_Arrivals(cluster) for cluster in clusters.values()]
    requests_before = _requests(clusters)
    with Watched(_pids(federation, clusters)) as watched:
        submitted: dict[str, float] = {}
        began = time.time()
        for first in range(0, asked.jobs, asked.batch):
            at = time.time()
            answer = federation.admin.submit_many(texts[first : first + asked.batch])
            submitted |= {one.job.id: at for one in answer.jobs}
        _say(f"submitted in {time.time() - began:.1f} s")
        arrived = until("every Job in its cluster", lambda: _all_of(members, asked.jobs), asked.timeout, every_s=0.25)
        for member in members:
            member.stop()  # what becomes of the Jobs is seen at the hub
        history.wait_for(federation.admin, {Phase.SUCCEEDED}, asked.jobs, asked.timeout)
        costs = watched.costs()
    requests = {name: count - requests_before[name] for name, count in _requests(clusters).items()}
    times = history.read(federation.admin)
    succeeded = times["succeed"]
    in_member_s, complete_s = max(arrived.values()) - began, max(succeeded.values()) - began
    return {
        "jobs": asked.jobs,
        "limits": asked.limits,
        "clusters": {name: len(member.at) for name, member in zip(clusters, members, strict=True)},
        "in_member_s": round(in_member_s, 2),
        "in_member_per_s": round(asked.jobs / in_member_s, 1),
        "complete_s": round(complete_s, 2),
        "complete_per_s": round(asked.jobs / complete_s, 1),
        "in_member_ms": latency_ms([at - submitted[job] for job, at in arrived.items()]),
        "complete_ms": latency_ms([at - submitted[job] for job, at in succeeded.items()]),
        "events_ms": {
            event: latency_ms([at - submitted[job] for job, at in times[event].items()])
            for event in ("place", "accept", "starting", "running", "succeed")
        },
        "api_requests_per_job": round(sum(requests.values()) / asked.jobs, 1),
        "hub": asdict(costs["hub"]),
        "spokes": {name: asdict(costs[f"spoke {name}"]) for name in clusters},
        "this_process": asdict(costs["this process"]),
        "control_planes": {
            program: asdict(costs[program]) for program in next(iter(clusters.values())).plane.processes
        },
    }


def _all_of(members: Sequence[_Arrivals], count: int) -> dict[str, float] | None:
    found = {job: at for member in members for job, at in dict(member.at).items()}
    return found if len(found) == count else None


class _Arrivals:
    """When each Job of Muster's was first seen in a cluster. What a broken watch missed counts as seen when listed."""

    def __init__(self, cluster: PlaneCluster) -> None:
        self.at: dict[str, float] = {}
        self._client = cluster.client
        self._began = threading.Event()
        self._stopped = False
        threading.Thread(target=self._run, daemon=True).start()
        self._began.wait(30)

    def stop(self) -> None:
        self._stopped = True

    def _run(self) -> None:
        with suppress(ApiError, httpx.HTTPError, RuntimeError):  # the plane was stopped: the measurement is over
            while not self._stopped:
                self._follow()

    def _follow(self) -> None:
        listed = self._client.request("GET", self._client.path("batch/v1", "Job"), labelSelector=JOB_LABEL)
        for job in listed["items"]:
            self._see(job)
        since = listed["metadata"]["resourceVersion"]
        with self._client.watch("batch/v1", "Job", JOB_LABEL, since, metadata_only=True) as events:
            self._began.set()
            for event in events:
                self._see(event["object"])
                if self._stopped:
                    return

    def _see(self, job: Object) -> None:
        if JOB_LABEL in job["metadata"].get("labels", {}):
            self.at.setdefault(job["metadata"]["labels"][JOB_LABEL], time.time())


def _shapes(nodes: int) -> tuple[ClusterShape, ...]:
    def shape(name: str, region: str, product: str) -> ClusterShape:
        return ClusterShape(
            name, region, (Pool("gpu", racks=max(nodes // 10, 1), nodes_per_rack=10, product=product, gpus=8),)
        )

    return shape("onprem-a", "beijing", A100), shape("cloud-b", "us-east", H100), shape("edge-c", "shanghai", T4)


def _pids(federation: ProcessFederation, clusters: Mapping[str, PlaneCluster]) -> dict[str, list[int]]:
    return (
        {"hub": [federation.hub.process.pid], "this process": [os.getpid()]}
        | {f"spoke {name}": [spoke.process.pid] for name, spoke in federation.spokes.items()}
        | {
            program: [cluster.plane[program].pid for cluster in clusters.values()]
            for program in next(iter(clusters.values())).plane.processes
        }
    )


def _requests(clusters: Mapping[str, PlaneCluster]) -> dict[str, int]:
    """What each API server has answered so far, by its own metrics; watches count once each."""
    return {name: _answered(cluster.client.request("GET", "/metrics")) for name, cluster in clusters.items()}


def _answered(metrics: str) -> int:
    lines = (line for line in metrics.splitlines() if line.startswith("apiserver_request_total{"))
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
