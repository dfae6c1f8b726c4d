"""KServe's predictor, transformer and explainer: a pod spec and a model server written into one another.

The entry is a pod spec itself, and may name the server by framework (`sklearn: {storageUri, resources}`) or by `model`
with a format and a runtime. KServe makes the container `kserve-container` of that; where the entry lists a container of
this name, that one's resources count. A model without resources takes those of its runtime, which lies in the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.kinds import fields
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
_MAIN = "kserve-container"
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
        if servers:
            server = entry[servers[0]]
            if not any(isinstance(each, dict) and each.get("name") == _MAIN for each in containers):
                containers.append(_server(server, join(path, servers[0]), found))
            containers = [_told(each, server) for each in containers]
        spec = {key: value for key, value in entry.items() if key not in _COMPONENT}
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


def _server(server: Object, path: str, found: Findings) -> dict[str, Any]:
    if "resources" not in server:
        runtime = server.get("runtime")
        where = f"runtime {runtime}" if runtime else "runtime that KServe chooses"
        found.warn(f"{path}.resources is missing: what its {where} asks for is not known here, and not counted")
    container = {key: server[key] for key in ("resources", "env", "envFrom", "args", "image") if key in server}
    return {**container, "name": _MAIN}


def _told(container: Any, server: Object) -> Any:
    """KServe's storage initializer brings the model to the main container: that names it where data is looked for."""
    uri = server.get("storageUri")
    if not isinstance(container, dict) or container.get("name") != _MAIN or not isinstance(uri, str):
        return container
    given = container.get("args")
    return {**container, "args": [*(given if isinstance(given, list) else ()), f"--storage-uri={uri}"]}
