"""What is so, by the API servers' own objects; nothing here asks the hub or a spoke."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from e2e.objects import Object, bound
from e2e.provider import MemberCluster
from e2e.shapes import RACK
from e2e.waiting import until

GPU = "nvidia.com/gpu"
JOB_LABEL = "muster.dev/job"
EPOCH_LABEL = "muster.dev/epoch"
GPUS_ANNOTATION = "muster.dev/gpus"
ENDED = ("Succeeded", "Failed")


def pods_of(cluster: MemberCluster, job: str = "") -> list[Object]:
    """Pods that Muster brought, of one job or of all."""
    return cluster.client.list("v1", "Pod", labels=f"{JOB_LABEL}={job}" if job else JOB_LABEL)


def live_pods_of(cluster: MemberCluster, job: str = "") -> list[Object]:
    return [pod for pod in pods_of(cluster, job) if is_live(pod)]


def is_live(pod: Mapping[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") not in ENDED


def wait_collected(cluster: MemberCluster, job: str) -> None:
    """A controller that has not heard yet that its object is gone may make one more pod of it: never bound, and
    collected with its owner."""

    def gone() -> bool:
        left = pods_of(cluster, job)
        assert not bound(left), "what is left of it is bound"
        return not left

    until(f"what was made for {job} too late to be collected", gone, timeout_s=60)


def gpus_of(pod: Mapping[str, Any]) -> int:
    """What the pod asks for; init containers do not add to it."""
    return sum(
        int(container.get("resources", {}).get("requests", {}).get(GPU, 0)) for container in pod["spec"]["containers"]
    )


def indices_of(pod: Mapping[str, Any]) -> list[int]:
    said = pod["metadata"].get("annotations", {}).get(GPUS_ANNOTATION, "")
    return [int(index) for index in said.split(",") if index]


def free_gpus(cluster: MemberCluster) -> int:
    """On ready, schedulable nodes, less what pods bound there ask for that have not ended."""
    free = {node["metadata"]["name"]: capacity_of(node) for node in cluster.client.list("v1", "Node") if _usable(node)}
    for pod in bound(cluster.client.list("v1", "Pod")):
        if is_live(pod) and pod["spec"]["nodeName"] in free:
            free[pod["spec"]["nodeName"]] -= gpus_of(pod)
    return sum(free.values())


def _usable(node: Mapping[str, Any]) -> bool:
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))
    return ready and not node["spec"].get("unschedulable")


def capacity_of(node: Mapping[str, Any]) -> int:
    return int(node["status"]["allocatable"].get(GPU, 0))


def racks_of(cluster: MemberCluster, pods: Iterable[Object]) -> set[str]:
    return domains_of(cluster, pods, RACK)


def domains_of(cluster: MemberCluster, pods: Iterable[Object], label: str) -> set[str]:
    """By the labels of the nodes that the pods are bound to."""
    nodes = cluster.client.list("v1", "Node")
    domains = {node["metadata"]["name"]: node["metadata"]["labels"].get(label, "") for node in nodes}
    return {domains[pod["spec"]["nodeName"]] for pod in pods}


def faults(nodes: Iterable[Object], pods: Iterable[Object]) -> list[str]:
    """What must never be, in one cluster at one moment: more given than a node has, or a GPU given twice."""
    found: list[str] = []
    capacity = {node["metadata"]["name"]: capacity_of(node) for node in nodes}
    given: dict[str, int] = defaultdict(int)
    owner: dict[tuple[str, int], str] = {}
    for pod in bound([pod for pod in pods if is_live(pod)]):
        node, name = pod["spec"]["nodeName"], pod["metadata"]["name"]
        given[node] += gpus_of(pod)
        if JOB_LABEL not in pod["metadata"].get("labels", {}):
            continue
        if len(set(indices_of(pod))) != gpus_of(pod):
            found.append(f"pod {name} asks for {gpus_of(pod)} GPUs and is annotated with {indices_of(pod)}")
        for index in indices_of(pod):
            if index >= capacity.get(node, 0):
                found.append(f"pod {name} was given GPU {index} of {node}, which has {capacity.get(node, 0)}")
            other = owner.setdefault((node, index), name)
            if other != name:
                found.append(f"GPU {index} of {node} was given to {other} and to {name}")
    found += [
        f"{node} has {capacity.get(node, 0)} GPUs, given {amount}"
        for node, amount in given.items()
        if amount > capacity.get(node, 0)
    ]
    return found
