"""The manifests that scenarios submit: ordinary ones, as a user of each kind would write them.

What their pods do, and for how long ("3s"), is said in the way that the test bed understands: see `e2e.pods`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from e2e import pods as bodies
from e2e.pods import Course

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
    elastic: tuple[int, int] | None = None,
) -> Manifest:
    """One master and `workers` workers, `gpus` each; `elastic`: the least and the most pods of all."""
    template = bodies.template("pytorch", gpus, product, Course(run_for))

    def replicas(count: int) -> Manifest:
        return {"replicas": count, "restartPolicy": "OnFailure", "template": template}

    policy = {"elasticPolicy": {"minReplicas": elastic[0], "maxReplicas": elastic[1]}} if elastic else {}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": _metadata(name, namespace, hints),
        "spec": {"pytorchReplicaSpecs": {"Master": replicas(1), "Worker": replicas(workers)}, **policy},
    }


def indexed_job(
    name: str,
    *,
    pods: int,
    gpus: int,
    product: str = "",
    run_for: str = "",
    fail_after: str = "",
    stop_for: str = "",
    hints: Mapping[str, str] | None = None,
    pod_annotations: Mapping[str, str] | None = None,
    namespace: str = "default",
) -> Manifest:
    """A gang: every index runs at once."""
    template = bodies.template("main", gpus, product, Course(run_for, fail_after, stop_for))
    if pod_annotations:
        template.setdefault("metadata", {}).setdefault("annotations", {}).update(pod_annotations)
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
    template = bodies.template("main", gpus, product, Course(run_for))
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
    at_least: int = 0,
) -> Manifest:
    """A gang of all its pods, or of `at_least`."""
    template = bodies.template("worker", gpus, product, Course(run_for))
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch.volcano.sh/v1alpha1",
        "kind": "Job",
        "metadata": _metadata(name, namespace, hints),
        "spec": {
            "minAvailable": at_least or pods,
            "schedulerName": "volcano",
            "queue": "default",
            "tasks": [{"replicas": pods, "name": "worker", "template": template}],
        },
    }


def foreign_pod(name: str, node: str, gpus: int, namespace: str = "default") -> Manifest:
    """A pod of somebody else's, already on its node by whatever scheduler they use."""
    template = bodies.template("main", gpus, "", Course())
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": template["spec"] | {"nodeName": node},
    }


def _metadata(name: str, namespace: str, hints: Mapping[str, str] | None) -> Manifest:
    annotations = {f"muster.dev/{key}": value for key, value in (hints or {}).items()}
    return {"name": name, "namespace": namespace} | ({"annotations": annotations} if annotations else {})
