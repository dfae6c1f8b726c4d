"""Runtimes that only this cluster has: a TrainJob that names one gets a copy of its own, whose pods Muster schedules.

Nothing in a TrainJob itself says who schedules its pods (`placement.kinds.trainjobs`). The copy is made before the
TrainJob and goes with it, like what travels along; the runtime that it was made of is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from placement.kinds import paths, trainjobs
from spoke.cluster.port import ClusterPort, NotFound, Object, ObjectKey, Refused
from spoke.jobs import Job, key_of
from spoke.pods import EPOCH_LABEL, JOB_LABEL, SCHEDULER

_PLACES: tuple[paths.Path, ...] = ((), ("spec", "trialTemplate", "trialSpec"))  # the workload, or each of its trials


class RuntimeMissing(Exception):
    """The cluster does not have it; another may."""


async def own(
    port: ClusterPort, job: Job, objects: Sequence[Object], forbidden: Callable[[Job, Sequence[Object]], str]
) -> tuple[Object | None, Object]:
    """The copy, where one is to be made, and the workload that runs by it. Raises RuntimeMissing and ClusterError.

    `forbidden`: why the cluster's owner does not let these objects in; asked of what is a namespace's, not of what the
    owner made for the whole cluster.
    """
    workload = objects[-1]
    found = _elsewhere(objects)
    if found is None or job.workload is None:
        return None, workload
    place, (kind, name) = found
    namespace = key_of(workload).namespace
    asked = ObjectKey(trainjobs.API_VERSION, kind, namespace if kind == trainjobs.RUNTIME else "", name)
    try:
        runtime = await port.get(asked)
    except NotFound as error:
        raise RuntimeMissing(f"the cluster has no {kind} {name}") from error
    labels = {JOB_LABEL: job.ref.job, EPOCH_LABEL: str(job.ref.epoch)}
    roles = [role.name for role in job.workload.roles]
    copy = trainjobs.own_runtime(workload["metadata"], runtime, roles, labels, SCHEDULER)
    changed = _referring(workload, place, copy["metadata"]["name"])
    if kind == trainjobs.RUNTIME and (why := forbidden(job, (*objects[:-1], copy, changed))):
        raise Refused(f"TrainingRuntime {name}: {why}")
    return copy, changed


def keys(objects: Sequence[Object]) -> list[ObjectKey]:
    """Of all that is made for the workload besides itself, in the order in which it is made."""
    made = [key_of(obj) for obj in objects[:-1]]
    if objects and _elsewhere(objects) is not None:
        workload = key_of(objects[-1])
        name = trainjobs.own_name(workload.name)
        made.append(ObjectKey(trainjobs.API_VERSION, trainjobs.RUNTIME, workload.namespace, name))
    return made


def _elsewhere(objects: Sequence[Object]) -> tuple[paths.Path, tuple[str, str]] | None:
    """Where in the workload a TrainJob is whose runtime does not come along, and that runtime's kind and name."""
    there = {(obj["kind"], obj["metadata"]["name"]) for obj in objects[:-1]}
    for place, job in _trainjobs(objects[-1]):
        named = trainjobs.runtime_of(job)
        if named is not None and named not in there:
            return place, named
    return None


def _trainjobs(workload: Object) -> Iterator[tuple[paths.Path, Object]]:
    for place in _PLACES:
        found = paths.find(workload, place)
        if isinstance(found, dict) and (found.get("apiVersion"), found.get("kind")) == (
            trainjobs.API_VERSION,
            trainjobs.KIND,
        ):
            yield place, found


def _referring(obj: Any, place: paths.Path, name: str) -> dict[str, Any]:
    """A copy in which the TrainJob at that place runs by the runtime of that name."""
    copy = dict(obj)
    if place:
        copy[place[0]] = _referring(copy[place[0]], place[1:], name)
    else:
        copy["spec"] = dict(copy["spec"])
        trainjobs.refer(copy, name)
    return copy
