"""Why a gang does not fit, in numbers: first whether there is enough in sum, then in one domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from placement.bins import NOTHING, Unit
from placement.demand import Demands, Slot, Slots, pairs
from placement.ladder import Ladder
from placement.nested import Group, Part, Slices, Wanted, gangs, place, relaxations
from placement.packing import domains_of, most
from placement.resources import Resources
from placement.verdict import Reason, ResourcesShort, TopologyShort
from placement.workload import Workload


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


def nested_shortage(
    cluster: str,
    ladder: Ladder,
    root: Unit,
    workload: Workload,
    demands: Demands,
    wanted: Wanted,
    *,
    ever: bool,
) -> Reason:
    """Of a gang that asks for more than one domain for the whole: the first role that finds no place, where most do.

    Preferred levels do not count: what is short is short without them.
    """
    pods = {role: sum(size * count for size, count in sizes.items()) for role, sizes in wanted.items()}
    slots: Slots = demands.some(workload.roles, pods)[-1]
    bounds = relaxations(workload, ladder)[-1]
    top = min(bounds.gang, root.rank)
    inside = [unit for unit, _ in domains_of(root, top)]
    together = max((most(unit, pairs(slots)) for unit in inside), default=0)
    if most(root, pairs(slots)) < sum(pods.values()) or (top < root.rank and together < sum(pods.values())):
        return shortage(cluster, ladder, root, slots, top, ever=ever)
    gang = gangs(workload, ladder, demands, wanted, bounds)[-1]
    _, fitting, group, part = max((_stuck(unit, gang) for unit in inside), key=lambda stuck: stuck[:2])
    matching = _free_on_matching(root, slots)
    devices = {device.resource for slot in slots for device in slot.spec.devices if not device.is_share}
    return TopologyShort(
        cluster=cluster,
        level=ladder.name(min(group.ceiling, top)),
        pods_need=part.count,
        pods_fit_largest=fitting,
        free_gpus=sum(matching[name] for name in devices),
        need_gpus=sum(slot.spec.gpus * slot.pods for slot in slots),
        ever=ever,
        role=group.role if len(gang) > 1 else "",
        slice_size=part.size if part.is_sliced else 0,
        slice_level=ladder.name(part.rank) if part.is_sliced else "",
    )


def _stuck(unit: Unit, gang: Sequence[Group]) -> tuple[int, int, Group, Part]:
    """How many roles find a place in `unit` one after the other, and of the next one how many slices do."""
    for number, group in enumerate(gang):
        found = place(unit, [group], min(group.ceiling, unit.rank))
        if found is None:
            slices, part = Slices(), group.parts[0]
            held = [slices.held(one, part) for one, _ in domains_of(unit, min(group.ceiling, unit.rank))]
            return number, min(part.count, max(held, default=0)), group, part
        unit = found.placement.after
    return len(gang), 0, gang[-1], gang[-1].parts[0]


def _free_on_matching(root: Unit, slots: Sequence[Slot]) -> Resources:
    classes = frozenset[int]().union(*(slot.spec.classes for slot in slots))
    return sum((free for node_class, free in root.by_class().items() if node_class in classes), NOTHING)


def _scarcest(total: Resources, free: Resources, slots: Sequence[Slot]) -> str:
    """The resource that is shortest in sum; where none is, the devices, which lie too scattered."""
    devices = {device.resource for slot in slots for device in slot.spec.devices}
    return min(total, key=lambda name: (min(free[name] / total[name], 1.0), name not in devices, name))
