"""The one way in which pods are packed, at the hub on a summary and at the spoke on nodes.

A gang is a list of (spec, pods). Identical pods are easy: what a domain holds is the sum of what its nodes hold, so
whether they fit is exact, and only *where* is a choice:

- the tightest domain that holds the whole gang (one node before one rack before one block …), and among domains of
  that rank the smallest sufficient one, so that the large ones stay whole for those who need them;
- a gang that no finer domain holds spreads over as few as it can: the one that takes most first, the last by best fit
  (the way of Kueue's topology-aware scheduling).

A mixed gang is packed spec by spec inside one domain, largest first; where that fails, the other orders are tried (all
of them up to three specs). This is a heuristic: a mixed gang may be refused although some packing exists. It is never
promised more than it gets, because hub and spoke run this same code on equal trees.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from placement.bins import Bin, Domain, Spec, Unit, canon, fit_key, held
from placement.resources import Resources

Demand = Sequence[tuple[Spec, int]]

_ALL_ORDERS_UP_TO = 3


@dataclass(frozen=True, slots=True)
class BinFill:
    """`pods` pods went onto one node that looked like `before`."""

    before: Bin
    after: Bin
    pods: int


@dataclass(frozen=True, slots=True)
class Fill:
    """What went into one domain: `count` of the units `part.before` each got `part`."""

    before: Domain
    after: Domain
    parts: tuple[tuple[Filled, int], ...]
    pods: int


Filled = BinFill | Fill


@dataclass(frozen=True, slots=True)
class Placement:
    """A gang packed. `fills` follow one another, each on the `after` of the one before; all begin at `root`."""

    root: Unit
    after: Unit
    fills: tuple[tuple[Spec, Filled], ...]
    chosen: Unit  # the tightest unit that holds it all
    within: tuple[Domain, ...]  # from the root down to, not including, `chosen`


def place(root: Unit, demand: Demand, ceiling: int | None = None) -> Placement | None:
    """The whole demand inside one unit of rank `ceiling` (default: anywhere in `root`), or None.

    A node outside every domain of that rank will not do, even if it alone could hold everything.
    """
    wanted = [(spec, pods) for spec, pods in demand if pods > 0]
    top = root.rank if ceiling is None else min(ceiling, root.rank)
    if not wanted:
        return Placement(root, root, (), root, ())
    for rank in range(top + 1):
        for path in _candidates(root, wanted, rank, top):
            for order in _orders(wanted):
                if (placement := _pack_along(path, order)) is not None:
                    return placement
    return None


def most(unit: Unit, demand: Demand) -> int:
    """How many pods of the demand find a place in `unit`, spec by spec in the given order."""
    *first, (last, pods) = demand
    fitted = 0
    for after, some in _fill_up(unit, first):
        unit, fitted = after, fitted + some
    return fitted + min(pods, held(unit, last))


def place_what_fits(root: Unit, demand: Demand) -> tuple[Unit, list[tuple[Spec, int]]]:
    """As much of the demand as there is room for, anywhere; and what is left of it."""
    rest = []
    for (spec, pods), (after, fitted) in zip(demand, _fill_up(root, demand), strict=True):
        root = after
        if fitted < pods:
            rest.append((spec, pods - fitted))
    return root, rest


def spread(unit: Unit, spec: Spec, pods: int) -> Filled:
    """`pods` identical pods into `unit`, which must hold them (`held`)."""
    if isinstance(unit, Bin):
        return BinFill(unit, unit.less(spec, pods), pods)
    peaks = unit.peaks(spec)
    rank = next(rank for rank, peak in enumerate(peaks) if peak >= pods)
    if rank == unit.rank:
        return _across(unit, spec, pods)
    best = unit.best(spec, pods, rank, unit.rank)
    assert best is not None  # noqa: S101  its peak says that there is one
    inner, *above = best[1]
    return _wrapped([unit, *reversed(above)], spread(inner, spec, pods), spec)


def bin_fills(filled: Filled, times: int = 1) -> Iterator[tuple[BinFill, int]]:
    """Every node that got something, and how many such."""
    if isinstance(filled, BinFill):
        yield filled, times
    else:
        for part, count in filled.parts:
            yield from bin_fills(part, times * count)


def domains_of(root: Unit, rank: int) -> Iterator[tuple[Unit, int]]:
    """Every unit of `rank` in `root`, equal ones of one parent once, with their count."""
    if root.rank == rank:
        yield root, 1
    elif isinstance(root, Domain):
        for unit, count in root.units.items():
            for found, inner in domains_of(unit, rank):
                yield found, count * inner


# ---- choosing ----


def _candidates(root: Unit, demand: Demand, rank: int, ceiling: int) -> Iterable[list[Unit]]:
    """Ways from the root, through a unit of rank `ceiling`, to each unit of `rank` with room, the best fit first."""
    if len(demand) == 1 and isinstance(root, Domain) and rank < root.rank:
        # Identical pods fit wherever they are held: the first way will do.
        spec, pods = demand[0]
        root.nodes()
        best = root.best(spec, pods, rank, ceiling)
        return [] if best is None else [[root, *reversed(best[1])]]
    paths = list(_roomy(root, demand, rank, ceiling, []))
    first = demand[0][0]

    def key(path: list[Unit]) -> tuple[object, ...]:
        upwards = path[::-1]
        return tuple(fit_key(unit, first) for unit in upwards), *zip(*map(canon, upwards), strict=True)

    return sorted(paths, key=key) if len(paths) > 1 else paths


def _roomy(unit: Unit, demand: Demand, rank: int, ceiling: int, above: list[Unit]) -> Iterator[list[Unit]]:
    for spec, pods in demand:
        peaks = unit.peaks(spec)
        if len(peaks) <= rank or peaks[rank] < pods:
            return
    way = [*above, unit]
    if unit.rank == rank:
        yield way
    elif isinstance(unit, Domain):
        for inner in unit.units:
            if not inner.rank < ceiling < unit.rank:
                yield from _roomy(inner, demand, rank, ceiling, way)


def _orders(demand: list[tuple[Spec, int]]) -> Iterator[Demand]:
    if len(demand) <= _ALL_ORDERS_UP_TO:
        yield from permutations(demand)
    else:
        yield demand
        yield sorted(demand, key=lambda item: len(item[0].classes))  # the choosiest first


# ---- filling ----


def _pack_along(path: list[Unit], demand: Demand) -> Placement | None:
    """Spec by spec into the last unit of the path; None where the order leaves no room for a later one."""
    root, chosen = path[0], path[-1]
    fills: list[tuple[Spec, Filled]] = []
    way = path
    for spec, pods in demand:
        if held(way[-1], spec) < pods:
            return None
        filled = spread(way[-1], spec, pods)
        whole = _wrapped(way[:-1], filled, spec)
        fills.append((spec, whole))
        way = _way_after(whole, len(path))
    within = tuple(unit for unit in path[:-1] if isinstance(unit, Domain))
    return Placement(root, way[0], tuple(fills), chosen, within)


def _way_after(filled: Filled, length: int) -> list[Unit]:
    way: list[Unit] = [filled.after]
    while len(way) < length and isinstance(filled, Fill):
        filled = filled.parts[0][0]
        way.append(filled.after)
    return way


def _wrapped(above: Sequence[Unit], filled: Filled, spec: Spec) -> Filled:
    """The same fill, seen from the first of the domains `above` it."""
    for parent in reversed(above):
        assert isinstance(parent, Domain)  # noqa: S101  only a domain has something below it
        filled = _into(parent, ((filled, 1),), spec)
    return filled


def _across(domain: Domain, spec: Spec, pods: int) -> Fill:
    """Over several units of the domain, because none of them holds it all."""
    left = {unit: count for unit, count in domain.units.items() if held(unit, spec)}
    parts: list[tuple[Filled, int]] = []
    while pods:
        last = _smallest_sufficient(left, spec, pods)
        if last is not None:
            parts.append((spread(last, spec, pods), 1))
            break
        unit = _largest(left, spec)
        each = held(unit, spec)
        times = min(left[unit], pods // each)
        parts.append((spread(unit, spec, each), times))
        pods -= each * times
        left[unit] -= times
        if not left[unit]:
            del left[unit]
    return _into(domain, tuple(parts), spec)


def _smallest_sufficient(left: Mapping[Unit, int], spec: Spec, pods: int) -> Unit | None:
    enough = [unit for unit in left if held(unit, spec) >= pods]
    return min(enough, key=lambda unit: (fit_key(unit, spec), canon(unit))) if enough else None


def _largest(left: Mapping[Unit, int], spec: Spec) -> Unit:
    """The one that takes most, but rather one where nothing scarce lies idle beside the pods."""

    def key(unit: Unit) -> tuple[object, ...]:
        fit = fit_key(unit, spec)
        return fit[0] > 0, -held(unit, spec), fit, canon(unit)

    return min(left, key=key)


def _into(domain: Domain, parts: tuple[tuple[Filled, int], ...], spec: Spec) -> Fill:
    pods = sum(part.pods * count for part, count in parts)
    changes = [(part.before, part.after, count) for part, count in parts]
    made = Fill(domain, domain.swapped(changes, _spent(spec, pods)), parts, pods)
    if domain.known_nodes is not None:
        made.after.known_nodes = _nodes_after(domain.known_nodes, made)
    return made


def _nodes_after(nodes: Mapping[Bin, int], filled: Fill) -> dict[Bin, int]:
    left = dict(nodes)
    for fill, count in bin_fills(filled):
        there = left.pop(fill.before) - count
        if there:
            left[fill.before] = there
        left[fill.after] = left.get(fill.after, 0) + count
    return left


def _spent(spec: Spec, pods: int) -> Resources:
    return spec.need * pods


def _fill_up(unit: Unit, demand: Demand) -> Iterator[tuple[Unit, int]]:
    for spec, pods in demand:
        fitted = min(pods, held(unit, spec))
        if fitted:
            unit = spread(unit, spec, fitted).after
        yield unit, fitted
