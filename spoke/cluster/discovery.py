"""Which kinds an API server serves and under which paths. Kinds come and go with their CRDs while the agent runs.

One request where the server aggregates discovery (Kubernetes 1.26 and later), one a group where it does not.

An API server that has just started is ready before it serves its CRDs again, and its discovery leaves them out. So a
kind that was there is gone only after a while: until then it is looked for every second, and still counts as one of
the cluster's kinds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
_STALE_S = 30.0  # a kind that is not known is looked for again after so long
_MISSED_STALE_S = 1.0  # the same, for one that was known
_MISSED_S = 60.0  # a kind that is gone for so long is not served any more


class Getter(Protocol):
    async def get(self, path: str, *, accept: str = ...) -> Any: ...


@dataclass(frozen=True, slots=True)
class Served:
    """`plural` is the name in paths ("pytorchjobs")."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        root = "/apis" if "/" in self.api_version else "/api"
        scope = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        tail = f"/{quote(name, safe='')}" if name else ""
        return f"{root}/{self.api_version}{scope}/{self.plural}{tail}"


class Discovery:
    def __init__(self, rest: Getter, clock: Callable[[], float] = time.monotonic) -> None:
        self._rest = rest
        self._clock = clock
        self._served: Mapping[str, Served] = {}
        self._missing_since: dict[str, float | None] = {}  # every kind ever served; None: served when last read
        self._read_at = -_STALE_S
        self._reading = asyncio.Lock()

    async def find(self, api_version: str, kind: str) -> Served | None:
        known = self._served.get(f"{api_version}/{kind}")
        if known is None:
            await self._refresh()
            known = self._served.get(f"{api_version}/{kind}")
        return known

    async def kinds(self) -> frozenset[str]:
        await self._refresh()
        return frozenset(self._served) | self._missed(self._clock())

    def is_missed(self, api_version: str, kind: str) -> bool:
        """Not served now, and was a moment ago."""
        return f"{api_version}/{kind}" in self._missed(self._clock())

    def forget(self) -> None:
        """A path that was known is not served any more: read anew at the next question."""
        self._served = {}
        self._read_at = -_STALE_S

    async def _refresh(self) -> None:
        async with self._reading:
            now = self._clock()
            if self._served and now - self._read_at < (_MISSED_STALE_S if self._missed(now) else _STALE_S):
                return
            core = await self._rest.get("/api", accept=_AGGREGATED)
            groups = await self._rest.get("/apis", accept=_AGGREGATED)
            lists = [await self._listed(document) for document in (core, groups)]
            self._served = {f"{s.api_version}/{s.kind}": s for found in lists for s in found}
            self._read_at = self._clock()
            for name, since in self._missing_since.items():
                self._missing_since[name] = self._read_at if since is None else since
            self._missing_since |= dict.fromkeys(self._served)

    def _missed(self, now: float) -> frozenset[str]:
        return frozenset(
            name
            for name, since in self._missing_since.items()
            if name not in self._served and (since is None or now - since < _MISSED_S)
        )

    async def _listed(self, document: Mapping[str, Any]) -> list[Served]:
        if document.get("kind") == "APIGroupDiscoveryList":
            return list(_aggregated(document))
        if document.get("kind") == "APIVersions":
            paths = [f"/api/{version}" for version in document["versions"]]
        else:
            paths = [f"/apis/{v['groupVersion']}" for group in document["groups"] for v in group["versions"]]
        listed = await asyncio.gather(*(self._rest.get(path) for path in paths))
        return [served for resources in listed for served in _plain(resources)]


def _aggregated(document: Mapping[str, Any]) -> Iterable[Served]:
    for group in document["items"]:
        name = group["metadata"].get("name", "")
        for version in group["versions"]:
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for resource in version.get("resources", ()):
                kind = (resource.get("responseKind") or {}).get("kind", "")
                if "watch" in resource["verbs"] and kind:
                    yield Served(api_version, kind, resource["resource"], resource["scope"] == "Namespaced")


def _plain(resources: Mapping[str, Any]) -> Iterable[Served]:
    for resource in resources["resources"]:
        if "watch" in resource["verbs"] and "/" not in resource["name"]:
            yield Served(resources["groupVersion"], resource["kind"], resource["name"], resource["namespaced"])
