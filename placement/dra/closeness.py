"""How close devices of one node are to each other, from what their drivers say of them.

Drivers name the PCIe root (`resource.kubernetes.io/pcieRoot`, a standard attribute) and the NUMA node (`numaNode` in a
domain of their own: `dra.net/numaNode`, `gpu.intel.com/numaNode`). One root is closer than one NUMA node, and what a
driver does not say counts as far.
"""

from __future__ import annotations

from collections.abc import Sequence

from placement import cards
from placement.dra.devices import Device
from placement.inventory import Gpu

PCIE_ROOT = "resource.kubernetes.io/pcieRoot"
_NUMA = frozenset({"numanode", "numanodeid", "numa"})
SAME_ROOT, SAME_NUMA = 4, 2


def numa_of(device: Device) -> int:
    """-1 where the driver does not say."""
    for names in device.attributes.values():
        for name, value in names.items():
            if name.lower() in _NUMA and isinstance(value, int) and not isinstance(value, bool):
                return value
    return -1


def score(one: Device, other: Device) -> int:
    root = one.attribute(PCIE_ROOT)
    if root is not None and root == other.attribute(PCIE_ROOT):
        return SAME_ROOT + SAME_NUMA
    numa = numa_of(one)
    return SAME_NUMA if numa >= 0 and numa == numa_of(other) else 0


def in_order(candidates: Sequence[Device], wanted: int, beside: Sequence[Device]) -> list[Device]:
    """The candidates, those to be taken first: nearest to what the pod has already, and of these the closest together.

    Exact up to 16 candidates, as `cards` is.
    """
    near = [sum(score(device, other) for other in beside) for device in candidates]
    rest = sorted(range(len(candidates)), key=lambda index: -near[index])
    if not 1 < wanted < len(candidates):
        return [candidates[index] for index in rest]
    # In a sum over pairs each device's nearness counts equally often; and for more than all links together.
    more = wanted * wanted * (SAME_ROOT + SAME_NUMA)
    gpus = [
        Gpu(a, links=tuple(near[a] * more + (score(one, other) if a != b else 0) for b, other in enumerate(candidates)))
        for a, one in enumerate(candidates)
    ]
    best = cards.pick(gpus, wanted)
    return [candidates[i] for i in (*best, *(index for index in rest if index not in set(best)))]
