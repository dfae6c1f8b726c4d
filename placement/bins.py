"""What packing sees of a cluster: bins inside domains inside domains, all without names.

A `Bin` is a node reduced to what it offers; a `Domain` is how many of which bins and smaller domains it holds. Both are
immutable and compared by value, so equal nodes and equal racks are one entry with a count, and everything costs by
the distinct ones. The hub builds this tree from a summary, the spoke from its nodes; for the same nodes the two trees
are equal, and so is whatever is decided on them. That is why the hub's "fits" is the spoke's success.

What a unit (bin or domain) can hold of a `Spec` is remembered in the unit. A decision rebuilds only the domains on the
way to what it takes; all others keep what they remember.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from placement.resources import CPU, MEMORY, PODS, Resources
from placement.workload import DeviceNeed

HOST_RANK = 0  # ranks count upwards from the node; the whole cluster has the highest
NOTHING = Resources()
UNLIMITED = 1_000_000  # pods on a node that states no limit
_COUNTED_UP_TO = UNLIMITED // 2  # beyond it counts of pods are all alike, whatever was taken already
CPU_QUANTUM = 1000
MEMORY_QUANTUM = 1024

_PLENTIFUL = frozenset({CPU, MEMORY, PODS, "ephemeral-storage"})


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """What each of some identical pods needs. Compared by identity: make one per need and cluster."""

    need: Resources  # one of `pods` included
    share: int  # units of one shared card's memory; 0 where none is asked
    classes: frozenset[int]  # node classes that admit the pod
    devices: tuple[DeviceNeed, ...] = ()
    bins: Interned = field(default_factory=lambda: Interned())
    wants: frozenset[str] = field(init=False)  # the scarce resources it needs

    def __post_init__(self) -> None:
        object.__setattr__(self, "wants", frozenset(name for name in self.need if is_scarce(name)))

    @property
    def gpus(self) -> int:
        return sum(device.gpus for device in self.devices)


class Bin:
    """Nodes of class `node_class` with `free` on each, and `shares` free on each of its shared cards (sorted)."""

    __slots__ = ("_hash", "_keys", "_peaks", "_sought", "canon", "free", "node_class", "shares")

    rank = HOST_RANK

    def __init__(self, node_class: int, free: Resources, shares: tuple[int, ...] = ()) -> None:
        self.node_class = node_class
        self.free = free
        self.shares = shares
        self._hash = hash((node_class, free, shares))
        self._peaks: dict[Spec, tuple[int, ...]] = {}
        self._keys: dict[frozenset[str], FitKey] = {}
        self._sought: dict[frozenset[str], _Sought] = {}
        self.canon: Canon | None = None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Bin)
            and self._hash == other._hash
            and self.node_class == other.node_class
            and self.free == other.free
            and self.shares == other.shares
        )

    def __repr__(self) -> str:
        return f"Bin({self.node_class}, {self.free}, {self.shares})"

    @property
    def totals(self) -> Resources:
        return self.free

    def peaks(self, spec: Spec) -> tuple[int, ...]:
        """(how many such pods this node holds,)"""
        known = self._peaks.get(spec)
        if known is None:
            known = self._peaks[spec] = (self._count(spec),)
        return known

    def _count(self, spec: Spec) -> int:
        if self.node_class not in spec.classes:
            return 0
        pods = self.free.copies_of(spec.need, _COUNTED_UP_TO)
        if spec.share:
            pods = min(pods, sum(units // spec.share for units in self.shares))
        return pods

    def sought(self, spec: Spec) -> _Sought:
        known = self._sought.get(spec.wants)
        if known is None:
            known = self._sought[spec.wants] = _Sought(self, fit_key(self, spec))
        return known

    def by_class(self) -> Mapping[int, Resources]:
        return {self.node_class: self.free}

    def less(self, spec: Spec, pods: int) -> Bin:
        """This node after `pods` such pods went onto it."""
        shares = take_shares(self.shares, spec.share, pods) if spec.share else self.shares
        return spec.bins.one(Bin(self.node_class, self.free - spec.need * pods, shares))


@dataclass(frozen=True, slots=True, eq=False)
class _Sought:
    """Nodes that look like this one, by pods that want the same resources. Compared by identity, which is quick."""

    node: Bin
    key: FitKey


class Interned:
    """Of equal bins the one that was there first, with all it remembers; bounded, since some are never seen again."""

    __slots__ = ("_known",)

    _MOST = 256

    def __init__(self) -> None:
        self._known: dict[Bin, Bin] = {}

    def one(self, made: Bin) -> Bin:
        known = self._known.get(made)
        if known is None:
            if len(self._known) >= self._MOST:
                self._known.clear()
            known = self._known[made] = made
        return known


class Domain:
    """`units`: how many of which bins and finer domains. `example` names one such domain; it is not compared."""

    __slots__ = (
        "_age",
        "_before",
        "_best",
        "_by_class",
        "_came",
        "_hash",
        "_keys",
        "_peaks",
        "_sum",
        "_ways",
        "canon",
        "example",
        "known_nodes",
        "rank",
        "totals",
        "units",
    )

    def __init__(
        self,
        rank: int,
        units: Mapping[Unit, int],
        example: str = "",
        totals: Resources | None = None,
        marks: int | None = None,
    ) -> None:
        """`totals` and `marks` (the sum of the units' marks) where the caller knows them."""
        self.rank = rank
        self.units = units
        self.example = example
        self.totals = _sum_of(units) if totals is None else totals
        # A sum, so that a domain that differs in a few units needs to look at no others.
        self._sum = sum(_mark(unit, count) for unit, count in units.items()) if marks is None else marks
        self._hash = hash((rank, self._sum))
        self._peaks: dict[Spec, tuple[int, ...]] = {}
        self._keys: dict[frozenset[str], FitKey] = {}
        self._best: dict[tuple[Spec, int, int, int], Way | None] = {}
        self._ways: dict[object, Way | _Unknown | None] = {}
        self._before: Domain | None = None
        self._came: tuple[Unit, ...] = ()
        self._age = 0
        self.known_nodes: Mapping[Bin, int] | None = None
        self._by_class: dict[int, Resources] | None = None
        self.canon: Canon | None = None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Domain)
            and self._hash == other._hash
            and self.rank == other.rank
            and self.units == other.units
        )

    def __repr__(self) -> str:
        return f"Domain({self.rank}, {dict(self.units)!r})"

    def peaks(self, spec: Spec) -> tuple[int, ...]:
        """By rank, the most such pods that one unit of that rank holds in here; the last is this domain itself."""
        known = self._peaks.get(spec)
        if known is None:
            best, total = [0] * (self.rank + 1), 0
            for unit, count in self.units.items():
                inside = unit._peaks.get(spec) or unit.peaks(spec)
                if most := inside[-1]:
                    total += count * most
                    for rank, pods in enumerate(inside):
                        if pods > best[rank]:
                            best[rank] = pods
            best[self.rank] = total
            known = self._peaks[spec] = tuple(best)
        return known

    def swapped(self, changes: Sequence[tuple[Unit, Unit, int]], spent: Resources) -> Domain:
        """Where `count` of the units `before` became `after`, `spent` in all."""
        units, marks = dict(self.units), self._sum
        for before, after, count in changes:
            there = units[before]
            if there == count:
                del units[before]
            else:
                units[before] = there - count
                marks += _mark(before, there - count)
            known = units.get(after, 0)
            units[after] = known + count
            marks += _mark(after, known + count) - (_mark(after, known) if known else 0) - _mark(before, there)
        made = Domain(self.rank, units, self.example, self.totals - spent, marks)
        made._follow(self, tuple(after for _, after, _ in changes))
        return made

    def follow(self, earlier: Domain) -> None:
        """This is the same domain later: what `earlier` remembers of units that are still there holds."""
        self._follow(earlier, tuple(unit for unit in self.units if unit not in earlier.units))

    def _follow(self, earlier: Domain, came: tuple[Unit, ...]) -> None:
        if earlier._age < _CHANGES_FOLLOWED:
            self._before, self._came, self._age = earlier, came, earlier._age + 1

    def by_class(self) -> Mapping[int, Resources]:
        """What is free in here on the nodes of each class."""
        if self._by_class is None:
            sums: dict[int, Resources] = {}
            for unit, count in self.units.items():
                for node_class, free in unit.by_class().items():
                    sums[node_class] = sums.get(node_class, NOTHING) + (free if count == 1 else free * count)
            self._by_class = sums
        return self._by_class

    def best(self, spec: Spec, pods: int, rank: int, ceiling: int) -> Way | None:
        """The way to the best fit among all units of `rank` in here that hold so many pods; None where none does.

        Where the ceiling is below this domain, the way leads through a unit of that rank. What is remembered in the
        domains that a decision leaves alone makes the next search cost no more than what changed.
        """
        if rank == HOST_RANK:
            nodes = self.bins() if self.known_nodes is None else self.known_nodes
            return self._best_node(nodes, spec, pods, ceiling)
        asked = (spec, pods, rank, ceiling)
        if asked in self._best:
            return self._best[asked]
        self.peaks(spec)  # and those of all units in here
        found: Way | None = None
        for unit in self.units:
            peaks = unit._peaks[spec]
            if len(peaks) <= rank or peaks[rank] < pods or unit.rank < ceiling < self.rank:
                continue
            inner: Way | None = _ITSELF
            if isinstance(unit, Domain) and unit.rank > rank:
                inner = unit.best(spec, pods, rank, min(ceiling, unit.rank))
            # Keys are compared from the sought unit upwards: most are worse there already.
            if inner is None or (found is not None and _is_worse(inner[0], found[0])):
                continue
            found = _better(found, ((*inner[0], fit_key(unit, spec)), (*inner[1], unit)))
        self._best[asked] = found
        return found

    def _best_node(self, nodes: Mapping[Bin, int], spec: Spec, pods: int, ceiling: int) -> Way | None:
        """The same for nodes: which node is the best fit is known before where such ones are.

        So what is remembered of the way there serves every spec that wants the same resources.
        """
        passed: set[FitKey] = set()
        while (alike := _best_fits(nodes, spec, pods, passed)) is not None:
            found: Way | None = None
            for node in alike:
                if (way := self._way_to(node.sought(spec), spec, ceiling)) is not None:
                    found = _better(found, way)
            if found is not None:
                return found
            passed.add(fit_key(alike[0], spec))
        return None

    def _way_to(self, sought: _Sought, spec: Spec, ceiling: int) -> Way | None:
        rank = self.rank
        free = ceiling >= rank
        asked = sought if free else (sought, ceiling)
        known = self._ways.get(asked, _UNKNOWN)
        if known is not _UNKNOWN:
            return known
        mine, wants = self.units, spec.wants
        earlier = self._earlier(asked)
        found, units = (None, mine) if earlier is None else earlier
        node = sought.node
        if node in mine and (free or ceiling == HOST_RANK):
            found = _better(found, ((sought.key,), (node,)))
        for unit in units:
            if unit.rank == HOST_RANK or unit.rank < ceiling < rank or (units is not mine and unit not in mine):
                continue
            assert isinstance(unit, Domain)  # noqa: S101  only nodes have the lowest rank
            there = unit._ways.get(sought, _UNKNOWN) if ceiling >= unit.rank else _UNKNOWN
            inner = unit._way_to(sought, spec, ceiling) if isinstance(there, _Unknown) else there
            if inner is None:
                continue
            # Keys are compared from the sought unit upwards: most are worse there already.
            if found is not None and _is_worse(inner[0], found[0]):
                continue
            key = unit._keys.get(wants) or fit_key(unit, spec)
            found = _better(found, ((*inner[0], key), (*inner[1], unit)))
        self._ways[asked] = found
        return found

    def _earlier(self, asked: object) -> tuple[Way | None, Sequence[Unit]] | None:
        """What this domain answered before some of its units changed, and the units that came since."""
        came: list[Unit] = []
        at = self
        while at._before is not None:
            came.extend(at._came)
            at = at._before
            known = at._ways.get(asked, _UNKNOWN)
            if known is not _UNKNOWN:
                return (known, came) if known is None or known[1][-1] in self.units else None
        return None

    def nodes(self) -> Mapping[Bin, int]:
        """Every node in here, however deep. Kept up to date where `packing` fills a domain that knows them."""
        if self.known_nodes is None:
            self.known_nodes = self.bins()
        return self.known_nodes

    def bins(self) -> Counter[Bin]:
        """Every node in here, however deep."""
        found: Counter[Bin] = Counter()
        for unit, count in self.units.items():
            if isinstance(unit, Bin):
                found[unit] += count
            else:
                for inner, inner_count in unit.bins().items():
                    found[inner] += count * inner_count
        return found


Unit = Bin | Domain
FitKey = tuple[int, ...]
Way = tuple[tuple[FitKey, ...], tuple[Unit, ...]]  # from the unit that was sought upwards, and their keys
Canon = tuple[Any, Any]  # (in whole quanta, exact)

_CHANGES_FOLLOWED = 16  # of one domain; older versions are let go


class _Unknown(Enum):
    UNKNOWN = 0


_UNKNOWN = _Unknown.UNKNOWN
_ITSELF: Way = ((), ())  # the way to the unit that is looked at


def _best_fits(nodes: Mapping[Bin, int], spec: Spec, pods: int, passed: Set[FitKey]) -> list[Bin] | None:
    """Of the nodes that hold so many pods those with the least key that was not passed; None where there are none."""
    wants, least, alike = spec.wants, None, []
    for node in nodes:
        if (node._peaks.get(spec) or node.peaks(spec))[0] >= pods:
            key = node._keys.get(wants) or fit_key(node, spec)
            if (least is None or key <= least) and key not in passed:
                if key == least:
                    alike.append(node)
                else:
                    least, alike = key, [node]
    return alike or None


def _mark(unit: Unit, count: int) -> int:
    return hash((unit._hash, count))


def held(unit: Unit, spec: Spec) -> int:
    """How many such pods fit in `unit`: exact, because they are identical."""
    return unit.peaks(spec)[-1]


def fit_key(unit: Unit, spec: Spec) -> FitKey:
    """Smaller is the better fit: nothing scarce left lying beside the pods, then the least room left over.

    CPU and memory count in whole quanta, in which hub and spoke agree, see `survey.rounded`.
    """
    known = unit._keys.get(spec.wants)
    if known is None:
        beside = wanted = 0
        for name, amount in unit.totals.items():
            if is_scarce(name):
                if name in spec.wants:
                    wanted += amount
                else:
                    beside += amount
        cpu, memory = unit.totals[CPU] // CPU_QUANTUM, unit.totals[MEMORY] // MEMORY_QUANTUM
        known = unit._keys[spec.wants] = (beside, wanted, cpu, memory)
    return known


def canon(unit: Unit) -> Canon:
    """A total order over units by value, to break ties alike everywhere: whole quanta first, then the rest."""
    if unit.canon is None:
        unit.canon = _canon_of_bin(unit) if isinstance(unit, Bin) else _canon_of_domain(unit)
    return unit.canon


def is_scarce(name: str) -> bool:
    """Devices and the like, as against what every node has."""
    return name not in _PLENTIFUL and not name.startswith("hugepages-")


def take_shares(shares: tuple[int, ...], share: int, pods: int) -> tuple[int, ...]:
    """Each pod on the card with the least sufficient room. The caller knows that there is one."""
    left = sorted(shares)
    for _ in range(pods):
        card = next(i for i, units in enumerate(left) if units >= share)
        left[card] -= share
        left.sort()
    return tuple(left)


def _canons(way: Way) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    marks = [canon(unit) for unit in way[1]]
    return tuple(mark[0] for mark in marks), tuple(mark[1] for mark in marks)


def _better(one: Way | None, other: Way) -> Way:
    """By what is sought, then by how deep it lies, then by the keys upwards.

    What is better inside a domain is so seen from any domain around it: so it does not matter whether ways are compared
    domain by domain, or at the end.
    """
    if one is None:
        return other
    mine, yours = one[0], other[0]
    if mine[0] != yours[0]:
        return other if yours[0] < mine[0] else one
    if len(mine) != len(yours):
        return other if len(yours) < len(mine) else one
    return other if yours < mine or (yours == mine and _canons(other) < _canons(one)) else one


def _is_worse(inner: tuple[FitKey, ...], best: tuple[FitKey, ...]) -> bool:
    """Than `best`, by `_better`, whatever the key that is still missing at its end."""
    if not inner or inner[0] != best[0]:
        return bool(inner) and inner[0] > best[0]
    if len(inner) + 1 != len(best):
        return len(inner) + 1 > len(best)
    return inner > best[:-1]


def _sum_of(units: Mapping[Unit, int]) -> Resources:
    total: dict[str, int] = {}
    for unit, count in units.items():
        for name, amount in unit.totals.items():
            total[name] = total.get(name, 0) + amount * count
    return Resources(total)


def _canon_of_bin(unit: Bin) -> Canon:
    exact = tuple(sorted(unit.free.items()))
    whole = tuple((name, _in_quanta(name, amount)) for name, amount in exact if _in_quanta(name, amount))
    return (unit.rank, unit.node_class, whole, unit.shares), (unit.rank, unit.node_class, exact, unit.shares)


def _canon_of_domain(unit: Domain) -> Canon:
    sides: list[tuple[Any, ...]] = []
    for side in (0, 1):
        counts: Counter[Any] = Counter()
        for inner, count in unit.units.items():
            counts[canon(inner)[side]] += count
        sides.append((unit.rank, *sorted(counts.items())))
    return sides[0], sides[1]


def _in_quanta(name: str, amount: int) -> int:
    if name == PODS:
        return min(amount, _COUNTED_UP_TO)
    return amount // {CPU: CPU_QUANTUM, MEMORY: MEMORY_QUANTUM}.get(name, 1)
