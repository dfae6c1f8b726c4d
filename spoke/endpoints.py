"""Where a job can be reached in this cluster: the Services and Ingresses that travel with it, and the address that its
own object tells, as lines of JSON. Read when somebody asks, by name, and nothing else is looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import orjson

from spoke.cluster.port import ClusterPort, NotFound, Object, ObjectKey
from spoke.jobs import Job
from wire.orders import LogLines

AT_MOST = 200
_TEXT = 1000  # characters of one address


async def of_job(port: ClusterPort, find: Callable[[], Job | None]) -> AsyncIterator[LogLines]:
    """Raises ClusterError."""
    job = find()
    if job is None or job.key is None:
        return
    wanted = sorted((key for key in job.dependencies if key.kind in _READ), key=lambda key: (key.kind, key.name))
    found: list[dict[str, Any]] = []
    for key in [job.key, *wanted][:AT_MOST]:
        try:
            obj = await port.get(key)
        except NotFound:
            continue
        found += _READ.get(key.kind, _of_workload)(key, obj)
    yield LogLines("", b"".join(orjson.dumps(one) + b"\n" for one in found))


def _of_service(key: ObjectKey, obj: Object) -> Iterator[dict[str, Any]]:
    spec = obj.get("spec") or {}
    type_ = str(spec.get("type") or "ClusterIP")
    addresses = [*_balancers(obj), *map(str, spec.get("externalIPs") or ())]
    if type_ == "ExternalName" and spec.get("externalName"):
        addresses.append(str(spec["externalName"]))
    yield _told(key, type_, addresses, [_port(port) for port in spec.get("ports") or () if isinstance(port, dict)])


def _of_ingress(key: ObjectKey, obj: Object) -> Iterator[dict[str, Any]]:
    spec = obj.get("spec") or {}
    secured = {host for one in spec.get("tls") or () for host in one.get("hosts") or ()}
    urls: list[str] = []
    for rule in spec.get("rules") or ():
        if host := rule.get("host"):
            paths: list[Object] = (rule.get("http") or {}).get("paths") or [{}]
            scheme = "https" if host in secured else "http"
            urls += [f"{scheme}://{host}{path.get('path') or ''}" for path in paths]
    yield _told(key, "", [*urls, *_balancers(obj)], [])


def _of_workload(key: ObjectKey, obj: Object) -> Iterator[dict[str, Any]]:
    """What KServe and Knative say: the one for everybody before the one within the cluster."""
    status = obj.get("status")
    status = status if isinstance(status, dict) else {}
    address = status.get("address")
    within = address.get("url") if isinstance(address, dict) else None
    urls = [url for url in (status.get("url"), within) if isinstance(url, str) and url]
    if urls:
        yield _told(key, "", urls[:1], [])


_READ: dict[str, Callable[[ObjectKey, Object], Iterator[dict[str, Any]]]] = {
    "Service": _of_service,
    "Ingress": _of_ingress,
}


def _balancers(obj: Object) -> list[str]:
    balancer = (obj.get("status") or {}).get("loadBalancer") or {}
    found = (one.get("ip") or one.get("hostname") for one in balancer.get("ingress") or () if isinstance(one, dict))
    return [str(one) for one in found if one]


def _port(port: Object) -> str:
    """`http 80:30080/TCP`."""
    name, node = port.get("name"), port.get("nodePort")
    number = f"{port.get('port')}{f':{node}' if node else ''}/{port.get('protocol') or 'TCP'}"
    return f"{name} {number}" if name else number


def _told(key: ObjectKey, type_: str, addresses: list[str], ports: list[str]) -> dict[str, Any]:
    return {
        "kind": key.kind,
        "name": key.name,
        "namespace": key.namespace,
        "type": type_,
        "addresses": [one[:_TEXT] for one in dict.fromkeys(addresses)],
        "ports": ports,
    }
