"""The manifests that scenarios submit: ordinary ones, as a user of each kind would write them.

How long their pods run is said by annotations that the test bed reads (see planes/stages/pod.yaml).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

Manifest = dict[str, Any]


def text(*manifests: Manifest) -> bytes:
    return yaml.safe_dump_all(manifests, sort_keys=False).encode()


def pytorchjob(
    name: str,
    *,
    workers: int,
    gpus: int,
    product: str = "",
    run_for: str = "",
    hints: Mapping[str, str] | None = None,
    namespace: str = "default",
) -> Manifest:
    """One master and `workers` workers, `gpus` each."""
    template = _template("pytorch", gpus, product, run_for)

    def replicas(count: int) -> Manifest:
        return {"replicas": count, "restartPolicy": "OnFailure", "template": template}

    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": _metadata(name, namespace, hints),
        "spec": {"pytorchReplicaSpecs": {"Master": replicas(1), "Worker": replicas(workers)}},
    }


def indexed_job(
    name: str,
    *,
    pods: int,
    gpus: int,
    product: str = "",
    run_for: str = "",
    fail_after: str = "",
    hints: Mapping[str, str] | None = None,
    namespace: str = "default",
) -> Manifest:
    """A gang: every index runs at once."""
    template = _template("main", gpus, product, run_for, fail_after)
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(name, namespace, hints),
        "spec": {
            "completions": pods,
            "parallelism": pods,
            "completionMode": "Indexed",
            "backoffLimit": 0,
            "template": template,
        },
    }


def job(name: str, *, gpus: int = 1, run_for: str = "", product: str = "", namespace: str = "default") -> Manifest:
    """One pod."""
    template = _template("main", gpus, product, run_for)
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(name, namespace, None),
        "spec": {"template": template},
    }


def volcano_job(
    name: str,
    *,
    pods: int,
    gpus: int,
    product: str = "",
    run_for: str = "",
    hints: Mapping[str, str] | None = None,
    namespace: str = "default",
) -> Manifest:
    template = _template("worker", gpus, product, run_for)
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch.volcano.sh/v1alpha1",
        "kind": "Job",
        "metadata": _metadata(name, namespace, hints),
        "spec": {
            "minAvailable": pods,
            "schedulerName": "volcano",
            "queue": "default",
            "tasks": [{"replicas": pods, "name": "worker", "template": template}],
        },
    }


def foreign_pod(name: str, node: str, gpus: int, namespace: str = "default") -> Manifest:
    """A pod of somebody else's, already on its node by whatever scheduler they use."""
    template = _template("main", gpus, "", "")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": template["spec"] | {"nodeName": node},
    }


def _metadata(name: str, namespace: str, hints: Mapping[str, str] | None) -> Manifest:
    annotations = {f"muster.dev/{key}": value for key, value in (hints or {}).items()}
    return {"name": name, "namespace": namespace} | ({"annotations": annotations} if annotations else {})


def _template(container: str, gpus: int, product: str, run_for: str, fail_after: str = "") -> Manifest:
    amounts = {"cpu": "2", "memory": "8Gi"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    spec: Manifest = {
        "containers": [
            {"name": container, "image": "train:1", "resources": {"requests": dict(amounts), "limits": dict(amounts)}}
        ]
    }
    if product:
        spec["nodeSelector"] = {"nvidia.com/gpu.product": product}
    plays = {"e2e.muster.test/run-for": run_for, "e2e.muster.test/fail-after": fail_after}
    annotations = {key: value for key, value in plays.items() if value}
    return ({"metadata": {"annotations": annotations}} if annotations else {}) | {"spec": spec}
