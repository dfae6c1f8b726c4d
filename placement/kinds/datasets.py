"""Where its datasets are, told to a workload's containers: a variable for each, and a mount where it lies in a claim.

`muster.dev/datasets: imagenet` becomes MUSTER_DATASET_IMAGENET in every container: a directory where the data lies in
a claim (mounted under /muster/datasets), a URI where it is read from an object store. A variable that the manifest
sets itself stays as it is, and so does what it mounts itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from placement.data import CLAIM, DataPlace
from placement.kinds import roles
from placement.kinds.catalogue import Catalogue

MOUNTS = "/muster/datasets"
_CONTAINERS = ("initContainers", "containers")


def tell(workload: dict[str, Any], catalogue: Catalogue, data: Sequence[DataPlace]) -> None:
    """Changes the workload, which is the caller's own copy."""
    kind = catalogue.find(str(workload.get("apiVersion")), str(workload.get("kind")))
    if kind is None:
        return
    for role in roles.shape(kind.rules, workload).roles:
        spec: Any = role.template.get("spec")  # part of `workload`
        for number, place in enumerate(data):
            _tell(spec, place, f"muster-dataset-{number}")


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
