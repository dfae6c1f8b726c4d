"""The labels and annotations by which Muster knows what is its own, and what it wrote down there.

Labels stand on a workload and on its pods; annotations on the workload, or on a pod from its binding on.
"""

from __future__ import annotations

JOB = "muster.dev/job"
EPOCH = "muster.dev/epoch"
ROLE = "muster.dev/role"
DISTRIBUTION = "muster.dev/distribution"  # of an object that is no job's: what it was distributed by
OWNER = "muster.dev/owner"  # of what a spoke made: which one, by hub and cluster name
TRAVELS_ALONG = "muster.dev/travels-along"  # of the workload: what was made for it, as JSON
GPUS = "muster.dev/gpus"  # "0,3": indices of whole cards, or of the card that is shared
NICS = "muster.dev/nics"  # "rdma/hca=0,rdma/hca=2": indices of RDMA NICs near the cards

LABELS = frozenset({JOB, EPOCH, ROLE, DISTRIBUTION})
ANNOTATIONS = frozenset({OWNER, TRAVELS_ALONG, GPUS, NICS})
