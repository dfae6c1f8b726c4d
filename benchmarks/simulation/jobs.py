"""A simulated job, and the workload that clusters and planners see of it.

The workload is what a user would have submitted: it says the hours that the user expects, not those that it will take.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import inf

from placement.assignment import PodToPlace
from placement.inventory import Taint
from placement.resources import Resources
from placement.workload import DataUse, DeviceNeed, Hints, NodeConstraint, Role, Toleration, Workload

GPU = "nvidia.com/gpu"
KIND = "batch/v1/Job"
SPOT_TAINT = Taint("muster.dev/spot", "true", "NoSchedule")

_MOST_GPUS_PER_POD = 8
_CORES_PER_GPU, _MIB_PER_GPU = 8, 65_536
_ROLE = "worker"


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    at_s: float
    gpus: int
    runtime_s: float  # on hardware of speed 1, without interruption, data at hand
    expected_hours: float  # what its user says
    tolerates_spot: bool = False
    checkpoint_s: float = inf  # of work between two checkpoints; inf: it writes none
    dataset: str = ""  # "": it reads nothing

    @property
    def gpus_per_pod(self) -> int:
        """The largest that divides the gang evenly and fits a node."""
        return next(size for size in range(_MOST_GPUS_PER_POD, 0, -1) if self.gpus % size == 0)

    @property
    def pods(self) -> int:
        return self.gpus // self.gpus_per_pod


@cache
def workload(job: Job) -> Workload:
    role = _role(job.gpus_per_pod, job.pods, tolerates_spot=job.tolerates_spot)
    minutes = job.checkpoint_s / 60 if job.checkpoint_s < inf else None
    hints = Hints(expected_hours=job.expected_hours, tolerates_spot=job.tolerates_spot, checkpoint_minutes=minutes)
    data = (DataUse(job.dataset),) if job.dataset else ()
    return Workload("batch/v1", "Job", job.name, "default", (role,), job.pods, hints=hints, data=data)


@cache
def pods(count: int) -> tuple[PodToPlace, ...]:
    return tuple(PodToPlace(f"{_ROLE}-{index}", _ROLE) for index in range(count))


@cache
def _role(each: int, count: int, *, tolerates_spot: bool) -> Role:
    """Equal gangs share one object: what was worked out about it is found again."""
    taint = SPOT_TAINT
    tolerated = (Toleration(taint.key, "Equal", taint.value, taint.effect),) if tolerates_spot else ()
    needs = Resources({"cpu": each * _CORES_PER_GPU * 1000, "memory": each * _MIB_PER_GPU, GPU: each})
    constraint = NodeConstraint(tolerations=tolerated)
    return Role(_ROLE, count, count, needs, (DeviceNeed(GPU, each),), constraint)
