"""The two that bind pods on one control plane, under one interface: `muster`'s spoke and Kubernetes' own scheduler.

Both get the same Jobs, whose pods the cluster's own Job controller makes; only the scheduler's name differs, and the
labels by which the spoke knows its jobs. `begin` brings gangs into being, `end` removes them, `process` is who binds.
The spoke makes its Jobs itself, since that is part of what it does; for the other the benchmark does it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import httpx
import orjson
import psutil

from benchmarks.unbound import GANG_LABEL
from e2e import manifests
from e2e.objects import ObjectClient
from e2e.planes.plane import Plane
from e2e.waiting import until

Manifest = dict[str, Any]


class Rival(Protocol):
    name: str
    process: psutil.Process

    def begin(self, gangs: Sequence[Manifest]) -> float:
        """Returns once their Jobs are made, or are being made; answers the seconds it took to decide on places."""

    def end(self) -> None:
        """Has the Jobs and their pods removed; they may still be on their way out when it returns."""


class Spoke:
    """The real agent in a process of its own. It decides on places when it is told of a gang, before pods exist."""

    name = "muster"

    def __init__(self, plane: Plane) -> None:
        state = plane.directory / "lone-spoke"
        state.mkdir()
        command = [sys.executable, "-m", "benchmarks.lone_spoke", f"--kubeconfig={plane.spoke_kubeconfig()}"]
        self._log = (plane.directory / "spoke.log").open("wb")
        self._child = subprocess.Popen(
            [*command, f"--state-dir={state}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=Path(__file__).resolve().parent.parent,
        )
        self.process = psutil.Process(self._child.pid)
        self._answer()

    def begin(self, gangs: Sequence[Manifest]) -> float:
        return float(self._ask({"start": gangs})["took_s"])

    def end(self) -> None:
        self._ask({"stop": True})

    def close(self) -> None:
        self._child.kill()
        self._child.wait()
        self._log.close()

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        self._child.stdin.write(orjson.dumps(order) + b"\n")
        self._child.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            log = Path(self._log.name).read_text(errors="replace")[-3000:]
            raise RuntimeError(f"the spoke ended with code {self._child.wait()}; its log ends:\n{log}")
        answer: dict[str, Any] = orjson.loads(line)
        return answer


class KubeScheduler:
    """It decides on each pod when it binds it; nothing to be counted before."""

    name = "kube_scheduler"

    def __init__(self, plane: Plane) -> None:
        self._client = plane.client
        self.process = psutil.Process(plane["kube-scheduler"].pid)

    def begin(self, gangs: Sequence[Manifest]) -> float:
        path = self._client.path("batch/v1", "Job", "default")
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda gang: self._client.request("POST", path, gang), gangs))
        return 0.0

    def end(self) -> None:
        remove(self._client)


def remove(client: ObjectClient) -> None:
    """Every Job of a gang and its pods."""
    at_once = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}

    def deleted(path: str) -> bool:
        try:
            client.request("DELETE", path, at_once, labelSelector=GANG_LABEL)
        except (httpx.TimeoutException, httpx.RemoteProtocolError):
            return False  # hundreds at once, on a machine that is busy: what is left is deleted by the next
        return True

    for api_version, kind in (("batch/v1", "Job"), ("v1", "Pod")):
        path = client.path(api_version, kind, "default")
        until(f"every {kind} to be deleted", partial(deleted, path), timeout_s=300)


def gang(name: str, pods: int, gpus: int) -> Manifest:
    """A Job whose pods all are to run at once, `gpus` each; they run until they are deleted."""
    job = manifests.indexed_job(name, pods=pods, gpus=gpus)
    for metadata in (job["metadata"], job["spec"]["template"].setdefault("metadata", {})):
        metadata.setdefault("labels", {})[GANG_LABEL] = name
    return job


def wait_removed(client: ObjectClient) -> None:
    def none() -> bool:
        return not any(client.list(v, k, "default", GANG_LABEL) for v, k in (("batch/v1", "Job"), ("v1", "Pod")))

    until("everything of the round to be gone", none, timeout_s=120, every_s=0.3)
