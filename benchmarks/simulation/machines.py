"""The nodes of one simulated cluster: what is up, what is free, and which gang has which GPUs.

Gangs are put on nodes by the spoke's own `topology.assign`, whoever decided that they come here, so every policy has
the same scheduler within its clusters. A node that goes away takes every gang with it that has a pod on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from benchmarks.simulation import jobs
from benchmarks.simulation.federation import Site
from benchmarks.simulation.jobs import GPU, KIND, SPOT_TAINT, Job
from placement.assignment import Assignment, NodeAssignment
from placement.inventory import DEFAULT_LEVELS, DeviceClass, DeviceForm, Gpu, JobEpoch, Node, Summary
from placement.resources import Resources
from placement.summary import Summariser
from placement.survey import Surveyor
from placement.topology import assign
from placement.workload import Workload

_CARD_MIB = 81_920


class Machines:
    """`version` grows with every change."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.version = 0
        self.down = False  # an outage: the nodes that exist are out of reach
        self._nodes = {node.name: node for node in (_node(site, index) for index in range(site.nodes))}
        self._free = dict.fromkeys(self._nodes, site.gpus_per_node)
        self._leaves_first = _shuffled(list(self._nodes), f"{seed}/{site.name}")
        self._present = site.nodes
        self._up = frozenset(self._nodes)
        self._gangs: dict[JobEpoch, tuple[NodeAssignment, ...]] = {}
        self._workloads: dict[JobEpoch, Workload] = {}
        self._surveyor = Surveyor()
        self._summariser = Summariser()
        self._summary: Summary | None = None

    @property
    def gpus_up(self) -> int:
        return len(self._up) * self.site.gpus_per_node

    def has_room(self, job: Job) -> bool:
        """Exact, and without looking for the place: only GPUs are scarce here, and any node will do."""
        if self.site.spot and not job.tolerates_spot:
            return False
        each = job.gpus_per_pod
        return sum(self._free[name] // each for name in self._up) >= job.pods

    def ever_has_room(self, job: Job) -> bool:
        possible = job.tolerates_spot or not self.site.spot
        return possible and self.site.gpus_per_node // job.gpus_per_pod * self.site.nodes >= job.pods

    def take(self, job: Job, epoch: int) -> bool:
        """Puts the gang on nodes; False where the cluster's scheduler finds no place for it."""
        workload, pods = jobs.workload(job), jobs.pods(job.pods)
        nodes = tuple(self._nodes.values())
        found = assign(nodes, pods, workload, cluster=self.site.name, surveyor=self._surveyor)
        if not isinstance(found, Assignment):
            return False
        key = job.name, epoch
        self._gangs[key], self._workloads[key] = found.pods, workload
        self._shift(found.pods, workload, taken=True)
        return True

    def release(self, job: str, epoch: int) -> None:
        pods, workload = self._gangs.pop((job, epoch)), self._workloads.pop((job, epoch))
        self._shift(pods, workload, taken=False)

    def set_present(self, share: float) -> list[JobEpoch]:
        """So many of the nodes exist from now on. Answers the gangs that lost one; they still have to be released."""
        self._present = round(share * self.site.nodes)
        return self._settle()

    def set_down(self, down: bool) -> list[JobEpoch]:
        self.down = down
        return self._settle()

    def summary(self) -> Summary:
        """What the spoke reports."""
        if self._summary is None or self._summary.revision != self.version:
            self._summary = self._summariser.summarise(
                self._nodes.values(), [KIND], revision=self.version, counted=self._gangs
            )
        return self._summary

    def gangs(self) -> dict[JobEpoch, tuple[NodeAssignment, ...]]:
        return dict(self._gangs)

    def _settle(self) -> list[JobEpoch]:
        up = frozenset() if self.down else frozenset(self._leaves_first[self.site.nodes - self._present :])
        for name in self._up ^ up:
            self._nodes[name] = replace(self._nodes[name], ready=name in up)
        self._up = up
        self.version += 1
        return [key for key, pods in self._gangs.items() if any(pod.node not in up for pod in pods)]

    def _shift(self, pods: Sequence[NodeAssignment], workload: Workload, *, taken: bool) -> None:
        requests = {role.name: role.requests for role in workload.roles}
        for pod in pods:
            node = self._nodes[pod.node]
            if any(node.gpus[index].free is not taken for index in pod.gpus):
                raise AssertionError(f"{pod.node}: a GPU of {pod.gpus} is {'given twice' if taken else 'not given'}")
            need = requests[pod.role]
            own = Resources({**need, "pods": 1})
            gpus = tuple(replace(gpu, free=not taken) if gpu.index in pod.gpus else gpu for gpu in node.gpus)
            free = node.free - own if taken else node.free + own
            self._nodes[pod.node] = replace(node, free=free, gpus=gpus)
            self._free[pod.node] = free[GPU]
            if free[GPU] != sum(gpu.free for gpu in gpus):
                raise AssertionError(f"{pod.node}: {free[GPU]} GPUs are free by count, {gpus} by card")
        self.version += 1


def _node(site: Site, index: int) -> Node:
    name, rack = f"{site.name}-n{index:03}", f"r{index // site.nodes_per_rack}"
    cards = site.gpus_per_node
    capacity = Resources({"cpu": (cards + 2) * 8000, "memory": (cards + 1) * 65_536, GPU: cards, "pods": 110})
    return Node(
        name=name,
        labels={"nvidia.com/gpu.product": site.product, "kubernetes.io/hostname": name},
        taints=(SPOT_TAINT,) if site.spot else (),
        capacity=capacity,
        free=capacity,
        devices=(DeviceClass(GPU, "nvidia", site.product, _CARD_MIB, DeviceForm.WHOLE),),
        gpus=tuple(Gpu(card) for card in range(cards)),
        domains={DEFAULT_LEVELS[0][0]: site.region, "rack": rack},
    )


def _shuffled(names: list[str], seed: str) -> list[str]:
    """In which order nodes are taken away: the same for every policy."""
    Random(seed).shuffle(names)
    return names
