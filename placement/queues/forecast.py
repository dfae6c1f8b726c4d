"""When a gang that does not fit now will fit on a cluster, as far as the hub can tell: what runs ends when it said.

What the cluster will look like then is its summary, with the pods given back that the summary has counted and that end
until then, and without what is reserved, not counted and stays. Where pods stood the summary does not say: they are
given back on nodes that have as much taken, most on one node first, unless the caller knows better (`GiveBack`). A job
that runs longer than it said is expected to take a tenth of its expected time from now on. Pods that are not Muster's,
services, and jobs of which nobody knows when they began, never end. Shares of a card's memory are not given back
either: which card they are on is not known.

So a start is an estimate, and exact only where nothing is counted yet. It is asked for again in every cycle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from placement.bins import Bin, Spec, Unit, canon, is_scarce
from placement.capacity import Capacity, Fit, Inventory
from placement.demand import pairs
from placement.fleet import Reservation
from placement.resources import PODS, Resources
from placement.verdict import ExpectedStart
from placement.workload import Workload

# A job that is overdue is expected to take so much of its expected time again.
_OVERDUE = 0.1
# Each probe packs what stays again: a start that this many do not find is not told.
_PROBES = 10
# Reservations that the summary does not count are packed again one by one. A spoke's next summary counts most of them.
_PACKED_AGAIN = 256
_NAMED = 8  # jobs that a start names as what it waits for


# A cluster's capacity once these have ended.
GiveBack = Callable[[Capacity, Sequence[Reservation]], Capacity]


@dataclass(frozen=True, slots=True)
class Forecast:
    """The earliest start found, and what the cluster can take then, the gang not yet in it."""

    start: ExpectedStart
    capacity: Capacity
    fit: Fit
    valid_until: datetime  # when the first of what runs is overdue, and the forecast another


def earliest_start(
    workload: Workload,
    inventory: Inventory,
    held: Sequence[Reservation],
    now: datetime,
    before: datetime | None = None,
    give_back: GiveBack | None = None,
) -> Forecast | None:
    """`held`: every reservation on that cluster, in the order in which they were made.

    None: not to be foreseen, or not before `before`.
    """
    ending = sorted(((_end(one, now), one.job, one) for one in held if one.expected_end), key=lambda e: e[:2])
    at_least = _enough_by_amount(workload, inventory, held, [one for *_, one in ending])
    if at_least is None or (before is not None and ending[at_least - 1][0] >= before):
        return None
    if sum((one.job, one.epoch) not in inventory.summary.counted for one in held) - at_least > _PACKED_AGAIN:
        return None
    back = give_back or _given_back_somewhere
    capacity, fit, count = _first_fit(workload, inventory, held, ending, at_least, back)
    if fit is None:
        return None
    start = ExpectedStart(inventory.cluster, ending[count - 1][0], tuple(job for _, job, _ in ending[:count][-_NAMED:]))
    overdue = [one.expected_end for *_, one in ending if one.expected_end and one.expected_end > now]
    expected = min(overdue) if len(overdue) == len(ending) else now
    return Forecast(start, capacity, fit, expected)


_Ending = Sequence[tuple[datetime, str, Reservation]]


def _end(held: Reservation, now: datetime) -> datetime:
    end = held.expected_end
    assert end is not None  # noqa: S101  the caller left those out
    return end if end > now else now + timedelta(hours=held.workload.hints.expected_hours * _OVERDUE)


def _enough_by_amount(
    workload: Workload, inventory: Inventory, held: Sequence[Reservation], ending: Sequence[Reservation]
) -> int | None:
    """How many have to end until the cluster has enough in sum, wherever it is; None where that is never."""
    need = _need(workload, inventory)
    short = {name: amount - inventory.root.totals[name] for name, amount in need.items()}
    for one in held:
        if (rest := one.uncounted(inventory.summary)) is not None:
            for name, amount in _need(rest.workload, inventory).items():
                if name in short:
                    short[name] += amount
    missing = {name for name, amount in short.items() if amount > 0}
    for number, one in enumerate(ending, 1):
        for name, amount in _need(one.workload, inventory).items():
            if name in missing:
                short[name] -= amount
                if short[name] <= 0:
                    missing.discard(name)
        if not missing:
            return number
    return None


def _with_its_like(ending: _Ending, count: int) -> int:
    """Those that end at the same moment end together."""
    while count < len(ending) and ending[count][0] == ending[count - 1][0]:
        count += 1
    return count


def _first_fit(
    workload: Workload,
    inventory: Inventory,
    held: Sequence[Reservation],
    ending: _Ending,
    at_least: int,
    give_back: GiveBack,
) -> tuple[Capacity, Fit | None, int]:
    """The first that is enough by amount, else by halving between that and all."""
    low, high = _with_its_like(ending, at_least), len(ending)
    capacity, fit = _probe(workload, inventory, held, ending[:low], give_back)
    if fit is not None or low == high:
        return capacity, fit, low
    capacity, fit = _probe(workload, inventory, held, ending, give_back)
    if fit is None:
        return capacity, None, high
    for _ in range(_PROBES):
        if high - low < 2:
            break
        middle = _with_its_like(ending, (low + high) // 2)
        if middle == high:
            middle = (low + high) // 2
        then, found = _probe(workload, inventory, held, ending[:middle], give_back)
        if found is None:
            low = middle
        else:
            high, capacity, fit = middle, then, found
    return capacity, fit, high


def _probe(
    workload: Workload, inventory: Inventory, held: Sequence[Reservation], ended: _Ending, give_back: GiveBack
) -> tuple[Capacity, Fit | None]:
    gone = {(one.job, one.epoch) for *_, one in ended}
    counted = inventory.summary.counted
    back = [one for *_, one in ended if (one.job, one.epoch) in counted]
    capacity = give_back(Capacity(inventory, inventory.root), back)
    for one in held:
        rest = one.uncounted(inventory.summary)
        if rest is not None and (one.job, one.epoch) not in gone:
            capacity = capacity.deduct(rest)
    fit = capacity.fit(workload)
    return capacity, fit if isinstance(fit, Fit) else None


def _given_back_somewhere(capacity: Capacity, gone: Sequence[Reservation]) -> Capacity:
    return Capacity(capacity.inventory, without_any(capacity.root, gone, capacity.inventory))


def without_any(root: Unit, gone: Iterable[Reservation], inventory: Inventory) -> Unit:
    """Pods given back wherever as much is taken. Equal ones at once, whatever jobs they are of: there are few kinds of
    them and many jobs."""
    ending: Counter[Spec] = Counter()
    for one in gone:
        for spec, pods in pairs(inventory.demands.of(one.workload.at(inventory.cluster).roles)[-1]):
            ending[spec] += pods
    for spec, pods in ending.items():
        root, _ = given_back(root, spec, pods, inventory)
    return root


def given_back(unit: Unit, spec: Spec, pods: int, inventory: Inventory) -> tuple[Unit, int]:
    """With up to `pods` such pods gone from nodes that have as much taken; and how many that was."""
    known: dict[Unit, int] = {}
    gone = min(pods, _may_go(unit, spec, inventory, known))
    return (_without(unit, spec, gone, inventory, known) if gone else unit), gone


def _may_go(unit: Unit, spec: Spec, inventory: Inventory, known: dict[Unit, int]) -> int:
    found = known.get(unit)
    if found is None:
        if isinstance(unit, Bin):
            found = _taken(unit, spec, inventory)
        else:
            found = sum(_may_go(inner, spec, inventory, known) * count for inner, count in unit.units.items())
        known[unit] = found
    return found


def _without(unit: Unit, spec: Spec, pods: int, inventory: Inventory, known: dict[Unit, int]) -> Unit:
    """`pods` are no more than may go. Most on one node first."""
    if isinstance(unit, Bin):
        return _freed(unit, spec, pods, inventory)
    tried = [(min(pods, known[inner]), inner, count) for inner, count in unit.units.items() if known[inner]]
    tried.sort(key=lambda each: (-each[0], each[1].rank, canon(each[1])))
    changes: list[tuple[Unit, Unit, int]] = []
    left = pods
    for each, inner, count in tried:
        if whole := min(count, left // each):
            changes.append((inner, _without(inner, spec, each, inventory, known), whole))
            left -= whole * each
        if left and whole < count:
            part = min(left, each)
            changes.append((inner, _without(inner, spec, part, inventory, known), 1))
            left -= part
        if not left:
            break
    spent = Resources()
    for before, now, count in changes:
        spent = spent + (before.totals - now.totals) * count
    return unit.swapped(changes, spent)


def _taken(node: Bin, spec: Spec, inventory: Inventory) -> int:
    """How many such pods could be what is taken of it: by devices, else by cores and memory, which are rounded."""
    if node.node_class not in spec.classes or spec.share or not node.free:
        return 0
    capacity = inventory.classes[node.node_class].capacity
    names = [name for name in spec.need if is_scarce(name)] or [name for name in spec.need if name != PODS]
    return max(0, min(((capacity[name] - node.free[name]) // spec.need[name] for name in names), default=0))


def _freed(node: Bin, spec: Spec, pods: int, inventory: Inventory) -> Bin:
    capacity = inventory.classes[node.node_class].capacity
    room = {name: capacity[name] - node.free[name] for name in spec.need}
    more = {name: min(amount * pods, max(0, room[name])) for name, amount in spec.need.items()}
    return Bin(node.node_class, node.free + Resources(more), node.shares)


def _need(workload: Workload, inventory: Inventory) -> Resources:
    total = Resources()
    for spec, pods in pairs(inventory.demands.of(workload.at(inventory.cluster).roles)[-1]):
        total = total + spec.need * pods
    return total
