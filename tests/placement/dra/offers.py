"""Devices and claims for tests, by few words."""

from __future__ import annotations

from typing import Any

from placement.dra import requests
from placement.dra.requests import ClaimSpec, ClassSpec
from placement.dra.slices import Offer, offered, read

DRIVER = "gpu.example.com"
CLASS = "gpu"
CLASSES = {CLASS: ClassSpec(CLASS, (f'device.driver == "{DRIVER}"',))}


def device(name: str, *, root: str = "", numa: int = -1, taints: Any = (), uses: Any = (), **strings: str) -> Any:
    attributes: dict[str, Any] = {key: {"string": value} for key, value in strings.items()}
    if root:
        attributes["resource.kubernetes.io/pcieRoot"] = {"string": root}
    if numa >= 0:
        attributes["numaNode"] = {"int": numa}
    made = {"name": name, "attributes": attributes, "taints": list(taints)}
    return made | ({"consumesCounters": list(uses)} if uses else {})


def slice_of(node: str, *devices: Any, name: str = "", slices: int = 1, generation: int = 1, **spec: Any) -> Any:
    pool = {"name": node, "generation": generation, "resourceSliceCount": slices}
    body = {"driver": DRIVER, "nodeName": node, "pool": pool, "devices": list(devices)} | spec
    return {"metadata": {"name": name or f"{node}-slice"}, "spec": body}


def offer(*slices: Any) -> Offer:
    return offered([read(obj) for obj in slices])


def exactly(name: str = "gpu", count: int = 1, *selectors: str, **more: Any) -> Any:
    asked = {"deviceClassName": CLASS, "count": count, "selectors": [{"cel": {"expression": s}} for s in selectors]}
    return {"name": name, "exactly": asked | more}


def claim(*asked: Any, match: Any = ()) -> ClaimSpec:
    constraints = [{"matchAttribute": attribute, "requests": list(names)} for attribute, names in match]
    return requests.read({"devices": {"requests": list(asked), "constraints": constraints}})


def named(product: str) -> str:
    return f'device.attributes["{DRIVER}"].product == "{product}"'
