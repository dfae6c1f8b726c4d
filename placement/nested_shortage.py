"""Why a gang whose roles or slices have domains of their own does not fit, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from placement.bins import Unit
from placement.demand import Demands, pairs
from placement.ladder import Ladder
from placement.nested import Group, Part, Slices, Wanted, gangs, place, relaxations
from placement.packing import domains_of, most
from placement.shortage import shortage
from placement.verdict import Reason, TopologyShort
from placement.workload import Workload


def nested_shortage(
    cluster: str, ladder: Ladder, root: Unit, workload: Workload, demands: Demands, wanted: Wanted, *, ever: bool
) -> Reason:
    """As `shortage` where even plain pods do not fit; else of the first role that finds no place, where most do.

    Preferred levels do not count: what is short is short without them.
    """
    pods = {role: sum(size * count for size, count in sizes.items()) for role, sizes in wanted.items()}
    slots = demands.some(workload.roles, pods)[-1]
    bounds = relaxations(workload, ladder)[-1]
    top = min(bounds.gang, root.rank)
    inside = [unit for unit, _ in domains_of(root, top)]
    if max((most(unit, pairs(slots)) for unit in inside), default=0) < sum(pods.values()):
        return shortage(cluster, ladder, root, slots, top, ever=ever)
    short = shortage(cluster, ladder, root, slots, top, ever=ever, only=inside)
    if not isinstance(short, TopologyShort):
        return short
    gang = gangs(workload, ladder, demands, wanted, bounds)[-1]
    _, fitting, group, part = max((_stuck(unit, gang) for unit in inside), key=lambda stuck: stuck[:2])
    return replace(
        short,
        level=ladder.name(min(group.ceiling, top)),
        pods_need=part.count,
        pods_fit_largest=fitting,
        role=group.role if len(gang) > 1 else "",
        slice_size=part.size if part.is_sliced else 0,
        slice_level=ladder.name(part.rank) if part.is_sliced else "",
    )


def _stuck(unit: Unit, gang: Sequence[Group]) -> tuple[int, int, Group, Part]:
    """How many roles find a place in `unit` one after the other, and of the next one how many slices do."""
    for number, group in enumerate(gang):
        ceiling = min(group.ceiling, unit.rank)
        found = place(unit, [group], ceiling)
        if found is None:
            slices, part = Slices(), group.parts[0]
            held = max((slices.held(one, part) for one, _ in domains_of(unit, ceiling)), default=0)
            return number, min(part.count, held), group, part
        unit = found.placement.after
    return len(gang), 0, gang[-1], gang[-1].parts[0]
