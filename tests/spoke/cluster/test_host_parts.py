"""The host cluster's pure parts: selectors, merging, nodes, the kubelet's decisions."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spoke.cluster import host_nodes, host_pods, host_selectors, pod_shim
from spoke.cluster.host_env import expand
from spoke.cluster.host_nodes import NodesFileError
from spoke.cluster.host_runs import Command, Exit, Run, Runs, RunState
from spoke.cluster.host_store import HostStore
from spoke.cluster.port import Gone, ObjectKey, Refused, Selection, Snapshot, Upsert
from spoke.nodes import LINKS_ANNOTATION

NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ("", {"a", "b", "c"}),
        ("team=red", {"a"}),
        ("team == red", {"a"}),
        ("team!=red", {"b", "c"}),
        ("team", {"a", "b"}),
        ("!team", {"c"}),
        ("team in (red, blue),size", {"b"}),
        ("team notin (red)", {"b", "c"}),
        ("muster.dev/job=j-1,team=red", set()),
    ],
)
def test_selectors_choose_as_kubernetes_does(selector: str, chosen: set[str]) -> None:
    labels = {"a": {"team": "red"}, "b": {"team": "blue", "size": "1"}, "c": {"size": "2"}}
    assert {name for name, own in labels.items() if host_selectors.matches(selector, own)} == chosen


@pytest.mark.parametrize("selector", ["a b", "in (", "a in (b", "=b", "a=b=c"])
def test_a_selector_that_cannot_be_read_is_refused(selector: str) -> None:
    with pytest.raises(Refused, match="label selector"):
        host_selectors.matches(selector, {})


async def test_the_store_tells_and_remembers(tmp_path: Path) -> None:
    store = HostStore(tmp_path / "objects", lambda: NOW)
    key = ObjectKey("v1", "ConfigMap", "n", "c")
    made: Any = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "n", "labels": {"x": "1"}},
    }
    watch = store.watch(Selection("v1", "ConfigMap", "n", "x=1"))
    assert await anext(watch) == Snapshot(())
    first = store.create(made)
    assert await anext(watch) == Upsert(first)
    store.put(first)  # no difference: nobody hears of it
    relabelled = store.put({**first, "metadata": {**first["metadata"], "labels": {"x": "2"}}})
    assert await anext(watch) == Gone(relabelled)
    store.close()
    again = HostStore(tmp_path / "objects", lambda: NOW)
    assert again.get(key) == relabelled
    again.close()


def test_variables_expand_as_in_kubernetes() -> None:
    assert expand("$(A)/$(B)/$$(A)/$$$$/$A", {"A": "1"}) == "1/$(B)/$(A)/$$/$A"


# ---- nodes ----


def nodes_of(tmp_path: Path, text: str) -> tuple[Mapping[str, Any], ...]:
    file = tmp_path / "nodes.yaml"
    file.write_text(text)
    return host_nodes.load(file)


def test_declared_nodes(tmp_path: Path) -> None:
    nodes = nodes_of(
        tmp_path,
        """
nodes:
  - {name: a, cpu: 2.5, memory: 8Gi, domains: {rack: r1, my.own/level: x}, labels: {team: v},
     taints: [{key: spot, effect: NoSchedule}], gpus: {product: T4, count: 4, memory_mib: 15360, links: pairs}}
  - {name: b, count: 2}
""",
    )
    assert [node["metadata"]["name"] for node in nodes] == ["a", "b-0", "b-1"]
    first = nodes[0]
    assert first["metadata"]["labels"] == {
        "kubernetes.io/hostname": "a",
        "topology.muster.dev/rack": "r1",
        "my.own/level": "x",
        "team": "v",
        "nvidia.com/gpu.product": "T4",
        "nvidia.com/gpu.count": "4",
        "nvidia.com/gpu.memory": "15360",
    }
    assert first["status"]["allocatable"] == {"cpu": "2500m", "memory": "8Gi", "pods": "250", "nvidia.com/gpu": "4"}
    assert first["spec"]["taints"] == [{"key": "spot", "value": "", "effect": "NoSchedule"}]
    links = json.loads(first["metadata"]["annotations"][LINKS_ANNOTATION])
    assert links[0][1] == links[2][3] > links[0][2] == links[1][3] > 0
    assert "nvidia.com/gpu" not in nodes[1]["status"]["allocatable"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodes: [{name: a, gpu: 3}]", r"nodes\.0\.gpu"),
        ("nodes: [{name: a, gpus: {product: x, count: 0}}]", r"nodes\.0\.gpus\.count"),
        ("nodes: [{name: A_B}]", r"nodes\.0\.name"),
        ("nodes: [{name: a}, {name: a}]", "'a' is used twice"),
        ("{}", "none is declared"),
        ("nodes: [", "no YAML"),
        ("5", "NodesFile"),
    ],
)
def test_a_bad_nodes_file_names_the_field(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(NodesFileError, match=message):
        nodes_of(tmp_path, text)


def test_without_a_file_the_machine_is_the_node() -> None:
    (node,) = host_nodes.load(None)
    assert int(node["status"]["allocatable"]["cpu"].removesuffix("m")) >= 1000


def test_real_cards_make_the_machine_a_node() -> None:
    (node,) = host_nodes.detected("gpus", lambda: [("NVIDIA H100 80GB HBM3", 81559)] * 2)
    assert node["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "2"
    assert host_nodes.detected("gpus", list) == ()
    assert host_nodes.detected("never", lambda: [("T4", 1)]) == ()


# ---- the kubelet's decisions ----


def pod(policy: str = "Always", *, inits: tuple[str, ...] = (), mains: tuple[str, ...] = ("main",)) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": {
            "nodeName": "node",
            "restartPolicy": policy,
            "containers": [{"name": name} for name in mains],
            "initContainers": [{"name": name} for name in inits],
        },
    }


def a_run(
    name: str, code: int | None, *, attempt: int = 0, streak: int = 0, lasted_s: float = 1, ago_s: float = 0
) -> Run:
    finished = NOW - timedelta(seconds=ago_s)
    ended = None if code is None else Exit(code, "Error" if code else "Completed", "", finished)
    state = RunState.RUNNING if code is None else RunState.EXITED
    return Run(name, attempt, streak, state, finished - timedelta(seconds=lasted_s), ended, None, Path("nowhere"))


def names(pod: dict[str, Any], *runs: Run) -> list[str]:
    return [start.container for start in host_pods.starts(pod, {run.container: run for run in runs}, NOW)]


def phase(pod: dict[str, Any], *runs: Run) -> str:
    return str(host_pods.status(pod, {run.container: run for run in runs}, {}, NOW, "")["phase"])


def test_the_backoff_doubles_up_to_five_minutes_and_is_forgotten() -> None:
    waits = []
    for streak in range(9):
        run = a_run("main", 1, attempt=streak, streak=streak)
        assert run.exit is not None
        waits.append(host_pods.backoff(run, run.exit).total_seconds())
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300, 300]
    lasted = a_run("main", 1, attempt=8, streak=8, lasted_s=601)
    (start,) = host_pods.starts(pod(), {"main": lasted}, NOW)
    assert (start.attempt, start.streak) == (9, 1)


@pytest.mark.parametrize(
    ("policy", "code", "restarts", "then"),
    [
        ("Always", 0, True, "Running"),
        ("Always", 1, True, "Running"),
        ("OnFailure", 0, False, "Succeeded"),
        ("OnFailure", 1, True, "Running"),
        ("Never", 0, False, "Succeeded"),
        ("Never", 1, False, "Failed"),
    ],
)
def test_restart_policies(policy: str, code: int, restarts: bool, then: str) -> None:
    assert (names(pod(policy), a_run("main", code)) == ["main"]) is restarts
    assert phase(pod(policy), a_run("main", code)) == then


def test_init_containers_come_one_by_one() -> None:
    two = pod("Never", inits=("i1", "i2"))
    assert names(two) == ["i1"]
    assert names(two, a_run("i1", None)) == []
    assert names(two, a_run("i1", 0)) == ["i2"]
    assert names(two, a_run("i1", 0), a_run("i2", 0)) == ["main"]
    assert phase(two, a_run("i1", 0), a_run("i2", 1)) == "Failed"
    assert phase(two, a_run("i1", 0)) == "Pending"


def test_a_pod_with_one_failed_container_fails_when_all_have_ended() -> None:
    two = pod("Never", mains=("a", "b"))
    assert phase(two, a_run("a", 1), a_run("b", None)) == "Running"
    assert phase(two, a_run("a", 1), a_run("b", 0)) == "Failed"


def test_a_pod_that_is_ending_starts_nothing() -> None:
    ending = pod()
    ending["metadata"]["deletionTimestamp"] = "2031-05-01T12:00:00Z"
    assert names(ending) == []
    assert [run.container for run in host_pods.stops(ending, {"main": a_run("main", None)})] == ["main"]


# ---- the shim ----


def test_a_run_happens_once_however_often_it_is_started(tmp_path: Path) -> None:
    out = tmp_path / "out"
    spec = {"argv": ["sh", "-c", f"echo x >> {out}; exit 7"], "env": {"PATH": "/usr/bin:/bin"}, "cwd": str(tmp_path)}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    shims = [subprocess.Popen([sys.executable, "-I", "-S", pod_shim.__file__, str(tmp_path)]) for _ in range(4)]
    assert [shim.wait(30) for shim in shims] == [0, 0, 0, 0]
    assert out.read_text() == "x\n"
    assert json.loads((tmp_path / "exit.json").read_text())["code"] == 7
    assert not pod_shim.alive(tmp_path)


def test_a_run_stopped_before_it_began_never_begins(tmp_path: Path) -> None:
    spec = {"argv": ["touch", str(tmp_path / "ran")], "env": {"PATH": "/usr/bin:/bin"}, "cwd": str(tmp_path)}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    (tmp_path / "stop.json").write_text('{"grace_s": 1}')
    assert subprocess.run([sys.executable, "-I", "-S", pod_shim.__file__, str(tmp_path)], timeout=30).returncode == 0
    assert json.loads((tmp_path / "exit.json").read_text())["code"] == 143
    assert not (tmp_path / "ran").exists()


def test_a_run_whose_shim_looked_for_a_stop_just_before_it_was_asked_is_told_by_signal(tmp_path: Path) -> None:
    """The spoke had read it as starting; its shim claimed the run in between."""
    runs = Runs(tmp_path)
    runs.start("p", "side", 0, 0, Command(("sleep", "60"), {"PATH": "/usr/bin:/bin"}, str(tmp_path)))
    deadline = time.monotonic() + 30
    while (claimed := runs.of_pod("p")["side"]).state is RunState.STARTING and time.monotonic() < deadline:
        time.sleep(0.01)
    runs.stop(replace(claimed, state=RunState.STARTING, started_at=None), grace_s=5)
    while (ended := runs.of_pod("p")["side"]).exit is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ended.exit is not None
    assert ended.exit.code == 143
