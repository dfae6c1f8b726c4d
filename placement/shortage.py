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
    need = sum(slot.pods for slot in slots)
    fitting = most(root, demand)
    matching = _free_on_matching(root, slots)
    if fitting == need and (only is not None or ceiling < root.rank):
        units = {unit for unit, _ in domains_of(root, ceiling)} if only is None else set(only)
        devices = {device.resource for slot in slots for device in slot.spec.devices if not device.is_share}
        return TopologyShort(
            cluster=cluster,
            level=ladder.name(ceiling),
            pods_need=need,
            pods_fit_largest=max((most(unit, demand) for unit in units), default=0),
            free_gpus=sum(matching[name] for name in devices),
            need_gpus=sum(slot.spec.gpus * slot.pods for slot in slots),
            ever=ever,
        )
    total: Resources = sum((slot.spec.need * slot.pods for slot in slots), NOTHING)
    scarcest = _scarcest(total, matching, slots)
    return ResourcesShort(cluster, scarcest, total[scarcest], matching[scarcest], fitting, need, ever)


def _free_on_matching(root: Unit, slots: Sequence[Slot]) -> Resources:
    classes = frozenset[int]().union(*(slot.spec.classes for slot in slots))
    return sum((free for node_class, free in root.by_class().items() if node_class in classes), NOTHING)


def _scarcest(total: Resources, free: Resources, slots: Sequence[Slot]) -> str:
    """The resource that is shortest in sum; where none is, the devices, which lie too scattered."""
    devices = {device.resource for slot in slots for device in slot.spec.devices}
    return min(total, key=lambda name: (min(free[name] / total[name], 1.0), name not in devices, name))
