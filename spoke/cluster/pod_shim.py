"""One container of the host cluster: starts its process, outlives the spoke, and writes down how it ended.

The problem: a spoke may be killed at any moment, and started again it must find the containers that still run, learn
the exits that it missed, and never start a container twice. So each container's process runs under this small program
in a session of its own, and the run's directory is the truth:

    spec.json   what to run: argv, env, cwd                        (written by the spoke, before it starts the shim)
    lock        held exclusively for as long as the shim lives     (the kernel lets go of it however the shim ends)
    shim.json   claims the run; then the process id, start time    (a directory that has it is never started again)
    stop.json   {"grace_s"}: asks for the end; then SIGTERM        (written by the spoke)
    exit.json   code, reason, message, started and finished        (last; whatever the process left behind is killed)
    log         standard output and error
    log.times   how long the log was when: a double (seconds since the epoch) and an unsigned 64-bit number of bytes,
                little-endian, once a second at the most and where it has grown

The shim adopts orphans (a Linux subreaper), so that nothing which the process started survives it, daemons included.
Not promised: where there is no /proc, only the process group is killed; a shim that is itself killed by SIGKILL takes
its process along (PR_SET_PDEATHSIG) but not what that one had started.

Runs as `python -I -S pod_shim.py DIR` on the standard library alone, to start in a few hundredths of a second;
`python -m spoke.cluster.pod_shim --sweep ROOT` stops every run found under ROOT.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

DEFAULT_GRACE_S = 30.0
NOTE_S = 1.0  # between looks at how long the log has become
REAP_S = 5.0  # how long leftovers of a finished container are waited for after SIGKILL
START_ERROR = 128  # Kubernetes' exit code of a container that could not be started
CONTAINER_UMASK = 0o022
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main(arguments: list[str]) -> int:
    if len(arguments) == 2 and arguments[0] == "--sweep":
        print(sweep(Path(arguments[1])))
        return 0
    if len(arguments) != 1:
        print("usage: pod_shim DIR | pod_shim --sweep ROOT", file=sys.stderr)
        return 2
    return run(Path(arguments[0]))


def run(directory: Path) -> int:
    """Runs what `spec.json` says, once ever for this directory."""
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return 0  # another shim has it
    if (directory / "shim.json").exists():
        return 0  # claimed once already; how it ended is in exit.json, or unknown
    wakeup = _catch_signals()
    _become_subreaper()
    started = time.time()
    write_json(directory / "shim.json", {"pid": os.getpid(), "started": started})
    if (directory / "stop.json").exists():
        _finish(directory, started, 128 + signal.SIGTERM, "Error", "stopped before it was started")
        return 0
    try:
        child = _spawn(directory)
    except (OSError, ValueError) as error:
        _finish(directory, started, START_ERROR, "StartError", str(error))
        return 0
    claim = {"pid": os.getpid(), "started": started, "child": child.pid, "child_started": start_time(child.pid)}
    write_json(directory / "shim.json", claim)
    status = _attend(directory, child.pid, wakeup)
    _kill_leftovers(child.pid)
    code = os.waitstatus_to_exitcode(status)
    _finish(directory, started, code if code >= 0 else 128 - code, "Completed" if code == 0 else "Error", "")
    return 0


def sweep(root: Path, grace_s: float = 2.0) -> int:
    """Stops every run under `root` whose shim lives, and answers how many there were."""
    running = [claim.parent for claim in root.rglob("shim.json") if alive(claim.parent)]
    for directory in running:
        ask_to_stop(directory, grace_s)
    deadline = time.monotonic() + grace_s + REAP_S
    while time.monotonic() < deadline and any(alive(directory) for directory in running):
        time.sleep(0.02)
    for directory in running:
        if alive(directory):
            kill_lost(directory)
            with contextlib.suppress(ProcessLookupError):
                os.kill(json.loads((directory / "shim.json").read_text())["pid"], signal.SIGKILL)
    return len(running)


def alive(directory: Path) -> bool:
    """Whether the shim that claimed this run still lives: whether its lock is held. Safe against reused ids."""
    try:
        lock = os.open(directory / "lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def ask_to_stop(directory: Path, grace_s: float) -> None:
    """Only for a run whose shim lives: SIGTERM to the process group, SIGKILL to all of it after `grace_s`."""
    write_json(directory / "stop.json", {"grace_s": grace_s})
    with contextlib.suppress(ProcessLookupError):
        os.kill(json.loads((directory / "shim.json").read_text())["pid"], signal.SIGTERM)


def kill_lost(directory: Path) -> None:
    """For a run whose shim is gone without an exit: what is left of its process group."""
    claim = json.loads((directory / "shim.json").read_text())
    child = claim.get("child")
    # The id may be another process' by now; one that still runs has the start time that the shim saw.
    if child and (start_time(child) in (claim.get("child_started"), "")):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(value))
    draft.replace(path)


def start_time(pid: int) -> str:
    """When the process began, in the kernel's ticks; "" where that cannot be read or the process is gone."""
    fields = _stat(pid)
    return fields[19] if fields else ""


def _spawn(directory: Path) -> subprocess.Popen[bytes]:
    spec = json.loads((directory / "spec.json").read_text())
    argv: list[str] = spec["argv"]
    if shutil.which(argv[0], path=spec["env"].get("PATH", os.defpath)) is None and "/" not in argv[0]:
        raise FileNotFoundError(f'exec: "{argv[0]}": executable file not found in $PATH of this machine')
    with (directory / "log").open("ab") as log:
        return subprocess.Popen(
            argv,
            env=spec["env"],
            cwd=spec["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
            umask=CONTAINER_UMASK,  # a spoke keeps its own files to itself: the container is not to inherit that
            preexec_fn=_die_with_shim,
        )


def _attend(directory: Path, child: int, wakeup: int) -> int:
    """Waits for the child and answers its wait status; on SIGTERM ends it within the grace that stop.json names."""
    kill_at: float | None = None
    noted = 0
    while True:
        timeout = NOTE_S if kill_at is None else max(min(kill_at - time.monotonic(), NOTE_S), 0)
        ready, _, _ = select.select([wakeup], [], [], timeout)
        caught = os.read(wakeup, 4096) if ready else b""
        status = _reap(child)
        noted = _note_length(directory, noted)
        if status is not None:
            return status
        if signal.SIGTERM in caught or signal.SIGINT in caught:
            kill_at = time.monotonic() + _grace_s(directory)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGTERM)
        if kill_at is not None and time.monotonic() >= kill_at:
            _kill_everything(child)
            kill_at = time.monotonic() + 0.5  # what forked in between is found by the next round


def _note_length(directory: Path, noted: int) -> int:
    """A full disk, or a log that somebody took away, must not end the container."""
    with contextlib.suppress(OSError):
        length = (directory / "log").stat().st_size
        if length != noted:
            with (directory / "log.times").open("ab") as times:
                times.write(struct.pack("<dQ", time.time(), length))
            return length
    return noted


def _reap(child: int) -> int | None:
    """Collects whatever has ended, adopted orphans included; the child's wait status once it has."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                found = status
    return found


def _kill_leftovers(child: int) -> None:
    deadline = time.monotonic() + REAP_S
    while time.monotonic() < deadline:
        _kill_everything(child)
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return  # nobody is left


def _kill_everything(child: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def descendants(ancestor: int) -> list[int]:
    children: dict[int, list[int]] = {}
    with contextlib.suppress(OSError):
        for entry in os.listdir("/proc"):  # noqa: PTH208 - the fast way through some hundred entries
            if entry.isdigit() and (fields := _stat(int(entry))):
                children.setdefault(int(fields[1]), []).append(int(entry))
    found: list[int] = []
    todo = [ancestor]
    while todo:
        todo_next = children.get(todo.pop(), [])
        found += todo_next
        todo += todo_next
    return found


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat from its third field (state, parent …) on: the name before it may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _grace_s(directory: Path) -> float:
    try:
        return float(json.loads((directory / "stop.json").read_text())["grace_s"])
    except (OSError, ValueError, KeyError):
        return DEFAULT_GRACE_S


def _finish(directory: Path, started: float, code: int, reason: str, message: str) -> None:
    write_json(
        directory / "exit.json",
        {"code": code, "reason": reason, "message": message, "started": started, "finished": time.time()},
    )


def _catch_signals() -> int:
    """The reading end of a pipe that gets a byte, the signal's number, for each signal caught."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reading


def _become_subreaper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_with_shim() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
