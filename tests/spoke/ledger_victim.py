"""Run as a process of its own and killed at any moment: prints what the ledger promised, once it has promised it.

Each line is flushed after the call returned, so that whatever the parent reads must be found in the file afterwards.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from placement.lifecycle import Event
from placement.resources import Resources
from placement.workload import Role, Workload
from spoke.ledger import Ledger
from wire.orders import Command, JobRef, Start

WORKLOAD = Workload("batch/v1", "Job", "w", "default", (Role("worker", 1, 1, Resources({"cpu": 100})),), 1)


async def main(path: Path) -> None:
    ledger = Ledger.open(path)
    for number in range(1, 1_000_000):
        command = Command(number, JobRef(f"j-{number}", 1), Start(({"kind": "Job", "n": number},), WORKLOAD))
        await ledger.accept([command])
        print(f"accepted {number}", flush=True)
        now = datetime.now(UTC)
        await ledger.record_report(command.ref, Event.RUNNING, "x" * 500, (), (), now)
        await ledger.record_report(command.ref, Event.SUCCEED, "done", (), (), now)
        print(f"reported {number}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
