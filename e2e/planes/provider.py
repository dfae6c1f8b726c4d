"""Member clusters as bare control planes on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path

import yaml

from e2e import shapes
from e2e.kinds import travelling
from e2e.kinds.operators import OPERATORS, SETTINGS, crd
from e2e.objects import ObjectClient
from e2e.planes import build, training_operator
from e2e.planes.plane import DEFAULTS, Plane, PlaneSettings
from e2e.planes.process import Process
from e2e.shapes import ClusterShape
from e2e.waiting import until

CRDS = Path(__file__).resolve().parent.parent / "crds"


class PlaneCluster:
    """A MemberCluster."""

    def __init__(self, shape: ClusterShape, plane: Plane) -> None:
        self.shape = shape
        self.plane = plane
        self.operators: list[Process] = []

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def client(self) -> ObjectClient:
        return self.plane.client

    @cached_property
    def kubeconfig(self) -> Path:
        return self.plane.spoke_kubeconfig()

    def start(self, binaries: Path) -> None:
        self.plane.start()
        self.plane.add_nodes(shapes.nodes(self.shape))
        if self.shape.volcano:
            _install(self.client, CRDS / "volcano-job.yaml")
        if self.shape.played_operators:
            for each in (*(operator.crd() for operator in OPERATORS), *(crd(*setting) for setting in SETTINGS)):
                self.client.create_if_missing(each)
            for each in travelling.crds():
                self.client.create_if_missing(each)
            served = [(operator.api, operator.kind) for operator in OPERATORS]
            served += [(f"{group}/{version}", kind) for group, version, kind, *_ in SETTINGS]
            for api, kind in served:
                until(f"{kind} to be served", partial(self.client.serves, api, kind))
        if self.shape.training_operator:
            # Where MPIJob is another operator's, it has PyTorchJob alone.
            schemes = ("pytorchjob",) if self.shape.played_operators else training_operator.SCHEMES
            process = training_operator.install(self.plane, binaries, schemes)
            self.operators.append(process)
            training_operator.start(process)

    def stop(self) -> None:
        for operator in self.operators:
            operator.kill()
        self.plane.stop()

    def restart_api_server(self) -> None:
        """And then its other clients, which would take up to a minute to notice that it is back.

        Not kwok, which would wait for the leases of the one before it to run out; it is quick to notice.
        """
        self.plane.restart_api_server()
        for name in ("kube-controller-manager", "kube-scheduler"):
            self.plane[name].kill()
            self.plane[name].start()
        for operator in self.operators:
            operator.kill()
            operator.start()

    def logs(self) -> Mapping[str, str]:
        return {process.name: process.tail() for process in (*self.plane.processes.values(), *self.operators)}


class PlanesProvider:
    """A Provider. Builds the programs first where this machine has not done so yet (`python -m e2e.planes.build`)."""

    def __init__(self, directory: Path, settings: PlaneSettings = DEFAULTS) -> None:
        self._directory = directory
        self._settings = settings
        self._clusters: list[PlaneCluster] = []

    def make(self, shapes: Sequence[ClusterShape]) -> Mapping[str, PlaneCluster]:
        binaries = build.binaries(lambda line: print(line, flush=True))
        made = [
            PlaneCluster(shape, Plane(shape.name, self._directory / shape.name, binaries, self._settings))
            for shape in shapes
        ]
        self._clusters.extend(made)
        with ThreadPoolExecutor(len(made)) as threads:
            list(threads.map(lambda cluster: cluster.start(binaries), made))
        return {cluster.name: cluster for cluster in made}

    def close(self) -> None:
        for cluster in self._clusters:
            cluster.stop()
        self._clusters.clear()


def _install(client: ObjectClient, path: Path) -> None:
    crd = yaml.safe_load(path.read_text())
    client.create_if_missing(crd)
    group, version, kind = crd["spec"]["group"], crd["spec"]["versions"][0]["name"], crd["spec"]["names"]["kind"]
    until(f"{group} to be served", lambda: client.serves(f"{group}/{version}", kind))
