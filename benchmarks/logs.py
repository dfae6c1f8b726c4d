"""A large log followed by a slow reader: that no line is lost or comes twice, and how much memory the spoke takes.

    python -m benchmarks.logs [--mib 100] [--reader-mib-per-s 8] [--json]

Real programs on this machine: a hub, a spoke with a host cluster, and one pod that writes numbered lines as fast as it
can. They are followed to the end twice: over a connection that holds, and over one between spoke and hub that is cut
every two seconds. The resident memory of both programs is read five times a second; what they have before the first
line is what it grows from.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from e2e.cable import Cable
from hub.cli.federation import SITES, Federation
from hub.client import MusterClient
from placement.lifecycle import TERMINAL

SITE = SITES[1]
LINE_BYTES = 100
CUT_EVERY_S = 2.0
_MIB = 1 << 20
WRITER = """
import sys
for start in range(0, {lines}, 1000):
    sys.stdout.write("".join(f"{{n:010d}} {{'x' * {rest}}}\\n" for n in range(start, min(start + 1000, {lines}))))
"""


@dataclass
class Memory:
    """In MiB."""

    before: float
    peak: float

    @property
    def grown(self) -> float:
        return self.peak - self.before


@dataclass
class Followed:
    cuts: int = 0
    pauses: int = 0
    lines: int = 0
    lost: int = 0
    twice: int = 0
    mib: float = 0
    seconds: float = 0
    spoke_mib: Memory = field(default_factory=lambda: Memory(0, 0))
    hub_mib: Memory = field(default_factory=lambda: Memory(0, 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=100)
    parser.add_argument("--reader-mib-per-s", type=float, default=8)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="muster-logs-") as directory, Federation(Path(directory)) as federation:
        muster = federation.start_hub()
        cable = Cable(json.loads((federation.directory / "ports.json").read_text())[1])
        os.environ["MUSTER_SPOKE_HUB_LINK"] = f"127.0.0.1:{cable.port}"
        os.environ["MUSTER_SPOKE_RECONNECT_S"] = "1"
        federation.start_spoke(SITE, muster)
        federation.until_ready(SITE, muster)
        try:
            runs = {
                "held": follow(federation, muster, "held", args.mib, args.reader_mib_per_s),
                "cut": follow(federation, muster, "cut", args.mib, args.reader_mib_per_s, cable),
            }
        finally:
            federation.stop()
            federation.stop_pods()
            cable.close()
    if args.json:
        print(json.dumps({name: asdict(run) for name, run in runs.items()}, indent=2))
    else:
        for name, run in runs.items():
            print(
                f"{name}: {run.lines:,} lines, {run.mib:.0f} MiB in {run.seconds:.0f} s; {run.cuts} cuts, "
                f"{run.lost} lines lost, {run.twice} twice; "
                f"spoke {run.spoke_mib.before:.0f} → at most {run.spoke_mib.peak:.0f} MiB, "
                f"hub {run.hub_mib.before:.0f} → at most {run.hub_mib.peak:.0f} MiB"
            )
    if any(run.lost or run.twice or not run.lines for run in runs.values()):
        sys.exit(1)


def follow(
    federation: Federation,
    muster: MusterClient,
    name: str,
    mib: int,
    reader_mib_per_s: float,
    cable: Cable | None = None,
) -> Followed:
    lines = mib * _MIB // LINE_BYTES
    job = muster.submit(_job(name, lines)).jobs[0].job.id
    found = Followed(pauses=0)
    spoke, hub = _process(federation, SITE.name), _process(federation, "hub")
    found.spoke_mib, found.hub_mib = _resident(spoke), _resident(hub)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            for process, memory in ((spoke, found.spoke_mib), (hub, found.hub_mib)):
                memory.peak = max(memory.peak, process.memory_info().rss / _MIB)

    def cut() -> None:
        while cable is not None and not over.wait(CUT_EVERY_S):
            cable.cut()
            cable.mend()
            found.cuts += 1

    threads = [threading.Thread(target=work) for work in (watch, cut)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    try:
        _read(muster, job, found, reader_mib_per_s, began)
    finally:
        found.seconds = time.monotonic() - began
        over.set()
        for thread in threads:
            thread.join()
    found.lost += lines - found.lines
    _until(lambda: muster.job(job).phase in TERMINAL)
    return found


def _read(muster: MusterClient, job: str, found: Followed, mib_per_s: float, began: float) -> None:
    _until(lambda: muster.job(job).cluster is not None)

    def pause(words: str) -> None:
        found.pauses += 1

    read = 0
    for part in muster.logs(job, follow=True, told=pause):
        for line in part.data.splitlines():
            number = int(line[:10])
            if number < found.lines:
                found.twice += 1
                continue
            found.lost += number - found.lines
            found.lines = number + 1
        read += len(part.data)
        found.mib = read / _MIB
        time.sleep(max(0.0, read / _MIB / mib_per_s - (time.monotonic() - began)))


def _job(name: str, lines: int) -> bytes:
    script = WRITER.format(lines=lines, rest=LINE_BYTES - 12)
    container = {"name": "main", "command": ["python", "-c", script]}
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    return json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}).encode()


def _process(federation: Federation, name: str) -> psutil.Process:
    return psutil.Process(federation.pid_of(name))


def _resident(process: psutil.Process) -> Memory:
    now = process.memory_info().rss / _MIB
    return Memory(now, now)


def _until(condition: Callable[[], bool], patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.1)


if __name__ == "__main__":
    main()
