"""Operators that no Go module gives, played by the scenario: for each kind the pods that its operator makes and the
status that it writes, by its own documentation.

The CRDs have open schemas: the API server takes and keeps what a user writes. What an operator does not do here: no
Services, no roles, no retries. Nothing is shared with the kind files that read these statuses.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import httpx

from e2e.objects import ApiError, Object
from e2e.provider import MemberCluster


@dataclass(frozen=True, slots=True)
class Planned:
    """A pod that the operator wants; `after`: made only once so many pods of the object are ready, `then`: once so many
    have succeeded."""

    name: str
    template: Object
    after: int = 0
    then: int = 0


@dataclass(frozen=True, slots=True)
class Operator:
    group: str
    version: str
    kind: str
    plural: str
    pods: Callable[[Object], Iterator[Planned]]
    status: Callable[[Object, Sequence[Object]], Object]
    # apiVersion, kind and name of what its pods are made of besides: given to `pods` and `status` as the object's
    # "runtime". Nothing is made while that is not there.
    runtime: Callable[[Object], tuple[str, str, str] | None] = lambda obj: None
    # Of the object and of those that it has: the workloads that it makes instead of pods. They are `status`'s then.
    children: Callable[[Object, Sequence[Object]], Iterator[Object]] | None = None

    @property
    def api(self) -> str:
        return f"{self.group}/{self.version}"

    def crd(self) -> Object:
        return crd(self.group, self.version, self.kind, self.plural)


def crd(group: str, version: str, kind: str, plural: str, scope: str = "Namespaced") -> Object:
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            # Groups of the community's are protected: whoever has not been approved must say so.
            "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in with an open schema"},
        },
        "spec": {"group": group, "scope": scope, "names": names, "versions": [served]},
    }


class Player:
    """Plays all of them in one cluster until stopped. Looks often instead of watching: it is a stand-in."""

    def __init__(self, cluster: MemberCluster, every_s: float = 0.2) -> None:
        self._client = cluster.client
        self._every_s = every_s
        self._stopping = threading.Event()
        self._client.create_if_missing(TORCH_DISTRIBUTED)
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
        if (named := operator.runtime(obj)) is not None:
            runtime = self._client.get(*named, namespace=metadata["namespace"])
            if runtime is None:
                return
            obj = obj | {"runtime": runtime}
        mine = every.get(metadata["uid"], [])
        if operator.children is not None:
            mine = [child for child in self._client.list("kubeflow.org/v1", "PyTorchJob") if _is_owned(child, obj)]
            for child in operator.children(obj, mine):
                self._client.create_if_missing(_with_owner(operator, obj, child))
        else:
            self._make_pods(operator, obj, mine)
        status = operator.status(obj, mine)
        if status != {key: obj.get("status", {}).get(key) for key in status}:
            self._client.merge(
                operator.api, operator.kind, metadata["name"], {"status": status}, metadata["namespace"], "status"
            )

    def _make_pods(self, operator: Operator, obj: Object, mine: Sequence[Object]) -> None:
        there = {pod["metadata"]["name"] for pod in mine}
        phases = _count(mine)
        ready = phases["Running"] + phases["Succeeded"]
        for planned in operator.pods(obj) if not phases["Failed"] else ():
            waits = planned.then > phases["Succeeded"] if planned.then else bool(phases["Succeeded"])
            if planned.name not in there and ready >= planned.after and not waits:
                self._client.create_if_missing(_pod(operator, obj, planned))


def _pod(operator: Operator, obj: Object, planned: Planned) -> Object:
    given = planned.template.get("metadata") or {}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": planned.name,
            "labels": given.get("labels") or {},
            "annotations": given.get("annotations") or {},
        },
        "spec": {"restartPolicy": "Never"} | planned.template["spec"],
    }
    return _with_owner(operator, obj, pod)


def _with_owner(operator: Operator, obj: Object, made: Object) -> Object:
    metadata = obj["metadata"]
    owner = {"apiVersion": operator.api, "kind": operator.kind, "name": metadata["name"], "uid": metadata["uid"]}
    owners = [owner | {"controller": True, "blockOwnerDeletion": True}]
    placed = made["metadata"] | {"namespace": metadata["namespace"], "ownerReferences": owners}
    return made | {"metadata": placed}


def _is_owned(child: Object, obj: Object) -> bool:
    owners = child["metadata"].get("ownerReferences", ())
    return any(owner["uid"] == obj["metadata"]["uid"] for owner in owners)


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
    if spec.get("submitterPodTemplate") is not None:
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


def _component(labelled: Object, runtime: Object | None) -> Object:
    """The pod that KServe makes of a component."""
    spec = {key: labelled[key] for key in ("schedulerName", "nodeSelector", "tolerations") if key in labelled}
    main = {"name": "kserve-container", "image": "server:1"}
    if runtime is not None:
        [of_runtime] = runtime["spec"]["containers"]
        main |= of_runtime
    if "resources" in labelled["model"]:
        main |= {"resources": labelled["model"]["resources"]}
    return {
        "metadata": {"labels": labelled.get("labels", {}), "annotations": labelled.get("annotations", {})},
        "spec": spec | {"containers": [main], "restartPolicy": "Always"},
    }


def _isvc_pods(obj: Object) -> Iterator[Planned]:
    predictor = obj["spec"]["predictor"]
    for index in range(predictor.get("minReplicas", 1)):
        yield Planned(f"{obj['metadata']['name']}-predictor-{index}", _component(predictor, obj.get("runtime")))


def _isvc_runtime(obj: Object) -> tuple[str, str, str] | None:
    name = obj["spec"]["predictor"]["model"].get("runtime")
    return ("serving.kserve.io/v1alpha1", "ServingRuntime", name) if name else None


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
    for _ in range(specs["Launcher"].get("replicas", 1)):  # one, in any that is taken
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


# ---- Kubeflow Trainer, Katib ----

_STEP = "trainer.kubeflow.org/trainjob-ancestor-step"


def training_runtime(name: str, kind: str, *before: str) -> Object:
    """With an initializer of each of these names before the nodes."""

    def job(called: str, step: str, **more: Any) -> Object:
        container = {"name": called, "image": "train:1", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
        says = {"metadata": {"annotations": {"e2e.muster.test/run-for": "1s"}}} if before and called != "node" else {}
        pod = says | {"spec": {"containers": [container]}}
        return {"name": called, "template": {"metadata": {"labels": {_STEP: step}}, "spec": {"template": pod}}} | more

    waits = {"dependsOn": [{"name": one, "status": "Complete"} for one in before]} if before else {}
    jobs = [*(job(one, one) for one in before), job("node", "trainer", **waits)]
    spec = {"mlPolicy": {"numNodes": 1, "torch": {}}, "template": {"spec": {"replicatedJobs": jobs}}}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "labels": {"trainer.kubeflow.org/framework": "torch"}},
        "spec": spec,
    }


TORCH_DISTRIBUTED = training_runtime("torch-distributed", "ClusterTrainingRuntime")


def _trainjob_runtime(obj: Object) -> tuple[str, str, str]:
    ref = obj["spec"]["runtimeRef"]
    return "trainer.kubeflow.org/v1alpha1", ref.get("kind", "ClusterTrainingRuntime"), ref["name"]


def _trainjob_pods(obj: Object) -> Iterator[Planned]:
    """Of the JobSet that it becomes."""
    trainer = obj["spec"]["trainer"]
    patches = {
        job["name"]: job["template"]["spec"]["template"]
        for patch in obj["spec"].get("runtimePatches", ())
        for job in patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    }
    for before, job in enumerate(obj["runtime"]["spec"]["template"]["spec"]["replicatedJobs"]):
        template = deepcopy(job["template"]["spec"]["template"])
        trains = job["template"]["metadata"]["labels"][_STEP] == "trainer"
        if trains:
            template["spec"]["containers"][0]["resources"] = trainer["resourcesPerNode"]
        patch = patches.get(job["name"], {})
        metadata = template.setdefault("metadata", {})
        metadata["annotations"] = metadata.get("annotations", {}) | patch.get("metadata", {}).get("annotations", {})
        template["spec"] |= patch.get("spec", {})
        for index in range(trainer["numNodes"] if trains else 1):
            then = before if job.get("dependsOn") else 0
            yield Planned(f"{obj['metadata']['name']}-{job['name']}-0-{index}", template, then=then)


def _trainjob_status(obj: Object, pods: Sequence[Object]) -> Object:
    counted, wanted = [], list(_trainjob_pods(obj))
    for job in obj["runtime"]["spec"]["template"]["spec"]["replicatedJobs"]:
        phases = _count(pods, f"-{job['name']}-0-")
        whole = sum(f"-{job['name']}-0-" in planned.name for planned in wanted)
        ready, done = phases["Running"] + phases["Succeeded"] == whole, phases["Succeeded"] == whole
        counts = {"ready": int(ready and not done), "succeeded": int(done), "failed": 0, "active": 1, "suspended": 0}
        counted.append({"name": job["name"], **counts})
    conditions = []
    if why := _why(pods):
        conditions.append(_condition("Failed", True, "JobsFailed", why))
    elif all(one["succeeded"] for one in counted):
        conditions.append(_condition("Complete", True, "JobsCompleted"))
    return {"conditions": conditions, "jobsStatus": counted}


def _trials(obj: Object, there: Sequence[Object]) -> Iterator[Object]:
    """The trials that it has made, and the next ones as others end."""
    spec, name = obj["spec"], obj["metadata"]["name"]
    ended = [_ended(trial) for trial in there]
    if "Failed" in ended:
        return
    for index in range(min(spec["maxTrialCount"], spec["parallelTrialCount"] + ended.count("Succeeded"))):
        trial = deepcopy(spec["trialTemplate"]["trialSpec"])
        yield trial | {"metadata": {"name": f"{name}-t{index}"}}


def _ended(trial: Object) -> str:
    conditions = trial.get("status", {}).get("conditions") or ()
    return next((one["type"] for one in conditions if one["type"] in ("Succeeded", "Failed")), "")


def _experiment_status(obj: Object, trials: Sequence[Object]) -> Object:
    ended = [_ended(trial) for trial in trials]
    done = ended.count("Succeeded")
    running = sum(any(one["type"] == "Running" for one in t.get("status", {}).get("conditions") or ()) for t in trials)
    counts = {"trials": len(trials), "trialsSucceeded": done, "trialsRunning": max(running - done, 0)}
    conditions = [_condition("Created", True, "ExperimentCreated"), _condition("Running", True, "ExperimentRunning")]
    if "Failed" in ended:
        why = f"trial {trials[ended.index('Failed')]['metadata']['name']} failed"
        conditions.append(_condition("Failed", True, "ExperimentMaxFailedTrialsReached", why))
    elif done >= obj["spec"]["maxTrialCount"]:
        conditions.append(_condition("Succeeded", True, "ExperimentMaxTrialsReached"))
    return {"conditions": conditions, **counts}


# What operators read and make nothing of.
SETTINGS = (
    ("serving.kserve.io", "v1alpha1", "ServingRuntime", "servingruntimes", "Namespaced"),
    ("trainer.kubeflow.org", "v1alpha1", "TrainingRuntime", "trainingruntimes", "Namespaced"),
    ("trainer.kubeflow.org", "v1alpha1", "ClusterTrainingRuntime", "clustertrainingruntimes", "Cluster"),
)
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
    Operator(
        "serving.kserve.io",
        "v1beta1",
        "InferenceService",
        "inferenceservices",
        _isvc_pods,
        _isvc_status,
        runtime=_isvc_runtime,
    ),
    Operator("machinelearning.seldon.io", "v1", "SeldonDeployment", "seldondeployments", _seldon_pods, _seldon_status),
    Operator("kubeflow.org", "v1", "Notebook", "notebooks", _notebook_pods, _notebook_status),
    Operator("sparkoperator.k8s.io", "v1beta2", "SparkApplication", "sparkapplications", _spark_pods, _spark_status),
    Operator("argoproj.io", "v1alpha1", "Workflow", "workflows", _workflow_pods, _workflow_status),
    Operator("kubeflow.org", "v2beta1", "MPIJob", "mpijobs", _mpi_pods, _mpi_status),
    Operator(
        "trainer.kubeflow.org",
        "v1alpha1",
        "TrainJob",
        "trainjobs",
        _trainjob_pods,
        _trainjob_status,
        runtime=_trainjob_runtime,
    ),
    Operator(
        "kubeflow.org",
        "v1beta1",
        "Experiment",
        "experiments",
        lambda obj: iter(()),
        _experiment_status,
        children=_trials,
    ),
)
