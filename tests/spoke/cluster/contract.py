"""What every ClusterPort must do. A test module derives a class from `ClusterContract` and gives the `arena` fixture.

`Arena.nodes` are two nodes that pods may be bound to; `namespace` is one that nothing else uses and that need not exist
yet; `runs_pods` says that a bound pod really runs its command, so that its logs can be read and
others run beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from spoke.cluster.port import (
    Change,
    ClusterPort,
    Conflict,
    Gone,
    NotFound,
    Object,
    ObjectKey,
    PodBinding,
    Refused,
    Selection,
    Snapshot,
    Unavailable,
    Upsert,
)
from wire.tunnels import STDERR, STDOUT, Process

PATIENCE_S = 20.0
# Says its port, and then each line that it is told again, in capitals.
SHOUTS = """
import socketserver
class Shouts(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())
server = socketserver.ThreadingTCPServer(('127.0.0.1', 0), Shouts)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Arena:
    port: ClusterPort
    nodes: tuple[str, str]
    namespace: str
    runs_pods: bool = False
    image: str = "busybox"  # with python3 where pods run in containers

    def pod(self, name: str, *, labels: dict[str, str] | None = None, shell: str = "sleep 30") -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels or {}},
            "spec": {
                "schedulerName": "muster",
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": self.image, "command": ["sh", "-c", shell]}],
            },
        }

    def config(self, name: str, **data: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    def key(self, kind: str, name: str) -> ObjectKey:
        return ObjectKey("v1", kind, self.namespace, name)

    async def made(self, obj: Object) -> Object:
        await self.port.create(obj)
        return await self.port.get(self.key(obj["kind"], obj["metadata"]["name"]))

    async def gone(self, kind: str, name: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await self.port.get(self.key(kind, name))
                except NotFound:
                    return
                await asyncio.sleep(0.02)

    async def running(self, name: str, shell: str, env: dict[str, str] | None = None) -> str:
        """A pod that runs, its name. Skips the test where none does."""
        if not self.runs_pods:
            pytest.skip("no pod runs here")
        pod = self.pod(name, shell=shell)
        pod["spec"]["containers"][0]["env"] = [{"name": key, "value": value} for key, value in (env or {}).items()]
        made = await self.made(pod)
        await self.port.bind(self.binding(made, self.nodes[0]))
        async with asyncio.timeout(3 * PATIENCE_S):
            changes = self.port.watch(Selection("v1", "Pod", self.namespace))
            while (await following(changes, Upsert, name)).get("status", {}).get("phase") != "Running":
                pass
        return name

    def binding(self, pod: Object, node: str, **annotations: str) -> PodBinding:
        metadata = pod["metadata"]
        return PodBinding(self.namespace, metadata["name"], metadata["uid"], node, annotations)


async def following(changes: AsyncIterator[Change], kind: type[Upsert] | type[Gone], name: str) -> Object:
    """The next change of that type to that object, an Upsert also from a snapshot; others are passed over."""
    async with asyncio.timeout(PATIENCE_S):
        async for change in changes:
            objects = change.objects if isinstance(change, Snapshot) else [change.object]
            if isinstance(change, kind) or (kind is Upsert and isinstance(change, Snapshot)):
                for obj in objects:
                    if obj["metadata"]["name"] == name:
                        return obj
    raise AssertionError("the watch ended")


async def snapshot(changes: AsyncIterator[Change]) -> set[str]:
    async with asyncio.timeout(PATIENCE_S):
        first = await anext(changes)
    assert isinstance(first, Snapshot)
    return {obj["metadata"]["name"] for obj in first.objects}


class ClusterContract:
    async def test_a_workload_is_changed_only_as_it_was_read(self, arena: Arena) -> None:
        pod = {**arena.pod("unused")["spec"], "schedulerName": "nobody", "restartPolicy": "Always"}
        metadata = {"name": "sized", "namespace": arena.namespace}
        spec = {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "sized"}},
            "template": {"metadata": {"labels": {"app": "sized"}}, "spec": pod},
        }
        await arena.port.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
        key = ObjectKey("apps/v1", "Deployment", arena.namespace, "sized")
        changed: dict[str, Any] = {}
        async with asyncio.timeout(PATIENCE_S):
            while not changed:  # its controllers may write to it as well
                read = await arena.port.get(key)
                with contextlib.suppress(Conflict):
                    changed = dict(await arena.port.update({**read, "spec": {**read["spec"], "replicas": 2}}))
        assert changed["spec"]["replicas"] == (await arena.port.get(key))["spec"]["replicas"] == 2
        with pytest.raises(Conflict):
            await arena.port.update({**read, "spec": {**read["spec"], "replicas": 3}})
        await arena.port.delete(key)
        with pytest.raises(NotFound):
            await arena.port.update({**changed, "metadata": {**changed["metadata"], "name": "missing"}})

    async def test_it_says_what_kinds_it_serves(self, arena: Arena) -> None:
        assert {"v1/Pod", "v1/ConfigMap", "batch/v1/Job"} <= await arena.port.kinds()

    async def test_nodes_are_listed_and_watched(self, arena: Arena) -> None:
        nodes = await arena.port.list(Selection("v1", "Node"))
        assert set(arena.nodes) <= {node["metadata"]["name"] for node in nodes}
        assert all(node["apiVersion"] == "v1" and node["kind"] == "Node" for node in nodes)
        assert set(arena.nodes) <= await snapshot(arena.port.watch(Selection("v1", "Node")))

    async def test_what_is_absent_is_not_found(self, arena: Arena) -> None:
        with pytest.raises(NotFound):
            await arena.port.get(arena.key("ConfigMap", "nowhere"))

    async def test_whether_an_object_is_there(self, arena: Arena) -> None:
        assert not await arena.port.exists(arena.key("ConfigMap", "settings"))
        await arena.made(arena.config("settings", a="1"))
        assert await arena.port.exists(arena.key("ConfigMap", "settings"))
        assert not await arena.port.exists(replace(arena.key("ConfigMap", "settings"), namespace="no-such-namespace"))
        assert not await arena.port.exists(ObjectKey("no.such/v1", "Thing", arena.namespace, "settings"))

    async def test_create_makes_the_namespace_and_never_changes_what_exists(self, arena: Arena) -> None:
        made = await arena.made(arena.config("settings", a="1"))
        with pytest.raises(Conflict, match="settings"):
            await arena.port.create(arena.config("settings", a="2"))
        now = await arena.port.get(arena.key("ConfigMap", "settings"))
        assert (now["metadata"]["uid"], now["data"]) == (made["metadata"]["uid"], {"a": "1"})

    async def test_a_kind_that_is_not_served_is_refused(self, arena: Arena) -> None:
        obj = {"apiVersion": "no.such/v1", "kind": "Thing", "metadata": {"name": "x", "namespace": arena.namespace}}
        with pytest.raises(Refused):
            await arena.port.create(obj)
        with pytest.raises(Refused):
            await anext(arena.port.watch(Selection("no.such/v1", "Thing")))

    async def test_an_invalid_object_is_refused_with_the_field(self, arena: Arena) -> None:
        with pytest.raises(Refused, match=r"metadata\.name"):
            await arena.port.create(arena.config("Not_A_Name"))

    async def test_what_is_applied_is_made_and_then_set(self, arena: Arena) -> None:
        made = await arena.port.apply(arena.config("set", a="1", b="2"), manager="one", force=False)
        assert made["data"] == {"a": "1", "b": "2"}
        again = await arena.port.apply(arena.config("set", a="1", b="2"), manager="one", force=False)
        assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        await arena.port.apply(arena.config("set", c="3"), manager="two", force=False)
        now = await arena.port.apply(arena.config("set", a="9"), manager="one", force=False)
        assert (now["data"], now["metadata"]["uid"]) == ({"a": "9", "c": "3"}, made["metadata"]["uid"])
        assert (await arena.port.get(arena.key("ConfigMap", "set")))["data"] == now["data"]

    async def test_what_another_set_is_changed_by_force_only(self, arena: Arena) -> None:
        await arena.port.create(arena.config("theirs", a="1"))
        with pytest.raises(Conflict, match="a"):
            await arena.port.apply(arena.config("theirs", a="2"), manager="one", force=False)
        assert (await arena.port.get(arena.key("ConfigMap", "theirs")))["data"] == {"a": "1"}
        forced = await arena.port.apply(arena.config("theirs", a="2"), manager="one", force=True)
        assert forced["data"] == {"a": "2"}

    async def test_what_cannot_be_applied_is_refused(self, arena: Arena) -> None:
        nowhere = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
        with pytest.raises(Refused, match="of a namespace"):
            await arena.port.apply(nowhere, manager="one", force=True)
        unknown = {"apiVersion": "no.such/v1", "kind": "Thing", "metadata": {"name": "x"}}
        with pytest.raises(Refused):
            await arena.port.apply(unknown, manager="one", force=True)

    async def test_a_watch_tells_of_every_change(self, arena: Arena) -> None:
        await arena.port.create(arena.pod("early"))
        changes = arena.port.watch(Selection("v1", "Pod", arena.namespace))
        assert await snapshot(changes) == {"early"}
        late = await arena.made(arena.pod("late"))
        seen = await following(changes, Upsert, "late")
        assert seen["metadata"]["uid"] == late["metadata"]["uid"]
        assert (seen["apiVersion"], seen["kind"]) == ("v1", "Pod")
        await arena.port.bind(arena.binding(late, arena.nodes[0]))
        while (await following(changes, Upsert, "late"))["spec"].get("nodeName") != arena.nodes[0]:
            pass
        await arena.port.delete(arena.key("Pod", "early"))
        await following(changes, Gone, "early")

    async def test_a_watch_sees_its_selection_only(self, arena: Arena) -> None:
        changes = arena.port.watch(Selection("v1", "Pod", arena.namespace, "team=red"))
        keyed = arena.port.watch(Selection("v1", "Pod", "", "contract.muster.dev/key"))
        assert await snapshot(changes) == set()
        assert await snapshot(keyed) == set()
        await arena.port.create(arena.pod("blue", labels={"team": "blue"}))
        await arena.port.create(arena.pod("red", labels={"team": "red", "contract.muster.dev/key": "x"}))
        async with asyncio.timeout(PATIENCE_S):
            for watch in (changes, keyed):
                change = await anext(watch)
                assert isinstance(change, Upsert)
                assert change.object["metadata"]["name"] == "red"
        found = await arena.port.list(Selection("v1", "Pod", arena.namespace, "team=blue"))
        assert [pod["metadata"]["name"] for pod in found] == ["blue"]
        named = await arena.port.list(Selection("v1", "Pod", arena.namespace, field_selector="metadata.name=red"))
        assert [pod["metadata"]["name"] for pod in named] == ["red"]

    async def test_binding_puts_node_and_annotations_on_the_pod(self, arena: Arena) -> None:
        pod = await arena.made(arena.pod("p"))
        binding = PodBinding(arena.namespace, "p", pod["metadata"]["uid"], arena.nodes[1], {"muster.dev/gpus": "0,3"})
        await arena.port.bind(binding)
        bound = await arena.port.get(arena.key("Pod", "p"))
        assert bound["spec"]["nodeName"] == arena.nodes[1]
        assert bound["metadata"]["annotations"]["muster.dev/gpus"] == "0,3"

    async def test_binding_again_to_the_same_node_is_no_error(self, arena: Arena) -> None:
        pod = await arena.made(arena.pod("p"))
        await arena.port.bind(arena.binding(pod, arena.nodes[0]))
        await arena.port.bind(arena.binding(pod, arena.nodes[0]))
        with pytest.raises(Conflict):
            await arena.port.bind(arena.binding(pod, arena.nodes[1]))
        assert (await arena.port.get(arena.key("Pod", "p")))["spec"]["nodeName"] == arena.nodes[0]

    async def test_binding_another_pod_of_that_name_is_a_conflict(self, arena: Arena) -> None:
        await arena.made(arena.pod("p"))
        other = PodBinding(arena.namespace, "p", "00000000-0000-0000-0000-000000000000", arena.nodes[0], {})
        with pytest.raises(Conflict):
            await arena.port.bind(other)
        assert "nodeName" not in (await arena.port.get(arena.key("Pod", "p")))["spec"]

    async def test_binding_no_pod_is_not_found(self, arena: Arena) -> None:
        await arena.made(arena.pod("other"))
        with pytest.raises(NotFound):
            await arena.port.bind(PodBinding(arena.namespace, "nobody", "", arena.nodes[0], {}))

    async def test_deleting_minds_the_uid_and_what_is_gone(self, arena: Arena) -> None:
        made = await arena.made(arena.config("settings"))
        key = arena.key("ConfigMap", "settings")
        await arena.port.delete(key, uid="00000000-0000-0000-0000-000000000000")
        assert (await arena.port.get(key))["metadata"]["uid"] == made["metadata"]["uid"]
        await arena.port.delete(key, uid=made["metadata"]["uid"])
        await arena.gone("ConfigMap", "settings")
        await arena.port.delete(key)

    async def test_a_deleted_pod_ends(self, arena: Arena) -> None:
        pod = await arena.made(arena.pod("p"))
        await arena.port.bind(arena.binding(pod, arena.nodes[0]))
        await arena.port.delete(arena.key("Pod", "p"), grace_s=0)
        await arena.gone("Pod", "p")

    async def test_many_at_once(self, arena: Arena) -> None:
        await asyncio.gather(*(arena.port.create(arena.config(f"c{i}", n=str(i))) for i in range(50)))
        found = await asyncio.gather(*(arena.port.get(arena.key("ConfigMap", f"c{i}")) for i in range(50)))
        assert [obj["data"]["n"] for obj in found] == [str(i) for i in range(50)]

    async def test_a_page_of_no_pod_is_not_found(self, arena: Arena) -> None:
        with pytest.raises(NotFound):
            await arena.port.proxy_get(arena.namespace, "nobody", 9400, "metrics", limit=1000)

    async def test_logs_of_no_pod_are_not_found(self, arena: Arena) -> None:
        with pytest.raises(NotFound):
            await anext(arena.port.logs(arena.namespace, "nobody", follow=False))

    async def test_logs_are_whole_lines_from_the_tail(self, arena: Arena) -> None:
        if not arena.runs_pods:
            pytest.skip("no pod runs here, so none writes a log")
        pod = await arena.made(arena.pod("p", shell="echo one; echo two; echo three"))
        await arena.port.bind(arena.binding(pod, arena.nodes[0]))
        async with asyncio.timeout(PATIENCE_S):
            changes = arena.port.watch(Selection("v1", "Pod", arena.namespace))
            while (await following(changes, Upsert, "p")).get("status", {}).get("phase") != "Succeeded":
                pass
            followed = [chunk async for chunk in arena.port.logs(arena.namespace, "p", follow=True)]
            tail = [chunk async for chunk in arena.port.logs(arena.namespace, "p", follow=False, tail_lines=2)]
        assert b"".join(part.plain for part in followed) == b"one\ntwo\nthree\n"
        assert b"".join(part.plain for part in tail) == b"two\nthree\n"
        assert all(part.stamped.endswith(b"\n") for part in [*followed, *tail])

    async def test_a_command_beside_the_pods_own(self, arena: Arena) -> None:
        pod = await arena.running("p", "export COLOUR; exec sleep 60", env={"COLOUR": "blue"})
        shell = "cat; echo $COLOUR; echo oops >&2; exit 3"
        stream = await arena.port.execute(arena.namespace, pod, Process(("sh", "-c", shell), stdin=True))
        found: dict[int, bytes] = {}

        async def read() -> None:
            while (received := await stream.read()) is not None:
                found[received[0]] = found.get(received[0], b"") + received[1]

        async with asyncio.timeout(PATIENCE_S):
            reading = asyncio.create_task(read())
            await stream.write(b"hello\n" * 50_000)
            await stream.write_end()
            await reading
        await stream.close()
        assert found == {STDOUT: b"hello\n" * 50_000 + b"blue\n", STDERR: b"oops\n"}
        assert stream.exit_code == 3

    async def test_a_command_with_a_terminal(self, arena: Arena) -> None:
        pod = await arena.running("p", "exec sleep 60")
        process = Process(("sh",), tty=True, stdin=True, columns=91, rows=17)
        stream = await arena.port.execute(arena.namespace, pod, process, container="main")
        seen = b""
        async with asyncio.timeout(PATIENCE_S):
            await stream.write(b"stty size\n")
            while b"17 91" not in seen:
                received = await stream.read()
                assert received is not None, seen
                seen += received[1]
            await stream.resize(100, 30)
            await asyncio.sleep(0.2)
            await stream.write(b"stty size; exit 4\n")
            while (received := await stream.read()) is not None:
                assert received[0] == STDOUT
                seen += received[1]
        await stream.close()
        assert b"30 100" in seen
        assert stream.exit_code == 4

    async def test_a_command_ends_with_its_stream(self, arena: Arena) -> None:
        pod = await arena.running("p", "exec sleep 60")
        stream = await arena.port.execute(arena.namespace, pod, Process(("sh", "-c", "echo on; exec sleep 8762")))
        async with asyncio.timeout(PATIENCE_S):
            assert await stream.read() == (STDOUT, b"on\n")
            await stream.close()

    async def test_where_no_command_can_run(self, arena: Arena) -> None:
        if not arena.runs_pods:
            pytest.skip("no pod runs here")
        with pytest.raises(NotFound):
            await arena.port.execute(arena.namespace, "nobody", Process(("true",)))
        pod = await arena.running("p", "exec sleep 60")
        with pytest.raises(NotFound, match="main"):
            await arena.port.execute(arena.namespace, pod, Process(("true",)), container="side")

    async def test_a_connection_to_a_port(self, arena: Arena) -> None:
        pod = await arena.running("p", f'exec python3 -c "{SHOUTS}"')
        async with asyncio.timeout(PATIENCE_S):
            port = 0
            while not port:
                lines = [part.plain async for part in arena.port.logs(arena.namespace, pod, follow=False)]
                port = int(b"".join(lines) or 0)
            one, two = [await arena.port.forward(arena.namespace, pod, port) for _ in range(2)]
            await two.write(b"second\n")
            await one.write(b"first\n" * 20_000)
            got = b""
            while len(got) < 120_000:
                received = await one.read()
                assert received is not None
                got += received[1]
            assert got == b"FIRST\n" * 20_000
            assert await two.read() == (STDOUT, b"SECOND\n")
            for stream in (one, two):
                await stream.close()

    async def test_a_port_that_nobody_listens_on(self, arena: Arena) -> None:
        pod = await arena.running("p", "exec sleep 60")

        async def reach() -> None:
            stream = await arena.port.forward(arena.namespace, pod, 1)
            await stream.write(b"x")
            while await stream.read() is not None:
                pass

        with pytest.raises((Refused, Unavailable)):
            await asyncio.wait_for(reach(), PATIENCE_S)
