"""The part of a device driver: what it offers on each node as ResourceSlices, and the DeviceClass that selects it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from e2e.objects import Object
from e2e.provider import MemberCluster

API = "resource.k8s.io/v1"
DRIVER = "gpu.example.com"
PCIE_ROOT = "resource.kubernetes.io/pcieRoot"


def gpu(number: int, product: str, memory: str, root: str, **attributes: Any) -> dict[str, Any]:
    return {
        "name": f"gpu-{number}",
        "attributes": {
            "productName": {"string": product},
            "driverVersion": {"version": "580.65.6"},
            "index": {"int": number},
            "numaNode": {"int": int(root.endswith("1"))},
            PCIE_ROOT: {"string": root},
            **attributes,
        },
        "capacity": {"memory": {"value": memory}},
    }


def gpus(count: int, product: str, memory: str) -> list[dict[str, Any]]:
    """Half of them behind either root."""
    return [gpu(i, product, memory, f"pci0000:0{i // (count // 2)}") for i in range(count)]


def resource_slice(node: str, devices: Sequence[dict[str, Any]], *, driver: str = DRIVER, of: int = 1) -> Object:
    """One of so many of the node's pool."""
    return {
        "apiVersion": API,
        "kind": "ResourceSlice",
        "metadata": {"name": f"{node}-{driver}"},
        "spec": {
            "driver": driver,
            "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": of},
            "devices": list(devices),
        },
    }


def device_class(name: str, expression: str) -> Object:
    return {
        "apiVersion": API,
        "kind": "DeviceClass",
        "metadata": {"name": name},
        "spec": {"selectors": [{"cel": {"expression": expression}}]},
    }


def template(name: str, requests: Sequence[dict[str, Any]], constraints: Sequence[dict[str, Any]] = ()) -> Object:
    devices: dict[str, Any] = {"requests": list(requests)}
    if constraints:
        devices["constraints"] = list(constraints)
    return {
        "apiVersion": API,
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"spec": {"devices": devices}},
    }


def claiming(manifest: Object, template_name: str) -> Object:
    """The batch Job with its pods' one container asking for the claim, and for no other GPUs."""
    spec = manifest["spec"]["template"]["spec"]
    spec["resourceClaims"] = [{"name": "devices", "resourceClaimTemplateName": template_name}]
    spec["containers"][0]["resources"] = {"claims": [{"name": "devices"}], "requests": {"cpu": "1", "memory": "1Gi"}}
    return manifest


@contextmanager
def offered(cluster: MemberCluster, *objects: Object) -> Iterator[None]:
    """The objects, for as long as it lasts."""
    try:
        for obj in objects:
            cluster.client.create(obj)
        yield
    finally:
        for obj in objects:
            cluster.client.delete(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])


def claims_of(cluster: MemberCluster) -> list[Object]:
    return cluster.client.list(API, "ResourceClaim")


def devices_of(claim: Object) -> list[tuple[str, str, str]]:
    """(request, pool, device) of each that it was given."""
    allocation = claim.get("status", {}).get("allocation") or {}
    return [(r["request"], r["pool"], r["device"]) for r in allocation.get("devices", {}).get("results", ())]
