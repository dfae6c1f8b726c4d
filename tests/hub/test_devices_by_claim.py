"""Devices by claim at the hub: counted by class, placed like any device, refused by name where a cluster has none."""

from __future__ import annotations

import pytest

from placement.capacity import Capacity
from placement.feasibility import why_not
from placement.fleet import Cluster, Health
from placement.inventory import DeviceClass, DeviceForm, Node
from placement.kinds.catalogue import Catalogue
from placement.kinds.reader import read
from placement.resources import Resources
from placement.summary import summarise
from placement.verdict import DeviceMissing, Reason, ResourcesShort
from wire.translate_summary import summary_from_wire, summary_to_wire

CLASS = DeviceClass("dra/gpu.nvidia.com", "nvidia", "NVIDIA H100", 81_920, DeviceForm.DRA)
MANIFEST = """
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: two}
spec: {spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu.nvidia.com, count: 2}}]}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: train}
spec:
  completions: PODS
  parallelism: PODS
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      resourceClaims: [{name: devices, resourceClaimTemplateName: two}]
      containers: [{name: main, image: x, resources: {requests: {cpu: 1}}}]
"""


def node(name: str, free: int, devices: tuple[DeviceClass, ...] = (CLASS,)) -> Node:
    rest = {"cpu": 64_000, "memory": 1 << 19, "pods": 110}
    capacity = Resources(rest | ({CLASS.resource: 8} if devices else {}))
    labels = {"kubernetes.io/hostname": name}
    return Node(name, labels, (), capacity, Resources(rest | {CLASS.resource: free}), devices, domains={"host": name})


def why(pods: int, *nodes: Node) -> tuple[Reason, ...]:
    [submission] = read(MANIFEST.replace("PODS", str(pods)).encode(), Catalogue.builtin())
    told = summary_from_wire(summary_to_wire(summarise(nodes, ["batch/v1/Job"])))
    assert told.gpus_total == 8 * sum(bool(each.devices) for each in nodes)
    cluster = Cluster(name="paris", region="eu", labels={}, health=Health.READY, cordoned=False, summary=told)
    return why_not(submission.workload, cluster, Capacity.of("paris", told))


@pytest.mark.parametrize(("pods", "fits"), [(5, True), (6, False)])
def test_they_are_placed_by_their_number_on_each_node(pods: int, fits: bool) -> None:
    found = why(pods, node("n1", 5), node("n2", 7))
    if fits:
        assert found == ()
    else:
        [short] = found
        assert isinstance(short, ResourcesShort)
        assert (short.resource, short.free, short.pods_fit) == (CLASS.resource, 12, 5)


def test_a_cluster_without_the_class_says_what_it_has() -> None:
    [missing] = why(1, node("n1", 0, ()))
    assert isinstance(missing, DeviceMissing)
    assert missing.resource == CLASS.resource
