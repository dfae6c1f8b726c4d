"""A Kubernetes API server as a ClusterPort: list and watch that outlive everything, apply, bind, delete, logs.

Watches resume from the last version they saw, bookmarks included; after a gap (410) they begin anew with a Snapshot.
They are asked to end every minute, and a silent one is given up shortly after that: a half-dead connection is noticed
without the kernel's help. Every other call is one attempt.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import datetime
from random import Random
from typing import Any
from urllib.parse import urlencode

import orjson

from spoke.cluster import kube_logs, kube_streams
from spoke.cluster.backoff import Backoff
from spoke.cluster.discovery import Discovery, Served
from spoke.cluster.kube_logs import Asked
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
    Unavailable,
    Upsert,
    bounded,
)
from spoke.cluster.rest import (
    APPLY,
    METADATA,
    Expired,
    Forbidden,
    NamespaceMissing,
    NotServed,
    Rest,
    connect,
    read_json,
)
from wire.tunnels import Process

FIELD_MANAGER = "muster"
_PAGE = 500
_WATCH_S = 60
_PROXY_S = 10.0
_SILENCE_S = _WATCH_S + 15.0
_PODS = Served("v1", "Pod", "pods", namespaced=True)


class KubeCluster:
    """Made by `open`."""

    def __init__(self, rest: Rest, rng: Random, clock: Callable[[], float] = time.monotonic) -> None:
        self._rest = rest
        self._rng = rng
        self._discovery = Discovery(rest, clock)

    @classmethod
    async def open(
        cls, kubeconfig: str = "", context: str = "", *, rng: Random, clock: Callable[[], float] = time.monotonic
    ) -> KubeCluster:
        """`kubeconfig` "" means the service account of the pod that this runs in. `clock` counts seconds."""
        return cls(await connect(kubeconfig, context), rng, clock)

    async def kinds(self) -> frozenset[str]:
        return await self._discovery.kinds()

    async def watch(self, selection: Selection) -> AsyncIterator[Change]:
        version = ""
        backoff = Backoff(self._rng)
        forbidden = False
        while True:
            try:
                served = await self._served(selection.api_version, selection.kind)
                if not version:
                    objects, version = await self._list(served, selection)
                    yield Snapshot(objects)
                async with aclosing(self._events(served, selection, version)) as events:
                    async for change, version in events:  # noqa: B007 - kept for the next round
                        backoff.reset()
                        forbidden = False
                        if change is not None:
                            yield change
                # A server that ends watches at once must not be asked in a tight loop.
                await backoff.wait()
            except Expired:
                version = ""
            except Forbidden:
                # A server that has just started forbids everything for a moment.
                if forbidden and await self._rest.is_ready():
                    raise
                forbidden = True
                await backoff.wait()
            except NotServed:
                self._discovery.forget()  # the next round finds out what that means
                await backoff.wait()
            except Unavailable:
                await backoff.wait()

    async def get(self, key: ObjectKey) -> Object:
        served = await self._served(key.api_version, key.kind)
        with self._noticing(served):
            found: dict[str, Any] = await self._rest.get(served.path(key.namespace, key.name))
        return found

    async def exists(self, key: ObjectKey) -> bool:
        served = await self._discovery.find(key.api_version, key.kind)
        if served is None and not self._discovery.is_missed(key.api_version, key.kind):
            return False
        if served is None:
            raise self._not_served(key.api_version, key.kind)
        try:
            with self._noticing(served):
                await self._rest.get(served.path(key.namespace, key.name), accept=METADATA)
        except NotFound:
            return False
        return True

    async def list(self, selection: Selection) -> Sequence[Object]:
        served = await self._served(selection.api_version, selection.kind)
        while True:
            try:
                return (await self._list(served, selection))[0]
            except Expired:  # the pages took longer than the server keeps versions
                continue

    async def create(self, obj: Object) -> None:
        served = await self._served(obj["apiVersion"], obj["kind"])
        namespace = obj["metadata"].get("namespace", "default") if served.namespaced else ""
        path = f"{served.path(namespace)}?fieldManager={FIELD_MANAGER}"
        with self._noticing(served):
            try:
                await self._rest.request("POST", path, obj)
            except NamespaceMissing:
                await self._make_namespace(namespace)
                await self._rest.request("POST", path, obj)

    async def update(self, obj: Object, *, subresource: str = "") -> Object:
        served = await self._served(obj["apiVersion"], obj["kind"])
        path = served.path(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        path = f"{path}/{subresource}" if subresource else path
        with self._noticing(served):
            answer = await self._rest.request("PUT", f"{path}?fieldManager={FIELD_MANAGER}", obj)
        updated: dict[str, Any] = read_json(answer)
        return updated

    async def apply(self, obj: Object, *, manager: str, force: bool) -> Object:
        served = await self._served(obj["apiVersion"], obj["kind"])
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        if served.namespaced and not namespace:
            raise Refused(f"{served.kind} {name} is of a namespace, and none is named")
        query = urlencode({"fieldManager": manager, "force": str(force).lower()})
        path = f"{served.path(namespace, name)}?{query}"
        with self._noticing(served):
            try:
                answer = await self._rest.request("PATCH", path, obj, content_type=APPLY)
            except NamespaceMissing:
                await self._make_namespace(namespace)
                answer = await self._rest.request("PATCH", path, obj, content_type=APPLY)
        became: dict[str, Any] = read_json(answer)
        return became

    async def delete(self, key: ObjectKey, *, uid: str = "", grace_s: float | None = None) -> None:
        served = await self._served(key.api_version, key.kind)
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_s is not None:
            options["gracePeriodSeconds"] = int(grace_s)
        try:
            with self._noticing(served):
                await self._rest.request("DELETE", served.path(key.namespace, key.name), options)
        except NotFound:
            return
        except Conflict:
            if not uid:
                raise
            # Another object of that name: not the one to delete.

    async def bind(self, binding: PodBinding) -> None:
        path = f"{_PODS.path(binding.namespace, binding.pod)}/binding"
        metadata = {"name": binding.pod, "uid": binding.uid, "annotations": dict(binding.annotations)}
        target = {"apiVersion": "v1", "kind": "Node", "name": binding.node}
        try:
            await self._rest.request(
                "POST", path, {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
            )
        except Conflict:
            pod = await self.get(ObjectKey("v1", "Pod", binding.namespace, binding.pod))
            if (pod["spec"].get("nodeName"), pod["metadata"]["uid"]) != (binding.node, binding.uid):
                raise

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
        found = await self.get(ObjectKey("v1", "Pod", namespace, pod))
        asked = Asked(follow, tail_lines, container, since, previous, after)
        async with aclosing(kube_logs.read(self._rest, found, asked)) as parts:
            async for part in parts:
                yield part

    async def execute(self, namespace: str, pod: str, process: Process, *, container: str = "") -> PodStream:
        found = await self.get(ObjectKey("v1", "Pod", namespace, pod))
        name = kube_logs.container_of(found, container)
        return await kube_streams.execute(self._rest, found, name, process)

    async def forward(self, namespace: str, pod: str, port: int, *, container: str = "") -> PodStream:
        found = await self.get(ObjectKey("v1", "Pod", namespace, pod))
        return await kube_streams.forward(self._rest, found, port)

    async def proxy_get(self, namespace: str, pod: str, port: int, path: str, *, limit: int) -> bytes:
        url = f"{_PODS.path(namespace, pod)}:{port}/proxy/{path}"
        answer = b""
        try:
            async with self._rest.stream(url, silence_s=_PROXY_S) as chunks:
                async for chunk in chunks:
                    answer = bounded(answer + chunk, limit)
        except (NotServed, NotFound) as error:
            raise NotFound(f"pod {namespace}/{pod} has no /{path} on port {port}: {error}") from error
        return answer

    async def close(self) -> None:
        await self._rest.close()

    async def _served(self, api_version: str, kind: str) -> Served:
        served = await self._discovery.find(api_version, kind)
        if served is None:
            raise self._not_served(api_version, kind)
        return served

    def _not_served(self, api_version: str, kind: str) -> ClusterError:
        if self._discovery.is_missed(api_version, kind):
            return Unavailable(f"the API server does not serve {api_version} {kind} at the moment")
        return Refused(f"the API server does not serve {api_version} {kind} (is its CRD installed?)")

    async def _list(self, served: Served, selection: Selection) -> tuple[Sequence[Object], str]:
        objects = []
        query = {"limit": str(_PAGE)} | _selector(selection)
        while True:
            with self._noticing(served):
                page = await self._rest.get(f"{served.path(selection.namespace)}?{urlencode(query)}")
            for item in page["items"] or ():  # a list's items leave out what the list says of itself
                objects.append(item | {"apiVersion": selection.api_version, "kind": selection.kind})
            token = page["metadata"].get("continue")
            if not token:
                return objects, page["metadata"]["resourceVersion"]
            query["continue"] = token

    @contextmanager
    def _noticing(self, served: Served) -> Iterator[None]:
        """A path that was known is not served any more: read what is, anew."""
        try:
            yield
        except NotServed as error:
            self._discovery.forget()
            raise self._not_served(served.api_version, served.kind) from error

    async def _events(
        self, served: Served, selection: Selection, version: str
    ) -> AsyncGenerator[tuple[Change | None, str], None]:
        """Changes after `version`, each with the version to resume from. Ends when the server ends it."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            # Spread, so that the watches do not all begin anew at once.
            "timeoutSeconds": str(_WATCH_S - self._rng.randrange(10)),
        } | _selector(selection)
        async with self._rest.stream(
            f"{served.path(selection.namespace)}?{urlencode(query)}", silence_s=_SILENCE_S
        ) as chunks:
            rest = b""
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield _change(line)

    async def _make_namespace(self, name: str) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            await self._rest.request("POST", f"/api/v1/namespaces?fieldManager={FIELD_MANAGER}", body)
        except Conflict:
            return  # somebody was faster


def _selector(selection: Selection) -> dict[str, str]:
    given = {"labelSelector": selection.label_selector, "fieldSelector": selection.field_selector}
    return {name: selector for name, selector in given.items() if selector}


def _change(line: bytes) -> tuple[Change | None, str]:
    event = orjson.loads(line)
    obj = event["object"]
    match event["type"]:
        case "ADDED" | "MODIFIED":
            return Upsert(obj), obj["metadata"]["resourceVersion"]
        case "DELETED":
            return Gone(obj), obj["metadata"]["resourceVersion"]
        case "BOOKMARK":
            return None, obj["metadata"]["resourceVersion"]
    if obj.get("code") == 410:
        raise Expired(obj.get("message", ""))
    raise Unavailable(f"the watch reported {obj.get('message', event)}")
