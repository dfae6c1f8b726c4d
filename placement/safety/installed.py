"""What objects of installed kinds have others do for them: Prometheus' operator and Fluid act with rights of their own.

A monitor is read by a Prometheus that sees every namespace, and reads files of its own for it. Fluid mounts folders of
nodes into pods that it makes, and runs what a runtime names as its image with every privilege. What they do of
themselves, by how they were installed, is their installer's to answer for; what the object asks of them is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from placement.safety.containers import is_on, listed, mapping
from placement.safety.levels import Breach, Level, shown

_MONITORS = "monitoring.coreos.com/"
_FLUID = "data.fluid.io/"
_FILES = ("caFile", "certFile", "keyFile")
_OF_NO_NODE = frozenset({"emptyDir", "volumeTemplate"})
_LOCAL = "local://"
_IMAGE_HOLDERS = (
    "alluxioVersion",
    "juicefsVersion",
    "fuse",
    "master",
    "worker",
    "jobMaster",
    "jobWorker",
    "apiGateway",
)


def of_object(obj: Mapping[str, Any], namespace: str) -> Iterator[Breach]:
    api_version, kind, spec = str(obj.get("apiVersion")), str(obj.get("kind")), mapping(obj.get("spec"))
    if api_version.startswith(_MONITORS):
        yield from _of_monitor(spec, namespace)
    elif api_version.startswith(_FLUID) and kind == "Dataset":
        for at, mount in listed(spec.get("mounts")):
            point = str(mount.get("mountPoint", ""))
            if point.startswith(_LOCAL):
                folder = point.removeprefix(_LOCAL)
                read_only = is_on(mount.get("readOnly"))
                yield Breach(
                    "hostPath", Level.BASELINE, f"spec.mounts[{at}].mountPoint", shown(point), folder, read_only
                )
    elif api_version.startswith(_FLUID):
        yield from _of_runtime(spec)


def _of_monitor(spec: Mapping[str, Any], namespace: str) -> Iterator[Breach]:
    wide = mapping(spec.get("namespaceSelector"))
    if is_on(wide.get("any")):
        yield Breach("namespace", Level.PRIVILEGED, "spec.namespaceSelector.any", "true", "*")
    names = wide.get("matchNames")
    for index, name in enumerate(names if isinstance(names, list) else ()):
        if name != namespace:
            path = f"spec.namespaceSelector.matchNames[{index}]"
            yield Breach("namespace", Level.PRIVILEGED, path, shown(name), str(name))
    for key in ("endpoints", "podMetricsEndpoints"):
        for index, endpoint in listed(spec.get(key)):
            at = f"spec.{key}[{index}]"
            if endpoint.get("bearerTokenFile"):
                yield Breach("token", Level.PRIVILEGED, f"{at}.bearerTokenFile", shown(endpoint["bearerTokenFile"]))
            tls = mapping(endpoint.get("tlsConfig"))
            for file in _FILES:
                if tls.get(file):
                    yield Breach("token", Level.PRIVILEGED, f"{at}.tlsConfig.{file}", shown(tls[file]))


def _of_runtime(spec: Mapping[str, Any]) -> Iterator[Breach]:
    for index, level in listed(mapping(spec.get("tieredstore")).get("levels")):
        memory = level.get("mediumtype") == "MEM" and level.get("path") in (None, "/dev/shm")  # noqa: S108
        if level.get("volumeType") in _OF_NO_NODE or memory:
            continue
        for folder in str(level.get("path", "")).split(","):
            yield Breach("hostPath", Level.BASELINE, f"spec.tieredstore.levels[{index}].path", shown(folder), folder)
    for key in _IMAGE_HOLDERS:
        part = mapping(spec.get(key))
        if part.get("image"):
            yield Breach("privileged", Level.BASELINE, f"spec.{key}.image", shown(part["image"]))
        if part.get("networkMode") == "HostNetwork":
            yield Breach("hostNetwork", Level.BASELINE, f"spec.{key}.networkMode", "HostNetwork")
