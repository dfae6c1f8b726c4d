"""A federation with divided works in it, in one process: the real reader, planner and store; spokes that are values."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from hub.records import Job
from hub.store import wholes
from hub.store.wholes import cluster_of
from placement.lifecycle import TERMINAL, Event
from tests.hub.loops.rig import ADMIN, ANN, Clock, FakeSpoke, Hub, open_hub

TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]},
}


def service(replicas: int = 6, name: str = "web", **hints: str) -> bytes:
    annotations = {f"muster.dev/{key.replace('_', '-')}": value for key, value in hints.items()}
    return yaml.safe_dump(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE},
        }
    ).encode()


def training(pods: int = 6, **hints: str) -> bytes:
    annotations = {f"muster.dev/{key.replace('_', '-')}": value for key, value in hints.items()}
    template = {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
    return yaml.safe_dump(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "work", "annotations": annotations},
            "spec": {"parallelism": pods, "completions": pods, "template": template},
        }
    ).encode()


class World:
    def __init__(self, hub: Hub, clock: Clock, spokes: Mapping[str, FakeSpoke]) -> None:
        self.hub = hub
        self.clock = clock
        self.spokes = dict(spokes)
        self.dead: set[str] = set()

    async def settle(self) -> None:
        """Until nobody has anything to do any more."""
        busy = True
        while busy:
            busy = bool(await self.hub.dividing.settle())
            busy |= bool(await self.hub.placing.settle())
            for name, spoke in self.spokes.items():
                if name in self.dead:
                    continue
                busy |= bool(await spoke.obey(self.hub))
                busy |= bool(spoke.unacked)
                await spoke.send_reports(self.hub)

    async def run_all(self) -> None:
        await self.settle()
        for name, spoke in self.spokes.items():
            for ref in list(spoke.live):
                if name not in self.dead and spoke.live[ref].event is not Event.RUNNING:
                    spoke.advance(ref, Event.RUNNING)
        for name, spoke in self.spokes.items():
            if name not in self.dead:
                await spoke.send_summary(self.hub)
        await self.settle()

    async def pass_time(self, seconds: float) -> None:
        """Those that live go on to say so."""
        self.clock.advance(seconds)
        for name in self.spokes.keys() - self.dead:
            await self.hub.uplink.heartbeat(name)
        self.hub.federation.tick(self.clock())
        await self.settle()

    async def submit(self, text: bytes) -> str:
        (one,) = await self.hub.jobs.submit(ANN, text)
        await self.run_all()
        return one.job.id

    async def show(self, id_: str) -> Job:
        return await self.hub.jobs.show(ADMIN, id_)

    async def parts(self, id_: str) -> dict[str, Job]:
        """Those that live, by cluster; a cluster has one at most."""
        found = await self.hub.store.read(lambda session: wholes.load(session, [id_]))
        live = [part for part in found[0].parts if part.phase not in TERMINAL]
        assert len({cluster_of(part) for part in live}) == len(live)
        return {cluster_of(part): part for part in live}

    async def shares(self, id_: str) -> dict[str, int]:
        return {cluster: part.workload.pods for cluster, part in (await self.parts(id_)).items()}


@asynccontextmanager
async def a_world(path: Path, *, gpus: Mapping[str, int] = {"eu-a": 16, "us-b": 16}) -> AsyncGenerator[World, None]:
    clock = Clock()
    hub = await open_hub(path / "hub.db", clock, manifests=True)
    spokes = {name: FakeSpoke(name, nodes=1, gpus=amount) for name, amount in gpus.items()}
    for name, spoke in spokes.items():
        await spoke.join(hub, region=name.partition("-")[0])
        await spoke.connect(hub)
    try:
        yield World(hub, clock, spokes)
    finally:
        await hub.store.close()
