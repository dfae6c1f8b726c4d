"""Why a gang does not fit, in numbers: first whether there is enough in sum, then in one domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from placement.bins import NOTHING, Unit
from placement.demand import Slot, pairs
from placement.ladder import Ladder
from placement.packing import domains_of, most
from placement.resources import Resources
from placement.verdict import Reason, ResourcesShort, TopologyShort


def shortage(
    cluster: str,
    ladder: Ladder,
    root: Unit,
    slots: Sequence[Slot],
    ceiling: int,
    *,
    ever: bool,
    only: Iterable[Unit] | None = None,
) -> Reason:
    """Of a gang that must lie within one unit of rank `ceiling` of `root`; `only` names the units that may be it."""
    demand = pairs(slots)
    fitting = most(root, demand)
    matching = _free_on_matching(root, slots)
    if fitting == sum(slot.pods for slot in slots) and (only is not None or ceiling < root.rank):
        units = {unit for unit, _ in domains_of(root, ceiling)} if only is None else set(only)
        largest = max((most(unit, demand) for unit in units), default=0)
        return too_scattered(cluster, ladder.name(ceiling), slots, matching, largest, ever=ever)
    return too_little(cluster, slots, matching, fitting, ever=ever)


def too_scattered(
    cluster: str, level: str, slots: Sequence[Slot], free: Resources, largest: int, *, ever: bool
) -> TopologyShort:
    """`free`: on the nodes that the gang may use; `largest`: the most of its pods that one domain takes."""
    devices = {device.resource for slot in slots for device in slot.spec.devices if not device.is_share}
    return TopologyShort(
        cluster=cluster,
        level=level,
        pods_need=sum(slot.pods for slot in slots),
        pods_fit_largest=largest,
        free_gpus=sum(free[name] for name in devices),
        need_gpus=sum(slot.spec.gpus * slot.pods for slot in slots),
        ever=ever,
    )


def too_little(cluster: str, slots: Sequence[Slot], free: Resources, fitting: int, *, ever: bool) -> ResourcesShort:
    need = sum(slot.pods for slot in slots)
    total: Resources = sum((slot.spec.need * slot.pods for slot in slots), NOTHING)
    scarcest = _scarcest(total, free, slots)
    return ResourcesShort(cluster, scarcest, total[scarcest], free[scarcest], fitting, need, ever)


def _free_on_matching(root: Unit, slots: Sequence[Slot]) -> Resources:
    classes = frozenset[int]().union(*(slot.spec.classes for slot in slots))
    return sum((free for node_class, free in root.by_class().items() if node_class in classes), NOTHING)


def _scarcest(total: Resources, free: Resources, slots: Sequence[Slot]) -> str:
    """The resource that is shortest in sum; where none is, the devices, which lie too scattered."""
    devices = {device.resource for slot in slots for device in slot.spec.devices}
    return min(total, key=lambda name: (min(free[name] / total[name], 1.0), name not in devices, name))
