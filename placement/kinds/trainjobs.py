"""Kubeflow Trainer's TrainJob, whose pods are made of a TrainingRuntime: a JobSet's template, which the job fills in.

Where the runtime is in the file, each of its Jobs is a role. Where it lies in the cluster, a node is a pod, and each
initializer that the TrainJob speaks of is one more.

The scheduler of the pods is the runtime's to say, and nothing in a TrainJob can change it (neither `runtimePatches`
nor the `podTemplateOverrides` before them). So a job runs by a runtime of its own: a copy of the one that it names,
with Muster's marks in its pod templates. The hub makes it of one in the file, the spoke of one in its cluster.
    Source: github.com/kubeflow/trainer, pkg/apis/trainer/v1alpha1, pkg/runtime (v2.0 to v2.4)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from placement import marks
from placement.kinds import fields, paths
from placement.kinds.fields import Object
from placement.kinds.problems import Findings, Problem
from placement.workload import Reference

GROUP = "trainer.kubeflow.org"
API_VERSION = f"{GROUP}/v1alpha1"
KIND = "TrainJob"
RUNTIME, CLUSTER_RUNTIME = "TrainingRuntime", "ClusterTrainingRuntime"

JOBS = "jobs"  # of what `expanded` answers: name, template, replicas, and whom it waits for, as a JobSet says it
_STEP = f"{GROUP}/trainjob-ancestor-step"
_TRAINER = "trainer"
_NODE = "node"  # the Job of nodes, and the container that the TrainJob speaks of
_INITIALIZERS = {"dataset": "dataset-initializer", "model": "model-initializer"}
_AT = re.compile(rf"{JOBS}\[(\d+)\]\.?(.*)")
_RESOURCES = re.compile(r"template\.spec\.containers\[\d+\]\.resources(.*)")
_PATCHED = ("nodeSelector", "affinity", "tolerations", "volumes", "imagePullSecrets", "serviceAccountName")
_METADATA, _DATA_HINTS = ("labels", "annotations"), ("muster.dev/datasets", "muster.dev/checkpoint")
_OWN_PREFIX = "muster-"


class Runtime:
    def expanded(self, obj: Object, beside: Sequence[Object]) -> Object:
        runtime = _in_file(obj, beside)
        jobs = _bare(obj) if runtime is None else list(_jobs(obj, runtime))
        return {**obj, JOBS: [_patched(obj, job) for job in jobs]}

    def check(self, found: Findings, obj: Object, beside: Sequence[Object]) -> None:
        spec = fields.mapping(found, obj, "", "spec")
        ref = fields.mapping(found, spec, "spec", "runtimeRef")
        name = fields.text(found, ref, "spec.runtimeRef", "name")
        if not name and not found.problems:
            found.error("spec.runtimeRef.name", "is missing: nothing says how it runs", "name a runtime")
        trainer = fields.mapping(found, spec, "spec", "trainer")
        for key in ("numNodes", "numProcPerNode"):
            if not (key == "numProcPerNode" and isinstance(trainer.get(key), str)):  # "auto", in earlier versions
                fields.count(found, trainer.get(key), f"spec.trainer.{key}")
        fields.mapping(found, trainer, "spec.trainer", "resourcesPerNode")
        if str(spec.get("managedBy") or "").startswith("kueue.x-k8s.io/"):
            found.error("spec.managedBy", "hands the job to another federation", "remove it")
        if not name or _in_file(obj, beside) is not None:
            return
        kind = _kind(ref)
        if kind == CLUSTER_RUNTIME and any(_is_runtime(one, name) for one in beside):
            mend = f"write kind: {RUNTIME}"
            found.error("spec.runtimeRef.kind", f"names the {kind} {name}; in the file is a {RUNTIME} {name}", mend)
        known = "" if trainer.get("resourcesPerNode") else "; what a node asks for is not known, and not counted"
        if any(paths.find(obj, ("metadata", part, hint)) for part in _METADATA for hint in _DATA_HINTS):
            found.warn(f"its pods are not told where datasets are: put the {RUNTIME} into the file for that")
        found.warn(f"{kind} {name} lies in the cluster: each node is counted as one pod{known}")

    def in_file(self, problem: Problem, obj: Object) -> Problem:
        at = _AT.match(problem.path)
        if at is None:
            return problem
        resources = _RESOURCES.match(at[2])
        if resources is not None and paths.find(obj, ("spec", "trainer", "resourcesPerNode")):
            return replace(problem, path=f"spec.trainer.resourcesPerNode{resources[1]}")
        if not at[2] and paths.find(obj, ("spec", "trainer", "numNodes")) is not None:
            return replace(problem, path="spec.trainer.numNodes")
        said = f"Job {at[1]} of the runtime, {at[2]}: {problem.message}" if at[2] else problem.message
        return replace(problem, path="spec.runtimeRef", message=said)

    def names(self, obj: Object, beside: Sequence[Object]) -> tuple[Reference, ...]:
        ref = paths.find(obj, ("spec", "runtimeRef"))
        name = ref.get("name") if isinstance(ref, dict) else None
        return (Reference(_kind(ref), name),) if isinstance(name, str) and name else ()

    def mark(
        self,
        obj: dict[str, Any],
        owner: Object,
        beside: list[dict[str, Any]],
        roles: Sequence[str],
        labels: Mapping[str, str],
        by: str,
    ) -> bool:
        runtime = _in_file(obj, beside)
        if runtime is not None:
            at = next(index for index, one in enumerate(beside) if one is runtime)
            beside[at] = own_runtime(owner, runtime, roles, labels, by)
            refer(obj, beside[at]["metadata"]["name"])
        return True

    def pod_specs(self, obj: Object, beside: Sequence[Object]) -> Iterator[dict[str, Any]]:
        jobs = paths.find(_in_file(obj, beside), ("spec", "template", "spec", "replicatedJobs"))
        for job in fields.dicts(jobs):
            if isinstance(spec := paths.find(job, ("template", "spec", "template", "spec")), dict):
                yield spec


def own_runtime(
    owner: Object, runtime: Object, roles: Sequence[str], labels: Mapping[str, str], scheduler: str
) -> dict[str, Any]:
    """The runtime that a TrainJob is to run by: as the one that it names, with the marks in its pod templates. `owner`
    is the metadata of the TrainJob, or of what makes several of them.

    Jobs that are no role of the workload are left to the cluster's own scheduler, and are the job's all the same. No
    other scheduler is told of the gang.
    """
    named = _mapping(runtime.get("metadata"))
    kept = {key: dict(named[key]) for key in ("labels", "annotations") if isinstance(named.get(key), dict)}
    kept["labels"] = {key: each for key, each in kept.get("labels", {}).items() if key not in marks.LABELS}
    kept["annotations"] = {
        key: each for key, each in kept.get("annotations", {}).items() if key not in marks.ANNOTATIONS
    }
    spec = {key: _copied(each) for key, each in _mapping(runtime.get("spec")).items() if key != "podGroupPolicy"}
    for job in fields.dicts(paths.find(spec, ("template", "spec", "replicatedJobs"))):
        template = _made(_made(_made(job, "template"), "spec"), "template")
        name = str(job.get("name"))
        mine = {**labels, marks.ROLE: name} if name in roles else dict(labels)
        _made(_made(template, "metadata"), "labels").update(mine)
        if name in roles:
            _made(template, "spec")["schedulerName"] = scheduler
    own = {"name": own_name(str(owner.get("name"))), "namespace": owner.get("namespace"), **kept}
    return {"apiVersion": runtime.get("apiVersion") or API_VERSION, "kind": RUNTIME, "metadata": own, "spec": spec}


def own_name(job: str) -> str:
    return f"{_OWN_PREFIX}{job}"


def refer(obj: dict[str, Any], name: str) -> None:
    """Changes the TrainJob, which is the caller's own copy, to run by the TrainingRuntime of that name."""
    _made(obj, "spec")["runtimeRef"] = {"apiGroup": GROUP, "kind": RUNTIME, "name": name}


def runtime_of(obj: Object) -> tuple[str, str] | None:
    """Kind and name of the runtime that a TrainJob names."""
    named = Runtime().names(obj, ())
    return (named[0].kind, named[0].name) if named else None


def of_namespace(obj: Object, runtime: Object, namespace: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The TrainJob with a ClusterTrainingRuntime of its file as a TrainingRuntime beside it."""
    metadata = {**_mapping(runtime.get("metadata")), "namespace": namespace}
    copy = {**obj, "spec": dict(_mapping(obj.get("spec")))}
    refer(copy, str(metadata.get("name")))
    return copy, {**runtime, "kind": RUNTIME, "metadata": metadata}


def _kind(ref: Mapping[str, Any]) -> str:
    return str(ref.get("kind") or CLUSTER_RUNTIME)


def _is_runtime(obj: Object, name: str) -> bool:
    return obj.get("kind") == RUNTIME and paths.find(obj, ("metadata", "name")) == name


def _in_file(obj: Object, beside: Sequence[Object]) -> Any:
    named = runtime_of(obj)
    if named is None or named[0] != RUNTIME:
        return None
    return next((one for one in beside if _is_runtime(one, named[1])), None)


# ---- what the Trainer makes of both ----


def _bare(obj: Object) -> list[dict[str, Any]]:
    """Of a TrainJob whose runtime is not known."""
    spec = _mapping(obj.get("spec"))
    before = [name for key, name in _INITIALIZERS.items() if isinstance(paths.find(spec, ("initializer", key)), dict)]
    jobs = [{"name": name, "replicas": 1, "template": _filled(obj, name, {})} for name in before]
    nodes = {"name": _NODE, "replicas": _nodes(obj, None), "template": _filled(obj, _NODE, {}, trains=True)}
    return [*jobs, nodes | {"waits": [{"name": name, "status": "Complete"} for name in before]}]


def _jobs(obj: Object, runtime: Object) -> Iterator[dict[str, Any]]:
    policy = _mapping(paths.find(runtime, ("spec", "mlPolicy")))
    mpi = policy.get("mpi") if isinstance(policy.get("mpi"), dict) else None
    in_order = paths.find(runtime, ("spec", "template", "spec", "startupPolicy", "startupPolicyOrder")) == "InOrder"
    last = ""
    for job in fields.dicts(paths.find(runtime, ("spec", "template", "spec", "replicatedJobs"))):
        name, inner = str(job.get("name")), _mapping(paths.find(job, ("template", "spec")))
        step = _mapping(paths.find(job, ("template", "metadata", "labels"))).get(_STEP)
        as_node = mpi is not None and mpi.get("runLauncherAsNode") is True and name == _NODE
        count = _number(inner.get("parallelism"), 1)
        if mpi is not None and name == _NODE:
            given = paths.find(obj, ("spec", "trainer", "numNodes"))
            count = max(_number(given, count + as_node) - as_node, 1)
        elif step == _TRAINER and mpi is None:
            count = _nodes(obj, policy.get("numNodes"))
        elif step is None:
            count *= _number(job.get("replicas"), 1)
        trains = step == _TRAINER or as_node
        made = {"name": name, "replicas": count, "template": _filled(obj, name, _pod(inner), trains=trains)}
        yield made | {"waits": [{"name": last}] if in_order and last else job.get("dependsOn")}
        last = name


def _nodes(obj: Object, of_runtime: Any) -> Any:
    given = paths.find(obj, ("spec", "trainer", "numNodes"))
    return _number(of_runtime, 1) if given is None else given


def _pod(job: Mapping[str, Any]) -> dict[str, Any]:
    return _copied(_mapping(job.get("template")))  # type: ignore[no-any-return]


def _filled(obj: Object, name: str, template: dict[str, Any], *, trains: bool = False) -> dict[str, Any]:
    """The pod template with what the TrainJob says of its main container."""
    spec = _mapping(obj.get("spec"))
    if trains:
        given, main = _mapping(spec.get("trainer")), _NODE
        said = {key: given[key] for key in ("image", "command", "args", "env") if key in given}
        said |= {"resources": given["resourcesPerNode"]} if "resourcesPerNode" in given else {}
    else:
        main = name
        key = next((key for key, each in _INITIALIZERS.items() if each == name), "")
        said = _initializer(_mapping(paths.find(spec, ("initializer", key)))) if key else {}
    pod = _made(template, "spec")
    containers = [dict(one) for one in fields.dicts(pod.get("containers"))] or [{"name": main}]
    pod["containers"] = [_said_of(one, said) if one.get("name") == main else one for one in containers]
    pod.setdefault("restartPolicy", "Never")  # JobSet's own default
    return template


def _initializer(given: Mapping[str, Any]) -> dict[str, Any]:
    env = list(given["env"]) if isinstance(given.get("env"), list) else []
    if isinstance(given.get("storageUri"), str):
        env.append({"name": "STORAGE_URI", "value": given["storageUri"]})
    secret = given.get("secretRef")
    return {"env": env} | ({"envFrom": [{"secretRef": secret}]} if isinstance(secret, dict) else {})


def _said_of(container: dict[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of variables and amounts are merged; all else takes the place of what was there."""
    merged = {**container, **said}
    for key in ("env", "envFrom"):
        if isinstance(container.get(key), list) and isinstance(said.get(key), list):
            merged[key] = [*container[key], *said[key]]
    before, after = container.get("resources"), said.get("resources")
    if isinstance(before, dict) and isinstance(after, dict):
        parts = {part: {**_mapping(before.get(part)), **_mapping(after.get(part))} for part in ("limits", "requests")}
        merged["resources"] = {**before, **after, **{part: each for part, each in parts.items() if each}}
    return merged


def _patched(obj: Object, job: dict[str, Any]) -> dict[str, Any]:
    """With what the TrainJob changes of the pods of one Job, by each name that the field has had."""
    for patch in _patches(obj, job["name"]):
        template = job["template"]
        metadata = _mapping(patch.get("metadata"))
        for part in ("labels", "annotations"):
            if isinstance(metadata.get(part), dict):
                _made(_made(template, "metadata"), part).update(metadata[part])
        given, pod = _mapping(patch.get("spec")), template["spec"]
        pod |= {key: given[key] for key in _PATCHED if key in given and key not in ("volumes", "nodeSelector")}
        if isinstance(given.get("nodeSelector"), dict):
            pod["nodeSelector"] = {**_mapping(pod.get("nodeSelector")), **given["nodeSelector"]}
        if isinstance(given.get("volumes"), list):
            pod["volumes"] = [*fields.dicts(pod.get("volumes")), *given["volumes"]]
    return job


def _patches(obj: Object, name: str) -> Iterator[Mapping[str, Any]]:
    spec = _mapping(obj.get("spec"))
    for patch in fields.dicts(spec.get("runtimePatches")):
        jobs = paths.find(patch, ("trainingRuntimeSpec", "template", "spec", "replicatedJobs"))
        for job in fields.dicts(jobs):
            if job.get("name") == name:
                yield _mapping(paths.find(job, ("template", "spec", "template")))
    for key in ("podSpecOverrides", "podTemplateOverrides"):
        for override in fields.dicts(spec.get(key)):
            if any(target.get("name") == name for target in fields.dicts(override.get("targetJobs"))):
                yield override if key == "podTemplateOverrides" else {"spec": override}


def _number(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _made(holder: Any, key: str) -> dict[str, Any]:
    """The mapping under the key; made where it is absent or something else."""
    value: Any = holder.get(key)
    made: dict[str, Any] = value if isinstance(value, dict) else {}
    holder[key] = made
    return made


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return value
