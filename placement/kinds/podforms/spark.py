"""Spark's driver and executors: cores and memory in Spark's own words, as the requests that Spark makes of them.

Memory is `16g` or `512m` in binary units; a pod asks for that and the overhead, which is what `memoryOverhead` says, or
a factor of the memory (0.1; 0.4 for Python and R; `spec.memoryOverheadFactor`), 384 MiB at least. `coreRequest` stands
for the CPU where it is given, else `cores` (1).
    Source: Spark 3.5, "Running Spark on Kubernetes" (spark.kubernetes.memoryOverheadFactor, …executor.request.cores)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from placement.kinds import fields
from placement.kinds.fields import Object, join
from placement.kinds.pod_changes import PodChange, change_containers, change_spec
from placement.kinds.problems import Findings

_MEMORY = re.compile(r"(\d{1,12})([kmgtp]?)b?", re.IGNORECASE)
_UNITS = {"k": 1 / 1024, "": 1, "m": 1, "g": 1024, "t": 1024**2, "p": 1024**3}  # MiB; a bare number is MiB
_LEAST_OVERHEAD_MIB = 384
_DEFAULT_MEMORY_MIB = 1024
_FACTORS = {"Python": 0.4, "R": 0.4}
_POD_FIELDS = ("nodeSelector", "tolerations", "affinity", "initContainers", "hostNetwork", "priorityClassName")


class _Pod:
    def __init__(self, container: str) -> None:
        self._container = container

    def template(self, entry: Object, obj: Object, path: str, found: Findings) -> dict[str, Any]:
        requests = {"cpu": _cpu(entry, path, found), "memory": f"{_memory_mib(entry, obj, path, found)}Mi"}
        limits: dict[str, Any] = {"memory": requests["memory"]}
        if entry.get("coreLimit") is not None:
            limits["cpu"] = entry["coreLimit"]
        gpu = fields.mapping(found, entry, path, "gpu") if entry.get("gpu") is not None else {}
        if gpu:
            name, at = gpu.get("name"), join(path, "gpu")
            quantity = fields.count(found, gpu.get("quantity"), join(at, "quantity"))
            if not isinstance(name, str) or not name:
                found.error(join(at, "name"), "is missing", "name the resource: nvidia.com/gpu")
            elif quantity:
                requests[name] = limits[name] = quantity
        container: dict[str, Any] = {"name": self._container, "resources": {"requests": requests, "limits": limits}}
        container |= {key: entry[key] for key in ("env", "envFrom") if isinstance(entry.get(key), list)}
        return {"metadata": _metadata(entry), "spec": self._spec(entry, obj, container)}

    def _spec(self, entry: Object, obj: Object, container: dict[str, Any]) -> dict[str, Any]:
        spec = {key: entry[key] for key in _POD_FIELDS if key in entry}
        sidecars = entry.get("sidecars")
        spec["containers"] = [container, *(sidecars if isinstance(sidecars, list) else ())]
        of_object = obj.get("spec")
        whole: Object = of_object if isinstance(of_object, dict) else {}
        for key, named in (("serviceAccount", "serviceAccountName"),):
            if isinstance(entry.get(key), str):
                spec[named] = entry[key]
        if isinstance(whole.get("nodeSelector"), dict):
            spec.setdefault("nodeSelector", whole["nodeSelector"])
        if isinstance(whole.get("volumes"), list):
            spec["volumes"] = whole["volumes"]
        if isinstance(whole.get("imagePullSecrets"), list):
            spec["imagePullSecrets"] = [{"name": name} for name in whole["imagePullSecrets"] if isinstance(name, str)]
        container["args"] = _data_arguments(whole)
        return spec

    def replicas(self, entry: Object) -> int | None:
        return None

    def mark(self, entry: dict[str, Any], labels: Mapping[str, str], scheduler: str) -> None:
        given = entry.get("labels")
        entry["labels"] = {**(given if isinstance(given, dict) else {}), **labels}
        entry["schedulerName"] = scheduler

    def change(self, entry: dict[str, Any], obj: dict[str, Any], change: PodChange) -> str:
        """Spark has no field for a runtime class. What nodes are asked for of both together stays in one place."""
        whole = obj.get("spec")
        selects = whole if isinstance(whole, dict) and isinstance(whole.get("nodeSelector"), dict) else entry
        change_spec(selects, PodChange(node_selector=change.node_selector))
        change_spec(entry, replace(change, node_selector=None, runtime_class=""))
        change_containers((entry, *fields.dicts(entry.get("sidecars"))), change)
        return "runtime_class" if change.runtime_class else ""


class Driver(_Pod):
    def __init__(self) -> None:
        super().__init__("spark-kubernetes-driver")


class Executor(_Pod):
    def __init__(self) -> None:
        super().__init__("spark-kubernetes-executor")


def _metadata(entry: Object) -> dict[str, Any]:
    return {key: entry[key] for key in ("labels", "annotations") if isinstance(entry.get(key), dict)}


def _cpu(entry: Object, path: str, found: Findings) -> Any:
    if entry.get("coreRequest") is not None:
        return entry["coreRequest"]
    cores = fields.count(found, entry.get("cores"), join(path, "cores"))
    return 1 if cores is None else cores


def _memory_mib(entry: Object, obj: Object, path: str, found: Findings) -> int:
    memory = _mib(entry.get("memory"), join(path, "memory"), found)
    memory = _DEFAULT_MEMORY_MIB if memory is None else memory
    overhead = _mib(entry.get("memoryOverhead"), join(path, "memoryOverhead"), found)
    if overhead is None:
        overhead = max(memory * _factor(obj, found), _LEAST_OVERHEAD_MIB)
    return -(-int(memory * 1024 + overhead * 1024) // 1024)


def _factor(obj: Object, found: Findings) -> float:
    of_object = obj.get("spec")
    spec: Object = of_object if isinstance(of_object, dict) else {}
    given = spec.get("memoryOverheadFactor")
    if given is not None:
        try:
            factor = float(given)
        except (TypeError, ValueError):
            factor = -1.0
        if 0 <= factor < 100:
            return factor
        found.error("spec.memoryOverheadFactor", f"{given!r} is no factor", 'give a number in quotes: "0.2"')
    return _FACTORS.get(str(spec.get("type")), 0.1)


def _mib(value: Any, path: str, found: Findings) -> float | None:
    if value is None:
        return None
    read = _MEMORY.fullmatch(str(value).strip()) if isinstance(value, str | int) else None
    if read is None:
        found.error(path, f"{value!r} is no amount of memory", "write it as Spark does: 512m, 16g")
        return None
    return int(read[1]) * _UNITS[read[2].lower()]


def _data_arguments(spec: Object) -> list[str]:
    """Where places of data are looked for: the program, and what it is told."""
    arguments = spec.get("arguments")
    return [each for each in arguments if isinstance(each, str)] if isinstance(arguments, list) else []
