"""The host cluster keeps the port's contract, and runs pods as processes: exits, restarts, trees, adoption."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from placement.kinds import observe, reader, render
from placement.kinds.catalogue import Catalogue
from placement.lifecycle import Event
from spoke.cluster import host_nodes, pod_shim
from spoke.cluster.host import HostCluster, StateInUse
from spoke.cluster.host_store import key_of
from spoke.cluster.port import (
    Conflict,
    LogPart,
    NotFound,
    Object,
    ObjectKey,
    PodBinding,
    Refused,
    Selection,
    Unavailable,
)
from tests.spoke.cluster.contract import PATIENCE_S, Arena, ClusterContract

NODES_FILE = """
nodes:
  - {name: node, count: 2, domains: {rack: r1}, gpus: {product: NVIDIA-A100-SXM4-80GB, count: 8, memory_mib: 81920}}
"""
NAMESPACE = "tests"
CATALOGUE = Catalogue.builtin()


class Clock:
    """The real time and what was skipped of it."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def nodes(tmp_path: Path) -> tuple[Object, ...]:
    file = tmp_path / "nodes.yaml"
    file.write_text(NODES_FILE)
    return host_nodes.load(file)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    pod_shim.sweep(tmp_path / "state", grace_s=0)


@pytest.fixture
async def cluster(state: Path, nodes: tuple[Object, ...], clock: Clock) -> AsyncIterator[HostCluster]:
    cluster = await HostCluster.open(state, nodes, clock=clock)
    yield cluster
    await cluster.close()


@pytest.fixture
def arena(cluster: HostCluster) -> Arena:
    return Arena(cluster, ("node-0", "node-1"), "contract", runs_pods=True)


class TestHostCluster(ClusterContract):
    pass


def pod(name: str = "p", shell: str = "true", **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox", "command": ["sh", "-c", shell]}
    body = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": [container], **spec}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": "x"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def key(name: str = "p", kind: str = "Pod") -> ObjectKey:
    return ObjectKey("v1", kind, NAMESPACE, name)


async def run(cluster: HostCluster, obj: dict[str, Any], node: str = "node-0", **annotations: str) -> Object:
    await cluster.create(obj)
    made = await cluster.get(key(obj["metadata"]["name"]))
    await cluster.bind(PodBinding(NAMESPACE, obj["metadata"]["name"], made["metadata"]["uid"], node, annotations))
    return made


async def until(condition: Callable[[], Any], what: str = "") -> Any:
    """What `condition` answers once it is true."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = condition()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"never came: {what or condition}") from None


async def phase(cluster: HostCluster, wanted: str, name: str = "p") -> Object:
    async def reached() -> Object | None:
        found = await cluster.get(key(name))
        return found if (found.get("status") or {}).get("phase") == wanted else None

    found: Object = await until(reached, f"{name} {wanted}")
    return found


async def gone(cluster: HostCluster, name: str = "p") -> None:
    async def absent() -> bool:
        try:
            await cluster.get(key(name))
        except NotFound:
            return True
        return False

    await until(absent, f"{name} gone")


async def log(cluster: HostCluster, name: str = "p", *, container: str = "", follow: bool = False) -> str:
    chunks = [chunk async for chunk in cluster.logs(NAMESPACE, name, follow=follow, container=container)]
    return b"".join(chunk.plain for chunk in chunks).decode()


def state_of(found: Object, container: int = 0) -> dict[str, Any]:
    state: dict[str, Any] = found["status"]["containerStatuses"][container]["state"]
    return state


def processes(marker: str) -> list[psutil.Process]:
    """Processes with that word in their command line; zombies have none, and must not be there at all."""
    found = []
    for process in psutil.process_iter():
        try:
            if marker in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def zombies() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


async def test_a_pod_runs_and_its_exit_is_its_phase(cluster: HostCluster) -> None:
    await run(cluster, pod("good", "echo fine"))
    await run(cluster, pod("bad", "echo oh >&2; exit 3"))
    good, bad = await phase(cluster, "Succeeded", "good"), await phase(cluster, "Failed", "bad")
    assert state_of(good)["terminated"]["exitCode"] == 0
    assert state_of(good)["terminated"]["reason"] == "Completed"
    assert (state_of(bad)["terminated"]["exitCode"], state_of(bad)["terminated"]["reason"]) == (3, "Error")
    assert await log(cluster, "bad") == "oh\n"
    assert "image busybox is ignored" in good["status"]["message"]
    await until(lambda: not zombies(), "no zombies")


async def test_a_running_pod_is_ready_and_then_is_not(cluster: HostCluster, tmp_path: Path) -> None:
    await run(cluster, pod(shell=f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"))
    running = await phase(cluster, "Running")
    assert {c["type"]: c["status"] for c in running["status"]["conditions"]}["Ready"] == "True"
    assert "startedAt" in state_of(running)["running"]
    (tmp_path / "go").touch()
    over = await phase(cluster, "Succeeded")
    assert {c["type"]: c["status"] for c in over["status"]["conditions"]}["Ready"] == "False"


async def test_touching_the_checkpoint_file_says_so_on_the_pod(cluster: HostCluster, tmp_path: Path) -> None:
    touch = 'touch -d "2026-01-02T03:04:05Z" "$MUSTER_CHECKPOINT_FILE"'
    await run(cluster, pod(shell=f"{touch}; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"))

    async def told() -> str | None:
        annotations = (await cluster.get(key("p")))["metadata"].get("annotations") or {}
        return annotations.get("muster.dev/checkpointed-at")

    assert await until(told) == "2026-01-02T03:04:05Z"
    (tmp_path / "go").touch()
    over = await phase(cluster, "Succeeded")
    assert over["metadata"]["annotations"]["muster.dev/checkpointed-at"] == "2026-01-02T03:04:05Z"


async def test_a_killed_process_reports_its_signal(cluster: HostCluster) -> None:
    await run(cluster, pod(shell="kill -9 $$$$"))
    assert state_of(await phase(cluster, "Failed"))["terminated"]["exitCode"] == 137


async def test_an_unknown_command_fails_with_its_name(cluster: HostCluster) -> None:
    obj = pod()
    obj["spec"]["containers"][0]["command"] = ["no-such-program"]
    await run(cluster, obj)
    ended = state_of(await phase(cluster, "Failed"))["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "no-such-program" in ended["message"]


async def test_a_container_without_command_says_that_images_are_not_run(cluster: HostCluster) -> None:
    obj = pod()
    del obj["spec"]["containers"][0]["command"]
    await run(cluster, obj)
    ended = state_of(await phase(cluster, "Failed"))["terminated"]
    assert "container main has no command" in ended["message"]


async def test_init_containers_run_first_and_in_order(cluster: HostCluster, tmp_path: Path) -> None:
    def step(name: str) -> dict[str, Any]:
        return {"name": name, "command": ["sh", "-c", f"echo {name} >> {tmp_path}/order; sleep 0.1"]}

    containers = [step("main"), {"name": "side", "command": ["sh", "-c", "exit 0"]}]
    await run(cluster, pod(initContainers=[step("first"), step("second")], containers=containers))
    over = await phase(cluster, "Succeeded")
    assert (tmp_path / "order").read_text().split() == ["first", "second", "main"]
    assert [s["name"] for s in over["status"]["containerStatuses"]] == ["main", "side"]
    assert all(s["ready"] for s in over["status"]["initContainerStatuses"])


async def test_a_failed_init_container_fails_the_pod(cluster: HostCluster) -> None:
    await run(cluster, pod(initContainers=[{"name": "init", "command": ["false"]}]))
    failed = await phase(cluster, "Failed")
    assert state_of(failed)["waiting"]["reason"] == "PodInitializing"


async def test_a_sidecar_ends_with_the_pod(cluster: HostCluster) -> None:
    sidecar = {"name": "side", "restartPolicy": "Always", "command": ["sleep", "7654.321"]}
    await run(cluster, pod(shell="sleep 0.2", initContainers=[sidecar]))
    await phase(cluster, "Succeeded")
    await until(lambda: not processes("sleep 7654.321"), "the sidecar's end")


async def test_restarts_wait_longer_each_time(cluster: HostCluster, clock: Clock, tmp_path: Path) -> None:
    await run(cluster, pod(shell=f"echo x >> {tmp_path}/starts; exit 1", restartPolicy="OnFailure"))

    def started(times: int) -> Callable[[], bool]:
        return lambda: (tmp_path / "starts").exists() and len((tmp_path / "starts").read_text()) == 2 * times

    async def waiting(seconds: int) -> bool:
        message = state_of(await cluster.get(key())).get("waiting", {}).get("message", "")
        return f"back-off {seconds}s" in message

    await until(started(2), "the first restart is at once")
    for times, seconds in ((3, 10), (4, 20), (5, 40)):
        await until(partial(waiting, seconds), f"back-off {seconds}")
        assert started(times - 1)()
        clock.ahead += timedelta(seconds=seconds)
        await until(started(times), f"start {times}")
    found = await cluster.get(key())
    assert found["status"]["phase"] == "Running"
    assert found["status"]["containerStatuses"][0]["restartCount"] == 4


async def test_on_failure_ends_with_the_first_success(cluster: HostCluster, tmp_path: Path) -> None:
    shell = f"[ -e {tmp_path}/once ] && exit 0; touch {tmp_path}/once; exit 1"
    await run(cluster, pod(shell=shell, restartPolicy="OnFailure"))
    over = await phase(cluster, "Succeeded")
    assert over["status"]["containerStatuses"][0]["restartCount"] == 1
    assert over["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1


async def test_env_as_kubernetes_expands_it(cluster: HostCluster) -> None:
    await cluster.create({**config("settings", mode="fast", level="3")})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": NAMESPACE}}
    await cluster.create({**secret, "data": {"token": "czNjcmV0"}})
    obj = pod()
    obj["spec"]["containers"][0] |= {
        "command": ["sh", "-c", 'echo "$A|$B|$C|$D|$TOKEN|$mode|$CUDA_VISIBLE_DEVICES|$1|$2"', "sh"],
        "args": ["$(A)-$(NOPE)", "$$(A)"],
        "resources": {"limits": {"nvidia.com/gpu": "2"}},
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "env": [
            {"name": "A", "value": "a"},
            {"name": "B", "value": "$(A)b$(mode)"},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        ],
    }
    await run(cluster, obj, **{"muster.dev/gpus": "2,5"})
    await phase(cluster, "Succeeded")
    assert await log(cluster) == "a|abfast|p|x|s3cret|fast|2,5|a-$(NOPE)|$(A)\n"


async def test_a_pod_waits_for_its_configuration(cluster: HostCluster) -> None:
    obj = pod(shell="echo $LEVEL")
    source = {"configMapKeyRef": {"name": "late", "key": "level"}}
    obj["spec"]["containers"][0]["env"] = [{"name": "LEVEL", "valueFrom": source}]
    await run(cluster, obj)

    async def waits() -> bool:
        found = await cluster.get(key())
        waiting = ((found.get("status") or {}).get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {})
        return bool(waiting.get("message") == "ConfigMap 'late' not found")

    await until(waits, "CreateContainerConfigError")
    await cluster.create(config("late", level="7"))
    await phase(cluster, "Succeeded")
    assert await log(cluster) == "7\n"


async def test_volumes_are_directories_and_paths_lead_there(cluster: HostCluster) -> None:
    await cluster.create(config("scripts", **{"hello.sh": "#!/bin/sh\necho hello > $OUT/out; cp $1 $OUT/copy"}))
    obj = pod(
        volumes=[
            {"name": "scripts", "configMap": {"name": "scripts"}},
            {"name": "data", "emptyDir": {}},
            {"name": "odd", "downwardAPI": {"items": []}},
        ]
    )
    obj["spec"]["containers"][0] |= {
        "command": ["sh", "-c", "cp $0 /data/run.sh; sh /data/run.sh $0; cat $OUT/copy; echo; cat $OUT/out"],
        "args": ["/scripts/hello.sh"],
        "env": [{"name": "OUT", "value": "/data"}],
        "volumeMounts": [{"name": "scripts", "mountPath": "/scripts"}, {"name": "data", "mountPath": "/data/"}],
    }
    await run(cluster, obj)
    over = await phase(cluster, "Succeeded")
    assert (await log(cluster)).splitlines()[-1] == "hello"
    assert "volumes odd are ignored" in over["status"]["message"]


async def test_names_of_the_clusters_dns_lead_to_this_machine(cluster: HostCluster) -> None:
    await cluster.create({**config("ring"), "kind": "Service", "spec": {"clusterIP": "None"}})
    obj = pod("ring-0", shell="echo $MASTER_ADDR $PEER $NAME $1", hostname="ring-0", subdomain="ring")
    obj["spec"]["containers"][0]["args"] = ["sh", "tcp://ring-0.ring.tests.svc.cluster.local:80"]
    obj["spec"]["containers"][0]["env"] = [
        {"name": "MASTER_ADDR", "value": "ring-0"},
        {"name": "PEER", "value": "ring-0.ring:29500"},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    await run(cluster, obj)
    await phase(cluster, "Succeeded", "ring-0")
    assert await log(cluster, "ring-0") == "127.0.0.1 127.0.0.1:29500 ring-0 tcp://127.0.0.1:80\n"


async def test_delete_ends_the_whole_tree(cluster: HostCluster, tmp_path: Path) -> None:
    # A child in the group, one in a session of its own, and all of them deaf to SIGTERM.
    shell = (
        f"trap '' TERM; sleep 8761 & setsid sh -c 'trap \"\" TERM; sleep 8762; sleep 8762' & touch {tmp_path}/up; wait"
    )
    await run(cluster, pod(shell=shell, terminationGracePeriodSeconds=1))
    await until(lambda: processes("sleep 8761") and processes("sleep 8762"), "the tree")
    await cluster.delete(key())
    ending = await cluster.get(key())
    assert "deletionTimestamp" in ending["metadata"]
    await gone(cluster)
    assert not processes("sleep 8761")
    assert not processes("sleep 8762")
    await until(lambda: not zombies(), "no zombies")


async def test_delete_lets_a_process_end_by_itself(cluster: HostCluster, tmp_path: Path) -> None:
    shell = f"trap 'echo bye > {tmp_path}/bye; exit 0' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done"
    await run(cluster, pod(shell=shell, terminationGracePeriodSeconds=60))
    await until((tmp_path / "up").exists)
    await cluster.delete(key())
    await gone(cluster)
    assert (tmp_path / "bye").read_text() == "bye\n"


async def test_deleting_again_with_less_grace_shortens_it(cluster: HostCluster, tmp_path: Path) -> None:
    shell = f"trap '' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done"
    await run(cluster, pod(shell=shell, terminationGracePeriodSeconds=600))
    await until((tmp_path / "up").exists)
    await cluster.delete(key())
    await cluster.delete(key(), grace_s=0)
    await gone(cluster)


async def test_what_a_finished_container_left_behind_is_ended(cluster: HostCluster) -> None:
    await run(cluster, pod(shell="setsid sleep 8763 & exit 0"))
    await phase(cluster, "Succeeded")
    assert not processes("sleep 8763")


async def test_logs_follow_until_the_container_ends(cluster: HostCluster, tmp_path: Path) -> None:
    await cluster.create(pod("later"))
    with pytest.raises(Unavailable, match="has not started"):
        await log(cluster, "later")
    shell = f"echo one; printf tw; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo o; printf end"
    await run(cluster, pod(shell=shell))
    await phase(cluster, "Running")
    following = cluster.logs(NAMESPACE, "p", follow=True)
    async with asyncio.timeout(PATIENCE_S):
        assert (await anext(following)).plain == b"one\n"
        assert await log(cluster) == "one\n"
        (tmp_path / "go").touch()
        rest = [chunk async for chunk in following]
    assert b"".join(part.plain for part in rest) == b"two\nend\n"


async def test_a_log_is_taken_up_after_a_position_over_restarts(cluster: HostCluster) -> None:
    shell = "n=$(cat n 2>/dev/null || echo 2); for i in 1 2 3; do echo run $n line $i; done; echo 1 > n; [ $n = 1 ]"
    spec = {"name": "main", "command": ["sh", "-c", shell]}
    await run(cluster, pod(restartPolicy="OnFailure", containers=[spec]))
    await phase(cluster, "Succeeded")
    whole = [f"run 1 line {i}\n" for i in (1, 2, 3)]
    assert await log(cluster) == "".join(whole)
    before = [part async for part in cluster.logs(NAMESPACE, "p", follow=False, previous=True)]
    earlier = "".join(f"run 2 line {i}\n" for i in (1, 2, 3))
    assert b"".join(part.plain for part in before).decode() == earlier
    after = f"o0:{len('run 2 line 1') + 1}"
    rest = [part async for part in cluster.logs(NAMESPACE, "p", follow=False, after=after)]
    assert b"".join(part.plain for part in rest).decode() == earlier[13:] + "".join(whole)
    assert [part async for part in cluster.logs(NAMESPACE, "p", follow=True, after=rest[-1].position)] == []
    for position in ("t0|0|0||", "o0", "o7:0"):
        with pytest.raises(Refused, match="position"):
            await anext(cluster.logs(NAMESPACE, "p", follow=False, after=position))


async def test_lines_know_when_they_were_written(cluster: HostCluster) -> None:
    began = datetime.now(UTC)
    await run(cluster, pod(shell="echo early; sleep 2.3; echo late"))
    await phase(cluster, "Succeeded")
    parts = [part async for part in cluster.logs(NAMESPACE, "p", follow=False)]
    stamps = {text: datetime.fromisoformat(at) for at, text in map(str.split, _lines(parts))}
    assert began <= stamps["early"] <= stamps["late"] - timedelta(seconds=1)
    since = stamps["late"] - timedelta(seconds=0.5)
    assert [
        line.split()[1] for line in _lines([p async for p in cluster.logs(NAMESPACE, "p", follow=False, since=since)])
    ] == ["late"]


def _lines(parts: Iterable[LogPart]) -> list[str]:
    return b"".join(part.stamped for part in parts).decode().splitlines()


async def test_logs_name_the_containers_there_are(cluster: HostCluster) -> None:
    containers = [{"name": n, "command": ["echo", n]} for n in ("one", "two")]
    await run(cluster, pod(containers=containers))
    await phase(cluster, "Succeeded")
    assert await log(cluster, container="two") == "two\n"
    with pytest.raises(NotFound, match="one, two"):
        await log(cluster, container="three")


async def test_binding_to_no_node_is_refused(cluster: HostCluster) -> None:
    await cluster.create(pod())
    with pytest.raises(Refused, match="nowhere"):
        await cluster.bind(PodBinding(NAMESPACE, "p", "", "nowhere", {}))


async def test_a_pod_that_ends_is_not_bound(cluster: HostCluster, tmp_path: Path) -> None:
    await run(cluster, pod(shell=f"trap '' TERM; touch {tmp_path}/up; while :; do sleep 0.1; done"))
    await until((tmp_path / "up").exists)
    await cluster.delete(key())
    with pytest.raises(Conflict):
        await cluster.bind(PodBinding(NAMESPACE, "p", "", "node-1", {}))
    await cluster.delete(key(), grace_s=0)
    await gone(cluster)


async def test_one_state_directory_has_one_spoke(cluster: HostCluster, state: Path, nodes: tuple[Object, ...]) -> None:
    with pytest.raises(StateInUse, match="in use"):
        await HostCluster.open(state, nodes)


async def test_a_malformed_pod_does_not_stop_the_others(cluster: HostCluster) -> None:
    await run(cluster, pod("odd", volumes=[{"name": "v", "configMap": 5}]))
    await run(cluster, pod("fine"))
    await phase(cluster, "Succeeded", "fine")


def config(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "data": data}


# ---- workloads ----


DEMO = Path(__file__).parents[3] / "deploy" / "demo"


async def submit(cluster: HostCluster, text: bytes, job: str = "j-1") -> Object:
    """As the agent would: rendered, created; the workload."""
    (submission,) = reader.read(text, CATALOGUE, namespace=NAMESPACE)
    objects = render.render([*submission.dependencies, submission.manifest], CATALOGUE, job=job, epoch=1)
    for obj in objects:
        await cluster.create(obj)
    return objects[-1]


async def pods_of(cluster: HostCluster, count: int, job: str = "j-1") -> list[Object]:
    async def there() -> tuple[list[Object]] | None:
        found = list(await cluster.list(Selection("v1", "Pod", NAMESPACE, f"muster.dev/job={job}")))
        return (sorted(found, key=lambda pod: str(pod["metadata"]["name"])),) if len(found) == count else None

    (found,) = await until(there, f"{count} pods")
    return list(found)


async def bind(cluster: HostCluster, pods: Iterable[Object], gpus: str = "0,1,2,3") -> None:
    for number, one in enumerate(pods):
        metadata = one["metadata"]
        node = f"node-{number % 2}"
        await cluster.bind(PodBinding(NAMESPACE, metadata["name"], metadata["uid"], node, {"muster.dev/gpus": gpus}))


async def outcome(cluster: HostCluster, workload: Object, wanted: Event) -> Object:
    kind = CATALOGUE.find(workload["apiVersion"], workload["kind"])
    assert kind is not None
    found = key_of(workload)

    async def reached() -> Object | None:
        present = await cluster.get(found)
        return present if observe.observe(kind, present).event == wanted else None

    present: Object = await until(reached, f"{workload['kind']} {wanted}")
    return present


async def test_the_ranks_of_a_pytorchjob_all_reduce(cluster: HostCluster) -> None:
    """Two pods, four ranks each, on a port of the job's own; every rank says the same."""
    workload = await submit(cluster, (DEMO / "gang.yaml").read_bytes())
    pods = await pods_of(cluster, 2)
    assert {one["spec"]["schedulerName"] for one in pods} == {"muster"}
    assert all(one["status"]["phase"] == "Pending" for one in pods)
    await bind(cluster, pods)
    await outcome(cluster, workload, Event.SUCCEED)
    text = "".join([await log(cluster, one["metadata"]["name"]) for one in pods])
    said = dict(re.findall(r"rank (\d+) agrees: (.*)", text))
    assert sorted(map(int, said)) == list(range(8))
    assert len(set(said.values())) == 1
    assert "sum of ranks 36" in said["0"]


async def test_pods_come_and_go_as_the_replicas_of_their_workload_say(cluster: HostCluster) -> None:
    text = (DEMO / "service.yaml").read_bytes()
    workload = await submit(cluster, text)
    await bind(cluster, await pods_of(cluster, 2), "0")

    async def scaled(count: int) -> list[Object]:
        while True:
            present = await cluster.get(key_of(workload))
            try:
                await cluster.update({**present, "spec": {**present["spec"], "replicas": count}})
                return await pods_of(cluster, count)
            except Conflict:
                continue

    assert len(await scaled(3)) == 3
    (left,) = await scaled(1)
    assert left["metadata"]["name"].endswith("-0"), "the highest numbers went"
    await outcome(cluster, workload, Event.RUNNING)
    with pytest.raises(Refused):
        await cluster.update({**config("c"), "data": {"x": "y"}})


async def test_two_gangs_on_one_machine_do_not_meet(cluster: HostCluster) -> None:
    text = (DEMO / "gang.yaml").read_bytes()
    other = text.replace(b"name: gang", b"name: other")
    workloads = [await submit(cluster, text, "j-1"), await submit(cluster, other, "j-2")]
    both = [await pods_of(cluster, 2, "j-1"), await pods_of(cluster, 2, "j-2")]
    for pods in both:
        await bind(cluster, pods)
    for workload in workloads:
        await outcome(cluster, workload, Event.SUCCEED)


async def test_an_indexed_job_finds_its_peers_by_their_service_names(cluster: HostCluster) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = (DEMO / "indexed-job.yaml").read_bytes().replace(b"29500", str(port).encode())
    workload = await submit(cluster, text)
    pods = await pods_of(cluster, 4)
    await bind(cluster, pods, "0")
    await outcome(cluster, workload, Event.SUCCEED)
    text_of_first = await log(cluster, pods[0]["metadata"]["name"])
    assert re.search(r"rank \d agrees: .* sum of ranks 10", text_of_first)


async def test_a_deployment_runs_and_goes_with_everything(cluster: HostCluster) -> None:
    workload = await submit(cluster, (DEMO / "service.yaml").read_bytes())
    await bind(cluster, await pods_of(cluster, 2), "0")
    await outcome(cluster, workload, Event.RUNNING)
    await cluster.delete(key_of(workload))
    await pods_of(cluster, 0)
    with pytest.raises(NotFound):
        await cluster.get(key_of(workload))
    assert not processes("http.server 0 --bind")


async def test_a_job_succeeds_by_its_success_policy_and_the_others_are_ended(cluster: HostCluster) -> None:
    text = """
apiVersion: batch/v1
kind: Job
metadata: {name: leader-decides}
spec:
  completionMode: Indexed
  completions: 2
  parallelism: 2
  successPolicy: {rules: [{succeededIndexes: "0"}]}
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: x, command: [sh, -c, '[ $JOB_COMPLETION_INDEX = 0 ] && exit 0; sleep 8769']}]
"""
    workload = await submit(cluster, text.encode())
    await bind(cluster, await pods_of(cluster, 2), "0")
    await outcome(cluster, workload, Event.SUCCEED)
    await pods_of(cluster, 1)
    assert not processes("sleep 8769")


async def test_a_failed_rank_fails_the_job_and_ends_the_others(cluster: HostCluster) -> None:
    text = """
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec:
  completionMode: Indexed
  completions: 2
  parallelism: 2
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers: [{name: c, image: x, command: [sh, -c, '[ $JOB_COMPLETION_INDEX = 1 ] && exit 4; sleep 8768']}]
"""
    workload = await submit(cluster, text.encode())
    await bind(cluster, await pods_of(cluster, 2))
    failed = await outcome(cluster, workload, Event.FAIL)
    kind = CATALOGUE.find("batch/v1", "Job")
    assert kind is not None
    assert "exit" in observe.observe(kind, failed).reason
    await until(lambda: not processes("sleep 8768"), "the other rank's end")


# ---- a spoke that is killed ----

OWNER = """
import asyncio, sys
from pathlib import Path
from placement.kinds import observe, reader, render
from placement.kinds.catalogue import Catalogue
from placement.lifecycle import Event
from spoke.cluster import host_nodes
from spoke.cluster.host import HostCluster

async def main():
    cluster = await HostCluster.open(Path(sys.argv[1]), host_nodes.load(Path(sys.argv[2])))
    print("open", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def owner(state: Path, tmp_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that runs the host cluster on `state`, killed by SIGKILL at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(state), str(tmp_path / "nodes.yaml"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"open\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_kill_9_and_adoption(state: Path, nodes: tuple[Object, ...], tmp_path: Path) -> None:
    """Of two pods that the killed spoke started one goes on and one ended meanwhile; neither is started again."""
    shell = "echo x >> {0}/{1}.starts; while [ ! -e {0}/{1}.go ]; do sleep 0.02; done; exit {2}"
    before = await HostCluster.open(state, nodes)
    for name, code in (("stays", 0), ("ends", 5)):
        await run(before, pod(name, shell.format(tmp_path, name, code)))
    await before.close()  # bound, and not started yet
    async with owner(state, tmp_path) as process:
        await until(lambda: (tmp_path / "stays.starts").exists() and (tmp_path / "ends.starts").exists(), "both run")
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    (tmp_path / "ends.go").touch()
    await until(lambda: not processes("ends.starts"), "the one that ends")
    after = await HostCluster.open(state, nodes)
    try:
        ended = await phase(after, "Failed", "ends")
        assert state_of(ended)["terminated"]["exitCode"] == 5
        assert (await phase(after, "Running", "stays"))["status"]["containerStatuses"][0]["restartCount"] == 0
        (tmp_path / "stays.go").touch()
        await phase(after, "Succeeded", "stays")
        assert [(tmp_path / f"{name}.starts").read_text() for name in ("stays", "ends")] == ["x\n", "x\n"]
    finally:
        await after.close()


async def test_kill_9_while_pods_are_started(state: Path, nodes: tuple[Object, ...], tmp_path: Path) -> None:
    """The spoke dies at some moment of starting twenty pods; each of them runs exactly once in the end."""
    bound = await HostCluster.open(state, nodes)
    for number in range(20):
        await run(bound, pod(f"p{number}", f"echo x >> {tmp_path}/{number}; sleep 0.3"))
    await bound.close()  # the bindings are durable; hardly any process has been started
    async with owner(state, tmp_path) as process:
        await until(lambda: (tmp_path / "3").exists() or (tmp_path / "0").exists(), "some pods")
        os.kill(process.pid, signal.SIGKILL)
    after = await HostCluster.open(state, nodes)
    try:
        for number in range(20):
            await phase(after, "Succeeded", f"p{number}")
            assert (tmp_path / str(number)).read_text() == "x\n", number
    finally:
        await after.close()


async def test_a_deletion_is_finished_after_kill_9(state: Path, nodes: tuple[Object, ...], tmp_path: Path) -> None:
    before = await HostCluster.open(state, nodes)
    await run(before, pod(shell=f"trap '' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done; : 8765"))
    await until((tmp_path / "up").exists)
    await before.delete(key(), grace_s=1)
    await before.close()
    after = await HostCluster.open(state, nodes)
    try:
        await gone(after)
        assert not processes(": 8765")
    finally:
        await after.close()


async def test_a_killed_shim_is_an_unknown_exit(cluster: HostCluster, state: Path) -> None:
    made = await run(cluster, pod(shell="sleep 8766; sleep 8766"))
    await phase(cluster, "Running")
    await until(lambda: processes("sleep 8766"))
    claim = next(state.glob(f"pods/{made['metadata']['uid']}/containers/main/0/shim.json")).read_text()
    shim = re.search(r'"pid": (\d+)', claim)
    assert shim is not None
    os.kill(int(shim[1]), signal.SIGKILL)
    ended = state_of(await phase(cluster, "Failed"))["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")
    await until(lambda: not processes("sleep 8766"), "nothing is left")


async def test_directories_of_forgotten_pods_are_swept(state: Path, nodes: tuple[Object, ...]) -> None:
    before = await HostCluster.open(state, nodes)
    await run(before, pod(shell="sleep 8767; sleep 8767"))
    await phase(before, "Running")
    await before.close()
    for file in state.glob("objects.sqlite*"):
        file.unlink()
    after = await HostCluster.open(state, nodes)
    try:
        assert not processes("sleep 8767")
        assert not list((state / "pods").iterdir())
    finally:
        await after.close()
