"""A cluster in memory with an agent in it, and the parts that controllers, kubelets and the hub play."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from placement.data import DataMove
from placement.inventory import DEFAULT_LEVELS
from placement.kinds.catalogue import Catalogue
from placement.kinds.reader import read
from placement.kinds.render import render
from placement.lifecycle import Event
from spoke import heartbeats, lost_nodes, stuck
from spoke.agent import Agent
from spoke.cluster.fake import DEFAULT_KINDS, FakeCluster
from spoke.cluster.port import Object, ObjectKey
from spoke.distribution import caring
from spoke.kept_logs import KeptLogs
from spoke.ledger import Ledger
from spoke.policy import Guard
from spoke.staging.port import Stager
from wire.orders import Command, CommandAck, JobRef, Report, ReportAck, Start, Stop

CATALOGUE = Catalogue.builtin()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = "here.0123456789ab"
A100 = "NVIDIA-A100-SXM4-80GB"


def node(
    name: str, *, gpus: int = 8, rack: str = "r0", cpu: str = "64", product: str = A100, **more: Any
) -> dict[str, Any]:
    labels = {
        "kubernetes.io/hostname": name,
        "topology.muster.dev/rack": rack,
        "nvidia.com/gpu.product": product,
        "nvidia.com/gpu.count": str(gpus),
        "nvidia.com/gpu.memory": "81920",
    }
    allocatable = {"cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": str(gpus)}
    metadata = {"name": name, "labels": labels | more.get("labels", {}), "annotations": more.get("annotations", {})}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "spec": more.get("spec", {}),
        "status": {
            "allocatable": allocatable | more.get("allocatable", {}),
            "capacity": allocatable | more.get("allocatable", {}),
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def foreign_pod(name: str, node_name: str, gpus: int, **metadata: Any) -> dict[str, Any]:
    container = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "others", **metadata},
        "spec": {
            "schedulerName": "default-scheduler",
            "nodeName": node_name,
            "containers": [container],
        },
        "status": {"phase": "Running"},
    }


def job_yaml(name: str, *, pods: int = 1, gpus: int = 1, indexed: bool = True, extra: str = "") -> str:
    mode = "completionMode: Indexed" if indexed else "completionMode: NonIndexed"
    return f"""
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}, namespace: team{extra}}}
spec:
  {mode}
  completions: {pods}
  parallelism: {pods}
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: main
        image: busybox
        resources: {{limits: {{nvidia.com/gpu: {gpus}}}, requests: {{cpu: 1}}}}
"""


def start(number: int, job: str, manifest: str, epoch: int = 1, moves: Sequence[DataMove] = ()) -> Command:
    submission = read(manifest.encode(), CATALOGUE)[-1]
    objects = render((*submission.dependencies, submission.manifest), CATALOGUE, job=job, epoch=epoch)
    return Command(number, JobRef(job, epoch), Start(objects, submission.workload, moves=tuple(moves)))


def stop(number: int, job: str, epoch: int = 1) -> Command:
    return Command(number, JobRef(job, epoch), Stop(0.0, "cancelled"))


async def eventually(what: str, holds: Callable[[], object], within_s: float = 10.0) -> None:
    try:
        async with asyncio.timeout(within_s):
            while not holds():  # noqa: ASYNC110  of many kinds, most without an event
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"it did not come to pass that {what}") from None


@dataclass
class Stage:
    """`agent` runs on `cluster` until the stage is left. `restart` is a `kill -9` and a new start."""

    cluster: FakeCluster
    directory: Path
    now: datetime = NOW
    keep_finished_s: float = 3600.0
    lost_after_s: float = 15.0
    look_at_nodes_s: float = lost_nodes.INTERVAL_S
    with_nodes: heartbeats.Patience = heartbeats.PATIENCE
    with_starts: stuck.Patience = stuck.PATIENCE
    with_distributions: caring.Patience = caring.PATIENCE
    stager: Stager | None = None
    keeps_logs: bool = False
    guard: Guard | None = None
    reports: list[Report] = field(default_factory=list)
    acknowledge: bool = True
    agent: Agent = field(init=False)
    ledger: Ledger = field(init=False)
    _hub: asyncio.Task[None] | None = None
    _commands: int = 0

    async def raise_curtain(self) -> None:
        self.ledger = Ledger.open(self.directory / "ledger.sqlite")
        self.agent = Agent(
            self.cluster,
            self.ledger,
            CATALOGUE,
            DEFAULT_LEVELS,
            clock=lambda: self.now,
            rng=Random(7),
            owner=OWNER,
            keep_finished_s=self.keep_finished_s,
            lost_after_s=self.lost_after_s,
            look_at_nodes_s=self.look_at_nodes_s,
            with_nodes=self.with_nodes,
            with_starts=self.with_starts,
            with_distributions=self.with_distributions,
            stager=self.stager,
            kept_logs=KeptLogs(self.directory / "logs") if self.keeps_logs else None,
            guard=self.guard,
        )
        await self.agent.start()
        self._hub = asyncio.create_task(self._take_reports())

    async def drop_curtain(self) -> None:
        if self._hub is not None:
            self._hub.cancel()
        await self.agent.close()
        await self.ledger.close()

    async def restart(self) -> None:
        await self.drop_curtain()
        await self.raise_curtain()

    async def _take_reports(self) -> None:
        taken = list(await self.agent.unacked_reports())
        while True:
            self.reports += taken
            if self.acknowledge:
                await self.agent.reports_acked([ReportAck(report.ref, report.seq) for report in taken])
            taken = list(await self.agent.wait_for_reports())

    # ---- the hub ----

    async def run(self, job: str, manifest: str, epoch: int = 1, moves: Sequence[DataMove] = ()) -> CommandAck:
        self._commands += 1
        [ack] = await self.agent.commanded([start(self._commands, job, manifest, epoch, moves)])
        return ack

    async def cancel(self, job: str, epoch: int = 1) -> CommandAck:
        self._commands += 1
        [ack] = await self.agent.commanded([stop(self._commands, job, epoch)])
        return ack

    def events(self, job: str) -> list[Event]:
        """Told of the job, repetitions left out."""
        told = [report.event for report in self.reports if report.ref.job == job]
        return [event for i, event in enumerate(told) if i == 0 or told[i - 1] is not event]

    def last(self, job: str) -> Report:
        return [report for report in self.reports if report.ref.job == job][-1]

    async def told(self, job: str, event: Event) -> Report:
        await eventually(f"{event} is told of {job}", lambda: any(e is event for e in self.events(job)))
        return next(r for r in reversed(self.reports) if r.ref.job == job and r.event is event)

    # ---- controllers and kubelets ----

    async def workload(self, name: str, kind: str = "Job", api_version: str = "batch/v1") -> Object:
        key = ObjectKey(api_version, kind, "team", name)
        await eventually(f"{kind} {name} exists", lambda: key in self.cluster._objects)
        return self.cluster._objects[key]

    def pods(self, job: str) -> list[Object]:
        pods = self.cluster.objects("v1", "Pod")
        return [pod for pod in pods if pod["metadata"].get("labels", {}).get("muster.dev/job") == job]

    def bound(self, job: str) -> dict[str, tuple[str, str]]:
        """pod -> (node, GPU indices)"""
        return {
            pod["metadata"]["name"]: (
                pod["spec"]["nodeName"],
                pod["metadata"].get("annotations", {}).get("muster.dev/gpus", ""),
            )
            for pod in self.pods(job)
            if pod["spec"].get("nodeName")
        }

    async def make_pods(self, name: str, indices: Sequence[int], suffix: str = "") -> None:
        """As the Job controller does."""
        owner = await self.workload(name)
        template = owner["spec"]["template"]
        for index in indices:
            self.cluster.put(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "name": f"{name}-{index}{suffix}",
                        "namespace": "team",
                        "labels": template["metadata"]["labels"],
                        "ownerReferences": [
                            {"uid": owner["metadata"]["uid"], "kind": "Job", "name": name, "controller": True}
                        ],
                    },
                    "spec": template["spec"],
                }
            )

    def set_phase(self, pod: Object, phase: str) -> None:
        ready = [{"type": "Ready", "status": "True" if phase == "Running" else "False"}]
        self.cluster.put({**pod, "status": {"phase": phase, "conditions": ready}})

    async def set_status(self, name: str, **status: Any) -> None:
        self.cluster.put({**await self.workload(name), "status": status})

    async def finish(self, name: str, job: str) -> None:
        """All its pods succeed, and the controller says so."""
        for pod in self.pods(job):
            self.set_phase(pod, "Succeeded")
        done = [{"type": "Complete", "status": "True"}]
        await self.set_status(name, succeeded=len(self.pods(job)), conditions=done)

    def later(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@asynccontextmanager
async def stage(
    directory: Path, *nodes: Object, kinds: frozenset[str] = DEFAULT_KINDS, **more: Any
) -> AsyncIterator[Stage]:
    """With an agent that has read its cluster."""
    setting = Stage(FakeCluster(nodes, kinds=kinds), directory, **more)
    await setting.raise_curtain()
    try:
        await setting.agent.welcomed([], 60.0)
        yield setting
    finally:
        await setting.drop_curtain()
