"""Member clusters of real nodes, made by kind: `make e2e PROVIDER=kind`. Needs Linux, and docker, kind and kubectl.

    NODE_IMAGE=...         the node image; else the one that kind itself would take
    KIND_CLUSTERS=a,b,c    takes these three kind clusters, in the order onprem-a, cloud-b, edge-c, instead of making
                           its own; they need 3, 2 and 1 nodes for GPUs, and keep nothing of what is put into them
    KIND_PREFIX=...        what the names of its own begin with, and the name of their Docker network; else muster-e2e-
                           and the number of the process, so that two sessions on one machine do not meet
    E2E_KEEP=1             leaves everything where it is at the end, and says where

Where PATH has no helm, it is built (e2e.kind.tools.build). Clusters and network are deleted after a failure and after
Ctrl-C too; what a killed session left is deleted by the next one (e2e.kind.leases). Kubeconfigs are files of the
session; the user's own is not touched. Images stay in the Docker engine, as a cache.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from e2e.bed import KEPT
from e2e.kind import commands, evidence, images, leases, network, training_operator
from e2e.kind.clusters import KindCluster
from e2e.kind.commands import run
from e2e.kind.tools import build as helm_build
from e2e.pods import TRAIN_IMAGE
from e2e.shapes import ClusterShape
from e2e.waiting import until

CRDS = Path(__file__).resolve().parent.parent / "crds"
LEASES = Path.home() / ".cache" / "muster" / "kind"


class KindProvider:
    """A Provider."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._prefix = os.environ.get("KIND_PREFIX") or f"muster-e2e-{os.getpid()}"
        self._taken = [name for name in os.environ.get("KIND_CLUSTERS", "").split(",") if name]
        self._clusters: list[KindCluster] = []
        self._lease: leases.Lease | None = None
        self._began = time.monotonic()

    def make(self, shapes: Sequence[ClusterShape]) -> Mapping[str, KindCluster]:
        if shutil.which("helm") is None:
            os.environ["PATH"] += os.pathsep + str(helm_build.helm(self._say).parent)
        commands.require("docker", "kind", "kubectl", "helm")
        muster = images.muster_image()
        names = self._names(shapes)
        clusters = [KindCluster(shape, names[shape.name], self._directory / shape.name) for shape in shapes]
        if not self._taken:
            self._lease = self._clear()
        self._check(clusters)
        self._clusters = clusters
        self._say(f"three kind clusters: {', '.join(cluster.kind_name for cluster in clusters)}", first=True)
        if not self._taken:
            network.make(self._prefix)
        with ThreadPoolExecutor(len(clusters) + 1) as threads:
            try:
                built = threads.submit(self._build_images)
                ready = [threads.submit(self._begin, number, cluster) for number, cluster in enumerate(clusters, 1)]
                built.result()
                for future in ready:
                    future.result()
                list(threads.map(lambda cluster: self._fill(cluster, muster), clusters))
            except BaseException:
                commands.end_all()
                for cluster in clusters:
                    if cluster.kubeconfig.exists():
                        evidence.write(cluster, KEPT / "clusters" / cluster.name)
                raise
        return {cluster.name: cluster for cluster in clusters}

    def close(self) -> None:
        if os.environ.get("E2E_KEEP"):
            if self._lease:
                self._lease.close()  # kept on purpose: no later session is to take it away
            for cluster in self._clusters:
                self._say(f"kept: {cluster.kind_name}, KUBECONFIG={cluster.kubeconfig}")
            return
        if self._taken:
            for cluster in self._clusters:
                cluster.leave()
        elif self._clusters:
            run("kind", "delete", "clusters", *(cluster.kind_name for cluster in self._clusters), "--quiet")
            network.remove(self._prefix)
        if self._lease:
            self._lease.close()
        self._say("everything is gone again")

    # -- steps ---------------------------------------------------------------------------------------------------

    def _clear(self) -> leases.Lease:
        """Deletes what killed sessions left, then takes the prefix for this one."""
        for left in leases.abandoned(LEASES):
            theirs = [name for name in run("kind", "get", "clusters").split() if name.startswith(f"{left.prefix}-")]
            if theirs:
                self._say(f"deleting what a killed session left: {', '.join(theirs)}")
                run("kind", "delete", "clusters", *theirs, "--quiet")
            network.remove(left.prefix)
            left.close()
        lease = leases.take(LEASES, self._prefix)
        if lease is None:
            raise ValueError(f"KIND_PREFIX={self._prefix} is another session's that runs; name another")
        return lease

    def _names(self, shapes: Sequence[ClusterShape]) -> dict[str, str]:
        if not self._taken:
            return {shape.name: f"{self._prefix}-{shape.name}" for shape in shapes}
        if len(self._taken) != len(shapes):
            raise ValueError(
                f"KIND_CLUSTERS={','.join(self._taken)} names {len(self._taken)} clusters, and {len(shapes)} are "
                f"needed: {', '.join(shape.name for shape in shapes)}"
            )
        return {shape.name: name for shape, name in zip(shapes, self._taken, strict=True)}

    def _check(self, clusters: Sequence[KindCluster]) -> None:
        there = run("kind", "get", "clusters").split()
        for cluster in clusters:
            if self._taken and cluster.kind_name not in there:
                raise ValueError(f"KIND_CLUSTERS names {cluster.kind_name}, and there is no such kind cluster")
            if not self._taken and cluster.kind_name in there:
                raise ValueError(
                    f"there is a kind cluster {cluster.kind_name} already, and no session of this suite's; "
                    f"`kind delete cluster --name {cluster.kind_name}` removes it, KIND_PREFIX=... makes others"
                )

    def _build_images(self) -> None:
        images.build_train()
        images.build_operator()
        self._say("images of the scenarios built")

    def _begin(self, number: int, cluster: KindCluster) -> None:
        if self._taken:
            cluster.take()
        else:
            cluster.make(number, os.environ.get("NODE_IMAGE", ""), self._prefix)
        cluster.furnish()
        self._say(f"{cluster.kind_name}: {len(cluster.nodes)} nodes, {cluster.shape.gpus} GPUs")

    def _fill(self, cluster: KindCluster, muster: str) -> None:
        """Images, CRDs, operators."""
        operator = [images.OPERATOR_IMAGE] if cluster.shape.training_operator else []
        images.load(cluster, [muster, *operator], [cluster.control_plane])
        images.load(cluster, [TRAIN_IMAGE], cluster.gpu_nodes)
        self._say(f"{cluster.kind_name}: images loaded")
        if cluster.shape.volcano:
            _install_crd(cluster, CRDS / "volcano-job.yaml")
        if cluster.shape.training_operator:
            training_operator.install(cluster)
            training_operator.wait(cluster)
            self._say(f"{cluster.kind_name}: training-operator runs")

    def _say(self, line: str, *, first: bool = False) -> None:
        # pytest's own line has not ended when a fixture first speaks.
        print("\n" * first + f"{time.monotonic() - self._began:5.0f} s  {line}", flush=True)


def _install_crd(cluster: KindCluster, path: Path) -> None:
    crd = yaml.safe_load(path.read_text())
    client, name = cluster.client, crd["metadata"]["name"]
    if client.get(crd["apiVersion"], crd["kind"], name) is None:
        client.create(crd)
        cluster.on_leaving(lambda: client.delete(crd["apiVersion"], crd["kind"], name))
    group, version, kind = crd["spec"]["group"], crd["spec"]["versions"][0]["name"], crd["spec"]["names"]["kind"]
    until(f"{group} to be served", lambda: client.serves(f"{group}/{version}", kind))
