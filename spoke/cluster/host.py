"""The host cluster: Kubernetes' pods as processes of this machine, behind the same port as the real thing.

For a laptop, the demo and a bare edge box. It keeps objects (`host_store`), plays the workloads' controllers
(`host_controllers`) and the kubelet (`host_pods` decides, `host_runs` starts and stops); nodes come from `host_nodes`.
A spoke killed at any moment and started again on the same state directory carries on where the directory says.

Not promised: isolation (a pod is a process of this user, its image is ignored), cluster DNS, probes, resource limits.
Each pod's status says in its message what was left out of its spec.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

from placement.kinds.catalogue import Catalogue
from spoke.cluster import host_logs, host_pages, host_pods, host_streams, merging
from spoke.cluster.host_controllers import Controllers
from spoke.cluster.host_events import HostEvents
from spoke.cluster.host_kubelet import DEFAULT_GRACE_S, Kubelet
from spoke.cluster.host_runs import Run, Runs
from spoke.cluster.host_store import HostStore, key_of, rfc3339
from spoke.cluster.port import (
    Change,
    ClusterError,
    Conflict,
    LogPart,
    NotFound,
    Object,
    ObjectKey,
    PodBinding,
    PodStream,
    Refused,
    Selection,
    Unavailable,
)
from wire.tunnels import Process

TICK_S = 0.1  # how often processes are looked at while there are any
CLUSTER_WIDE = frozenset({"v1/Node", "v1/Namespace"})
KEPT = frozenset(
    f"v1/{kind}"
    for kind in ("Pod", "ConfigMap", "Secret", "Service", "ServiceAccount", "PersistentVolumeClaim", "Event")
)
_ALWAYS_THERE = frozenset({"PersistentVolumeClaim", "ServiceAccount"})
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class StateInUse(ClusterError):
    """Another process runs a host cluster on this state directory."""


class HostCluster:
    """A ClusterPort. Make it with `open`; `close` leaves the pods' processes running, as a kubelet does."""

    def __init__(
        self, state: Path, nodes: Sequence[Object], catalogue: Catalogue, clock: Callable[[], datetime]
    ) -> None:
        self._state = state
        self._clock = clock
        # A kind whose controller nobody plays here would be taken, and never run.
        played = {k.resource_kind for k in catalogue.kinds if k.rules.emulate is not None or k.kind == "Pod"}
        self._kinds = frozenset(CLUSTER_WIDE | KEPT | played)
        self._store = HostStore(state / "objects.sqlite", clock)
        self._runs = Runs(state)
        self._controllers = Controllers(self._store, catalogue, lambda pod: self._delete(pod, None))
        self._events = HostEvents(self._store, clock)
        self._kubelet = Kubelet(self._store, self._runs, state / "claims", clock, self._events)
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lock: int | None = None
        self._renew_nodes(nodes)

    @classmethod
    async def open(
        cls,
        state: Path,
        nodes: Sequence[Object],
        *,
        catalogue: Catalogue | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> HostCluster:
        """Takes over whatever `state` holds. Raises StateInUse."""
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = await _lock(state)
        cluster = cls(state.resolve(), nodes, catalogue or Catalogue.builtin(), clock)
        cluster._lock = lock
        cluster._collect()
        cluster._task = asyncio.create_task(cluster._work(), name="host-cluster")
        return cluster

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._store.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # ---- the port ----

    async def kinds(self) -> frozenset[str]:
        return self._kinds

    async def watch(self, selection: Selection) -> AsyncIterator[Change]:
        self._served(selection.api_version, selection.kind)
        async for change in self._store.watch(selection):
            yield change

    async def get(self, key: ObjectKey) -> Object:
        return self._store.get(key)

    async def exists(self, key: ObjectKey) -> bool:
        """Claims come into being as they are mounted, and accounts are nobody's here."""
        return key.kind in _ALWAYS_THERE or self._store.find(key) is not None

    async def list(self, selection: Selection) -> Sequence[Object]:
        self._served(selection.api_version, selection.kind)
        return self._store.list(selection)

    async def create(self, obj: Object) -> None:
        obj = self._accepted(obj)
        key = key_of(obj)
        if self._store.find(key) is not None:
            raise Conflict(f'{key.kind} "{key.name}" already exists')
        self._admit(obj)

    async def update(self, obj: Object, *, subresource: str = "") -> Object:
        """Of workloads, whose controllers then make and end pods. Their templates are those they were made with."""
        if subresource or not self._controllers.has(obj["apiVersion"], obj["kind"]):
            raise Refused(f"the host cluster changes no {obj['kind']}{f'/{subresource}' if subresource else ''}")
        present = self._store.get(key_of(obj))
        if obj["metadata"].get("resourceVersion") != present["metadata"]["resourceVersion"]:
            raise Conflict(f'{obj["kind"]} "{obj["metadata"]["name"]}" has changed since it was read')
        changed = self._store.put({**present, "spec": obj["spec"]})
        self._woken.set()
        return changed

    async def apply(self, obj: Object, *, manager: str, force: bool) -> Object:
        if f"{obj['apiVersion']}/{obj['kind']}" not in CLUSTER_WIDE and not obj["metadata"].get("namespace"):
            raise Refused(f"{obj['kind']} {obj['metadata'].get('name')} is of a namespace, and none is named")
        obj = self._accepted(obj)
        key = key_of(obj)
        merged = merging.applied(self._store.find(key), obj, manager, force=force)
        if self._store.find(key) is None:
            self._admit(merged)
        else:
            self._store.put(merged)
            self._woken.set()
        return self._store.get(key)

    async def delete(self, key: ObjectKey, *, uid: str = "", grace_s: float | None = None) -> None:
        present = self._store.find(key)
        if present is None or uid not in ("", present["metadata"]["uid"]):
            return
        with self._store.together():
            self._delete(present, grace_s)
        self._woken.set()

    async def bind(self, binding: PodBinding) -> None:
        pod = self._store.get(ObjectKey("v1", "Pod", binding.namespace, binding.pod))
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName", "")
        if binding.uid and binding.uid != uid:
            raise Conflict(f'pod "{binding.pod}" has uid {uid}, not {binding.uid}')
        if node == binding.node:
            return
        if node:
            raise Conflict(f'pod "{binding.pod}" is already assigned to node "{node}"')
        if host_pods.is_ending(pod):
            raise Conflict(f'pod "{binding.pod}" is being deleted')
        if self._store.find(ObjectKey("v1", "Node", "", binding.node)) is None:
            raise Refused(f'node "{binding.node}" not found')
        annotations = {**(pod["metadata"].get("annotations") or {}), **binding.annotations}
        self._store.put(
            {
                **pod,
                "metadata": {**pod["metadata"], "annotations": annotations},
                "spec": {**pod["spec"], "nodeName": binding.node},
            }
        )
        words = f"Successfully assigned {binding.namespace}/{binding.pod} to {binding.node}"
        self._events.tell(pod, "Scheduled", words, by="scheduler")
        self._woken.set()

    async def logs(
        self,
        namespace: str,
        pod: str,
        *,
        follow: bool,
        tail_lines: int = 0,
        container: str = "",
        since: datetime | None = None,
        previous: bool = False,
        after: str = "",
    ) -> AsyncIterator[LogPart]:
        found, name = self._container(namespace, pod, container)
        uid = found["metadata"]["uid"]
        source = host_logs.read(
            lambda: self._runs.of_pod(uid).get(name),
            pod,
            follow=follow,
            tail_lines=tail_lines,
            since=since,
            previous=previous,
            after=after,
        )
        async with aclosing(source) as parts:
            async for part in parts:
                yield part

    async def proxy_get(self, namespace: str, pod: str, port: int, path: str, *, limit: int) -> bytes:
        """Pods here share this machine's network."""
        found = await self.get(ObjectKey("v1", "Pod", namespace, pod))
        if (found.get("status") or {}).get("phase") != "Running":
            raise NotFound(f"pod {namespace}/{pod} does not run")
        return await host_pages.get(port, path, limit)

    def _container(self, namespace: str, pod: str, container: str) -> tuple[Object, str]:
        """The pod and the name of its container; "" is the first one's. Raises NotFound."""
        found = self._store.get(ObjectKey("v1", "Pod", namespace, pod))
        name = container or found["spec"]["containers"][0]["name"]
        names = [c["name"] for c in (*found["spec"]["containers"], *(found["spec"].get("initContainers") or ()))]
        if name not in names:
            raise NotFound(f'container "{name}" not found in pod "{pod}"; it has {", ".join(names)}')
        return found, name

    async def execute(self, namespace: str, pod: str, process: Process, *, container: str = "") -> PodStream:
        return await host_streams.execute(self._run_of(namespace, pod, container), process)

    async def forward(self, namespace: str, pod: str, port: int, *, container: str = "") -> PodStream:
        found = self._store.get(ObjectKey("v1", "Pod", namespace, pod))
        names = [container] if container else [one["name"] for one in found["spec"]["containers"]]
        runs = [self._run_of(namespace, pod, name) for name in names]
        for run in runs[:-1]:
            if port in await asyncio.to_thread(host_streams.listened, run.directory):
                return await host_streams.forward(run, port)
        return await host_streams.forward(runs[-1], port)

    def _run_of(self, namespace: str, pod: str, container: str) -> Run:
        """Raises NotFound, Unavailable."""
        found, name = self._container(namespace, pod, container)
        run = self._runs.of_pod(found["metadata"]["uid"]).get(name)
        if run is None:
            raise Unavailable(f'pod "{pod}" has not started yet')
        return run

    # ---- what arrives ----

    def _served(self, api_version: str, kind: str) -> None:
        if f"{api_version}/{kind}" not in self._kinds:
            raise Refused(f"the host cluster does not serve {api_version}/{kind}")

    def _accepted(self, obj: Object) -> Object:
        """The object with its namespace filled in. Raises Refused."""
        self._served(obj["apiVersion"], obj["kind"])
        kind, metadata = obj["kind"], dict(obj["metadata"])
        if not _NAME.fullmatch(metadata.get("name", "")):
            raise Refused(
                f'{kind} "{metadata.get("name", "")}" is invalid: metadata.name: must be lowercase letters, digits, '
                "'-' or '.', and start and end with a letter or digit"
            )
        if f"{obj['apiVersion']}/{kind}" not in CLUSTER_WIDE:
            metadata["namespace"] = metadata.get("namespace") or "default"
        if kind == "Pod" and not (obj.get("spec") or {}).get("containers"):
            raise Refused(f'Pod "{metadata["name"]}" is invalid: spec.containers: a pod needs at least one')
        return {**obj, "metadata": metadata}

    def _admit(self, obj: Object) -> None:
        namespace = obj["metadata"].get("namespace", "")
        with self._store.together():
            if namespace and self._store.find(ObjectKey("v1", "Namespace", "", namespace)) is None:
                self._store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            # Its status is this cluster's to say, whatever came along.
            stateless = {key: value for key, value in obj.items() if key != "status"}
            self._store.create(stateless | ({"status": host_pods.PENDING} if obj["kind"] == "Pod" else {}))
        self._woken.set()

    def _delete(self, obj: Object, grace_s: float | None) -> None:
        """The object at once, its dependents with it; a pod that has processes once they have ended."""
        uid = obj["metadata"]["uid"]
        dependents = [other for other in self._store.objects_by_key().values() if uid in _owners(other)]
        if obj["kind"] == "Pod" and host_pods.is_bound(obj):
            self._end(obj, grace_s)
        else:
            self._store.remove(key_of(obj))
        for dependent in dependents:
            self._delete(dependent, grace_s)

    def _end(self, pod: Object, grace_s: float | None) -> None:
        metadata = pod["metadata"]
        grace = pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_S) if grace_s is None else grace_s
        grace = min(grace, metadata.get("deletionGracePeriodSeconds", grace))  # asked again: never longer
        if not host_pods.is_ending(pod):
            names = ", ".join(one["name"] for one in pod["spec"]["containers"])
            self._events.tell(pod, "Killing", f"Stopping container {names}")
        ending = {"deletionGracePeriodSeconds": grace, "deletionTimestamp": rfc3339(self._clock())}
        self._store.put({**pod, "metadata": {**metadata, **ending}})

    # ---- the work ----

    async def _work(self) -> None:
        """Looks at everything after each change, and every tick while processes run or restarts are due."""
        while True:
            self._woken.clear()
            active = self._turn()
            try:
                async with asyncio.timeout(TICK_S if active else None):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def _turn(self) -> bool:
        """One round; whether there is anything to come back for without being woken."""
        with self._store.together():
            self._controllers.reconcile()
            active = self._kubelet.attend()
            self._controllers.reconcile()
        return active

    def _renew_nodes(self, nodes: Sequence[Object]) -> None:
        """The file may have changed since the last time: what it no longer names goes."""
        named = {key_of(node) for node in nodes}
        with self._store.together():
            for key in [key for key in self._store.objects_by_key() if key.kind == "Node" and key not in named]:
                self._store.remove(key)
            for node in nodes:
                present = self._store.find(key_of(node))
                if present is None:
                    self._store.create(node)
                else:
                    self._store.put({**present, **node, "metadata": {**present["metadata"], **node["metadata"]}})

    def _collect(self) -> None:
        """After a crash: dependents whose owner is gone, and directories of pods that are."""
        objects = self._store.objects_by_key().values()
        uids = {obj["metadata"]["uid"] for obj in objects}
        with self._store.together():
            for obj in objects:
                if _owners(obj) and not _owners(obj) & uids and not host_pods.is_ending(obj):
                    self._delete(obj, None)
        self._kubelet.forget_all_but({obj["metadata"]["uid"] for obj in objects if obj["kind"] == "Pod"})


async def _lock(state: Path) -> int:
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    # A spoke killed while it was starting a shim holds on for another moment: the fork has the lock until its exec.
    for _ in range(20):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            return lock
    os.close(lock)
    raise StateInUse(f"{state} is in use by another spoke; stop it, or give this one a directory of its own")


def _owners(obj: Object) -> set[str]:
    return {owner["uid"] for owner in obj["metadata"].get("ownerReferences") or ()}
