"""`muster up`: the demo's federation, kept running on this machine to play with.

Ctrl-C stops the hub and the spokes. Jobs' processes go on, as they do when a cluster's agent stops, and the next
`muster up` on the same directory adopts them; `muster up --clean` ends them and forgets everything.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hub.cli import exits
from hub.cli.demo import bring_up
from hub.cli.federation import FILES, Federation, FederationFailed
from hub.cli.stage import Stage, program, short, stop_on_signals
from hub.client import ApiError, HubUnreachable

CHECK_S = 0.5


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="muster up", description="A hub and three clusters on this machine, until Ctrl-C; their GPUs are declared."
    )
    parser.add_argument("--dir", type=Path, default=Path(".muster/up"), help="state and logs (%(default)s)")
    parser.add_argument("--clean", action="store_true", help="end what still runs there, and remove the directory")
    given = parser.parse_args(arguments)
    raise SystemExit(_clean(given.dir) if given.clean else run(given.dir))


def run(directory: Path) -> int:
    stop_on_signals()
    show = Stage()
    federation = Federation(directory)
    try:
        with federation:
            with bring_up(show, federation):
                _explain(show, federation)
            while True:
                federation.check()
                time.sleep(CHECK_S)
    except (FederationFailed, ApiError, HubUnreachable) as error:
        sys.stderr.write(f"muster up: {error}\n")
        return exits.FAILED
    except KeyboardInterrupt:
        left = federation.running_pods()
        show.line("\nThe hub and the spokes are stopped.")
        if left:
            show.line(f"{left} containers go on; `muster up` finds them again, `muster up --clean` ends them.")
        return exits.OK


def _clean(directory: Path) -> int:
    try:
        with Federation(directory) as federation:
            ended = federation.stop_pods()
    except FederationFailed as error:
        sys.stderr.write(f"muster up --clean: {error}\n")
        return exits.FAILED
    shutil.rmtree(directory)
    print(f"{ended} containers ended; {directory} is removed")
    return exits.OK


def _explain(show: Stage, federation: Federation) -> None:
    show.title("In another terminal:")
    show.plain(f"  export MUSTER_CONTEXT={shlex.quote(str(federation.context_file))}")
    for command in ("cluster list", *(f"{verb} {short(str(FILES / 'gang.yaml'))}" for verb in ("plan", "submit -f"))):
        show.plain(f"  {program()} {command}")
    show.line(f"\nLogs are in {federation.directory}. Ctrl-C stops it.")
