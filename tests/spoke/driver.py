"""The parts that a device driver and Kubernetes' controller of claims play on a stage."""

from __future__ import annotations

from typing import Any

from spoke.cluster.fake import DEFAULT_KINDS
from spoke.cluster.port import Object, ObjectKey
from tests.spoke.stage import Stage

API = "resource.k8s.io/v1"
KINDS = DEFAULT_KINDS | {
    f"{API}/{k}" for k in ("DeviceClass", "ResourceSlice", "ResourceClaim", "ResourceClaimTemplate")
}
DRIVER = "gpu.example.com"
DEVICE_CLASS = {
    "apiVersion": API,
    "kind": "DeviceClass",
    "metadata": {"name": "gpu"},
    "spec": {
        "selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}],
        "config": [{"opaque": {"driver": DRIVER, "parameters": {"mode": "exclusive"}}}],
    },
}


def resource_slice(node: str, devices: int, product: str = "H100") -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "ResourceSlice",
        "metadata": {"name": f"{node}-slice"},
        "spec": {
            "driver": DRIVER,
            "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": f"d{i}", "attributes": {"product": {"string": product}}} for i in range(devices)],
        },
    }


def job_yaml(name: str, *, pods: int, count: int, product: str = "", travels: bool = True) -> str:
    """A gang whose pods each claim `count` devices; the template is in the file where it `travels`."""
    where = f"""selectors: [{{cel: {{expression: 'device.attributes["{DRIVER}"].product == "{product}"'}}}}]"""
    template = f"""
apiVersion: {API}
kind: ResourceClaimTemplate
metadata: {{name: {name}, namespace: team}}
spec:
  spec:
    devices:
      requests: [{{name: gpu, exactly: {{deviceClassName: gpu, count: {count}, {where if product else ""}}}}}]
---"""
    return f"""{template if travels else ""}
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}, namespace: team}}
spec:
  completionMode: Indexed
  completions: {pods}
  parallelism: {pods}
  template:
    spec:
      restartPolicy: Never
      resourceClaims: [{{name: devices, resourceClaimTemplateName: {name}}}]
      containers:
      - name: main
        image: busybox
        resources: {{requests: {{cpu: 1}}, claims: [{{name: devices}}]}}
"""


def claim(name: str, spec: Any, owner: Object | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "team"}
    if owner is not None:
        reference = {
            "kind": "Pod",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }
        metadata["ownerReferences"] = [reference]
    return {"apiVersion": API, "kind": "ResourceClaim", "metadata": metadata, "spec": spec}


def make_claims(stage: Stage, job: str, template: str) -> None:
    """As the controller does for each pod of the job that has none yet."""
    [found] = [t for t in stage.cluster.objects(API, "ResourceClaimTemplate") if t["metadata"]["name"] == template]
    for pod in stage.pods(job):
        if "resourceClaimStatuses" in pod["status"]:
            continue
        made = stage.cluster.put(claim(f"{pod['metadata']['name']}-devices", found["spec"]["spec"], pod))
        statuses = [{"name": "devices", "resourceClaimName": made["metadata"]["name"]}]
        stage.cluster.put({**pod, "status": {**pod["status"], "resourceClaimStatuses": statuses}})


def given_back(stage: Stage, pod: str) -> None:
    """The pod is over: its claim is deleted."""
    stage.cluster.remove(ObjectKey(API, "ResourceClaim", "team", f"{pod}-devices"))


def claims(stage: Stage) -> list[Object]:
    return list(stage.cluster.objects(API, "ResourceClaim"))


def devices_of(claim: Object) -> list[tuple[str, str]]:
    """(pool, device)"""
    allocation = claim.get("status", {}).get("allocation") or {"devices": {"results": []}}
    return [(result["pool"], result["device"]) for result in allocation["devices"]["results"]]


def taken(stage: Stage) -> list[tuple[str, str]]:
    return sorted(device for claim in claims(stage) for device in devices_of(claim))
