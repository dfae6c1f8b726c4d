"""The Kubernetes port against a scripted API server: gaps, dropped and silent watches, bookmarks, odd answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from aiohttp import web

from spoke.cluster.kube import KubeCluster
from spoke.cluster.port import (
    Conflict,
    Gone,
    NotFound,
    ObjectKey,
    PodBinding,
    Refused,
    Selection,
    Snapshot,
    Unavailable,
    Upsert,
)

PODS = {"resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced", "verbs": ["watch", "list"]}
CORE = {"versions": [{"version": "v1", "resources": [PODS]}], "metadata": {}}


def pod(name: str, version: int) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "resourceVersion": str(version)}}


def listing(version: int, *names: str, token: str = "") -> dict[str, Any]:
    metadata = {"resourceVersion": str(version)} | ({"continue": token} if token else {})
    return {"kind": "PodList", "metadata": metadata, "items": [{"metadata": {"name": name}} for name in names]}


def status(code: int, message: str, **details: Any) -> web.Response:
    return web.json_response({"kind": "Status", "message": message, "details": details, "code": code}, status=code)


class Script:
    """Answers to come, one a request; `asked` are the queries. Discovery is answered beside it."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.kinds = [CORE]
        self.discoveries = 0
        self.clock_s = 0.0
        self.asked: list[dict[str, str]] = []
        self.bodies: list[bytes] = []

    def watch(self, *events: dict[str, Any], cut: bytes = b"") -> None:
        self.answers.append(b"".join(orjson.dumps(event) + b"\n" for event in events) + cut)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path in ("/api", "/apis"):
            self.discoveries += request.path == "/api"
            items = self.kinds if request.path == "/api" else []
            return web.json_response({"kind": "APIGroupDiscoveryList", "items": items})
        self.asked.append(dict(request.query))
        self.bodies.append(await request.read())
        answer = self.answers.pop(0) if self.answers else {"kind": "Status", "code": 500, "message": "no more"}
        if isinstance(answer, web.Response):
            return answer
        if isinstance(answer, bytes):
            return web.Response(body=answer)
        return web.json_response(answer, status=answer.get("code", 200))


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def cluster(script: Script, tmp_path: Path) -> AsyncIterator[KubeCluster]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", script.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://{host}:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_bytes(orjson.dumps(config))
    cluster = await KubeCluster.open(str(tmp_path / "kubeconfig"), rng=Random(1), clock=lambda: script.clock_s)
    yield cluster
    await cluster.close()
    await runner.cleanup()


async def names(changes: AsyncIterator[Any], count: int) -> list[Any]:
    """`count` changes, in short: ("+", name), ("-", name) or the set of a snapshot's names."""
    short: list[Any] = []
    while len(short) < count:
        match await anext(changes):
            case Snapshot(objects):
                short.append({obj["metadata"]["name"] for obj in objects})
            case Upsert(obj):
                short.append(("+", obj["metadata"]["name"]))
            case Gone(obj):
                short.append(("-", obj["metadata"]["name"]))
    return short


async def test_a_watch_that_ends_resumes_from_the_last_version_it_saw(script: Script, cluster: KubeCluster) -> None:
    script.answers.append(listing(10, "a"))
    script.watch({"type": "ADDED", "object": pod("b", 12)}, {"type": "BOOKMARK", "object": pod("", 20)})
    script.watch({"type": "DELETED", "object": pod("a", 21)})
    script.watch({"type": "MODIFIED", "object": pod("b", 23)})
    changes = cluster.watch(Selection("v1", "Pod", label_selector="x"))
    assert await names(changes, 4) == [{"a"}, ("+", "b"), ("-", "a"), ("+", "b")]
    assert [query.get("resourceVersion") for query in script.asked] == [None, "10", "20", "21"]
    assert {query["labelSelector"] for query in script.asked} == {"x"}


async def test_after_a_gap_everything_is_read_anew(script: Script, cluster: KubeCluster) -> None:
    script.answers.append(listing(10, "a"))
    script.watch({"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}})
    script.answers.append(listing(50, "z"))
    script.answers.append(status(410, "expired"))
    script.answers.append(listing(60, "z", "y"))
    changes = cluster.watch(Selection("v1", "Pod"))
    assert await names(changes, 3) == [{"a"}, {"z"}, {"z", "y"}]


async def test_an_event_cut_in_two_is_not_seen_twice_nor_lost(script: Script, cluster: KubeCluster) -> None:
    script.answers.append(listing(10))
    script.watch({"type": "ADDED", "object": pod("a", 11)}, cut=b'{"type": "ADDED", "object": {"meta')
    script.watch({"type": "ADDED", "object": pod("b", 12)})
    changes = cluster.watch(Selection("v1", "Pod"))
    assert await names(changes, 3) == [set(), ("+", "a"), ("+", "b")]
    assert script.asked[2]["resourceVersion"] == "11"


async def test_outages_are_waited_out(script: Script, cluster: KubeCluster) -> None:
    script.answers += [status(503, "starting"), status(429, "slow down"), listing(10, "a"), status(500, "etcd")]
    script.watch({"type": "ADDED", "object": pod("b", 12)})
    assert await names(cluster.watch(Selection("v1", "Pod")), 2) == [{"a"}, ("+", "b")]


async def test_a_list_in_pages_that_expires_begins_again(script: Script, cluster: KubeCluster) -> None:
    script.answers += [listing(10, "a", token="t"), status(410, "expired"), listing(20, "a", token="u")]
    script.answers.append(listing(20, "b"))
    found = await cluster.list(Selection("v1", "Pod"))
    assert [(obj["kind"], obj["metadata"]["name"]) for obj in found] == [("Pod", "a"), ("Pod", "b")]


NOT_FOUND = {"status": 404, "text": "404 page not found"}
POD = ObjectKey("v1", "Pod", "ns", "a")


async def test_a_kind_that_is_missing_for_a_moment_is_waited_for(script: Script, cluster: KubeCluster) -> None:
    """An API server that has just started serves its CRDs late."""
    script.answers += [listing(10), web.Response(**NOT_FOUND), web.Response(**NOT_FOUND)]
    script.watch({"type": "ADDED", "object": pod("a", 11)})
    changes = cluster.watch(Selection("v1", "Pod"))
    assert await names(changes, 2) == [set(), ("+", "a")]


async def test_a_kind_that_vanished_is_missed_first_and_then_not_served(script: Script, cluster: KubeCluster) -> None:
    script.answers += [pod("a", 1), web.Response(**NOT_FOUND)]
    await cluster.get(POD)
    script.kinds = []
    for _ in range(2):  # found out by the answer, then by discovery
        with pytest.raises(Unavailable, match="at the moment"):
            await cluster.get(POD)
        assert "v1/Pod" in await cluster.kinds()
    script.clock_s = 61
    with pytest.raises(Refused, match="does not serve v1 Pod"):
        await cluster.get(POD)
    assert await cluster.kinds() == frozenset()
    with pytest.raises(Refused):
        await anext(cluster.watch(Selection("v1", "Pod")))


async def test_a_missed_kind_is_looked_for_every_second(script: Script, cluster: KubeCluster) -> None:
    other = {"resource": "nodes", "responseKind": {"kind": "Node"}, "scope": "Cluster", "verbs": ["watch"]}
    script.kinds = [{"versions": [{"version": "v1", "resources": [PODS, other]}], "metadata": {}}]
    assert await cluster.kinds() == {"v1/Pod", "v1/Node"}
    script.kinds = [CORE]
    script.clock_s = 31
    assert await cluster.kinds() == {"v1/Pod", "v1/Node"}
    assert script.discoveries == 2
    script.clock_s = 31.5
    await cluster.kinds()
    assert script.discoveries == 2
    script.clock_s = 32.5
    await cluster.kinds()
    assert script.discoveries == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(404, 'pods "p" not found', name="p", kind="pods"), NotFound),
        (status(409, "changed"), Conflict),
        (status(422, "spec: Invalid value"), Refused),
        (status(403, "pods is forbidden: exceeded quota"), Refused),
        (status(403, "terminating", causes=[{"reason": "NamespaceTerminating"}]), Unavailable),
        (status(401, "Unauthorized"), Unavailable),
        (status(429, "too many requests"), Unavailable),
        (web.Response(status=502, text="<html>bad gateway"), Unavailable),
    ],
)
async def test_errors_say_whether_to_try_again(
    script: Script, cluster: KubeCluster, answer: web.Response, error: type[Exception]
) -> None:
    script.answers.append(answer)
    with pytest.raises(error):
        await cluster.get(ObjectKey("v1", "Pod", "ns", "p"))


async def test_a_bind_whose_answer_was_lost_is_recognised(script: Script, cluster: KubeCluster) -> None:
    bound = pod("p", 5) | {"spec": {"nodeName": "n1"}}
    bound["metadata"]["uid"] = "u1"
    script.answers += [status(409, 'pod p is already assigned to node "n1"'), bound]
    await cluster.bind(PodBinding("ns", "p", "u1", "n1", {}))
    script.answers += [status(409, 'pod p is already assigned to node "n1"'), bound]
    with pytest.raises(Conflict):
        await cluster.bind(PodBinding("ns", "p", "u1", "n2", {}))
