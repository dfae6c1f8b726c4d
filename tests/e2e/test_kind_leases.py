"""Which session kind clusters belong to: told by a lock that the kernel lets go of when a process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from e2e.kind import leases

HOLD = """
import sys, time
from pathlib import Path
from e2e.kind import leases
lease = leases.take(Path(sys.argv[1]), "other")
print("held", flush=True)
time.sleep(600)
"""


def test_a_prefix_is_held_by_one_session(tmp_path: Path) -> None:
    mine = leases.take(tmp_path, "mine")
    assert mine is not None
    assert leases.take(tmp_path, "mine") is None
    assert leases.abandoned(tmp_path) == []
    mine.close()
    again = leases.take(tmp_path, "mine")
    assert again is not None
    again.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_session_held_is_abandoned_and_what_a_live_one_holds_is_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            assert leases.abandoned(tmp_path) == []
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    [left] = leases.abandoned(tmp_path)
    assert left.prefix == "other"
    left.close()
    assert leases.abandoned(tmp_path) == []
