"""`muster demo` and `muster up` as a person runs them: what is on the screen, the exit code, nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from hub.cli import context
from hub.cli.federation import FILES, SITES
from hub.client import MusterClient
from placement.kinds import reader
from placement.kinds.catalogue import Catalogue
from spoke.cluster import host_nodes, pod_shim

PATIENCE_S = 240.0  # on two cores that others use too
COMMAND = [sys.executable, "-m", "hub.cli.main"]

pytestmark = pytest.mark.timeout(600)


@contextmanager
def started(tmp_path: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A muster process whose output goes to `tmp_path/screen`; its temporary files lie below `tmp_path/tmp`."""
    (tmp_path / "tmp").mkdir(exist_ok=True)
    env = {**os.environ, "COLUMNS": "100", "TMPDIR": str(tmp_path / "tmp"), **environment}
    with (tmp_path / "screen").open("w") as screen:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=screen,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for left in processes_of(tmp_path):
            left.kill()


def screen_of(tmp_path: Path) -> str:
    return (tmp_path / "screen").read_text()


def processes_of(tmp_path: Path) -> list[psutil.Process]:
    """Hub, spokes, shims and ranks all name a path below `tmp_path`."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(tmp_path) in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"never came: {what}")


def test_the_demo_shows_what_it_promises(tmp_path: Path) -> None:
    with started(tmp_path, "demo") as process:
        code = process.wait(PATIENCE_S)
        screen = screen_of(tmp_path)
        assert code == 0, screen
        assert not processes_of(tmp_path)
    assert not list((tmp_path / "tmp").glob("muster-demo-*"))
    for site in SITES:
        assert re.search(rf"✔ {site.name} +\d+ nodes", screen)
    assert "✔ placed on onprem-a" in screen
    assert re.search(r"cloud-b +fits +\$", screen)
    assert re.search(r"edge-c +no .*0 of 2 pods", screen)
    said = re.findall(r"^gang-(?:master|worker)-0 \| rank (\d) agrees: (.*)$", screen, re.MULTILINE)
    assert sorted(rank for rank, _ in said) == list("01234567")
    assert len({words for _, words in said}) == 1
    assert re.search(r"gang-worker-0 +Worker +r\d-n-\d", screen)
    assert "onprem-a has room for 4 of 6 pods" in screen
    last = screen[screen.index("✔ gang: 8 of 8 ranks agree on the all-reduced weights") :]
    assert re.search(r"^ +\S*muster up$", last, re.MULTILINE)


def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    with started(tmp_path, "demo") as process:
        until(lambda: "joined the ring" in screen_of(tmp_path) or process.poll() is not None, "the ranks")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, screen_of(tmp_path)
        assert not processes_of(tmp_path)
    assert "Interrupted" in screen_of(tmp_path)


def test_a_failure_names_the_log_and_leaves_nothing_running(tmp_path: Path) -> None:
    with started(tmp_path, "demo", MUSTER_HUB_LEASE_S="1") as process:
        assert process.wait(PATIENCE_S) == 1, screen_of(tmp_path)
        assert not processes_of(tmp_path)
    screen = screen_of(tmp_path)
    assert "hub ended with code 2" in screen
    log = re.search(r"the whole log: (.*)", screen)
    assert log is not None
    assert "lease_s is 1" in Path(log[1]).read_text()


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home")
    yield home
    pod_shim.sweep(home, grace_s=0)


def test_up_is_stopped_and_adopted_again(tmp_path: Path, home: Path) -> None:
    """The service's processes outlive the federation, and the next one takes them over."""
    with started(tmp_path, "up", "--dir", str(home)) as process, client_of(home, process) as client:
        until(lambda: "Ctrl-C" in screen_of(tmp_path), "the whole federation")
        job = client.submit((FILES / "service.yaml").read_bytes()).jobs[0].job.id
        until(lambda: client.job(job).phase == "RUNNING", "the service")
        servers = until(lambda: servers_of(home) if len(servers_of(home)) == 2 else None, "both servers")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, screen_of(tmp_path)
        assert "2 containers go on" in screen_of(tmp_path)
        assert servers_of(home) == servers
    with started(tmp_path, "up", "--dir", str(home)) as process, client_of(home, process) as client:
        until(lambda: "Ctrl-C" in screen_of(tmp_path), "the federation again")
        assert client.job(job).phase == "RUNNING"
        assert servers_of(home) == servers
        client.cancel(job)
        until(lambda: client.job(job).phase == "CANCELLED" and not servers_of(home), "the end of the servers")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    subprocess.run([*COMMAND, "up", "--dir", str(home), "--clean"], check=True, timeout=PATIENCE_S)
    assert not home.exists()


@contextmanager
def client_of(home: Path, process: subprocess.Popen[str]) -> Iterator[MusterClient]:
    file = home / "hub" / "context.json"
    until(lambda: file.exists() or process.poll() is not None, "the hub's context file")
    with context.dial(context.resolve({"MUSTER_CONTEXT": str(file)})) as client:
        yield client


def servers_of(home: Path) -> set[int]:
    """The process ids of the service's replicas that run."""
    return {
        pid
        for claim in home.rglob("shim.json")
        if pod_shim.alive(claim.parent) and (pid := yaml.safe_load(claim.read_text()).get("child"))
    }


# ---- the files ----


def documents(file: str) -> list[Mapping[str, Any]]:
    return list(yaml.safe_load_all((FILES / file).read_text()))


@pytest.mark.parametrize("file", ["gang.yaml", "indexed-job.yaml"])
def test_the_manifests_hold_the_script_as_it_is(file: str) -> None:
    script = (FILES / "allreduce.py").read_text()
    assert documents(file)[0]["data"]["allreduce.py"] == script, f"copy deploy/demo/allreduce.py into {file}"


@pytest.mark.parametrize(
    ("file", "kind", "pods", "gpus", "gang"),
    [
        ("gang.yaml", "PyTorchJob", 2, 8, 2),
        ("too-large.yaml", "PyTorchJob", 6, 48, 6),
        ("indexed-job.yaml", "Job", 4, 4, 4),
        ("service.yaml", "Deployment", 2, 2, 1),
    ],
)
def test_the_manifests_are_what_they_say(file: str, kind: str, pods: int, gpus: int, gang: int) -> None:
    (submission,) = reader.read((FILES / file).read_bytes(), Catalogue.builtin())
    workload = submission.workload
    assert (workload.kind, workload.pods, workload.total_gpus, workload.min_pods) == (kind, pods, gpus, gang)
    assert not workload.warnings


def test_the_clusters_have_the_gpus_that_the_story_needs() -> None:
    gpus = {}
    for site in SITES:
        # Of the file alone: this machine may have GPUs of its own.
        declared = host_nodes.NodesFile.model_validate(yaml.safe_load(site.nodes.read_text())).nodes
        gpus[site.name] = sum(node.count * node.gpus.count for node in declared if node.gpus)
    assert gpus == {"onprem-a": 32, "cloud-b": 24, "edge-c": 3}
