"""Logs, exec and port-forward as people use them: the CLI, a hub, and a host cluster whose connection can be cut."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.cable import Cable
from hub.cli import exits
from hub.cli.federation import SITES, Federation
from hub.client import ApiError, MusterClient
from placement.lifecycle import Phase

PATIENCE_S = 60.0
SITE = SITES[1]

pytestmark = pytest.mark.timeout(300)


@dataclass
class Lab:
    federation: Federation
    muster: MusterClient
    cable: Cable

    def start(self, name: str, shell: str) -> str:
        template = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container(shell)]}
        spec = {"completions": 2, "parallelism": 2, "completionMode": "Indexed", "template": {"spec": template}}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
        made: str = self.muster.submit(json.dumps(job).encode()).jobs[0].job.id
        return made

    def until_phase(self, job: str, phase: Phase) -> None:
        until(lambda: self.muster.job(job).phase is phase, lambda: self.muster.job(job))

    def environment(self) -> dict[str, str]:
        return {**os.environ, "MUSTER_CONTEXT": str(self.federation.context_file), "COLUMNS": "100"}

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "hub.cli.main", *arguments]
        return subprocess.run(
            command, input=stdin, capture_output=True, timeout=60, check=False, env=self.environment()
        )


def container(shell: str) -> dict[str, Any]:
    return {"name": "main", "command": ["sh", "-c", shell], "env": [{"name": "COLOUR", "value": "blue"}]}


def until(condition: Callable[[], Any], what: Callable[[], object]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"never came: {what()}")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Federation(tmp_path_factory.mktemp("operating")) as federation, pytest.MonkeyPatch.context() as patch:
        muster = federation.start_hub()
        cable = Cable(json.loads((federation.directory / "ports.json").read_text())[1])
        patch.setenv("MUSTER_SPOKE_HUB_LINK", f"127.0.0.1:{cable.port}")
        patch.setenv("MUSTER_SPOKE_RECONNECT_S", "1")
        federation.start_spoke(SITE, muster)
        federation.until_ready(SITE, muster)
        yield Lab(federation, muster, cable)
        federation.stop()
        federation.stop_pods()
        cable.close()


def test_a_log_that_is_cut_off_again_and_again_comes_whole(lab: Lab) -> None:
    """And with it the one of a job that is cancelled, after its pods are gone."""
    numbers = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done"
    job = lab.start("counting", f"{numbers}; sleep 1; echo done; sleep 600")
    lab.until_phase(job, Phase.RUNNING)
    seen: dict[str, list[str]] = {}
    pauses: list[str] = []
    last = threading.Event()

    def cut() -> None:
        while not last.wait(0.5):
            lab.cable.cut()
            lab.cable.mend()

    cutting = threading.Thread(target=cut)
    cutting.start()
    try:
        for one in lab.muster.logs(job, follow=True, told=pauses.append):
            seen.setdefault(one.pod, []).extend(one.data.splitlines())
            time.sleep(0.02)  # a slow reader: most of it is read after a cut
            if len(seen) == 2 and all(lines[-1] == "done" for lines in seen.values()):
                break
    finally:
        last.set()
        cutting.join()
    expected = [*(f"line {number}" for number in range(1, 20_001)), "done"]
    assert all(lines == expected for lines in seen.values())
    assert pauses, "it was never cut off"

    assert lab.run("logs", job, "--rank", "1", "--tail", "2").stdout.decode().splitlines() == [
        f"{sorted(seen)[1]} | line 20000",
        f"{sorted(seen)[1]} | done",
    ]
    stamped = lab.run("logs", job, "--rank", "0", "--tail", "1", "--timestamps", "--since", "1h").stdout.decode()
    assert stamped.startswith(f"{sorted(seen)[0]} | 20")
    assert stamped.endswith("Z done\n")

    until(lambda: lab.muster.cluster(SITE.name).health == "ready", lambda: lab.muster.cluster(SITE.name))
    lab.muster.cancel(job)
    lab.until_phase(job, Phase.CANCELLED)
    until(lambda: lab.federation.running_pods() == 0, lab.federation.running_pods)
    kept: dict[str, list[str]] = {}
    for one in lab.muster.logs(job):
        kept.setdefault(one.pod, []).extend(one.data.splitlines())
    assert kept == seen


def test_pods_of_a_group_run_here_together_and_fail_together(lab: Lab) -> None:
    def group(name: str, *shells: str) -> str:
        label = {"scheduling.x-k8s.io/pod-group": name}
        pods = [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"{name}-{index}", "labels": label},
                "spec": {"restartPolicy": "Never", "containers": [container(shell)]},
            }
            for index, shell in enumerate(shells)
        ]
        listed = {"apiVersion": "v1", "kind": "List", "items": pods}
        made: str = lab.muster.submit(json.dumps(listed).encode()).jobs[0].job.id
        return made

    good = group("pair", "echo left; sleep 1", "echo right; sleep 1")
    lab.until_phase(good, Phase.SUCCEEDED)
    assert {(one.pod, one.data) for one in lab.muster.logs(good)} == {("pair-0", "left\n"), ("pair-1", "right\n")}
    bad = group("odd", "sleep 1; exit 3", "sleep 600")
    lab.until_phase(bad, Phase.FAILED)
    assert "pod odd-0" in lab.muster.job(bad).reason
    until(lambda: lab.federation.running_pods() == 0, lab.federation.running_pods)


SERVES = """
import http.server, os, sys
port = int(open(os.environ['PORT_FILE']).read()) + int(os.environ['JOB_COMPLETION_INDEX'])
open('large', 'wb').write(os.urandom(1 << 20) * 24)
open('small', 'w').write(os.environ['JOB_COMPLETION_INDEX'])
print('serving', flush=True)
http.server.ThreadingHTTPServer(('127.0.0.1', port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture(scope="module")
def serving(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int]:
    """A job that serves files, the pod of rank n on that port plus n."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    file = tmp_path_factory.mktemp("port") / "port"
    file.write_text(str(port))
    script = file.with_name("serve.py")
    script.write_text(SERVES)
    job = lab.start("serving", f"export PORT_FILE={file}; exec python {script}")
    lab.until_phase(job, Phase.RUNNING)
    until(lambda: sum(1 for _ in lab.muster.logs(job)) == 2, lambda: list(lab.muster.logs(job)))
    return job, port


def test_a_command_runs_beside_a_pods_own(lab: Lab, serving: tuple[str, int]) -> None:
    job, _ = serving
    shell = "cat; echo $COLOUR $JOB_COMPLETION_INDEX; echo oops >&2; exit 3"
    done = lab.run("exec", "-i", job, "--rank", "1", "--", "sh", "-c", shell, stdin=b"hello\n" * 100_000)
    assert (done.returncode, done.stderr) == (3, b"oops\n")
    assert done.stdout == b"hello\n" * 100_000 + b"blue 1\n"
    missing = lab.run("exec", job, "--", "no-such-command")
    assert (missing.returncode, missing.stdout) == (127, b"")
    assert b"no-such-command" in missing.stderr
    for wrong, code, words in (
        (["--rank", "7"], exits.FAILED, "no pod of rank 7"),
        (["--role", "boss"], exits.FAILED, "its roles are worker"),
        (["--container", "side"], exits.FAILED, "it has main"),
    ):
        refused = lab.run("exec", job, *wrong, "--", "true")
        assert refused.returncode == code, refused
        assert words in refused.stderr.decode(), refused
    assert lab.run("exec", "no-such-job", "--", "true").returncode == exits.NOT_FOUND


def test_a_terminal_is_lent_and_given_back(lab: Lab, serving: tuple[str, int]) -> None:
    job, _ = serving
    outer, inner = pty.openpty()
    fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    before = termios.tcgetattr(inner)
    command = [sys.executable, "-m", "hub.cli.main", "exec", "-it", job, "--", "sh"]
    process = subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, env=lab.environment(), start_new_session=True
    )
    screen = Screen(outer)
    try:
        screen.until("$ ", "# ")
        os.write(outer, b"stty size\n")
        screen.until("31 97")
        fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        process.send_signal(signal.SIGWINCH)
        time.sleep(0.5)
        os.write(outer, b"stty size\n")
        screen.until("40 120")
        os.write(outer, b"sleep 300; echo over\n")
        time.sleep(0.3)
        os.write(outer, b"\x03")  # Ctrl-C goes to the command and not to us
        screen.until("$ ", "# ")
        os.write(outer, b"exit 5\n")
        assert process.wait(30) == 5, screen.text
        assert termios.tcgetattr(inner) == before
    finally:
        process.kill()
        process.wait()
        os.close(outer)
        os.close(inner)


class Screen:
    def __init__(self, file: int) -> None:
        self._file = file
        self.text = ""
        os.set_blocking(file, False)

    def until(self, *any_of: str) -> None:
        seen, deadline = "", time.monotonic() + 30
        while not any(text in seen for text in any_of):
            assert time.monotonic() < deadline, self.text
            with contextlib.suppress(BlockingIOError):
                seen += os.read(self._file, 4096).decode(errors="replace")
            time.sleep(0.02)
        self.text += seen


def test_ports_of_pods_are_reached_from_here(lab: Lab, serving: tuple[str, int]) -> None:
    job, port = serving
    command = [sys.executable, "-m", "hub.cli.main", "port-forward", job, f"0:{port + 1}", "--rank", "1"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=lab.environment()
    )
    try:
        assert process.stdout is not None
        local = int(process.stdout.readline().split("127.0.0.1:")[1].split()[0])

        def get(path: str) -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{local}/{path}", timeout=60) as answer:
                data: bytes = answer.read()
            return data

        with ThreadPoolExecutor(40) as pool:
            small = list(pool.map(lambda _: get("small"), range(120)))
        assert small == [b"1"] * 120
        assert len(get("large")) == 24 << 20
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert errors == ""
    assert process.returncode == 0

    unreached = subprocess.Popen(
        [sys.executable, "-m", "hub.cli.main", "port-forward", job, "0:1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=lab.environment(),
    )
    assert unreached.stdout is not None
    local = int(unreached.stdout.readline().split("127.0.0.1:")[1].split()[0])
    with socket.create_connection(("127.0.0.1", local), timeout=30) as one:
        assert one.recv(1) == b""
    unreached.send_signal(signal.SIGINT)
    assert "listens on port 1" in unreached.communicate(timeout=20)[1]


def test_what_happened_comes_in_one_order(lab: Lab, serving: tuple[str, int]) -> None:
    job, _ = serving
    lines = lab.run("events", job).stdout.decode().splitlines()
    assert lines == sorted(lines, key=lambda line: line[:19]), lines
    words = [" ".join(line.split()[2:]) for line in lines]
    assert words[0].startswith("muster submit")
    assert sum("kubelet Started Pod" in line for line in words) == 2, words


def test_who_was_there_is_noted_and_who_may_only_look_is_not_let_in(lab: Lab, serving: tuple[str, int]) -> None:
    job, port = serving
    token = lab.muster.add_user("vera", role="viewer").token
    environment = {**lab.environment(), "MUSTER_TOKEN": token}
    command = [sys.executable, "-m", "hub.cli.main", "exec", job, "--", "true"]
    refused = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert refused.returncode == exits.NOT_ALLOWED
    assert "vera is a viewer" in refused.stderr
    other = lab.muster.add_user("otto", tenant="others").token
    stranger = subprocess.run(
        command, capture_output=True, text=True, env={**environment, "MUSTER_TOKEN": other}, check=False
    )
    assert stranger.returncode == exits.NOT_FOUND
    found = lab.run("audit").stdout.decode()
    assert "sh -c cat; echo $COLOUR" in found
    assert [one.detail for one in lab.muster.audit() if one.action == "port-forward"].count(str(port + 1)) == 1
    with pytest.raises(ApiError, match="admin"):
        lab.muster.job("nothing-of-that-name-admin")


def test_a_command_ends_with_its_job(lab: Lab, serving: tuple[str, int]) -> None:
    job, _ = serving
    command = [sys.executable, "-m", "hub.cli.main", "exec", job, "--", "sh", "-c", "echo here; exec sleep 8761"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=lab.environment()
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    lab.muster.cancel(job)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == exits.FAILED
    assert "has ended" in errors
    until(lambda: b"sleep 8761" not in b"".join(commands()), lambda: "its process to end")


def commands() -> Iterator[bytes]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                yield (entry / "cmdline").read_bytes().replace(b"\0", b" ")
