"""`python -m spoke.staging.copy --from URI --to DIRECTORY`: one copy, as the Job of a Kubernetes cluster runs it.

What the store takes is read from the environment (AWS_…, AZURE_…, GOOGLE_…). Prints a line of JSON now and then,
{"done": bytes, "total": bytes}; the last is {"error": …} where it failed for good. What it copies everybody may read:
the pods that come for it are of whatever user.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from spoke.staging import copying
from spoke.staging.port import CannotStage

TELL_S = 2.0
FAILED = 1
STOPPED = 128 + signal.SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m spoke.staging.copy", description=__doc__)
    parser.add_argument("--from", dest="source", required=True, metavar="URI")
    parser.add_argument("--to", dest="target", required=True, type=Path, metavar="DIRECTORY")
    parser.add_argument("--at-once", type=int, default=copying.AT_ONCE, help="files that are copied at the same time")
    given = parser.parse_args(arguments)
    os.umask(0o022)
    try:
        size = asyncio.run(_copied(given.source, given.target, given.at_once))
    except CannotStage as error:
        _say(error=str(error))
        return FAILED
    except asyncio.CancelledError:
        return STOPPED
    _say(done=size, total=size)
    return 0


async def _copied(source: str, target: Path, at_once: int) -> int:
    """Ends at once when it is told to: the first process of a container dies of no signal that it does not take, and
    would go on writing beside whoever comes next."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await copying.copy(source, target, os.environ, _Printer(), at_once=at_once)


class _Printer:
    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, done: int, total: int) -> None:
        if (now := time.monotonic()) >= self._next:
            self._next = now + TELL_S
            _say(done=done, total=total)


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
