"""What a cluster could take if some of what runs there ended.

Where the pods of a job stand the hub does not know by node: they are given back on nodes that have as much taken, most
on one node first (as `queues.forecast` does). So what fits then is very likely, and not certain; the cluster's next
summary says.
"""

from __future__ import annotations

from collections.abc import Iterable

from placement.capacity import Capacity
from placement.demand import pairs
from placement.fleet import Reservation
from placement.queues.forecast import given_back


def without(capacity: Capacity, gone: Iterable[Reservation]) -> Capacity:
    inventory, root = capacity.inventory, capacity.root
    for one in gone:
        for spec, pods in pairs(inventory.demands.of(one.workload.roles)[-1]):
            root, _ = given_back(root, spec, pods, inventory)
    return Capacity(inventory, root)
