"""Gangs whose roles, or slices of roles, must each lie in one domain of a level, packed on the tree of `bins`.

A slice is a unit of `size` identical pods: what a domain of the slice's level holds of them is what it holds of pods,
divided and rounded down, and over domains these counts add up. So for identical slices the choice is exact, as it is
for pods, and the rest is the way of `packing`: the tightest domain that holds the whole gang, of those the smallest
sufficient one; what spreads takes the domain that holds most first and the last by best fit. A role without slices is
one of slices of one pod in one node each.

The gang is packed role by role inside one domain, the choosiest first; where that fails the other orders are tried (all
of them up to three roles). A role that must lie in one domain of its own is packed by the same rule within the gang's.
As with mixed gangs this is a heuristic, and the same on both sides.

A preferred level counts as required first; where that fails, all preferred levels are relaxed by one, and so on up to
the whole cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from placement.bins import HOST_RANK, Bin, Domain, Spec, Unit, canon, fit_key
from placement.demand import Demands
from placement.ladder import Ladder
from placement.packing import Fill, Filled, Placement, spread
from placement.workload import Role, TopologyMode, TopologyRequest, Workload

_ALL_ORDERS_UP_TO = 3

Wanted = Mapping[str, Mapping[int, int]]  # by role, how many slices of which size; pods of no slice are of size 1


@dataclass(frozen=True, slots=True)
class Part:
    """`count` times `size` identical pods; each `size` of them inside one domain of `rank`."""

    spec: Spec
    size: int
    count: int
    rank: int

    @property
    def is_sliced(self) -> bool:
        return self.size > 1 or self.rank > HOST_RANK


@dataclass(frozen=True, slots=True)
class Group:
    """One role's parts, all of them inside one domain of rank `ceiling`."""

    role: str
    parts: tuple[Part, ...]
    ceiling: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """The coarsest ranks that the gang and each of its roles may span."""

    gang: int
    roles: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Nested:
    """`owners[i]` is whose pods are in `placement.fills[i]`. `relaxed`: by how many levels what roles prefer was."""

    placement: Placement
    owners: tuple[tuple[str, Part], ...]
    relaxed: int = 0


def applies(workload: Workload) -> bool:
    """Whether a role asks for more than the gang as a whole does."""
    return any(role.topology is not None or role.slices is not None for role in workload.roles)


def unknown_level(workload: Workload, ladder: Ladder) -> str:
    """The first level that is required and that the cluster has not; "" where there is none."""
    requests = [workload.topology, *(role.topology for role in workload.roles)]
    levels = [request.level for request in requests if request and request.mode is TopologyMode.REQUIRED]
    levels += [role.slices.level for role in workload.roles if role.slices]
    return next((level for level in levels if ladder.rank(level) is None), "")


def everyone(workload: Workload) -> Wanted:
    return {role.name: sizes_of(role, role.replicas) for role in workload.roles}


def sizes_of(role: Role, pods: int) -> Mapping[int, int]:
    """So many pods of the role in slices; the last one may be smaller."""
    size = role.slices.size if role.slices else 1
    sizes = {size: pods // size, pods % size: 1}
    return {size: count for size, count in sizes.items() if size and count}


def fit(root: Unit, workload: Workload, ladder: Ladder, demands: Demands, wanted: Wanted) -> Nested | None:
    """By the strictest bounds that allow it. Every required level must be one that the cluster has."""
    prefers = any(role.topology and role.topology.mode is TopologyMode.PREFERRED for role in workload.roles)
    for slack, bounds in enumerate(relaxations(workload, ladder)):
        for gang in gangs(workload, ladder, demands, wanted, bounds):
            if (found := place(root, gang, bounds.gang)) is not None:
                return replace(found, relaxed=slack) if prefers else found
    return None


def relaxations(workload: Workload, ladder: Ladder) -> tuple[Bounds, ...]:
    """From every preferred level kept to none of them, which is the last."""
    found: list[Bounds] = []
    for slack in range(ladder.top + 1):
        gang = _ceiling(workload.topology, ladder, slack)
        bounds = Bounds(gang, {role.name: _ceiling(role.topology, ladder, slack) for role in workload.roles})
        if not found or bounds != found[-1]:
            found.append(bounds)
    return tuple(found)


def gangs(
    workload: Workload, ladder: Ladder, demands: Demands, wanted: Wanted, bounds: Bounds
) -> tuple[tuple[Group, ...], ...]:
    """The ways to try one after the other, the roles in the order to pack them; the last may use every node."""
    roles = [role for role in workload.roles if wanted.get(role.name)]
    ways = [demands.some((role,), {role.name: 1}) for role in roles]
    # Only where no role wants what is scarce do all of them keep away first from where it is.
    picks = (0, -1) if ways and all(len(each) > 1 for each in ways) else (-1,)
    found = []
    for pick in picks:
        groups = [_group(r, way[pick][0].spec, ladder, wanted, bounds) for r, way in zip(roles, ways, strict=True)]
        found.append(tuple(sorted(groups, key=_choosiest_first)))
    return tuple(found)


def place(root: Unit, gang: Sequence[Group], ceiling: int) -> Nested | None:
    """All of the gang inside one unit of rank `ceiling` (or in `root`), or None."""
    if not gang:
        return Nested(Placement(root, root, (), root, ()), ())
    slices = Slices()
    top = min(ceiling, root.rank)
    if not all(_may_lie(root, group, top, slices) for group in gang):
        return None
    for rank in range(top + 1):
        for path in _paths(root, gang, rank, top, slices):
            for order in _orders(gang):
                if (found := _pack_along(path, order, slices)) is not None:
                    return found
    return None


def _may_lie(root: Unit, group: Group, top: int, slices: Slices) -> bool:
    """Whether some domain that is small enough has room for the whole role."""
    highest = min(group.ceiling, top) + 1
    return all(max(slices.peaks(root, part)[:highest]) >= part.count for part in group.parts)


class Slices:
    """How many slices units hold. Remembered for one decision."""

    def __init__(self) -> None:
        self._peaks: dict[tuple[Unit, Spec, int, int], tuple[int, ...]] = {}

    def held(self, unit: Unit, part: Part) -> int:
        return self.peaks(unit, part)[-1]

    def peaks(self, unit: Unit, part: Part) -> tuple[int, ...]:
        """By rank, the most slices that one unit of that rank holds in here; the last is this unit itself."""
        if not part.is_sliced:
            return unit.peaks(part.spec)
        key = unit, part.spec, part.size, part.rank
        known = self._peaks.get(key)
        if known is None:
            known = self._peaks[key] = self._worked_out(unit, part)
        return known

    def _worked_out(self, unit: Unit, part: Part) -> tuple[int, ...]:
        if isinstance(unit, Bin) or unit.rank <= part.rank:
            return tuple(pods // part.size for pods in unit.peaks(part.spec))
        best, total = [0] * (unit.rank + 1), 0
        for inner, count in unit.units.items():
            if inner.rank < part.rank:
                continue  # in no domain of that rank
            inside = self.peaks(inner, part)
            total += count * inside[-1]
            for rank, most in enumerate(inside):
                best[rank] = max(best[rank], most)
        best[unit.rank] = total
        return tuple(best)


# ---- what is asked ----


def _ceiling(request: TopologyRequest | None, ladder: Ladder, slack: int) -> int:
    rank = None if request is None else ladder.rank(request.level)
    if request is None or rank is None:
        return ladder.top
    return rank if request.mode is TopologyMode.REQUIRED else min(rank + slack, ladder.top)


def _group(role: Role, spec: Spec, ladder: Ladder, wanted: Wanted, bounds: Bounds) -> Group:
    rank = ladder.rank(role.slices.level) if role.slices else None
    parts = [
        Part(spec, size, count, rank or HOST_RANK) for size, count in sorted(wanted[role.name].items(), reverse=True)
    ]
    return Group(role.name, tuple(parts), bounds.roles[role.name])


def _choosiest_first(group: Group) -> tuple[object, ...]:
    """Those that must lie in small domains, then those with large slices, then those that few nodes admit."""
    largest = max(part.size for part in group.parts)
    spec = group.parts[0].spec
    return group.ceiling, -largest, -spec.gpus, len(spec.classes), group.role


def _orders(gang: Sequence[Group]) -> Iterator[Sequence[Group]]:
    if len(gang) <= _ALL_ORDERS_UP_TO:
        yield from permutations(gang)
    else:
        yield gang
        yield sorted(gang, key=lambda group: len(group.parts[0].spec.classes))


# ---- choosing ----


def _paths(root: Unit, gang: Sequence[Group], rank: int, ceiling: int, slices: Slices) -> list[list[Unit]]:
    """Ways to each unit of `rank` with room for every part by itself, the best fit first.

    They lead through every rank above it in one domain of which something must lie: what is in none will not do.
    """
    parts = [part for group in gang for part in group.parts]
    through = {ceiling, *(group.ceiling for group in gang), *(part.rank for part in parts)}
    found = list(_roomy(root, parts, rank, {each for each in through if rank < each < root.rank}, [], slices))
    spec = parts[0].spec

    def key(path: list[Unit]) -> tuple[object, ...]:
        upwards = path[::-1]
        return tuple(fit_key(unit, spec) for unit in upwards), *zip(*map(canon, upwards), strict=True)

    return sorted(found, key=key) if len(found) > 1 else found


def _roomy(
    unit: Unit, parts: Sequence[Part], rank: int, through: set[int], above: list[Unit], slices: Slices
) -> Iterator[list[Unit]]:
    for part in parts:
        peaks = slices.peaks(unit, part)
        if len(peaks) <= rank or peaks[rank] < part.count:
            return
    way = [*above, unit]
    if unit.rank == rank:
        if through <= {each.rank for each in way}:
            yield way
    elif isinstance(unit, Domain):
        for inner in unit.units:
            yield from _roomy(inner, parts, rank, through, way, slices)


# ---- filling ----


def _pack_along(path: list[Unit], order: Sequence[Group], slices: Slices) -> Nested | None:
    """Role by role into the last unit of the path; None where the order leaves no room for a later one."""
    root, chosen = path[0], path[-1]
    fills: list[tuple[Spec, Filled]] = []
    owners: list[tuple[str, Part]] = []
    way = path
    for group in order:
        for part, filled in _filled_with(way[-1], group, slices):
            if filled is None:
                return None
            whole = _wrapped(way[:-1], filled, part.spec)
            fills.append((part.spec, whole))
            owners.append((group.role, part))
            way = _way_after(whole, len(path))
    within = tuple(unit for unit in path[:-1] if isinstance(unit, Domain))
    return Nested(Placement(root, way[0], tuple(fills), chosen, within), tuple(owners))


def _filled_with(unit: Unit, group: Group, slices: Slices) -> Iterator[tuple[Part, Filled | None]]:
    """Its parts one after the other, each on the `after` of the one before; None ends it."""
    if group.ceiling < unit.rank:
        inside = place(unit, (replace(group, ceiling=unit.rank),), group.ceiling)
        if inside is None:
            yield group.parts[0], None
            return
        for (_, part), (_, filled) in zip(inside.owners, inside.placement.fills, strict=True):
            yield part, filled
        return
    for part in group.parts:
        if slices.held(unit, part) < part.count:
            yield part, None
            return
        filled = _spread(unit, part, slices)
        yield part, filled
        unit = filled.after


def _spread(unit: Unit, part: Part, slices: Slices) -> Filled:
    """The slices into `unit`, which must hold them: into the tightest unit in it that holds them all."""
    if isinstance(unit, Bin) or unit.rank <= part.rank or not part.is_sliced:
        return spread(unit, part.spec, part.size * part.count)
    alone = (Group("", (part,), unit.rank),)
    for rank, most in enumerate(slices.peaks(unit, part)[:-1]):
        if most >= part.count and (paths := _paths(unit, alone, rank, unit.rank, slices)):
            *above, best = paths[0]
            return _wrapped(above, _spread(best, part, slices), part.spec)
    return _across(unit, part, slices)


def _across(domain: Domain, part: Part, slices: Slices) -> Fill:
    """Over several units of the domain, because none of them holds it all."""
    left = {unit: n for unit, n in domain.units.items() if unit.rank >= part.rank and slices.held(unit, part)}
    parts: list[tuple[Filled, int]] = []
    count = part.count
    while count:
        enough = [unit for unit in left if slices.held(unit, part) >= count]
        if enough:
            last = min(enough, key=lambda unit: (fit_key(unit, part.spec), canon(unit)))
            parts.append((_spread(last, replace(part, count=count), slices), 1))
            break
        unit = min(left, key=lambda unit: _most_first(unit, part, slices))
        each = slices.held(unit, part)
        times = min(left[unit], count // each)
        parts.append((_spread(unit, replace(part, count=each), slices), times))
        count -= each * times
        left[unit] -= times
        if not left[unit]:
            del left[unit]
    return _into(domain, tuple(parts), part.spec)


def _most_first(unit: Unit, part: Part, slices: Slices) -> tuple[object, ...]:
    """As `packing` has it: rather one where nothing scarce lies idle beside the pods."""
    key = fit_key(unit, part.spec)
    return key[0] > 0, -slices.held(unit, part), key, canon(unit)


def _wrapped(above: Sequence[Unit], filled: Filled, spec: Spec) -> Filled:
    """The same fill, seen from the first of the domains `above` it."""
    for parent in reversed(above):
        assert isinstance(parent, Domain)  # noqa: S101  only a domain has something below it
        filled = _into(parent, ((filled, 1),), spec)
    return filled


def _into(domain: Domain, parts: tuple[tuple[Filled, int], ...], spec: Spec) -> Fill:
    pods = sum(part.pods * count for part, count in parts)
    changes = [(part.before, part.after, count) for part, count in parts]
    return Fill(domain, domain.swapped(changes, spec.need * pods), parts, pods)


def _way_after(filled: Filled, length: int) -> list[Unit]:
    way: list[Unit] = [filled.after]
    while len(way) < length and isinstance(filled, Fill):
        filled = filled.parts[0][0]
        way.append(filled.after)
    return way
