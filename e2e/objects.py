"""A small client of one API server for assertions: plain JSON in and out, no code shared with the spoke's client."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

Object = dict[str, Any]
PATIENCE_S = 10
WATCH_S = 25
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class ApiError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class ObjectClient:
    """Named by `apiVersion` and `Kind`; the plural and the scope are asked of the server once.

    The caller is who the token says or, where it is "", the certificate: a PEM file with the key in it.
    """

    def __init__(
        self, url: str, token: str, ca_pem: bytes, timeout_s: float = 30, certificate: Path | None = None
    ) -> None:
        context = ssl.create_default_context(cadata=ca_pem.decode())
        if certificate is not None:
            context.load_cert_chain(certificate)
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            verify=context,
            timeout=timeout_s,
            trust_env=False,
        )
        self._resources: dict[tuple[str, str], tuple[str, bool]] = {}

    def close(self) -> None:
        self._http.close()

    # -- any path ------------------------------------------------------------------------------------------------

    def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", **params: Any
    ) -> Any:
        """Raises ApiError with the server's own message.

        Waits out what every client of Kubernetes must: 429 (also said by an API server that has just started), and a
        connection that broke under a request that changes nothing.
        """
        deadline = time.monotonic() + PATIENCE_S
        content = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": content_type} if content else {}
        while True:
            try:
                answer = self._http.request(method, path, content=content, headers=headers, params=params)
            except httpx.TransportError:
                if method != "GET" or time.monotonic() > deadline:
                    raise
            else:
                if answer.status_code != 429 or time.monotonic() > deadline:
                    return _read(answer)
            time.sleep(0.1)

    def ready(self) -> bool:
        try:
            return self._http.get("/readyz").text == "ok"
        except httpx.HTTPError:
            return False

    def serves(self, api_version: str, kind: str) -> bool:
        try:
            self._resource(api_version, kind)
        except ApiError:
            return False
        return True

    # -- objects -------------------------------------------------------------------------------------------------

    def create(self, obj: Mapping[str, Any]) -> Object:
        metadata = obj["metadata"]
        path = self.path(obj["apiVersion"], obj["kind"], metadata.get("namespace", "default"))
        created: Object = self.request("POST", path, obj)
        return created

    def create_if_missing(self, obj: Mapping[str, Any]) -> None:
        try:
            self.create(obj)
        except ApiError as error:
            if error.status != 409:
                raise

    def get(self, api_version: str, kind: str, name: str, namespace: str = "default") -> Object | None:
        try:
            found: Object = self.request("GET", f"{self.path(api_version, kind, namespace)}/{name}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        """Every namespace where none is named."""
        params = {"labelSelector": labels} if labels else {}
        items: list[Object] = self.request("GET", self.path(api_version, kind, namespace), **params)["items"]
        return items

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str = "default", grace_s: int | None = None
    ) -> None:
        """With its dependents, in the background; what is gone already is no error."""
        options: Object = {"propagationPolicy": "Background"}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        try:
            self.request("DELETE", f"{self.path(api_version, kind, namespace)}/{name}", options)
        except ApiError as error:
            if error.status != 404:
                raise

    def merge(
        self, api_version: str, kind: str, name: str, patch: Object, namespace: str = "default", sub: str = ""
    ) -> Object:
        """A JSON merge patch of the object or of a subresource ("status")."""
        path = "/".join(filter(None, [self.path(api_version, kind, namespace), name, sub]))
        patched: Object = self.request("PATCH", path, patch, content_type="application/merge-patch+json")
        return patched

    def apply(self, obj: Mapping[str, Any], manager: str = "e2e") -> Object:
        metadata = obj["metadata"]
        path = f"{self.path(obj['apiVersion'], obj['kind'], metadata.get('namespace', 'default'))}/{metadata['name']}"
        applied: Object = self.request(
            "PATCH", path, obj, content_type="application/apply-patch+yaml", fieldManager=manager, force="true"
        )
        return applied

    @contextmanager
    def watch(
        self,
        api_version: str,
        kind: str,
        labels: str = "",
        since: str = "",
        *,
        fields: str = "",
        metadata_only: bool = False,
    ) -> Iterator[Iterator[Object]]:
        """Watch events of every namespace as they come, `{"type", "object"}`; from now on where `since` is not given.

        Ends when the server ends it, as it does with a reader that falls behind, and after WATCH_S in any case: a
        connection that a broken network left hanging would say nothing for ever.
        """
        params = {"watch": "true", "timeoutSeconds": str(WATCH_S)} | ({"labelSelector": labels} if labels else {})
        if fields:
            params["fieldSelector"] = fields
        if since:
            params["resourceVersion"] = since
        headers = {"Accept": METADATA_ONLY} if metadata_only else {}
        timeout = httpx.Timeout(30, read=WATCH_S + 5)
        path = self.path(api_version, kind)
        with self._http.stream("GET", path, params=params, headers=headers, timeout=timeout) as answer:
            answer.raise_for_status()
            yield (orjson.loads(line) for line in answer.iter_lines() if line)

    def path(self, api_version: str, kind: str, namespace: str = "") -> str:
        """The collection's path."""
        plural, namespaced = self._resource(api_version, kind)
        root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        return f"{root}/namespaces/{namespace}/{plural}" if namespaced and namespace else f"{root}/{plural}"

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        if (api_version, kind) not in self._resources:
            root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
            for resource in self.request("GET", root)["resources"]:
                if "/" not in resource["name"]:
                    self._resources[api_version, resource["kind"]] = (resource["name"], resource["namespaced"])
        try:
            return self._resources[api_version, kind]
        except KeyError:
            raise ApiError(404, f"{api_version} serves no {kind}") from None


def _read(answer: httpx.Response) -> Any:
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    body = orjson.loads(answer.content) if is_json else answer.text
    if answer.status_code >= 400:
        message = body.get("message", "") if isinstance(body, dict) else body
        raise ApiError(answer.status_code, f"{answer.request.method} {answer.request.url.path}: {message}")
    return body


def bound(pods: Sequence[Object]) -> list[Object]:
    return [pod for pod in pods if pod["spec"].get("nodeName")]
