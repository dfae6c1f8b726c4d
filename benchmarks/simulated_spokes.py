"""Spokes without clusters, for measuring the hub: `python -m benchmarks.simulated_spokes --hub URL < TOKENS`.

Each joins with a token of standard input and keeps a real link (mutual TLS, the real client code) with an agent behind
it that accepts every command at once. Its nodes are imaginary: it fills them in order, one GPU at a time, and
reports the summary that a real spoke would report, so that the hub's reservations are taken over by the summaries as
in life. Prints a line once all of them are welcomed, and runs until it is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from random import Random

from placement import summary
from placement.inventory import DeviceClass, DeviceForm, JobEpoch, Node, Summary
from placement.presence import ObjectName
from placement.resources import Resources
from spoke import join as joining
from spoke.link import Link
from spoke.reaching import Reached, TunnelRefused
from wire.distribution import DistributionAck, DistributionOrder, DistributionRef, DistributionReport
from wire.orders import Command, CommandAck, DataFound, JobRef, LogLines, LogQuery, Report, ReportAck, Start, Stop
from wire.tunnels import TunnelQuery
from wire.usage import JobUse, Usage

GPU = "nvidia.com/gpu"
GPUS_PER_NODE = 8
DEVICE = DeviceClass(GPU, "nvidia", "NVIDIA-H100-80GB-HBM3", 81559, DeviceForm.WHOLE)
CAPACITY = Resources({"cpu": 96_000, "memory": 768 * 1024, "pods": 110, GPU: GPUS_PER_NODE})
NODES_PER_RACK = 4


class Accepting:
    """An AgentSide that says yes."""

    def __init__(self, nodes: int) -> None:
        self.welcome = asyncio.Event()
        self._nodes = nodes
        self._jobs: dict[JobEpoch, Resources] = {}
        self._revision = 0
        self._changed = asyncio.Event()

    async def welcomed(self, live: Sequence[JobRef], lease_s: float) -> None:
        self.welcome.set()

    async def commanded(self, commands: Sequence[Command]) -> Sequence[CommandAck]:
        for command in commands:
            key = (command.ref.job, command.ref.epoch)
            match command.order:
                case Start(workload=workload):
                    (role,) = workload.roles
                    self._jobs[key] = role.requests
                case Stop():
                    self._jobs.pop(key, None)
        self._revision += 1
        self._changed.set()
        return [CommandAck(command.id, command.ref) for command in commands]

    async def reports_acked(self, acks: Sequence[ReportAck]) -> None:
        pass

    async def unacked_reports(self) -> Sequence[Report]:
        return ()

    async def wait_for_reports(self) -> Sequence[Report]:
        await asyncio.Event().wait()
        return ()

    async def wait_for_summary(self, after_revision: int) -> Summary:
        while self._revision <= after_revision:
            self._changed.clear()
            await self._changed.wait()
        return self._summary()

    async def wait_for_data(self, after_revision: int) -> tuple[int, Sequence[DataFound]]:
        await asyncio.Event().wait()
        return 0, ()

    async def reach(self, query: TunnelQuery) -> Reached:
        raise TunnelRefused("no-pod", "a simulated cluster has no processes")

    def logs(self, query: LogQuery) -> AsyncIterator[LogLines]:
        raise KeyError("a simulated spoke has no logs")

    async def usage(self, refs: Collection[JobRef]) -> Usage:
        return Usage(tuple(JobUse(ref, 1) for ref in sorted(refs)))

    async def missing(self, names: Collection[ObjectName]) -> frozenset[ObjectName]:
        return frozenset()

    def kinds_told(self, files: Mapping[str, str]) -> None:
        pass

    async def distributed(
        self, orders: Sequence[DistributionOrder], standing: Collection[DistributionRef] | None
    ) -> Sequence[DistributionAck]:
        return [DistributionAck(order.ref) for order in orders]

    def distribution_reports(self) -> Sequence[DistributionReport]:
        return ()

    async def wait_for_distribution_reports(self) -> Sequence[DistributionReport]:
        await asyncio.Event().wait()
        return ()

    async def removed(self) -> None:
        pass

    def _summary(self) -> Summary:
        free = [CAPACITY] * self._nodes
        for number, requests in enumerate(self._jobs.values()):
            free[number // GPUS_PER_NODE] -= requests + Resources({"pods": 1})
        nodes = [_node(number, left) for number, left in enumerate(free)]
        return summary.summarise(nodes, {"batch/v1/Job"}, revision=self._revision, counted=self._jobs)


def _node(number: int, free: Resources) -> Node:
    name, rack = f"node-{number}", f"rack-{number // NODES_PER_RACK}"
    labels = {
        "kubernetes.io/hostname": name,
        "topology.muster.dev/rack": rack,
        "nvidia.com/gpu.product": DEVICE.product,
    }
    return Node(
        name=name,
        labels=labels,
        taints=(),
        capacity=CAPACITY,
        free=free,
        devices=(DEVICE,),
        domains={"rack": rack, "host": name},
    )


async def _serve(hub: str, link: str, tokens: Sequence[str], nodes: int, directory: Path) -> None:
    agents = []
    running = []
    for number, token in enumerate(tokens):
        known = await joining.join(hub, token)
        agent = Accepting(nodes)
        place = directory / str(number)
        place.mkdir()
        link_to_hub = Link(
            agent,
            known,
            address=link,
            identity_directory=place,
            version="0",
            session=f"simulated-{number}",
            rng=Random(number),
        )
        agents.append(agent)
        running.append(asyncio.create_task(link_to_hub.run()))
    for agent in agents:
        await agent.welcome.wait()
    print("ready", flush=True)
    await asyncio.gather(*running)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--hub", required=True, help="https://HOST:PORT")
    parser.add_argument("--link", required=True, help="HOST:PORT")
    parser.add_argument("--nodes", type=int, default=16, help="of each, with 8 GPUs")
    asked = parser.parse_args()
    tokens = sys.stdin.read().split()
    with tempfile.TemporaryDirectory(prefix="muster-simulated-") as directory:
        asyncio.run(_serve(asked.hub, asked.link, tokens, asked.nodes, Path(directory)))


if __name__ == "__main__":
    main()
