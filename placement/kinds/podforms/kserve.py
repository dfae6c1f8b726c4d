"""KServe's predictor, transformer and explainer: a pod spec and a model server written into one another.

The entry is a pod spec itself, and may name the server by framework (`sklearn: {storageUri, resources}`) or by `model`
with a format and a runtime. KServe makes the container `kserve-container` of that; where the entry lists a container of
this name, that one's resources count. A model without resources takes those of its runtime, which is in the same file
(see `servingruntimes`) or lies in the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.kinds import fields, paths
from placement.kinds.fields import Object, join
from placement.kinds.pod_changes import PodChange, change_containers, change_spec
from placement.kinds.problems import Findings

FRAMEWORKS = (
    "model",
    "sklearn",
    "xgboost",
    "tensorflow",
    "pytorch",
    "triton",
    "onnx",
    "huggingface",
    "pmml",
    "lightgbm",
    "paddle",
    "mlflow",
    "art",
)
RUNTIMES = "runtimes"  # of the object as it is read: the runtime that is in its file, if there is one
_MAIN = "kserve-container"
_POD_FIELDS = ("nodeSelector", "affinity", "tolerations", "volumes", "imagePullSecrets", "serviceAccountName")
# What belongs to the component and not to its pods' spec.
_COMPONENT = frozenset(
    {
        *FRAMEWORKS,
        *("minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "containerConcurrency"),
        *("timeout", "canaryTrafficPercent", "logger", "batcher", "labels", "annotations", "deploymentStrategy"),
        *("autoScaling", "workerSpec"),
    }
)


class Component:
    def template(self, entry: Object, obj: Object, path: str, found: Findings) -> dict[str, Any]:
        servers = [name for name in FRAMEWORKS if isinstance(entry.get(name), dict)]
        if len(servers) > 1:
            message = f"names the servers {', '.join(servers)}; a component has one"
            found.error(join(path, servers[1]), message, f"keep {servers[0]} or {servers[1]}")
        containers: list[Any] = []
        if isinstance(entry.get("containers"), list):
            containers += entry["containers"]
        elif "containers" in entry:
            fields.wrong_type(found, join(path, "containers"), "a list", entry["containers"])
        runtime = _runtime(entry, obj, path)
        of_runtime = {str(each.get("name")): each for each in fields.dicts(runtime.get("containers"))}
        containers = [_merged(of_runtime.pop(str(_name(each)), {}), each) for each in containers]
        if servers:
            server = entry[servers[0]]
            if not any(_name(each) == _MAIN for each in containers):
                containers.append(_server(server, join(path, servers[0]), of_runtime.pop(_MAIN, {}), found))
            containers = [_told(each, server) for each in containers]
        containers += of_runtime.values()
        spec = {key: runtime[key] for key in _POD_FIELDS if key in runtime}
        spec |= {key: value for key, value in entry.items() if key not in _COMPONENT}
        if containers:
            spec["containers"] = containers
        given = {key: entry[key] for key in ("labels", "annotations") if isinstance(entry.get(key), dict)}
        return {"metadata": given, "spec": spec}

    def replicas(self, entry: Object) -> int | None:
        return None

    def mark(self, entry: dict[str, Any], labels: Mapping[str, str], scheduler: str) -> None:
        given = entry.get("labels")
        entry["labels"] = {**(given if isinstance(given, dict) else {}), **labels}
        entry["schedulerName"] = scheduler

    def change(self, entry: dict[str, Any], obj: dict[str, Any], change: PodChange) -> str:
        change_spec(entry, change)
        change_containers((entry[name] for name in FRAMEWORKS if isinstance(entry.get(name), dict)), change)
        return ""


def _runtime(entry: Object, obj: Object, path: str) -> Object:
    """What the runtime in the file says of the pods of a predictor, or of its workers."""
    runtimes = obj.get(RUNTIMES)
    spec = paths.find(runtimes[0], ("spec",)) if isinstance(runtimes, list) and runtimes else None
    if not isinstance(spec, dict):
        return {}
    if path.endswith(".workerSpec"):
        workers = spec.get("workerSpec")
        return workers if isinstance(workers, dict) else {}
    return spec if isinstance(entry.get("model"), dict) else {}


def _name(container: Any) -> Any:
    return container.get("name") if isinstance(container, dict) else None


def _merged(of_runtime: Object, container: Any) -> Any:
    """A runtime's container with what the service says of it; amounts are merged one by one."""
    if not of_runtime or not isinstance(container, dict):
        return container
    merged = {**of_runtime, **container}
    before, after = of_runtime.get("resources"), container.get("resources")
    if isinstance(before, dict) and isinstance(after, dict):
        merged["resources"] = {**before, **after}
        for part in ("limits", "requests"):
            given = [each[part] for each in (before, after) if isinstance(each.get(part), dict)]
            if given:
                merged["resources"][part] = {name: amount for each in given for name, amount in each.items()}
    return merged


def _server(server: Object, path: str, of_runtime: Object, found: Findings) -> dict[str, Any]:
    if "resources" not in server and "resources" not in of_runtime:
        runtime = server.get("runtime")
        where = f"runtime {runtime}" if runtime else "runtime that KServe chooses"
        found.warn(f"{path}.resources is missing: what its {where} asks for is not known here, and not counted")
    container = {key: server[key] for key in ("resources", "env", "envFrom", "args", "image") if key in server}
    return {**_merged(of_runtime, container), "name": _MAIN}


def _told(container: Any, server: Object) -> Any:
    """KServe's storage initializer brings the model to the main container: that names it where data is looked for."""
    uri = server.get("storageUri")
    if not isinstance(container, dict) or container.get("name") != _MAIN or not isinstance(uri, str):
        return container
    given = container.get("args")
    return {**container, "args": [*(given if isinstance(given, list) else ()), f"--storage-uri={uri}"]}
