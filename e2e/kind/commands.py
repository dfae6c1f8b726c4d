"""Commands that this test bed runs: docker, kind, kubectl, helm, muster. Their output is kept for the error message.

Each has a process group of its own: Ctrl-C at the terminal reaches pytest alone, which then tidies up in order, and
`end_all` ends what is still running before that.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_running: set[subprocess.Popen[str]] = set()


class CommandFailed(Exception):
    def __init__(self, command: tuple[str, ...], ended: str, output: str) -> None:
        super().__init__(f"`{' '.join(command)}` {ended}:\n{output[-4000:]}")


def run(*command: str, env: Mapping[str, str] | None = None, stdin: str = "", timeout_s: float = 300) -> str:
    """What it wrote to stdout. Raises CommandFailed, with both outputs."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        cwd=ROOT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    _running.add(process)
    try:
        output, errors = process.communicate(stdin, timeout_s)
    except subprocess.TimeoutExpired:
        _end(process)
        output, errors = process.communicate()
        raise CommandFailed(command, f"did not end within {timeout_s:g} s", output + errors) from None
    finally:
        _running.discard(process)
    if process.returncode:
        raise CommandFailed(command, f"ended with code {process.returncode}", output + errors)
    return output


def end_all() -> None:
    """Those that other threads wait for get CommandFailed there."""
    for process in list(_running):
        _end(process)


def require(*programs: str) -> None:
    """Raises RuntimeError where one of them is not there."""
    for program in programs:
        if shutil.which(program) is None:
            raise RuntimeError(
                f"PROVIDER=kind needs `{program}` in PATH (https://kind.sigs.k8s.io); PROVIDER=planes needs no Docker"
            )


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
