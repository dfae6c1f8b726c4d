"""Operators that no Go module gives, played by the scenario: for each kind the pods that its operator makes and the
status that it writes, by its own documentation.

The CRDs have open schemas: the API server takes and keeps what a user writes. What an operator does not do here: no
Services, no roles, no retries. Nothing is shared with the kind files that read these statuses.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from e2e.objects import ApiError, Object
from e2e.provider import MemberCluster


@dataclass(frozen=True, slots=True)
class Planned:
    """A pod that the operator wants; `after`: made only once so many pods of the object are ready."""

    name: str
    template: Object
    after: int = 0


@dataclass(frozen=True, slots=True)
class Operator:
    group: str
    version: str
    kind: str
    plural: str
    pods: Callable[[Object], Iterator[Planned]]
    status: Callable[[Object, Sequence[Object]], Object]

    @property
    def api(self) -> str:
        return f"{self.group}/{self.version}"

    def crd(self) -> Object:
        names = {"kind": self.kind, "plural": self.plural, "singular": self.kind.lower()}
        open_schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {
            "name": self.version,
            "served": True,
            "storage": True,
            "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": open_schema},
        }
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": f"{self.plural}.{self.group}",
                # Groups of the community's are protected: whoever has not been approved must say so.
                "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in with an open schema"},
            },
            "spec": {"group": self.group, "scope": "Namespaced", "names": names, "versions": [version]},
        }


class Player:
    """Plays all of them in one cluster until stopped. Looks often instead of watching: it is a stand-in."""

    def __init__(self, cluster: MemberCluster, every_s: float = 0.2) -> None:
        self._client = cluster.client
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"operators-{cluster.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            pods = self._pods()
            for operator in OPERATORS:
                try:
                    for obj in self._client.list(operator.api, operator.kind):
                        self._reconcile(operator, obj, pods)
                except (ApiError, httpx.HTTPError):
                    continue  # the API server restarts, or the object went in between

    def _pods(self) -> dict[str, list[Object]]:
        """By the uid of their owner."""
        found: dict[str, list[Object]] = {}
        try:
            for pod in self._client.list("v1", "Pod"):
                for owner in pod["metadata"].get("ownerReferences", ()):
                    found.setdefault(owner["uid"], []).append(pod)
        except (ApiError, httpx.HTTPError):
            pass
        return found

    def _reconcile(self, operator: Operator, obj: Object, every: dict[str, list[Object]]) -> None:
        metadata = obj["metadata"]
        if metadata.get("deletionTimestamp"):
            return
        mine = every.get(metadata["uid"], [])
        there = {pod["metadata"]["name"] for pod in mine}
        ready = sum(_phase(pod) in ("Running", "Succeeded") for pod in mine)
        if not any(_phase(pod) in ("Succeeded", "Failed") for pod in mine):
            for planned in operator.pods(obj):
                if planned.name not in there and ready >= planned.after:
                    self._client.create_if_missing(_pod(operator, obj, planned))
        status = operator.status(obj, mine)
        if status != {key: obj.get("status", {}).get(key) for key in status}:
            self._client.merge(
                operator.api, operator.kind, metadata["name"], {"status": status}, metadata["namespace"], "status"
            )


def _pod(operator: Operator, obj: Object, planned: Planned) -> Object:
    metadata = obj["metadata"]
    given = planned.template.get("metadata") or {}
    owner = {"apiVersion": operator.api, "kind": operator.kind, "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": planned.name,
            "namespace": metadata["namespace"],
            "labels": given.get("labels") or {},
            "annotations": given.get("annotations") or {},
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {"restartPolicy": "Never"} | planned.template["spec"],
    }


def _phase(pod: Object) -> str:
    phase: str = pod.get("status", {}).get("phase", "Pending")
    return phase


def _count(pods: Sequence[Object], part: str = "") -> Counter[str]:
    """Phases of the pods whose names hold `part`."""
    return Counter(_phase(pod) for pod in pods if part in pod["metadata"]["name"])


def _why(pods: Sequence[Object]) -> str:
    failed = [pod["metadata"]["name"] for pod in pods if _phase(pod) == "Failed"]
    return f"pod {failed[0]} failed" if failed else ""


def _condition(kind: str, true: bool, reason: str = "", message: str = "") -> Object:
    return {"type": kind, "status": "True" if true else "False", "reason": reason or kind, "message": message}


# ---- KubeRay ----


def _workers(group: Object) -> int:
    """KubeRay holds them to the group's range; a host of a slice of several is a pod each."""
    given, most = max(group.get("replicas", 0), group.get("minReplicas", 0)), group.get("maxReplicas")
    return int((given if most is None else min(given, max(most, 1))) * group.get("numOfHosts", 1))


def _ray_pods(name: str, cluster: Object) -> Iterator[Planned]:
    yield Planned(f"{name}-head", cluster["headGroupSpec"]["template"])
    for group in cluster.get("workerGroupSpecs", ()):
        for index in range(_workers(group)):
            yield Planned(f"{name}-{group['groupName']}-worker-{index}", group["template"])


def _rayjob_pods(obj: Object) -> Iterator[Planned]:
    name, spec = obj["metadata"]["name"], obj["spec"]
    cluster = list(_ray_pods(name, spec["rayClusterSpec"]))
    yield from cluster
    if "submitterPodTemplate" in spec:
        yield Planned(f"{name}-submitter", spec["submitterPodTemplate"], after=len(cluster))


def _raycluster_status(obj: Object, pods: Sequence[Object]) -> Object:
    head, workers = _count(pods, "-head"), _count(pods, "-worker-")
    if why := _why(pods):
        return {"state": "failed", "reason": why}
    wanted = sum(_workers(group) for group in obj["spec"].get("workerGroupSpecs", ()))
    up = head["Running"] == 1 and workers["Running"] == wanted
    return {"state": "ready" if up else "", "readyWorkerReplicas": workers["Running"], "desiredWorkerReplicas": wanted}


def _rayjob_status(obj: Object, pods: Sequence[Object]) -> Object:
    submitter = _count(pods, "-submitter")
    if submitter["Succeeded"]:
        return {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
    if why := _why(pods):
        return {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "message": why}
    if submitter["Running"]:
        return {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}
    return {"jobDeploymentStatus": "Initializing"}


def _rayservice_status(obj: Object, pods: Sequence[Object]) -> Object:
    wanted = sum(1 for _ in _ray_pods("", obj["spec"]["rayClusterConfig"]))
    up = _count(pods)["Running"] == wanted
    return {"serviceStatus": "Running" if up else "", "conditions": [_condition("Ready", up)]}


# ---- JobSet, LeaderWorkerSet ----


def _jobset_pods(obj: Object) -> Iterator[Planned]:
    """Those that depend on others come once all that depend on nobody are ready."""
    name, first = obj["metadata"]["name"], 0
    for jobs in sorted(obj["spec"]["replicatedJobs"], key=lambda jobs: "dependsOn" in jobs):
        inner, later = jobs["template"]["spec"], "dependsOn" in jobs
        for job in range(jobs.get("replicas", 1)):
            for index in range(inner.get("parallelism", 1)):
                first += 0 if later else 1
                name_of_it = f"{name}-{jobs['name']}-{job}-{index}"
                yield Planned(name_of_it, inner["template"], after=first if later else 0)


def _jobset_status(obj: Object, pods: Sequence[Object]) -> Object:
    if why := _why(pods):
        return {"conditions": [_condition("Failed", True, "FailedJobs", why)], "terminalState": "Failed"}
    phases = _count(pods)
    wanted = sum(1 for _ in _jobset_pods(obj))
    if phases["Succeeded"] == wanted:
        return {"conditions": [_condition("Completed", True, "AllJobsCompleted")], "terminalState": "Completed"}
    counted = []
    for jobs in obj["spec"]["replicatedJobs"]:
        mine = _count(pods, f"-{jobs['name']}-")
        needed = jobs.get("replicas", 1) * jobs["template"]["spec"].get("parallelism", 1)
        ready = jobs.get("replicas", 1) if mine["Running"] + mine["Succeeded"] == needed else 0
        counted.append({"name": jobs["name"], "ready": ready, "succeeded": 0, "failed": 0, "active": 1, "suspended": 0})
    return {"replicatedJobsStatus": counted}


def _lws_pods(obj: Object) -> Iterator[Planned]:
    name, group, groups = obj["metadata"]["name"], obj["spec"]["leaderWorkerTemplate"], obj["spec"].get("replicas", 1)
    after = groups if obj["spec"].get("startupPolicy") == "LeaderReady" else 0
    for replica in range(groups):
        leader = group.get("leaderTemplate", group["workerTemplate"])
        yield Planned(f"{name}-{replica}", _lws_member(leader, replica, 0))
        for index in range(1, group.get("size", 1)):
            yield Planned(f"{name}-{replica}-{index}", _lws_member(group["workerTemplate"], replica, index), after)


def _lws_member(template: Object, group: int, index: int) -> Object:
    metadata = template.get("metadata") or {}
    prefix = "leaderworkerset.sigs.k8s.io"
    marks = {f"{prefix}/group-index": str(group), f"{prefix}/worker-index": str(index)}
    return {**template, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **marks}}}


def _lws_status(obj: Object, pods: Sequence[Object]) -> Object:
    size = obj["spec"]["leaderWorkerTemplate"].get("size", 1)
    name, wanted = obj["metadata"]["name"], obj["spec"].get("replicas", 1)
    ready = sum(_count(pods, f"{name}-{replica}")["Running"] == size for replica in range(wanted))
    return {"replicas": wanted, "readyReplicas": ready}


# ---- serving ----


def _component(labelled: Object) -> Object:
    """The pod that KServe makes of a component."""
    spec = {key: labelled[key] for key in ("schedulerName", "nodeSelector", "tolerations") if key in labelled}
    main = {"name": "kserve-container", "image": "server:1", "resources": labelled["model"]["resources"]}
    return {
        "metadata": {"labels": labelled.get("labels", {}), "annotations": labelled.get("annotations", {})},
        "spec": spec | {"containers": [main], "restartPolicy": "Always"},
    }


def _isvc_pods(obj: Object) -> Iterator[Planned]:
    predictor = obj["spec"]["predictor"]
    for index in range(predictor.get("minReplicas", 1)):
        yield Planned(f"{obj['metadata']['name']}-predictor-{index}", _component(predictor))


def _isvc_status(obj: Object, pods: Sequence[Object]) -> Object:
    up = _count(pods)["Running"] > 0
    status: Object = {"conditions": [_condition("PredictorReady", up), _condition("Ready", up)]}
    if why := _why(pods):
        failed = {"reason": "ModelLoadFailed", "message": why}
        status["modelStatus"] = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": failed}
    return status


def _seldon_pods(obj: Object) -> Iterator[Planned]:
    for predictor in obj["spec"]["predictors"]:
        for index, component in enumerate(predictor["componentSpecs"]):
            for number in range(predictor.get("replicas", 1)):
                name = f"{obj['metadata']['name']}-{predictor['name']}-{index}-{number}"
                yield Planned(name, {"metadata": component.get("metadata", {}), "spec": component["spec"]})


def _seldon_status(obj: Object, pods: Sequence[Object]) -> Object:
    if why := _why(pods):
        return {"state": "Failed", "description": why}
    up = _count(pods)["Running"] == sum(1 for _ in _seldon_pods(obj))
    return {"state": "Available" if up else "Creating"}


def _notebook_pods(obj: Object) -> Iterator[Planned]:
    yield Planned(f"{obj['metadata']['name']}-0", obj["spec"]["template"])


def _notebook_status(obj: Object, pods: Sequence[Object]) -> Object:
    return {"readyReplicas": _count(pods)["Running"], "conditions": []}


# ---- Spark, Argo, MPI ----


def _spark_pod(part: Object) -> Object:
    amounts: dict[str, Any] = {"cpu": part.get("cores", 1), "memory": "1408Mi"}
    if gpu := part.get("gpu"):
        amounts[gpu["name"]] = gpu["quantity"]
    container = {"name": "spark", "image": "spark:3", "resources": {"requests": dict(amounts), "limits": amounts}}
    metadata = {"labels": part.get("labels", {}), "annotations": part.get("annotations", {})}
    return {"metadata": metadata, "spec": {"schedulerName": part["schedulerName"], "containers": [container]}}


def _spark_pods(obj: Object) -> Iterator[Planned]:
    name, spec = obj["metadata"]["name"], obj["spec"]
    yield Planned(f"{name}-driver", _spark_pod(spec["driver"]))
    for index in range(_executors(spec)):
        yield Planned(f"{name}-exec-{index}", _spark_pod(spec["executor"]), after=1)


def _executors(spec: Object) -> int:
    """What Spark begins with; where the number may change, what lies in the range."""
    dynamic = spec.get("dynamicAllocation", {})
    given = spec["executor"].get("instances", dynamic.get("initialExecutors", 1))
    if dynamic.get("enabled") is not True:
        return int(given)
    return int(min(max(given, dynamic.get("minExecutors", 0)), max(dynamic.get("maxExecutors", given), 1)))


def _spark_status(obj: Object, pods: Sequence[Object]) -> Object:
    driver = _count(pods, "-driver")
    if driver["Succeeded"]:
        state: Object = {"state": "COMPLETED"}
    elif why := _why(pods):
        state = {"state": "FAILED", "errorMessage": why}
    else:
        state = {"state": "RUNNING" if driver["Running"] else "SUBMITTED"}
    return {"applicationState": state}


def _workflow_pods(obj: Object) -> Iterator[Planned]:
    """Of a workflow of steps: each after those before it have ended."""
    name, spec = obj["metadata"]["name"], obj["spec"]
    templates = {template["name"]: template for template in spec["templates"]}
    marks = spec.get("podMetadata", {})
    for number, group in enumerate(templates[spec["entrypoint"]]["steps"]):
        for step in group:
            container = {"name": "main", **templates[step["template"]]["container"]}
            inner = {"schedulerName": spec["schedulerName"], "containers": [container]}
            yield Planned(f"{name}-{number}-{step['name']}", {"metadata": marks, "spec": inner})


def _workflow_status(obj: Object, pods: Sequence[Object]) -> Object:
    phases, wanted = _count(pods), sum(1 for _ in _workflow_pods(obj))
    progress = f"{phases['Succeeded']}/{wanted}"
    if why := _why(pods):
        return {"phase": "Failed", "message": why, "progress": progress}
    if phases["Succeeded"] == wanted:
        return {"phase": "Succeeded", "progress": progress}
    return {"phase": "Running" if phases["Running"] else "Pending", "progress": progress}


def _mpi_pods(obj: Object) -> Iterator[Planned]:
    name, specs = obj["metadata"]["name"], obj["spec"]["mpiReplicaSpecs"]
    workers = specs["Worker"].get("replicas", 1)
    for index in range(workers):
        yield Planned(f"{name}-worker-{index}", specs["Worker"]["template"])
    waits = obj["spec"].get("launcherCreationPolicy") == "WaitForWorkersReady"
    yield Planned(f"{name}-launcher", specs["Launcher"]["template"], after=workers if waits else 0)


def _mpi_status(obj: Object, pods: Sequence[Object]) -> Object:
    launcher, workers = _count(pods, "-launcher"), _count(pods, "-worker-")
    counted = {
        role: {"active": phases["Running"], "succeeded": phases["Succeeded"], "failed": phases["Failed"]}
        for role, phases in (("Launcher", launcher), ("Worker", workers))
    }
    conditions = [_condition("Created", True)]
    if launcher["Succeeded"]:
        conditions.append(_condition("Succeeded", True))
    elif why := _why(pods):
        conditions.append(_condition("Failed", True, "MPIJobFailed", why))
    elif launcher["Running"]:
        conditions.append(_condition("Running", True))
    return {"replicaStatuses": counted, "conditions": conditions}


OPERATORS = (
    Operator(
        "ray.io",
        "v1",
        "RayCluster",
        "rayclusters",
        lambda o: _ray_pods(o["metadata"]["name"], o["spec"]),
        _raycluster_status,
    ),
    Operator("ray.io", "v1", "RayJob", "rayjobs", _rayjob_pods, _rayjob_status),
    Operator(
        "ray.io",
        "v1",
        "RayService",
        "rayservices",
        lambda o: _ray_pods(o["metadata"]["name"], o["spec"]["rayClusterConfig"]),
        _rayservice_status,
    ),
    Operator("jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets", _jobset_pods, _jobset_status),
    Operator("leaderworkerset.x-k8s.io", "v1", "LeaderWorkerSet", "leaderworkersets", _lws_pods, _lws_status),
    Operator("serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices", _isvc_pods, _isvc_status),
    Operator("machinelearning.seldon.io", "v1", "SeldonDeployment", "seldondeployments", _seldon_pods, _seldon_status),
    Operator("kubeflow.org", "v1", "Notebook", "notebooks", _notebook_pods, _notebook_status),
    Operator("sparkoperator.k8s.io", "v1beta2", "SparkApplication", "sparkapplications", _spark_pods, _spark_status),
    Operator("argoproj.io", "v1alpha1", "Workflow", "workflows", _workflow_pods, _workflow_status),
    Operator("kubeflow.org", "v2beta1", "MPIJob", "mpijobs", _mpi_pods, _mpi_status),
)
