"""Volumes that hub and spoke, which are not root, may write.

kind's own default class gives such volumes. A cluster whose default class is the controller-manager's host-path
provisioner does not: its directories are root's. There each release gets a local volume on the control plane, which
heeds fsGroup, and which no provisioner cleans: it is made anew for every install.
"""

from __future__ import annotations

from typing import Any

from e2e.kind.clusters import KindCluster
from e2e.kind.commands import run
from e2e.waiting import until

CLASS = "muster-e2e"
STORAGE = "storage.k8s.io/v1"


def class_for(cluster: KindCluster, release: str) -> str:
    """The storage class for a release that is about to be installed; "" is the cluster's default."""
    if not _is_roots_own(cluster):
        return ""
    name, path = f"e2e-{release.removeprefix('muster-')}-data", f"/var/muster-e2e/{release}"
    cluster.client.delete("v1", "PersistentVolume", name)
    until(f"{name} to go", lambda: cluster.client.get("v1", "PersistentVolume", name) is None)
    run("docker", "exec", cluster.control_plane, "sh", "-c", f"rm -rf {path} && mkdir -p {path}")
    storage_class = {"apiVersion": STORAGE, "kind": "StorageClass", "metadata": {"name": CLASS}}
    cluster.client.apply(storage_class | {"provisioner": "kubernetes.io/no-provisioner"})
    cluster.client.apply(_volume(cluster, name, path))
    cluster.on_leaving(lambda: _remove(cluster, name, path))
    return CLASS


def _is_roots_own(cluster: KindCluster) -> bool:
    return any(
        found["provisioner"] == "kubernetes.io/host-path"
        for found in cluster.client.list(STORAGE, "StorageClass")
        if found["metadata"].get("annotations", {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    )


def _volume(cluster: KindCluster, name: str, path: str) -> dict[str, Any]:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [cluster.control_plane]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": CLASS,
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def _remove(cluster: KindCluster, name: str, path: str) -> None:
    cluster.client.delete("v1", "PersistentVolume", name)
    cluster.client.delete(STORAGE, "StorageClass", CLASS)
    run("docker", "exec", cluster.control_plane, "rm", "-rf", path)
