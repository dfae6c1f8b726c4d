"""How much of what a job takes: the unit in which quota, shares and budgets count."""

from __future__ import annotations

from placement.capacity import Packed
from placement.fleet import Reservation
from placement.inventory import DeviceForm, Summary
from placement.queues.spending import Uses
from placement.queues.tree import CPU_CORES
from placement.resources import CPU
from placement.scoring import used
from placement.workload import Workload


def of_fit(fit: Packed) -> tuple[tuple[str, float], ...]:
    """Exactly, where the job would go. A product that its nodes do not tell is ""."""
    cards, cores = used(fit)
    return tuple(sorted({**cards, **({CPU_CORES: cores} if cores else {})}.items()))


def of_reservation(held: Reservation) -> Uses:
    """As noted when it was made; else as far as the workload tells."""
    return held.uses or of_workload(held.workload)


def of_workload(workload: Workload) -> tuple[tuple[str, float], ...]:
    """Without a place: a GPU whose role leaves the product open has none, and a share of a card is not counted."""
    found: dict[str, float] = {}
    for role in workload.roles:
        if role.devices:
            product = role.products[0] if len(role.products) == 1 else ""
            found[product] = found.get(product, 0.0) + role.replicas * role.gpus_per_pod
        else:
            found[CPU_CORES] = found.get(CPU_CORES, 0.0) + role.replicas * role.requests[CPU] / 1000
    return tuple(sorted((name, amount) for name, amount in found.items() if amount))


def of_summary(summary: Summary) -> dict[str, float]:
    """Cards by product (parts of cards count as cards), and cores, of a whole cluster."""
    found: dict[str, float] = {}
    for shape in summary.shapes:
        node_class = summary.node_classes[shape.node_class]
        found[CPU_CORES] = found.get(CPU_CORES, 0.0) + node_class.capacity[CPU] / 1000 * shape.nodes
        for device in node_class.devices:
            cards = node_class.capacity[device.resource] * shape.nodes
            if device.form is DeviceForm.SHARED_MEMORY:
                cards = len(shape.shares) * shape.nodes
            found[device.product] = found.get(device.product, 0.0) + cards
    return found
