"""Volcano's job controller, played by the test: creates the pods it would create and writes the status it would write.

As Volcano does: pods are named JOB-TASK-INDEX, belong to the job, carry the template's labels and annotations and
`volcano.sh/…` of their own, and take the job's schedulerName where the template names none. The state goes Pending →
Running (minAvailable pods run) → Completed or Failed (all have ended). No PodGroup, no plugins, no retries.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import httpx

from e2e.objects import ApiError, Object
from e2e.provider import MemberCluster

API = "batch.volcano.sh/v1alpha1"


class VolcanoController:
    """Runs until stopped. Looks often instead of watching: it is a stand-in, and a scenario has one or two jobs."""

    def __init__(self, cluster: MemberCluster, every_s: float = 0.1) -> None:
        self._client = cluster.client
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"volcano-{cluster.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                for job in self._client.list(API, "Job"):
                    self._reconcile(job)
            except (ApiError, httpx.HTTPError):
                continue  # the API server restarts, or the job went in between

    def _reconcile(self, job: Object) -> None:
        metadata = job["metadata"]
        if metadata.get("deletionTimestamp") or job.get("status", {}).get("state", {}).get("phase") in (
            "Completed",
            "Failed",
        ):
            return
        namespace = metadata["namespace"]
        selector = f"volcano.sh/job-name={metadata['name']}"
        pods = {p["metadata"]["name"]: p for p in self._client.list("v1", "Pod", namespace, labels=selector)}
        for task in job["spec"]["tasks"]:
            for index in range(int(task.get("replicas", 1))):
                pod = _pod(job, task, index)
                if pod["metadata"]["name"] not in pods:
                    self._client.create_if_missing(pod)
        asked = {task["name"]: int(task.get("replicas", 1)) for task in job["spec"]["tasks"]}
        for pod_name, pod in pods.items():
            labels = pod["metadata"]["labels"]
            if int(labels["volcano.sh/task-index"]) >= asked[labels["volcano.sh/task-spec"]]:
                self._client.delete("v1", "Pod", pod_name, namespace)
        status = _status(job, list(pods.values()))
        if status != {key: job.get("status", {}).get(key) for key in status}:
            self._client.merge(API, "Job", metadata["name"], {"status": status}, namespace, "status")


def _pod(job: Object, task: Object, index: int) -> Object:
    template = task["template"]
    metadata = template.get("metadata", {})
    name, task_name = job["metadata"]["name"], task["name"]
    ours = {"volcano.sh/job-name": name, "volcano.sh/task-spec": task_name, "volcano.sh/task-index": str(index)}
    spec = dict(template["spec"])
    spec.setdefault("schedulerName", job["spec"].get("schedulerName", "volcano"))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{task_name}-{index}",
            "namespace": job["metadata"]["namespace"],
            "labels": metadata.get("labels", {}) | ours,
            "annotations": metadata.get("annotations", {}) | {"volcano.sh/task-spec": task_name},
            "ownerReferences": [
                {
                    "apiVersion": API,
                    "kind": "Job",
                    "name": name,
                    "uid": job["metadata"]["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": spec,
    }


def _status(job: Object, pods: list[Object]) -> dict[str, Any]:
    phases = Counter(pod["status"].get("phase", "Pending") for pod in pods)
    wanted = sum(int(task.get("replicas", 1)) for task in job["spec"]["tasks"])
    minimum = int(job["spec"].get("minAvailable", wanted))
    return {
        "state": {"phase": _phase(phases, wanted, minimum)},
        "minAvailable": minimum,
        "pending": phases["Pending"],
        "running": phases["Running"],
        "succeeded": phases["Succeeded"],
        "failed": phases["Failed"],
    }


def _phase(phases: Counter[str], wanted: int, minimum: int) -> str:
    if phases["Succeeded"] == wanted:
        return "Completed"
    if phases["Succeeded"] + phases["Failed"] == wanted:
        return "Failed"
    return "Running" if phases["Running"] + phases["Succeeded"] >= minimum else "Pending"
