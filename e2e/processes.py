"""A federation as processes of this machine: `muster hub`, and one `muster spoke` per member cluster.

Spokes join with one-time tokens over the hub's own doors, and reach it through a `Cable` each, so that a scenario can
kill any program, cut any connection and start it again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from e2e.federation import Federation
from e2e.programs import HubProgram, HubSettings, SpokeProgram
from e2e.provider import OutsideCluster
from hub.client import MusterClient


class ProcessFederation(Federation):
    clusters: Mapping[str, OutsideCluster]

    def __init__(
        self, directory: Path, clusters: Mapping[str, OutsideCluster], settings: HubSettings | None = None
    ) -> None:
        super().__init__(directory, clusters)
        self.hub = HubProgram(directory / "hub", settings or HubSettings())
        self.spokes = {
            name: SpokeProgram(name, directory / name, cluster.kubeconfig, self.hub)
            for name, cluster in clusters.items()
        }

    def start_hub(self) -> None:
        self.hub.start()

    def join(self, name: str) -> None:
        self.spokes[name].join(self.admin.cluster_token(name, region=self.clusters[name].shape.region))

    def stop_programs(self) -> None:
        for spoke in self.spokes.values():
            spoke.stop()
        self.hub.stop()

    @property
    def admin_token(self) -> str:
        return self.hub.admin_token

    def client(self, token: str) -> MusterClient:
        return self.hub.client(token)

    @property
    def link_address(self) -> str:
        return self.hub.link_address

    def keep_evidence(self, directory: Path) -> None:
        """The whole logs."""
        directory.mkdir(parents=True, exist_ok=True)
        for process in (self.hub.process, *(spoke.process for spoke in self.spokes.values())):
            if process.log.exists():
                shutil.copy(process.log, directory / f"{process.name.replace(' ', '-')}.log")

    def logs(self) -> dict[str, str]:
        return {p.name: p.tail(150) for p in (self.hub.process, *(spoke.process for spoke in self.spokes.values()))}
