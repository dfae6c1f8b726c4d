"""A cluster in memory: the ClusterPort that unit tests, benchmarks and simulated spokes run against.

It keeps objects, tells watchers, binds pods and deletes dependents as an API server with its garbage collector would.
No controllers and no kubelets run in it: whoever uses it creates pods and writes status through `put`. Faults are
injected through `faults`, functions that see each call before it happens. It passes the port's contract suite.

Not promised: validation beyond names, admission, field managers of what is not applied.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any

from spoke.cluster import host_logs, host_selectors, merging
from spoke.cluster.port import (
    Change,
    ClusterError,
    Conflict,
    Gone,
    LogPart,
    NotFound,
    Object,
    ObjectKey,
    PodBinding,
    PodStream,
    Refused,
    Selection,
    Snapshot,
    Upsert,
    bounded,
)
from wire.tunnels import STDOUT, Process

CLUSTER_WIDE = frozenset(
    {
        "v1/Node",
        "v1/Namespace",
        "scheduling.k8s.io/v1/PriorityClass",
        "storage.k8s.io/v1/StorageClass",
        "resource.k8s.io/v1/DeviceClass",
        "resource.k8s.io/v1/ResourceSlice",
    }
)
DEFAULT_KINDS = frozenset(
    {
        *CLUSTER_WIDE,
        "v1/Pod",
        "v1/Event",
        "v1/ConfigMap",
        "v1/Secret",
        "v1/Service",
        "v1/PersistentVolumeClaim",
        "coordination.k8s.io/v1/Lease",
        "batch/v1/Job",
        "apps/v1/Deployment",
        "apps/v1/StatefulSet",
        "apps/v1/DaemonSet",
    }
)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

# Sees (verb, object key or None) before the call happens; an error it returns is raised instead.
Fault = Callable[[str, ObjectKey | None], ClusterError | None]


class FakeCluster:
    """`nodes` are put at once. `calls` counts what was asked, by verb."""

    def __init__(self, nodes: Iterable[Object] = (), *, kinds: Iterable[str] = DEFAULT_KINDS) -> None:
        self.faults: list[Fault] = []
        self.calls: dict[str, int] = {}
        self.pod_logs: dict[tuple[str, str], list[bytes]] = {}
        self.pod_pages: dict[tuple[str, str, int, str], bytes] = {}  # (namespace, pod, port, path) -> what is answered
        self.ended_logs: set[tuple[str, str]] = set()
        self.streams: list[FakeStream] = []
        self._kinds = frozenset(kinds)
        self._objects: dict[ObjectKey, dict[str, Any]] = {}
        self._watchers: list[tuple[Selection, asyncio.Queue[Change]]] = []
        self._version = 0
        self._log_grew = asyncio.Event()
        for node in nodes:
            self.put(node)

    # ---- the port ----

    async def kinds(self) -> frozenset[str]:
        self._called("kinds", None)
        return self._kinds

    async def watch(self, selection: Selection) -> AsyncIterator[Change]:
        self._called("watch", None)
        self._served(selection.api_version, selection.kind)
        changes: asyncio.Queue[Change] = asyncio.Queue()
        entry = (selection, changes)
        changes.put_nowait(Snapshot(self._selected(selection)))
        self._watchers.append(entry)
        try:
            while True:
                yield await changes.get()
        finally:
            self._watchers.remove(entry)

    async def get(self, key: ObjectKey) -> Object:
        await self._call("get", key)
        if key not in self._objects:
            raise NotFound(f'{key.kind} "{key.name}" not found')
        return self._objects[key]

    async def exists(self, key: ObjectKey) -> bool:
        await self._call("exists", key)
        return key in self._objects

    async def list(self, selection: Selection) -> Sequence[Object]:
        await self._call("list", None)
        self._served(selection.api_version, selection.kind)
        return self._selected(selection)

    async def create(self, obj: Object) -> None:
        key = key_of(obj)
        await self._call("create", key)
        if key in self._objects:
            raise Conflict(f'{key.kind} "{key.name}" already exists')
        self._check(obj)
        self._ensure_namespace(key.namespace)
        self.put(obj)

    async def update(self, obj: Object, *, subresource: str = "") -> Object:
        key = key_of(obj)
        await self._call("update", key)
        present = self._objects.get(key)
        if present is None:
            raise NotFound(f'{key.kind} "{key.name}" not found')
        if present["metadata"]["resourceVersion"] != obj["metadata"].get("resourceVersion"):
            raise Conflict(f'{key.kind} "{key.name}" has been modified; apply your changes to the latest version')
        status = {"status": obj.get("status", {})}
        if subresource:
            return self.put({**present, **status})
        return self.put({**obj, **({"status": present["status"]} if "status" in present else {})})

    async def apply(self, obj: Object, *, manager: str, force: bool) -> Object:
        key = key_of(obj)
        await self._call("apply", key)
        if key.namespace and not obj["metadata"].get("namespace"):
            raise Refused(f"{key.kind} {key.name} is of a namespace, and none is named")
        self._check(obj)
        self._ensure_namespace(key.namespace)
        present = self._objects.get(key)
        merged = merging.applied(present, obj, manager, force=force)
        return merged if merged == present else self.put(merged)

    async def delete(self, key: ObjectKey, *, uid: str = "", grace_s: float | None = None) -> None:
        await self._call("delete", key)
        present = self._objects.get(key)
        if present is not None and uid in ("", present["metadata"]["uid"]):
            self.remove(key)

    async def bind(self, binding: PodBinding) -> None:
        key = ObjectKey("v1", "Pod", binding.namespace, binding.pod)
        await self._call("bind", key)
        pod = self._objects.get(key)
        if pod is None:
            raise NotFound(f'pods "{binding.pod}" not found')
        if binding.uid != pod["metadata"]["uid"]:
            raise Conflict(f'pod "{binding.pod}" has uid {pod["metadata"]["uid"]}, not {binding.uid}')
        bound_to = pod["spec"].get("nodeName", "")
        if bound_to == binding.node:
            return
        if bound_to:
            raise Conflict(f'pod {binding.pod} is already assigned to node "{bound_to}"')
        pod = deepcopy(pod)
        pod["spec"]["nodeName"] = binding.node
        pod["metadata"].setdefault("annotations", {}).update(binding.annotations)
        self.put(pod)

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
        """Its lines were all written at the beginning of 2000, by one run of one container."""
        self._called("logs", ObjectKey("v1", "Pod", namespace, pod))
        if ObjectKey("v1", "Pod", namespace, pod) not in self._objects:
            raise NotFound(f'pods "{pod}" not found')
        lines = self.pod_logs.setdefault((namespace, pod), [])
        if previous and not after:
            raise NotFound(f'pod "{pod}" has no earlier run')
        read = max(0, len(lines) - tail_lines) if tail_lines else 0
        offset = host_logs.position(after)[1] if after else sum(map(len, lines[:read]))
        if after:
            read = next(n for n in range(len(lines) + 1) if sum(map(len, lines[:n])) >= offset)
        while True:
            while read < len(lines):
                read, line = read + 1, lines[read]
                offset += len(line)
                yield LogPart(b"2000-01-01T00:00:00Z " + line, f"o0:{offset}")
            if not follow or (namespace, pod) in self.ended_logs:
                return
            self._log_grew.clear()
            await self._log_grew.wait()

    async def execute(self, namespace: str, pod: str, process: Process, *, container: str = "") -> PodStream:
        return await self._stream("execute", namespace, pod)

    async def forward(self, namespace: str, pod: str, port: int, *, container: str = "") -> PodStream:
        return await self._stream("forward", namespace, pod)

    async def _stream(self, verb: str, namespace: str, pod: str) -> PodStream:
        key = ObjectKey("v1", "Pod", namespace, pod)
        await self._call(verb, key)
        if key not in self._objects:
            raise NotFound(f'pods "{pod}" not found')
        self.streams.append(FakeStream())
        return self.streams[-1]

    async def proxy_get(self, namespace: str, pod: str, port: int, path: str, *, limit: int) -> bytes:
        await self._call("proxy_get", ObjectKey("v1", "Pod", namespace, pod))
        served = self.pod_pages.get((namespace, pod, port, path))
        if served is None:
            raise NotFound(f'pods "{pod}" does not listen on {port}')
        return bounded(served, limit)

    async def close(self) -> None:
        """Nothing is held."""

    # ---- the part that controllers, kubelets and tests play ----

    def put(self, obj: Object) -> Object:
        """Create or replace, uid and version filled in, watchers told. Returns the stored object."""
        key = key_of(obj)
        before = self._objects.get(key)
        stored = deepcopy(dict(obj))
        self._version += 1
        metadata = stored["metadata"] = dict(stored["metadata"])
        if key.namespace:
            metadata["namespace"] = key.namespace
        metadata["uid"] = before["metadata"]["uid"] if before else metadata.get("uid", f"uid-{self._version}")
        metadata["resourceVersion"] = str(self._version)
        if key.kind == "Pod":
            stored.setdefault("spec", {})
            stored.setdefault("status", {"phase": "Pending"})
        self._objects[key] = stored
        self._tell(before, stored)
        return stored

    def remove(self, key: ObjectKey) -> None:
        """Delete it and, as the garbage collector does, whatever it owns."""
        gone = self._objects.pop(key, None)
        if gone is None:
            return
        self._version += 1
        self._tell(gone, None)
        uid = gone["metadata"]["uid"]
        for other in [k for k, o in self._objects.items() if uid in _owners(o)]:
            self.remove(other)

    def gap(self) -> None:
        """As after a 410: every watcher gets everything anew."""
        for selection, changes in self._watchers:
            changes.put_nowait(Snapshot(self._selected(selection)))

    def objects(self, api_version: str, kind: str) -> Sequence[Object]:
        return [o for k, o in self._objects.items() if (k.api_version, k.kind) == (api_version, kind)]

    def log(self, namespace: str, pod: str, *lines: bytes, end: bool = False) -> None:
        self.pod_logs.setdefault((namespace, pod), []).extend(lines)
        if end:
            self.ended_logs.add((namespace, pod))
        self._log_grew.set()

    # ---- inside ----

    async def _call(self, verb: str, key: ObjectKey | None) -> None:
        self._called(verb, key)
        await asyncio.sleep(0)  # a real cluster never answers within the same turn of the loop

    def _called(self, verb: str, key: ObjectKey | None) -> None:
        self.calls[verb] = self.calls.get(verb, 0) + 1
        for fault in self.faults:
            error = fault(verb, key)
            if error is not None:
                raise error

    def _served(self, api_version: str, kind: str) -> None:
        if f"{api_version}/{kind}" not in self._kinds:
            raise Refused(f"the server does not serve {api_version}/{kind}")

    def _check(self, obj: Object) -> None:
        self._served(obj["apiVersion"], obj["kind"])
        name = obj["metadata"]["name"]
        if not _NAME.fullmatch(name):
            raise Refused(f'{obj["kind"]} "{name}" is invalid: metadata.name: must be a lowercase RFC 1123 subdomain')

    def _ensure_namespace(self, namespace: str) -> None:
        if namespace and ObjectKey("v1", "Namespace", "", namespace) not in self._objects:
            self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    def _selected(self, selection: Selection) -> Sequence[Object]:
        return [o for o in self._objects.values() if _matches(selection, o)]

    def _tell(self, before: Object | None, after: Object | None) -> None:
        for selection, changes in self._watchers:
            if after is not None and _matches(selection, after):
                changes.put_nowait(Upsert(after))
            elif before is not None and _matches(selection, before):
                changes.put_nowait(Gone(before))


class FakeStream:
    """Whatever it is: it says again what it is told, and ends well once it is told no more."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.sizes: list[tuple[int, int]] = []
        self.is_closed = False
        self._told: asyncio.Queue[bytes | None] = asyncio.Queue(1)

    async def write(self, data: bytes) -> None:
        await self._told.put(data)

    async def write_end(self) -> None:
        await self._told.put(None)

    async def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    async def read(self) -> tuple[int, bytes] | None:
        data = await self._told.get()
        if data is not None:
            return STDOUT, data
        self.exit_code = 0
        return None

    async def close(self) -> None:
        self.is_closed = True


def key_of(obj: Object) -> ObjectKey:
    api_version, kind, metadata = obj["apiVersion"], obj["kind"], obj["metadata"]
    wide = f"{api_version}/{kind}" in CLUSTER_WIDE
    return ObjectKey(api_version, kind, "" if wide else metadata.get("namespace", "default"), metadata["name"])


def _matches(selection: Selection, obj: Object) -> bool:
    if (selection.api_version, selection.kind) != (obj["apiVersion"], obj["kind"]):
        return False
    if selection.namespace and selection.namespace != obj["metadata"].get("namespace"):
        return False
    labels = obj["metadata"].get("labels") or {}
    return host_selectors.fields_match(selection.field_selector, obj) and all(
        _label_matches(term, labels) for term in selection.label_selector.split(",") if term
    )


def _label_matches(term: str, labels: Mapping[str, str]) -> bool:
    key, equals, value = term.partition("=")
    return labels.get(key) == value if equals else key in labels


def _owners(obj: Object) -> set[str]:
    return {owner["uid"] for owner in obj["metadata"].get("ownerReferences", ())}
