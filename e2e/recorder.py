"""A witness of one cluster: sees every pod event from the beginning and remembers what was ever wrong.

A look at the end cannot tell that a gang was started twice, or that a GPU was given to two pods for a moment. So a
thread follows the pods of the cluster (list, then watch; again after a break) and checks every state that it sees.
"""

from __future__ import annotations

import threading
from collections import defaultdict

import httpx

from e2e import truth
from e2e.objects import ApiError, Object
from e2e.provider import MemberCluster


class Recorder:
    def __init__(self, cluster: MemberCluster) -> None:
        self.faults: list[str] = []
        self._cluster = cluster
        self._changed = threading.Condition()
        self._pods: dict[str, Object] = {}  # by uid, those that exist
        self._jobs: dict[tuple[str, int], dict[str, set[str]]] = defaultdict(dict)  # (job, epoch) -> uid -> nodes
        self._nodes = cluster.client.list("v1", "Node")
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"recorder-{cluster.name}", daemon=True)
        self._thread.start()

    def gangs_of(self, job: str) -> dict[int, int]:
        """For each epoch of the job, how many of its pods were ever bound here."""
        with self._changed:
            counts = {
                epoch: sum(1 for nodes in pods.values() if nodes)
                for (name, epoch), pods in self._jobs.items()
                if name == job
            }
        return {epoch: count for epoch, count in counts.items() if count}

    def pods_of(self, job: str) -> int:
        """How many pods of the job ever existed here."""
        with self._changed:
            return sum(len(pods) for (name, _), pods in self._jobs.items() if name == job)

    def wait_for(self, what: str, pods: int, job: str, *, bound: bool, timeout_s: float = 30) -> None:
        """Until so many pods of the job exist, or are bound. Wakes within a millisecond of the watch event."""

        def reached() -> bool:
            of_job = [p for (name, _), group in self._jobs.items() if name == job for p in group.values()]
            return sum(1 for nodes in of_job if nodes or not bound) >= pods

        with self._changed:
            assert self._changed.wait_for(reached, timeout_s), f"waited {timeout_s} s in {self._cluster.name}: {what}"

    def stop(self) -> None:
        self._stopping = True

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._follow()
            except (ApiError, httpx.HTTPError, ValueError):
                # The API server is down or dropped the watch: it will be back, or the session is over.
                threading.Event().wait(0.05)

    def _follow(self) -> None:
        client = self._cluster.client
        listed = client.request("GET", client.path("v1", "Pod"))
        with self._changed:
            self._pods = {}
            for pod in listed["items"]:
                self._see("ADDED", pod)
        since = listed["metadata"]["resourceVersion"]
        # Each watch goes on where the one before it ended: what lived only between two would not be seen.
        while not self._stopping:
            with client.watch("v1", "Pod", since=since) as events:
                for event in events:
                    if self._stopping or event["type"] == "ERROR":
                        return
                    since = event["object"]["metadata"]["resourceVersion"]
                    with self._changed:
                        self._see(event["type"], event["object"])

    def _see(self, kind: str, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if kind == "DELETED":
            self._pods.pop(uid, None)
        else:
            self._pods[uid] = pod
            self._remember(uid, pod)
            for fault in truth.faults(self._nodes, self._pods.values()):
                if fault not in self.faults:
                    self.faults.append(fault)
        self._changed.notify_all()

    def _remember(self, uid: str, pod: Object) -> None:
        labels = pod["metadata"].get("labels", {})
        if truth.JOB_LABEL not in labels:
            return
        nodes = self._jobs[labels[truth.JOB_LABEL], int(labels.get(truth.EPOCH_LABEL, 0))].setdefault(uid, set())
        if pod["spec"].get("nodeName"):
            nodes.add(pod["spec"]["nodeName"])
            if len(nodes) > 1:
                self.faults.append(f"pod {pod['metadata']['name']} was bound to {sorted(nodes)}")
