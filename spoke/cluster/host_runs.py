"""The attempts to run each container of each pod, as the state directory tells them.

    pods/<pod uid>/<container>/<attempt>/     one run; its files are `pod_shim`'s
    pods/<pod uid>/work, volumes/             the pod's working directory and volumes

Nothing is remembered here that the directories do not say, so a spoke that starts again knows what the one before it
did. A run whose directory is claimed is never started again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from spoke.cluster import pod_shim

SHIM_START_S = 10.0  # a shim that has not claimed its run by then is started again (only one of them can win)
KEPT_RUNS = 2  # of one container: the present and the one before it


class RunState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Exit:
    code: int
    reason: str  # Completed | Error | StartError | ContainerStatusUnknown
    message: str
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """The newest attempt at one container. `streak` counts the restarts that the back-off counts."""

    container: str
    attempt: int
    streak: int
    state: RunState
    started_at: datetime | None
    exit: Exit | None
    before: Exit | None  # how the attempt before it ended
    directory: Path

    @property
    def log(self) -> Path:
        return self.directory / "log"


@dataclass(frozen=True, slots=True)
class Command:
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str


class Runs:
    """Starts, stops and reads runs under `root`. Calls take microseconds to a millisecond; nothing here waits."""

    def __init__(self, root: Path) -> None:
        self._pods = root / "pods"
        self._pods.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._shims: dict[Path, tuple[subprocess.Popen[bytes], float]] = {}

    def pod_directory(self, uid: str) -> Path:
        return self._pods / uid

    def pods(self) -> frozenset[str]:
        """The uids of every pod that has a directory here."""
        return frozenset(entry.name for entry in self._pods.iterdir())

    def of_pod(self, uid: str) -> Mapping[str, Run]:
        """The newest run of each container that was ever started."""
        self._reap()
        found: dict[str, Run] = {}
        base = self._pods / uid / "containers"
        if base.is_dir():
            for container in base.iterdir():
                run = self._newest(container)
                if run is not None:
                    found[container.name] = run
        return found

    def start(self, uid: str, container: str, attempt: int, streak: int, command: Command) -> None:
        base = self._pods / uid / "containers" / container
        directory = base / str(attempt)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        spec = {"argv": command.argv, "env": dict(command.env), "cwd": command.cwd, "streak": streak}
        pod_shim.write_json(directory / "spec.json", spec)
        self._spawn(directory)
        for old in _attempts(base)[:-KEPT_RUNS]:
            shutil.rmtree(base / str(old), ignore_errors=True)

    def fail(self, uid: str, container: str, attempt: int, streak: int, message: str) -> None:
        """A run that cannot even begin: as one whose command was not found."""
        directory = self._pods / uid / "containers" / container / str(attempt)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = time.time()
        ended = {"code": pod_shim.START_ERROR, "reason": "StartError", "message": message}
        pod_shim.write_json(directory / "exit.json", {**ended, "started": now, "finished": now})
        pod_shim.write_json(directory / "shim.json", {"pid": 0, "started": now})
        pod_shim.write_json(directory / "spec.json", {"streak": streak})

    def stop(self, run: Run, grace_s: float) -> None:
        """Asks once; asking again with less grace shortens it. A run that has ended is left alone."""
        if run.exit is not None or _asked_grace_s(run.directory) <= grace_s:
            return
        if run.state is RunState.STARTING:
            # Its shim claims the run, then looks for this: what has not claimed it after this is written finds it.
            pod_shim.write_json(run.directory / "stop.json", {"grace_s": grace_s})
            if not (run.directory / "shim.json").exists():
                return
        pod_shim.ask_to_stop(run.directory, grace_s)

    def remove(self, uid: str) -> None:
        """Forgets a pod whose runs have all ended: logs, working directory, volumes."""
        shutil.rmtree(self._pods / uid, ignore_errors=True)

    def unreaped(self) -> bool:
        """Whether shims of this process are still to be collected; asking collects those that have ended."""
        self._reap()
        return bool(self._shims)

    def _newest(self, base: Path) -> Run | None:
        attempts = _attempts(base)
        if not attempts:
            return None
        directory = base / str(attempts[-1])
        spec = _read(directory / "spec.json")
        if spec is None:
            return None  # the spoke was killed between making the directory and writing what to run
        before = _exit_of(base / str(attempts[-2])) if len(attempts) > 1 else None
        state, started_at = self._state(directory)
        ended = _exit_of(directory) if state is RunState.EXITED else None
        return Run(base.name, attempts[-1], int(spec["streak"]), state, started_at, ended, before, directory)

    def _state(self, directory: Path) -> tuple[RunState, datetime | None]:
        claim = _read(directory / "shim.json")
        if claim is None:
            self._spawn_again(directory)
            return RunState.STARTING, None
        started_at = datetime.fromtimestamp(claim["started"], UTC)
        if (directory / "exit.json").exists():
            return RunState.EXITED, started_at
        if pod_shim.alive(directory):
            return RunState.RUNNING, started_at
        if not (directory / "exit.json").exists():  # asked again: it may have ended between the two questions
            _write_off(directory, claim["started"])
        return RunState.EXITED, started_at

    def _spawn_again(self, directory: Path) -> None:
        """The spoke was killed before the shim claimed the run, or the shim was."""
        known = self._shims.get(directory)
        if known is None or (time.monotonic() - known[1] > SHIM_START_S and known[0].poll() is not None):
            self._spawn(directory)

    def _spawn(self, directory: Path) -> None:
        shim = subprocess.Popen(
            [sys.executable, "-I", "-S", pod_shim.__file__, str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._shims[directory] = (shim, time.monotonic())

    def _reap(self) -> None:
        """Shims of this process would stay as zombies otherwise; those of an earlier one are init's to collect."""
        for directory in [known for known, (shim, _) in self._shims.items() if shim.poll() is not None]:
            if (directory / "shim.json").exists() or not directory.exists():
                del self._shims[directory]


def _attempts(base: Path) -> list[int]:
    return sorted(_numbers(base))


def _numbers(base: Path) -> Iterator[int]:
    for entry in base.iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def _asked_grace_s(directory: Path) -> float:
    asked = _read(directory / "stop.json")
    return float("inf") if asked is None else float(asked["grace_s"])


def _exit_of(directory: Path) -> Exit | None:
    ended = _read(directory / "exit.json")
    if ended is None:
        return None
    return Exit(ended["code"], ended["reason"], ended["message"], datetime.fromtimestamp(ended["finished"], UTC))


def _write_off(directory: Path, started: float) -> None:
    """The shim is gone and left no exit: killed by SIGKILL, or the machine went down. As a kubelet says it."""
    pod_shim.kill_lost(directory)
    message = "The process' shim is gone and did not say how it ended (killed, or the machine restarted)"
    lost = {"code": 137, "reason": "ContainerStatusUnknown", "message": message}
    pod_shim.write_json(directory / "exit.json", {**lost, "started": started, "finished": time.time()})


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return value
