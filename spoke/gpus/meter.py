"""Measures what jobs use of their GPUs, and looks at the health counters of those GPUs on the way.

The sources are discovered: DCGM exporters are pods with the labels that NVIDIA's charts, the GPU operator and GKE give
them, and are read through the API server, so that nothing needs to be opened for the spoke; metrics.k8s.io tells CPU
and memory where it is served; on the host cluster NVML tells of this machine's cards.

Only nodes with a job of ours that was given GPUs are read: at a slow pace, for health, idle cards and stalled jobs, and
when somebody asks. What was read a moment ago is not read again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from placement.kinds import quantity
from spoke.cluster.port import ClusterError, ClusterPort, Object, Selection
from spoke.gpus import dcgm
from spoke.gpus.dcgm import Reading
from spoke.gpus.health import GpuHealth
from spoke.jobs import Job, Jobs
from spoke.pods import JOB_LABEL, PodFacts
from wire.orders import JobRef
from wire.usage import JobUse, Usage

log = logging.getLogger(__name__)

EXPORTERS = (
    "app.kubernetes.io/name=dcgm-exporter",  # its own chart
    "app=nvidia-dcgm-exporter",  # the GPU operator
    "app.kubernetes.io/name=gke-managed-dcgm-exporter",
)
PORT = 9400
POD_METRICS = "metrics.k8s.io/v1beta1/PodMetrics"
PACE_S = 20.0
FRESH_S = 3.0
_LOOK_AGAIN_S = 60.0  # for exporters
_AT_ONCE = 8
_TEXT_LIMIT = 8 << 20
IDLE_PERCENT = 5.0
IDLE_AFTER_S = 600.0

_Pod = tuple[str, str]  # namespace, name


@dataclass(frozen=True, slots=True)
class _Exporter:
    namespace: str
    pod: str
    port: int


@dataclass(slots=True)
class _Node:
    readings: Sequence[Reading] = ()
    read_at: float = float("-inf")
    problem: str = ""


@dataclass(slots=True)
class _Idle:
    """Since when each card was hardly used, as far as it was looked at."""

    since: dict[tuple[str, str], float] = field(default_factory=dict)  # (node, card)

    def look(self, node: str, readings: Sequence[Reading], now: float) -> None:
        seen = {}
        for reading in readings:
            busy = reading.busy_percent
            if busy is not None and busy < IDLE_PERCENT and reading.pod is not None:
                key = node, _name(reading)
                seen[key] = self.since.get(key, now)
        self.since = {key: since for key, since in self.since.items() if key[0] != node} | seen

    def keep(self, nodes: Collection[str]) -> None:
        self.since = {key: since for key, since in self.since.items() if key[0] in nodes}

    def is_idle(self, node: str, reading: Reading, now: float) -> bool:
        return now - self.since.get((node, _name(reading)), now) >= IDLE_AFTER_S


class Meter:
    """`local` is the name of this machine's node and what reads its cards; None but on the host cluster."""

    def __init__(
        self,
        port: ClusterPort,
        jobs: Jobs,
        health: GpuHealth,
        kinds: Callable[[], Collection[str]],
        *,
        clock: Callable[[], float],
        local: tuple[str, Callable[[], Sequence[Reading]]] | None = None,
    ) -> None:
        self._port = port
        self._jobs = jobs
        self._health = health
        self._kinds = kinds
        self._clock = clock
        self._local = local
        self._exporters: dict[str, _Exporter] = {}  # by node
        self._looked_at = float("-inf")
        self._lookup_problem = ""
        self._nodes: dict[str, _Node] = {}
        self._idle = _Idle()
        self._turn = asyncio.Lock()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.looked: Callable[[], None] = lambda: None  # after each round

    async def run(self) -> None:
        while True:
            await asyncio.sleep(PACE_S)
            await self.round(list(self._running()), self._health.book.counted_unfit())

    async def round(self, jobs: Sequence[Job], more: Collection[str] = ()) -> None:
        """Reads the nodes of these jobs, and `more`, unless they were just read."""
        async with self._turn:
            nodes = {pod.node for job in jobs for pod in _with_gpus(job)}.union(more)
            every = {pod.node for job in self._running() for pod in _with_gpus(job)}.union(nodes)
            self._nodes = {name: known for name, known in self._nodes.items() if name in every}
            self._idle.keep(every)
            due = [n for n in nodes if self._clock() - self._nodes.setdefault(n, _Node()).read_at >= FRESH_S]
            if due:
                await self._find_exporters(due)
                await asyncio.gather(*(self._read(node) for node in due))
        self.looked()

    async def ask(self, refs: Collection[JobRef]) -> Usage:
        """Of these jobs, or of all that run here where none is named."""
        jobs = [job for job in self._running() if not refs or job.ref in refs]
        await self.round(jobs)
        amounts, problem = await self._pod_metrics() if jobs else ({}, "")
        nodes = {pod.node for job in jobs for pod in _with_gpus(job)}
        notes = [f"{node}: {self._nodes[node].problem}" for node in sorted(nodes) if self._nodes[node].problem]
        notes += [problem] if problem else []
        return Usage(tuple(self._use(job, amounts) for job in jobs), tuple(dict.fromkeys(notes)))

    def busy(self, job: Job) -> float | None:
        """How busy its busiest card was when it was last looked at, in percent; None where nothing tells."""
        told = [r.busy_percent for _, r in self._cards(job) if r.busy_percent is not None]
        return max(told, default=None)

    # ---- inside ----

    def _running(self) -> Iterable[Job]:
        return (job for job in list(self._jobs) if job.runs and job.whole)

    async def _find_exporters(self, nodes: Iterable[str]) -> None:
        missing = any(node not in self._exporters for node in nodes if self._local is None or node != self._local[0])
        if not missing or self._clock() - self._looked_at < _LOOK_AGAIN_S:
            return
        self._looked_at = self._clock()
        try:
            found = [pod for labels in EXPORTERS for pod in await self._port.list(Selection("v1", "Pod", "", labels))]
        except ClusterError as error:
            self._lookup_problem = str(error)
            return
        self._lookup_problem = ""
        self._exporters = {
            pod["spec"]["nodeName"]: _Exporter(pod["metadata"]["namespace"], pod["metadata"]["name"], _port(pod))
            for pod in found
            if (pod.get("spec") or {}).get("nodeName") and (pod.get("status") or {}).get("phase") == "Running"
        }

    async def _read(self, node: str) -> None:
        known = self._nodes[node]
        known.readings, known.problem = await self._readings(node)
        known.read_at = now = self._clock()
        self._idle.look(node, known.readings, now)
        if not known.problem:
            self._health.measured(node, dcgm.unfit(known.readings), dcgm.names(known.readings))

    async def _readings(self, node: str) -> tuple[Sequence[Reading], str]:
        if self._local is not None and node == self._local[0]:
            return await asyncio.to_thread(self._local[1]), ""
        exporter = self._exporters.get(node)
        if exporter is None:
            return (), self._lookup_problem or "no DCGM exporter runs there"
        try:
            async with self._slots:
                text = await self._port.proxy_get(
                    exporter.namespace, exporter.pod, exporter.port, "metrics", limit=_TEXT_LIMIT
                )
        except ClusterError as error:
            self._exporters.pop(node, None)  # it may be another pod by now
            return (), f"its DCGM exporter cannot be read: {error}"
        return dcgm.read(text.decode("utf-8", "replace")), ""

    async def _pod_metrics(self) -> tuple[Mapping[_Pod, tuple[float, float]], str]:
        """(CPU in millicores, memory in MiB) of each pod."""
        if POD_METRICS not in self._kinds():
            return {}, ""
        try:
            found = await self._port.list(Selection("metrics.k8s.io/v1beta1", "PodMetrics", "", JOB_LABEL))
        except ClusterError as error:
            return {}, f"CPU and memory cannot be read: {error}"
        return {(o["metadata"].get("namespace", ""), o["metadata"]["name"]): _amounts(o) for o in found}, ""

    def _cards(self, job: Job) -> list[tuple[str, Reading]]:
        """The node and reading of each card that its pods have."""
        found = []
        for pod in _with_gpus(job):
            known = self._nodes.get(pod.node)
            if known is None:
                continue
            if any(reading.pod is not None for reading in known.readings):
                mine = [r for r in known.readings if r.pod == (pod.namespace, pod.name)]
            else:  # the exporter knows nothing of pods: then by the indices of the binding
                mine = [r for r in known.readings if r.index in pod.gpus]
            found += [(pod.node, reading) for reading in mine]
        return found

    def _use(self, job: Job, amounts: Mapping[_Pod, tuple[float, float]]) -> JobUse:
        cards, now = self._cards(job), self._clock()
        readings = [reading for _, reading in cards]
        pods = [amounts[key] for pod in job.pods.values() if (key := (pod.namespace, pod.name)) in amounts]
        return JobUse(
            ref=job.ref,
            gpus=sum(_given(pod) for pod in _with_gpus(job)),
            measured=len(readings),
            util_percent=_mean(r.util_percent for r in readings),
            active_percent=_mean(r.active_percent for r in readings),
            used_mib=_sum(r.used_mib for r in readings),
            total_mib=_sum(_memory(r) for r in readings),
            power_w=_sum(r.power_w for r in readings),
            idle=sum(self._idle.is_idle(node, reading, now) for node, reading in cards),
            cpu_millicores=sum(cpu for cpu, _ in pods) if pods else None,
            ram_mib=sum(ram for _, ram in pods) if pods else None,
        )


def _with_gpus(job: Job) -> list[PodFacts]:
    return [pod for pod in job.pods.values() if pod.alive and (pod.devices or pod.claims)]


def _given(pod: PodFacts) -> int:
    """Cards, slices or claims; a share of a card is one."""
    return sum(1 if need.is_share else need.amount for need in pod.devices) or len(pod.claims)


def _port(pod: Object) -> int:
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") == "metrics" and isinstance(port.get("containerPort"), int):
                return int(port["containerPort"])
    return PORT


def _amounts(metrics: Mapping[str, Any]) -> tuple[float, float]:
    cpu = ram = 0.0
    for container in metrics.get("containers") or ():
        usage = container.get("usage") or {}
        try:
            cpu += quantity.amount("cpu", usage.get("cpu", "0"), round_up=True)
            ram += quantity.amount("memory", usage.get("memory", "0"), round_up=True)
        except ValueError:
            continue
    return cpu, ram


def _name(reading: Reading) -> str:
    return f"{reading.uuid or reading.index}/{reading.instance}"


def _memory(reading: Reading) -> float | None:
    if reading.used_mib is None or reading.free_mib is None:
        return None
    return reading.used_mib + reading.free_mib


def _mean(values: Iterable[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return sum(told) / len(told) if told else None


def _sum(values: Iterable[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return sum(told) if told else None
