"""The member clusters as kind makes them: those of `e2e.shapes`, small enough for real nodes on two cores."""

from __future__ import annotations

from e2e.shapes import A100, H100, T4, ClusterShape, Pool

# Two racks of unequal size; a gang of two nodes fits in a rack, one of three does not.
ONPREM_A = ClusterShape(
    "onprem-a",
    "beijing",
    (
        Pool("a100", racks=1, nodes_per_rack=2, product=A100, gpus=8),
        Pool("a100-far", racks=1, nodes_per_rack=1, product=A100, gpus=8),
    ),
    training_operator=True,
    volcano=True,
)
# As many GPUs as a rack of onprem-a, in racks of one node.
CLOUD_B = ClusterShape(
    "cloud-b",
    "us-east",
    (Pool("h100", racks=2, nodes_per_rack=1, product=H100, gpus=8),),
    training_operator=True,
    volcano=True,
)
# One node is the whole cluster: control plane and GPUs. The hub runs here, out of the way of what is broken elsewhere.
EDGE_C = ClusterShape(
    "edge-c", "shanghai", (Pool("edge-t4", racks=1, nodes_per_rack=1, product=T4, gpus=2),), single_node=True
)
STANDARD = (ONPREM_A, CLOUD_B, EDGE_C)
