"""HTTP to one Kubernetes API server: who we are, connections, and errors in the port's words.

`kubernetes.aio` reads kubeconfigs and in-cluster credentials (client certificates, tokens and their renewal, exec
plugins) and makes the TLS session. Objects stay plain JSON read by orjson: the generated models cost several times
more than the request itself. What is posted, bindings above all, goes over `exchange`; everything else, and all of it
where there is a proxy, over aiohttp. One attempt a call; who calls decides whether to try again.

Not promised: a client certificate that an exec plugin gives is not renewed while the agent runs; its tokens are.
"""

from __future__ import annotations

import asyncio
import os
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import kubernetes.aio.config
import orjson
import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from yarl import URL

from spoke.cluster.exchange import Exchange
from spoke.cluster.port import ClusterError, Conflict, NotFound, Refused, Unavailable

kube_config: Any = kubernetes.aio.config  # without annotations
JSON = "application/json"
APPLY = "application/apply-patch+yaml"  # which JSON is
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"  # an object without what is in it

_AT_ONCE = 64  # requests in flight, watches and logs not counted
_TIMEOUT_S = 60
_TIMEOUT = aiohttp.ClientTimeout(total=_TIMEOUT_S, sock_connect=10)
_LARGEST_MESSAGE = 4 * 1024 * 1024  # bytes, of a WebSocket
_RENEW_S = 240  # exec plugins' tokens live for a quarter of an hour and more
_READ_AGAIN_S = 60.0  # token files, as in-cluster ones


class Expired(Exception):
    """The version asked for is compacted away (410): read anew."""


class NamespaceMissing(NotFound):
    """The object's namespace does not exist (or it is the namespace that was asked for)."""


class BadKubeconfig(ClusterError):
    """There is no API server to talk to: the file, its context or this pod's service account is missing or damaged."""


class Forbidden(Refused):
    """The authorizer says no: the role lacks a rule, or the API server has just started and not read its roles yet."""


class NotServed(Refused):
    """The path is unknown to the API server: no such kind, or no such version of it."""


async def connect(kubeconfig: str = "", context: str = "") -> Rest:
    """By kubeconfig file and context, or where no file is named as this pod's service account. Raises BadKubeconfig."""
    configuration = Configuration()
    configuration.connection_pool_maxsize = 0  # no limit: watches hold connections; `_AT_ONCE` bounds the rest
    configuration.client_session_kwargs = {
        "cookie_jar": aiohttp.DummyCookieJar(),
        # Looking the environment's proxies up costs more than the request; done only where there is one.
        "trust_env": any(name.lower() in ("https_proxy", "http_proxy", "all_proxy") for name in os.environ),
    }
    renewing = None
    try:
        if kubeconfig:
            loader = await kube_config.load_kube_config(
                config_file=kubeconfig,
                context=context or None,
                client_configuration=configuration,
                persist_config=False,
            )
            renewing = asyncio.create_task(kube_config.refresh_token(loader, configuration, _RENEW_S))
            _follow_token_file(loader, configuration)
        else:
            kube_config.load_incluster_config(configuration)
    except (kube_config.ConfigException, OSError, ValueError, AttributeError, TypeError, yaml.YAMLError) as error:
        # The loader stumbles over a damaged file in many ways.
        where = kubeconfig or "the service account of this pod (outside of a cluster, give a kubeconfig)"
        raise BadKubeconfig(f"{where}: {error}") from error
    return Rest(configuration, renewing)


def _follow_token_file(loader: Any, configuration: Any) -> None:
    """The loader reads a kubeconfig's `tokenFile` once; whoever rotates it counts on its being read again."""
    if "tokenFile" not in (loader._user or ()) or "exec" in loader._user:
        return
    read_at = time.monotonic()

    def renew(given: Configuration) -> None:
        nonlocal read_at
        if time.monotonic() - read_at >= _READ_AGAIN_S and loader._load_user_token():
            read_at = time.monotonic()
            given.api_key["BearerToken"] = loader.token

    configuration.refresh_api_key_hook = renew


class Rest:
    """Made by `connect`. For many tasks of one event loop at once."""

    def __init__(self, configuration: Configuration, renewing: asyncio.Task[None] | None = None) -> None:
        self._configuration = configuration
        self._renewing = renewing
        self._base = configuration.host.rstrip("/")
        self._url = URL(self._base)
        self._sessions = _Sessions(configuration)
        self._exchange = _exchange(configuration, self._sessions, self._url)
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def get(self, path: str, *, accept: str = JSON) -> Any:
        return read_json(await self.request("GET", path, accept=accept))

    async def request(
        self, method: str, path: str, body: Any = None, *, accept: str = JSON, content_type: str = JSON
    ) -> bytes:
        """`path` holds the query. Raises the port's errors, Expired on 410."""
        headers = {"Accept": accept}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = orjson.dumps(body)
        try:
            return await self._attempt(method, path, headers, data)
        except Forbidden:
            if not await self.is_ready():
                raise Unavailable(f"{self._base} is starting") from None
            return await self._attempt(method, path, headers, data)

    async def is_ready(self) -> bool:
        """Whether the API server has read its roles, so that what it forbids is forbidden."""
        try:
            await self._attempt("GET", "/readyz", {"Accept": "*/*"}, None)
        except (ClusterError, Expired):
            return False
        return True

    @asynccontextmanager
    async def stream(self, path: str, *, silence_s: float | None) -> AsyncIterator[AsyncIterator[bytes]]:
        """Chunks of a long answer as they come; Unavailable after `silence_s` without one."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence_s)
        async with self._answered("GET", path, {"Accept": "*/*"}, None, timeout) as response:
            yield response.content.iter_any()

    async def websocket(self, path: str, protocols: Sequence[str]) -> aiohttp.ClientWebSocketResponse:
        """Raises NotFound, Refused, Unavailable. The caller closes it."""
        headers: dict[str, str] = {}
        await self._authorize(headers)
        try:
            return await self._sessions.current().ws_connect(
                URL(self._base + path, encoded=True),
                protocols=protocols,
                headers=headers,
                timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
                max_msg_size=_LARGEST_MESSAGE,
                proxy=self._configuration.proxy or None,
                server_hostname=self._configuration.tls_server_name or None,
            )
        except aiohttp.WSServerHandshakeError as error:  # aiohttp does not read what the server says about it
            raise _refused_handshake(error.status, path.partition("?")[0]) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{self._base}: {str(error) or type(error).__name__}") from error

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        if self._exchange is not None:
            self._exchange.close()
        await self._sessions.close()

    async def _attempt(self, method: str, path: str, headers: dict[str, str], data: bytes | None) -> bytes:
        async with self._at_once:
            if method == "POST" and data is not None and self._exchange is not None:
                return await self._exchanged(self._exchange, path, headers, data)
            async with self._answered(method, path, headers, data, _TIMEOUT) as response:
                return await response.read()

    async def _authorize(self, headers: dict[str, str]) -> None:
        try:
            token = await self._configuration.get_api_key_with_prefix("BearerToken")
        except (OSError, ValueError, kube_config.ConfigException) as error:  # a file that is being replaced
            raise Unavailable(f"the token for {self._base} cannot be read: {error}") from error
        if token:
            headers["Authorization"] = token.strip()  # files end in a newline

    async def _exchanged(self, exchange: Exchange, path: str, headers: dict[str, str], data: bytes) -> bytes:
        await self._authorize(headers)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join(
            [f"POST {self._url.raw_path.rstrip('/')}{path} HTTP/1.1", f"Host: {self._url.raw_authority}", *lines]
        )
        try:
            status, answer = await exchange.ask(head.encode("latin-1"), data, _TIMEOUT_S)
        except OSError as error:
            raise Unavailable(f"{self._base}: {str(error) or type(error).__name__}") from error
        if status >= 300:
            raise error_of(status, answer)
        return answer

    @asynccontextmanager
    async def _answered(
        self, method: str, path: str, headers: dict[str, str], data: bytes | None, timeout: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers["Accept-Encoding"] = "identity"
        await self._authorize(headers)
        try:
            async with self._sessions.current().request(
                method,
                URL(self._base + path, encoded=True),
                data=data,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                proxy=self._configuration.proxy or None,
                server_hostname=self._configuration.tls_server_name or None,
            ) as response:
                if response.status >= 300:
                    raise error_of(response.status, await response.read())
                yield response
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{self._base}: {str(error) or type(error).__name__}") from error


def _exchange(configuration: Configuration, sessions: _Sessions, url: URL) -> Exchange | None:
    """None where requests go through a proxy: aiohttp knows how."""
    proxied = configuration.proxy or (urllib.request.getproxies() and not urllib.request.proxy_bypass(url.host or ""))
    if proxied or url.host is None or url.port is None:
        return None
    tls = sessions.ssl_context if url.scheme == "https" else None
    return Exchange(url.host, url.port, tls, configuration.tls_server_name or "")


class _Sessions(RESTClientObject):
    """kubernetes.aio's TLS and proxy set-up, with the session handed out instead of its request method."""

    def current(self) -> aiohttp.ClientSession:
        if self.pool_manager is None:
            self.pool_manager = self._create_pool_manager()
        session: aiohttp.ClientSession = self.pool_manager
        return session


def read_json(answer: bytes) -> Any:
    """What is no JSON did not come from the API server, but from something before it."""
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise Unavailable(f"the answer is no JSON: {answer[:100]!r}") from error


def error_of(code: int, body: bytes) -> ClusterError | Expired:
    """The port's error for an HTTP status and the API's Status object."""
    status = _status(body)
    message = str(status.get("message") or body[:500].decode(errors="replace").strip() or f"HTTP {code}")
    if code == 410:
        return Expired(message)
    if code == 404:
        return _absent(status, message)
    if code == 409:
        return Conflict(message)
    if code == 401:
        return Unavailable(f"the API server does not accept our credentials: {message}")
    if code == 429 or code >= 500 or _is_passing(status):
        return Unavailable(message)
    return Forbidden(message) if code == 403 and " cannot " in message else Refused(message)


def _refused_handshake(code: int, path: str) -> ClusterError:
    what = f"{path.rpartition('/')[2]} of pod {path.split('/')[-2]}"
    match code:
        case 403:
            return Forbidden(f"the API server forbids this spoke {what}: its role lacks pods/{path.rpartition('/')[2]}")
        case 404:
            return NotFound(f"{what}: the API server knows no such pod")
        case 401 | 429:
            return Unavailable(f"{what}: the API server answers {code}")
    if code >= 500:
        return Unavailable(f"{what}: the API server cannot reach it (HTTP {code}); does its container run?")
    return Refused(f"{what}: the API server refuses it (HTTP {code})")


def _absent(status: Mapping[str, Any], message: str) -> ClusterError:
    kind = (status.get("details") or {}).get("kind")
    if kind == "namespaces":
        return NamespaceMissing(message)
    # An object that is missing is named; a path that is missing is a kind that is not served.
    return NotFound(message) if kind else NotServed(message)


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return status if isinstance(status, dict) else {}


def _is_passing(status: Mapping[str, Any]) -> bool:
    """A namespace on its way out refuses everything until it is gone; then it can be made again."""
    causes = (status.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
