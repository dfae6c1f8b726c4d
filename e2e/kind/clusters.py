"""One real cluster, of kind: nodes that are containers, with real kubelets, and GPUs that are numbers.

A node's GPUs are an extended resource in its status, which the kubelet keeps and hands to the scheduler, with the
labels of GPU Feature Discovery beside it. For scenarios that break things, `KindCluster` offers:

    cluster.stop_node(node), start_node(node)  the machine goes off, and on again with its GPUs
    cluster.cut(), mend()                      the network of every node, and back with the same addresses
    cluster.delete_pod(name, namespace)        as by `kubectl delete pod`, gracefully unless told otherwise
    cluster.pods(namespace, labels)            pod objects; names of nodes: cluster.nodes, cluster.gpu_nodes
    cluster.kubectl(...), cluster.helm(...)    with this cluster's kubeconfig; what they print

and `e2e.kind.installed.InstalledFederation` the hub's and spokes' pods and releases. What is broken is to be mended by
the scenario that broke it.

Not promised: that a cluster taken by name had no GPUs or labels of its own before; what is set here is taken back.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from e2e.kind import network
from e2e.kind.commands import run
from e2e.objects import Object, ObjectClient
from e2e.shapes import ClusterShape
from e2e.truth import GPU
from e2e.waiting import until

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


class KindCluster:
    """A MemberCluster."""

    def __init__(self, shape: ClusterShape, kind_name: str, directory: Path) -> None:
        self.shape = shape
        self.kind_name = kind_name
        self.kubeconfig = directory / "kubeconfig"
        self.directory = directory
        self._addresses: dict[str, tuple[str, str]] = {}  # of nodes that are cut off: network and address
        self._undo: list[Callable[[], None]] = []
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def context(self) -> str:
        return f"kind-{self.kind_name}"

    # -- life ----------------------------------------------------------------------------------------------------

    def make(self, number: int, node_image: str, network_name: str) -> None:
        """A cluster of its own; `number` keeps its addresses apart from those of the others."""
        config = self.directory / "kind.yaml"
        config.write_text(yaml.safe_dump(kind_config(self.shape, number), sort_keys=False))
        image = ["--image", node_image] if node_image else []
        run(
            *("kind", "create", "cluster", "--name", self.kind_name, "--config", str(config), *image),
            *("--kubeconfig", str(self.kubeconfig), "--wait", "240s", "--quiet"),
            env={"KIND_EXPERIMENTAL_DOCKER_NETWORK": network_name},
            timeout_s=600,
        )

    def take(self) -> None:
        """One that exists."""
        self.kubeconfig.write_text(run("kind", "get", "kubeconfig", "--name", self.kind_name))
        self.kubeconfig.chmod(0o600)

    def furnish(self) -> None:
        """Gives its nodes the GPUs and labels of its shape; returns when all are ready and have them."""
        # A worker's kubelet may register its node only after `kind create cluster` has returned.
        until(f"{self.kind_name} to know its nodes", self._knows_its_nodes, timeout_s=180, every_s=0.5)
        for node in self.gpu_nodes:
            self._label(node)
            self._give_gpus(node)
        until(f"{self.kind_name} to be ready with its GPUs", self._ready, timeout_s=180, every_s=0.5)

    def on_leaving(self, undo: Callable[[], None]) -> None:
        """What takes back something that was put into the cluster; called last in, first out."""
        self._undo.append(undo)

    def leave(self) -> None:
        """A cluster taken by name is left as it was."""
        while self._undo:
            self._undo.pop()()
        self.client.close()

    # -- what is in it -------------------------------------------------------------------------------------------

    @cached_property
    def client(self) -> ObjectClient:
        """By the certificate that kind gives its admin."""
        config = yaml.safe_load(self.kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        certificate = self.directory / "admin.pem"
        certificate.touch(mode=0o600)
        pems = (user["client-certificate-data"], user["client-key-data"])
        certificate.write_bytes(b"\n".join(base64.b64decode(pem) for pem in pems))
        ca_pem = base64.b64decode(cluster["certificate-authority-data"])
        return ObjectClient(cluster["server"], "", ca_pem, certificate=certificate)

    @cached_property
    def nodes(self) -> Sequence[str]:
        """Their names, which are the containers' too, the control plane first."""
        names = run("kind", "get", "nodes", "--name", self.kind_name).split()
        return sorted(names, key=lambda name: (name != self.control_plane, _number(name)))

    @property
    def control_plane(self) -> str:
        return f"{self.kind_name}-control-plane"

    @property
    def gpu_nodes(self) -> Sequence[str]:
        """In the order of the shape's pools and racks. Raises ValueError where there are fewer than the shape has."""
        able = self.nodes if self.shape.single_node else self.nodes[1:]
        if len(able) < self.shape.nodes:
            raise ValueError(
                f"{self.kind_name} has {len(able)} nodes for GPUs, and {self.name} needs {self.shape.nodes}: "
                "make it larger, or let the suite make its own clusters (leave out KIND_CLUSTERS)"
            )
        return able[: self.shape.nodes]

    @property
    def address(self) -> str:
        """Of the control plane, on the network that the clusters share with this machine."""
        return network.address_of(self.control_plane)[1]

    def pods(self, namespace: str = "", labels: str = "") -> list[Object]:
        return self.client.list("v1", "Pod", namespace, labels)

    def kubectl(self, *arguments: str, stdin: str = "", timeout_s: float = 120) -> str:
        return run("kubectl", "--kubeconfig", str(self.kubeconfig), *arguments, stdin=stdin, timeout_s=timeout_s)

    def helm(self, *arguments: str, timeout_s: float = 300) -> str:
        return run("helm", "--kubeconfig", str(self.kubeconfig), *arguments, timeout_s=timeout_s)

    # -- faults --------------------------------------------------------------------------------------------------

    def stop_node(self, node: str) -> None:
        """At once: nothing on it is told."""
        run("docker", "kill", node)

    def start_node(self, node: str) -> None:
        """Returns when it is ready and has its GPUs again."""
        run("docker", "start", node)
        until(f"{node} to be ready", lambda: is_ready(self._node(node)), timeout_s=180, every_s=0.5)
        if node in self.gpu_nodes:
            # A kubelet that finds no device plugin's checkpoint takes the node for a new machine, without devices.
            self._give_gpus(node)
            until(f"{node} to have its GPUs", lambda: self._has_gpus(node), timeout_s=60, every_s=0.5)

    def cut(self, nodes: Sequence[str] = ()) -> None:
        """These nodes', or every node's, network is gone: to other clusters, to each other, to this machine."""
        for node in nodes or self.nodes:
            self._addresses[node] = network.address_of(node)
            network.disconnect(self._addresses[node][0], node)

    def mend(self) -> None:
        for node, (name, address) in list(self._addresses.items()):
            network.connect(name, node, address)
            del self._addresses[node]

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """For as long as the block lasts."""
        try:
            self.cut()
            yield
        finally:
            self.mend()

    def delete_pod(self, name: str, namespace: str = "default", *, grace_s: int | None = None) -> None:
        self.client.delete("v1", "Pod", name, namespace, grace_s=grace_s)

    # -- GPUs ----------------------------------------------------------------------------------------------------

    def _label(self, node: str) -> None:
        labels = self._places[node][0]
        before = self._node(node)["metadata"]["labels"]
        self.client.merge("v1", "Node", node, {"metadata": {"labels": labels}})
        old = {key: before.get(key) for key in labels}
        self.on_leaving(lambda: self._patch(node, {"metadata": {"labels": old}}))

    def _give_gpus(self, node: str) -> None:
        self._patch(node, {"status": {"capacity": {GPU: str(self._places[node][1])}}}, "status")
        gone = {GPU: None}
        self.on_leaving(lambda: self._patch(node, {"status": {"capacity": gone, "allocatable": gone}}, "status"))

    @cached_property
    def _places(self) -> dict[str, tuple[dict[str, str], int]]:
        """node -> its labels, its GPUs."""
        places = [
            (pool.labels_in(self.shape.region, rack), pool.gpus)
            for pool in self.shape.pools
            for rack in range(1, pool.racks + 1)
            for _ in range(pool.nodes_per_rack)
        ]
        return dict(zip(self.gpu_nodes, places, strict=True))

    def _patch(self, node: str, patch: dict[str, Any], sub: str = "") -> None:
        self.client.merge("v1", "Node", node, patch, sub=sub)

    def _knows_its_nodes(self) -> bool:
        return all(self._node(node) for node in self.nodes)

    def _ready(self) -> bool:
        for node in self.nodes:
            assert is_ready(self._node(node)), f"{node} is not ready"
        for node in self.gpu_nodes:
            assert self._has_gpus(node), f"{node} has no GPUs to give"
        return True

    def _has_gpus(self, node: str) -> bool:
        return int(self._node(node)["status"]["allocatable"].get(GPU, 0)) == self._places[node][1]

    def _node(self, node: str) -> Object:
        found = self.client.get("v1", "Node", node)
        assert found is not None, f"there is no node {node}"
        return found


def kind_config(shape: ClusterShape, number: int) -> dict[str, Any]:
    """Pods of one cluster talk to nodes of another, so that no two may have the same addresses."""
    workers = 0 if shape.single_node else shape.nodes
    # Harmless where cgroups are of version 2.
    kubelet = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "failCgroupV1": False}
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"podSubnet": f"10.{140 + number}.0.0/16", "serviceSubnet": f"10.{200 + number}.0.0/16"},
        "kubeadmConfigPatches": [yaml.safe_dump(kubelet)],
        "nodes": [{"role": "control-plane"}, *({"role": "worker"} for _ in range(workers))],
    }


def is_ready(node: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))


def _number(node: str) -> int:
    found = re.search(r"(\d+)$", node)
    return int(found[1]) if found else 1
