"""How fast the hub places jobs: `python -m benchmarks.dispatch --json`.

The real hub as a process of its own, on SQLite, and simulated spokes (see `simulated_spokes`) over real gRPC with
mutual TLS. Jobs of one GPU are submitted in bulk requests; the clock stops when the hub has committed the spoke's
acknowledgement of the last one. A job's own time runs from the moment its request was begun. Everything shares this
machine's cores.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import history
from benchmarks.measure import Watched, latency_ms
from benchmarks.simulated_spokes import GPUS_PER_NODE
from e2e import manifests
from e2e.programs import HubProgram, HubSettings
from e2e.waiting import until
from hub.client import MusterClient
from placement.lifecycle import Phase

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--spokes", type=int, default=20)
    parser.add_argument("--batch", type=int, default=100, help="jobs of one submit request")
    parser.add_argument("--submitters", type=int, default=2, help="requests under way at once")
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--json", action="store_true", help="nothing but one JSON object on stdout")
    asked = parser.parse_args()
    result = measure(asked)
    print(json.dumps(result, indent=None if asked.json else 2))
    return 0


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="muster-dispatch-", ignore_cleanup_errors=True) as directory:
        hub = HubProgram(Path(directory), HubSettings(heartbeat_s=5, lease_s=60))
        hub.start()
        try:
            with hub.client(hub.admin_token) as admin, _spokes(hub, admin, asked) as spokes:
                return _run(hub, admin, spokes, asked)
        except BaseException as error:
            error.add_note(f"the hub's log ends:\n{hub.process.tail()}")
            raise
        finally:
            hub.stop()


@contextmanager
def _spokes(hub: HubProgram, admin: MusterClient, asked: argparse.Namespace) -> Iterator[subprocess.Popen[str]]:
    """One process for all of them: what they cost is not what is measured, but it shares the cores."""
    names = [f"cluster-{number:02}" for number in range(asked.spokes)]
    # A fifth more room than the jobs need, so that no cluster must be filled to its last GPU.
    nodes = math.ceil(asked.jobs * 1.2 / GPUS_PER_NODE / asked.spokes)
    command = [sys.executable, "-m", "benchmarks.simulated_spokes"]
    command += [f"--hub={hub.url}", f"--link={hub.link_address}", f"--nodes={nodes}"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n".join(admin.cluster_token(name) for name in names))
            process.stdin.close()
            assert process.stdout.readline() == "ready\n", "the simulated spokes did not get ready"
            until("every cluster to be ready", lambda: all(c.health == "ready" for c in admin.clusters()))
            yield process
        finally:
            process.kill()


def _run(
    hub: HubProgram,
    admin: MusterClient,
    spokes: subprocess.Popen[str],
    asked: argparse.Namespace,
) -> dict[str, Any]:
    texts = [manifests.text(manifests.job(f"job-{number:05}", gpus=1)).decode() for number in range(asked.jobs)]
    batches = [texts[first : first + asked.batch] for first in range(0, asked.jobs, asked.batch)]
    with Watched({"hub": [hub.process.pid], "spokes": [spokes.pid]}) as watched:
        began = time.time()
        with ThreadPoolExecutor(asked.submitters) as threads:
            submitted = dict(
                pair for pairs in threads.map(lambda batch: _submit(admin, batch), batches) for pair in pairs
            )
        submitted_s = time.time() - began
        history.wait_for(admin, {Phase.STARTING}, asked.jobs, asked.timeout)
        costs = watched.costs()
    times = history.read(admin)
    placed, accepted = times["place"], times["accept"]
    total_s = max(accepted.values()) - began
    return {
        "jobs": asked.jobs,
        "spokes": asked.spokes,
        "total_s": round(total_s, 2),
        "jobs_per_s": round(asked.jobs / total_s, 1),
        "submit_per_s": round(asked.jobs / submitted_s, 1),
        "placed_ms": latency_ms([placed[job] - at for job, at in submitted.items()]),
        "acknowledged_ms": latency_ms([accepted[job] - at for job, at in submitted.items()]),
        "hub": asdict(costs["hub"]),
        "spokes_process": asdict(costs["spokes"]),
    }


def _submit(admin: MusterClient, texts: Sequence[str]) -> list[tuple[str, float]]:
    at = time.time()
    answer = admin.submit_many(texts)
    return [(one.job.id, at) for one in answer.jobs]


if __name__ == "__main__":
    sys.exit(main())
