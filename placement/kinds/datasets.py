"""Where its datasets are, told to a workload's containers: a variable for each, and a mount where it lies in a claim.

`muster.dev/datasets: imagenet` becomes MUSTER_DATASET_IMAGENET in every container: a directory where the data lies in
a claim (mounted under /muster/datasets), a URI where it is read from an object store. A variable that the manifest
sets itself stays as it is, and so does what it mounts itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from placement.data import CLAIM, DataPlace
from placement.kinds import companions, fields, roles
from placement.kinds.kind import Kind

MOUNTS = "/muster/datasets"
_CONTAINERS = ("initContainers", "containers")


def tell(kind: Kind, workload: dict[str, Any], beside: Sequence[dict[str, Any]], data: Sequence[DataPlace]) -> None:
    """Changes the workload, and the runtime that its pods are made of; they are the caller's own copies."""
    if not data:
        return
    for spec in _pods(kind, workload, beside):
        for number, place in enumerate(data):
            _tell(spec, place, f"muster-dataset-{number}")


def _pods(kind: Kind, workload: dict[str, Any], beside: Sequence[dict[str, Any]]) -> Iterator[Any]:
    """The pod specs that are part of these objects."""
    if (inside := roles.nested(kind, workload)) is not None:
        yield from _pods(*inside, beside)
    elif kind.rules.companion:
        yield from companions.FORMS[kind.rules.companion].pod_specs(workload, beside)
    else:
        for role in roles.shape(kind, workload).roles:
            if role.rules.pods == "pod-group":
                yield from (pod.get("spec") for pod in fields.dicts(role.entry.get("pods")))
            else:
                yield role.template.get("spec")


def variable(name: str) -> str:
    return "MUSTER_DATASET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def _tell(spec: dict[str, Any], place: DataPlace, volume: str) -> None:
    if not place.uri.startswith(CLAIM):
        _set(spec, variable(place.name), place.uri.removeprefix("file://"))
        return
    _, claim, *directory = place.uri.removeprefix(CLAIM).rstrip("/").split("/")
    path = f"{MOUNTS}/{place.name}"
    mount: dict[str, Any] = {"name": volume, "mountPath": path}
    mount |= {"subPath": "/".join(directory)} if directory else {}
    mount |= {} if place.writes else {"readOnly": True}
    source = {"claimName": claim}
    _list(spec, "volumes").append({"name": volume, "persistentVolumeClaim": source})
    for container in _containers(spec):
        _list(container, "volumeMounts").append(dict(mount))
    _set(spec, variable(place.name), path)


def _set(spec: dict[str, Any], name: str, value: str) -> None:
    for container in _containers(spec):
        env = _list(container, "env")
        if all(not isinstance(one, dict) or one.get("name") != name for one in env):
            env.append({"name": name, "value": value})


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for key in _CONTAINERS for one in spec.get(key) or () if isinstance(one, dict)]


def _list(holder: dict[str, Any], key: str) -> list[Any]:
    value = holder.get(key)
    if not isinstance(value, list):
        value = holder[key] = []
    return value
