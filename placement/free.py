"""What every cluster can take now, and what there is at all, for whoever asks once. The planner keeps its own."""

from __future__ import annotations

from placement.capacity import Capacity
from placement.fleet import Fleet, Reservation
from placement.queues.usage import of_summary


def capacities(fleet: Fleet) -> dict[str, Capacity]:
    """Of every cluster that has reported, with all that is promised taken out."""
    held: dict[str, list[Reservation]] = {}
    for one in fleet.reservations:
        held.setdefault(one.cluster, []).append(one)
    found: dict[str, Capacity] = {}
    for name, cluster in fleet.clusters.items():
        if cluster.summary is not None:
            capacity = Capacity.of(name, cluster.summary)
            for one in held.get(name, ()):
                if (one.job, one.epoch) not in cluster.summary.counted:
                    capacity = capacity.deduct(one)
            found[name] = capacity
    return found


def there(fleet: Fleet) -> dict[str, float]:
    """Cards by product, and cores, of all clusters together."""
    total: dict[str, float] = {}
    for cluster in fleet.clusters.values():
        for product, amount in of_summary(cluster.summary).items() if cluster.summary is not None else ():
            total[product] = total.get(product, 0.0) + amount
    return total
