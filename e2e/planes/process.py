"""One program of the test bed: started with its own log file, ended by its process id, and never by name.

Every program gets its own process group, so that Ctrl-C at the terminal reaches pytest first and the programs are
ended in order.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path


class Process:
    """A command that can be started, stopped, killed and started again; its log file grows over all its lives."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._env = dict(env or {})
        self._cwd = cwd
        self._child: subprocess.Popen[bytes] | None = None
        _all.add(self)

    @property
    def pid(self) -> int:
        assert self._child is not None, f"{self.name} was never started"
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        assert not self.running, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._env},
                cwd=self._cwd,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL: what a crash or a power cut does."""
        self._signal(signal.SIGKILL)
        self._wait(10)

    def stop(self, timeout_s: float = 5) -> None:
        """SIGTERM, and SIGKILL for what does not end in time."""
        self._signal(signal.SIGTERM)
        if not self._wait(timeout_s):
            self.kill()

    def pause(self) -> None:
        """SIGSTOP: it holds its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def tail(self, lines: int = 60) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def must_run(self) -> None:
        """Raises with the end of the log where the program has ended by itself."""
        if self._child is not None and self._child.poll() is not None:
            raise RuntimeError(f"{self.name} ended with code {self._child.returncode}; its log ends:\n{self.tail()}")

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def _wait(self, timeout_s: float) -> bool:
        if self._child is None:
            return True
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


_all: weakref.WeakSet[Process] = weakref.WeakSet()


@atexit.register
def _end_what_is_left() -> None:
    """For a session that broke off before its fixtures could end."""
    for process in list(_all):
        process.kill()
