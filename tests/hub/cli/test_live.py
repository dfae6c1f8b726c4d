"""What runs until it is stopped: in a process of its own, over a socket, ended by Ctrl-C as a person would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.cli import exits
from tests.hub.api.fakes import FakeHub, Lines

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(live: str, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(*args: str) -> subprocess.Popen[str]:
        env = {
            **os.environ,
            "MUSTER_URL": live,
            "MUSTER_TOKEN": "alice-token",
            "MUSTER_CONTEXT": str(tmp_path / "none"),
            "COLUMNS": "100",
        }
        command = [sys.executable, "-m", "hub.cli.main", *args]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


def test_followed_logs_come_as_they_are_written_and_end_by_ctrl_c(start: Start, hub: FakeHub) -> None:
    hub.jobs.lines = [Lines("m-0", b"step 1\n")]
    process = start("logs", "-f", "llama-70b")
    assert process.stdout is not None
    assert process.stdout.readline() == "m-0 | step 1\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == exits.INTERRUPTED
    assert "Traceback" not in errors


def test_a_watched_list_is_drawn_again_when_something_happens(start: Start, hub: FakeHub) -> None:
    process = start("jobs", "--watch", "-o", "json")
    assert process.stdout is not None

    def next_list() -> str:
        lines = [process.stdout.readline()]  # type: ignore[union-attr]  # it is a pipe
        while lines[-1] != "]\n":
            lines.append(process.stdout.readline())  # type: ignore[union-attr]  # it is a pipe
        return "".join(lines)

    assert "warm-up" not in next_list()
    gone = hub.jobs.jobs.pop("j-0000000002")
    hub.jobs.tell(gone)
    assert "mistral" not in next_list()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == exits.INTERRUPTED
    assert "Traceback" not in errors


def test_events_are_followed_from_now_on(start: Start, hub: FakeHub) -> None:
    process = start("events", "--follow", "-o", "json")
    assert process.stdout is not None
    hub.jobs.asked_for_events.wait(20)
    hub.jobs.tell(hub.jobs.jobs["j-0000000001"])
    assert '"seq":5' in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == exits.INTERRUPTED
