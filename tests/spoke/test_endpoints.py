"""Where a job can be reached: what travels with it, and nothing of anybody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from spoke.cluster.port import ObjectKey
from spoke.endpoints import of_job
from spoke.entry import Desired
from spoke.jobs import Job
from tests.spoke.stage import Stage, node, stage
from wire.orders import JobRef

REF = JobRef("j-1", 1)


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, node("n1")) as on:
        yield on


def put(on: Stage, version: str, kind: str, name: str, spec: dict[str, Any], status: dict[str, Any]) -> ObjectKey:
    metadata = {"name": name, "namespace": "team"}
    on.cluster.put({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec, "status": status})
    return ObjectKey(version, kind, "team", name)


class _Known(Job):
    @property
    def key(self) -> ObjectKey | None:
        return ObjectKey("serving.kserve.io/v1beta1", "InferenceService", "team", "llm")


async def read(on: Stage, *dependencies: ObjectKey) -> list[dict[str, Any]]:
    job = _Known(REF, 1, None, Desired.START, dependencies=frozenset(dependencies))
    lines = [lines async for lines in of_job(on.cluster, lambda: job)]
    return [orjson.loads(line) for part in lines for line in part.data.splitlines()]


async def test_services_and_ingresses_with_their_addresses(on: Stage) -> None:
    balanced = {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}, {"hostname": "lb.example.com"}]}}
    ports = [{"name": "http", "port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]
    service = put(on, "v1", "Service", "llm", {"type": "LoadBalancer", "ports": ports}, balanced)
    rules = [{"host": "llm.example.com", "http": {"paths": [{"path": "/v1"}]}}]
    tls = [{"hosts": ["llm.example.com"]}]
    ingress = put(on, "networking.k8s.io/v1", "Ingress", "llm", {"rules": rules, "tls": tls}, {})
    put(on, "v1", "Service", "somebody-elses", {}, {})
    config = put(on, "v1", "ConfigMap", "llm", {}, {})
    found = await read(on, service, ingress, config)
    assert [(one["kind"], one["addresses"], one["ports"]) for one in found] == [
        ("Ingress", ["https://llm.example.com/v1"], []),
        ("Service", ["203.0.113.7", "lb.example.com"], ["http 80:30080/TCP", "53/UDP"]),
    ]


async def test_the_address_that_the_object_tells(on: Stage) -> None:
    put(on, "serving.kserve.io/v1beta1", "InferenceService", "llm", {}, {"url": "http://llm.example.com"})
    (told,) = await read(on)
    assert (told["kind"], told["name"], told["addresses"]) == ("InferenceService", "llm", ["http://llm.example.com"])


async def test_what_is_not_there_yet_is_passed_over(on: Stage) -> None:
    assert await read(on, ObjectKey("v1", "Service", "team", "llm")) == []
