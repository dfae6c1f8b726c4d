"""A spoke without a hub: the real agent on one API server, told what to do by lines on its standard input.

`benchmarks.binding` runs it as a process of its own: `python -m benchmarks.lone_spoke --kubeconfig F --state-dir D`.
Everything below the link is the spoke's own: the client, the ledger on disk, the loops, the event loop itself. Each
line is one JSON object, and each is answered by one:

    {"start": [MANIFEST, …]}    {"took_s": …}   until every job was accepted: decided, and durable in the ledger
    {"stop": true}              {"left": 0}     once the cluster has nothing left of any of them

Reports are acknowledged as a hub does. A gang is a job named as its manifest is.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import orjson

from placement.inventory import DEFAULT_LEVELS
from placement.kinds.catalogue import Catalogue
from placement.kinds.reader import read
from placement.kinds.render import render
from placement.lifecycle import Event
from spoke.agent import Agent
from spoke.cluster.kube import KubeCluster
from spoke.ledger import Ledger
from wire import service_loop
from wire.orders import Command, JobRef, ReportAck, Start, Stop

EPOCH = 1


class LoneSpoke:
    def __init__(self, agent: Agent, catalogue: Catalogue) -> None:
        self._agent = agent
        self._catalogue = catalogue
        self._commands = 0
        self._running: set[JobRef] = set()
        self._empty = asyncio.Event()

    async def start(self, manifests: list[dict[str, Any]]) -> float:
        """Seconds until all were accepted. Raises RuntimeError where one was not."""
        commands = [self._command(self._start(manifest), manifest["metadata"]["name"]) for manifest in manifests]
        self._running |= {command.ref for command in commands}
        began = time.perf_counter()
        acks = await self._agent.commanded(commands)
        took_s = time.perf_counter() - began
        if refused := [ack for ack in acks if ack.refused_code]:
            raise RuntimeError(f"{len(refused)} jobs were refused, the first: {refused[0].refused_message}")
        return took_s

    async def stop(self) -> None:
        """Returns when nothing is left of any job."""
        self._empty.clear()
        if self._running:
            stop = Stop(grace_s=0, reason="the round is over")
            await self._agent.commanded([self._command(stop, ref.job) for ref in self._running])
            await self._empty.wait()

    async def acknowledge(self) -> None:
        """As the hub does, for ever."""
        while True:
            reports = await self._agent.wait_for_reports()
            await self._agent.reports_acked([ReportAck(report.ref, report.seq) for report in reports])
            self._running -= {report.ref for report in reports if report.event is Event.STOPPED}
            if not self._running:
                self._empty.set()

    def _start(self, manifest: dict[str, Any]) -> Start:
        objects = render([manifest], self._catalogue, job=manifest["metadata"]["name"], epoch=EPOCH)
        submission = read(orjson.dumps(manifest), self._catalogue)[-1]
        return Start(objects, submission.workload)

    def _command(self, order: Start | Stop, job: str) -> Command:
        self._commands += 1
        return Command(self._commands, JobRef(job, EPOCH), order)


async def main(kubeconfig: str, state: Path) -> None:
    catalogue, rng = Catalogue.builtin(), Random()
    ledger = Ledger.open(state / "ledger.sqlite")
    port = await KubeCluster.open(kubeconfig, rng=rng)
    agent = Agent(port, ledger, catalogue, DEFAULT_LEVELS, clock=lambda: datetime.now(UTC), rng=rng, owner="bench")
    try:
        await agent.start()
        await agent.welcomed((), 60)
        spoke = LoneSpoke(agent, catalogue)
        parts = [asyncio.ensure_future(work) for work in (_obey(spoke), spoke.acknowledge(), agent.run())]
        done, rest = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for part in rest:
            part.cancel()
        for part in done:
            part.result()
    finally:
        await agent.close()
        await port.close()
        await ledger.close()


async def _obey(spoke: LoneSpoke) -> None:
    _answer({"ready": True})
    async with aclosing(_lines()) as lines:
        async for line in lines:
            order = orjson.loads(line)
            if "start" in order:
                _answer({"took_s": await spoke.start(order["start"])})
            else:
                await spoke.stop()
                _answer({"left": 0})


async def _lines() -> AsyncGenerator[bytes, None]:
    reader = asyncio.StreamReader(limit=2**26)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        yield line


def _answer(value: dict[str, Any]) -> None:
    print(orjson.dumps(value).decode(), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    asked = parser.parse_args()
    service_loop.run(main(asked.kubeconfig, asked.state_dir))
