"""Installed kinds that travel along with jobs: their CRDs, and one manifest of each.

Their operators do nothing here that a scenario asks for: the API server takes and keeps what is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from e2e.kinds.operators import Operator
from e2e.manifests import Manifest

NETWORK = '{"cniVersion": "1.0.0", "type": "host-device", "device": "ib0"}'


@dataclass(frozen=True, slots=True)
class Traveller:
    api: str
    kind: str
    plural: str
    spec: dict[str, Any]
    outlives: bool = False  # a claim holds data

    def manifest(self, name: str) -> Manifest:
        return {"apiVersion": self.api, "kind": self.kind, "metadata": {"name": name}, "spec": self.spec}


def travellers(job: str) -> tuple[Traveller, ...]:
    """What may lie beside a Deployment or a Job of that name."""
    selector, target = {"matchLabels": {"of": job}}, {"apiVersion": "batch/v1", "kind": "Job", "name": job}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    memory = {"levels": [{"mediumtype": "MEM", "path": "/dev/shm", "quota": "1Gi"}]}
    corpus = {"mounts": [{"mountPoint": "s3://bucket/corpus"}]}
    fluid = "data.fluid.io/v1alpha1"
    scaled = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2, "metrics": []}
    return (
        Traveller("v1", "Service", "services", {"selector": {"of": job}, "ports": [{"port": 80}]}),
        Traveller("v1", "PersistentVolumeClaim", "persistentvolumeclaims", claim, outlives=True),
        Traveller("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", scaled),
        Traveller(
            "k8s.cni.cncf.io/v1",
            "NetworkAttachmentDefinition",
            "network-attachment-definitions",
            {"config": NETWORK},
        ),
        Traveller("monitoring.coreos.com/v1", "PodMonitor", "podmonitors", {"selector": selector}),
        Traveller("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors", {"selector": {}}),
        Traveller(fluid, "Dataset", "datasets", corpus),
        Traveller(
            "data.fluid.io/v1alpha1", "AlluxioRuntime", "alluxioruntimes", {"replicas": 1, "tieredstore": memory}
        ),
        Traveller("data.fluid.io/v1alpha1", "JuiceFSRuntime", "juicefsruntimes", {"replicas": 1}),
    )


def crds() -> Iterator[Manifest]:
    """Of those that Kubernetes itself does not have."""
    for one in travellers(""):
        group, _, version = one.api.rpartition("/")
        if "." in group:
            yield Operator(group, version, one.kind, one.plural, lambda obj: iter(()), lambda obj, pods: {}).crd()
