"""From what somebody at the hub asks for (a role, a rank, a service) to a pod of the job, and into it.

A job reaches its own pods only: of a service's pods those that are the job's. Whether anybody may at all is for the
cluster's owner to say (`policy`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spoke import ranks
from spoke.cluster.port import ClusterPort, NotFound, ObjectKey, PodStream, Selection
from spoke.jobs import Job
from spoke.pods import Life, PodFacts
from wire.tunnels import Port, Process, TunnelQuery


class TunnelRefused(Exception):
    """`code` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Reached:
    stream: PodStream
    pod: str
    is_there: Callable[[], bool]  # whether the pod is still the job's, and has not ended


async def reach(port: ClusterPort, find: Callable[[], Job | None], query: TunnelQuery) -> Reached:
    """`find` answers the job as long as it is here. Raises TunnelRefused, and what the cluster raises."""
    job = find()
    if job is None:
        raise TunnelRefused("not-here", f"job {query.ref.job} is not in this cluster any more")
    number = 0
    if isinstance(query.to, Port) and query.to.service:
        pod, number = await _of_service(port, job, query.to)
    else:
        pod = _chosen(job, query)

    def is_there() -> bool:
        now = find()
        present = now.pods.get(pod.uid) if now is not None else None
        return present is not None and not present.over

    match query.to:
        case Process() as process:
            stream = await port.execute(pod.namespace, pod.name, process, container=query.container)
        case Port() as wanted:
            stream = await port.forward(pod.namespace, pod.name, number or wanted.number, container=query.container)
    return Reached(stream, pod.name, is_there)


def _chosen(job: Job, query: TunnelQuery) -> PodFacts:
    """The only pod, or the running one of the lowest rank. Raises TunnelRefused."""
    known = ranks.ranks(job, within_role=bool(query.role))
    pods = ranks.chosen(job, query.role, query.rank)
    asked = (f" of role {query.role}" if query.role else "") + ("" if query.rank is None else f" of rank {query.rank}")
    if not pods:
        roles = ", ".join(role.name for role in job.workload.roles) if job.workload is not None else ""
        raise TunnelRefused("no-pod", f"the job has no pod{asked}" + (f"; its roles are {roles}" if roles else ""))
    running = [pod for pod in pods if pod.life is Life.RUNNING and not pod.terminating]
    if not running:
        states = ", ".join(f"{pod.name} is {pod.life.value}" for pod in pods[:3])
        raise TunnelRefused("not-running", f"no pod{asked} runs: {states}")
    return min(running, key=lambda pod: (known.get(pod.uid, 0), pod.name))


async def _of_service(port: ClusterPort, job: Job, wanted: Port) -> tuple[PodFacts, int]:
    """A ready pod of the job that the service selects, and its port. Raises TunnelRefused."""
    namespace = job.workload.namespace if job.workload is not None else ""
    try:
        service = await port.get(ObjectKey("v1", "Service", namespace, wanted.service))
    except NotFound:
        raise TunnelRefused("no-service", f"there is no service {wanted.service} in {namespace}") from None
    spec: Mapping[str, Any] = service.get("spec") or {}
    target = _target(spec, wanted)
    selector = ",".join(f"{name}={value}" for name, value in sorted((spec.get("selector") or {}).items()))
    if not selector:
        raise TunnelRefused("no-service", f"service {wanted.service} selects no pods")
    found = await port.list(Selection("v1", "Pod", namespace, selector))
    ready = [
        (pod, obj)
        for obj in found
        if (pod := job.pods.get(obj["metadata"]["uid"])) is not None and pod.ready and not pod.over
    ]
    if not ready:
        raise TunnelRefused("not-running", f"no pod of this job behind service {wanted.service} is ready")
    pod, obj = min(ready, key=lambda one: one[0].name)
    return pod, _number(obj, target, wanted)


def _target(spec: Mapping[str, Any], wanted: Port) -> int | str:
    ports = spec.get("ports") or ()
    for one in ports:
        if one.get("port") == wanted.number:
            target: int | str = one.get("targetPort") or wanted.number
            return target
    known = ", ".join(str(one.get("port")) for one in ports) or "none"
    raise TunnelRefused("no-port", f"service {wanted.service} has no port {wanted.number}; it has {known}")


def _number(pod: Mapping[str, Any], target: int | str, wanted: Port) -> int:
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for one in container.get("ports") or ():
            if one.get("name") == target:
                return int(one["containerPort"])
    raise TunnelRefused(
        "no-port",
        f"port {wanted.number} of service {wanted.service} goes to {target!r}, which no container of its pod has",
    )
