"""A summary as the tree that packing works on, built anew from what the tree of an earlier summary has just so.

The tree is exact where the summary tells which domain lies in which (`DomainGroup.children`). Where it does not, only
the finest level is kept; where it contradicts itself (more nodes in domains than in shapes), no level is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from placement.bins import Bin, Domain, Unit
from placement.inventory import DomainGroup, Shape, Summary
from placement.ladder import Ladder
from placement.workload import Role, TopologyRequest

LIKE = "like "  # before the name of one of several
# Looks are forgotten when there are so many more of them than a summary has.
_LOOKS_TIMES, _LOOKS_MORE = 4, 1000

_Counts = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Tree:
    """A summary's tree, and what makes the next one cheap: looks and domains that are in both are the same objects."""

    root: Domain = Domain(0, {})
    looks: dict[Bin, tuple[int, Bin]] = field(default_factory=dict)  # numbered
    built: Mapping[object, Domain] = field(default_factory=dict)  # by what they were made of
    holds: dict[tuple[tuple[Role, ...], int], bool] = field(default_factory=dict)  # for who asks it of this root
    holds_nested: dict[tuple[tuple[Role, ...], TopologyRequest | None], bool] = field(default_factory=dict)

    def renewed(self, summary: Summary, ladder: Ladder, bin_of: Callable[[Shape], Bin]) -> Tree:
        looks, built = self.looks, self.built
        if len(looks) > _LOOKS_TIMES * len(summary.shapes) + _LOOKS_MORE:
            looks, built = {}, {}
        numbered = []
        for shape in summary.shapes:
            made = bin_of(shape)
            numbered.append(looks.setdefault(made, (len(looks), made)))
        builder = _Builder(summary, ladder, numbered, built)
        root = builder.tree()
        if root == self.root:
            return Tree(root, looks, builder.built, self.holds, self.holds_nested)
        return Tree(root, looks, builder.built)


class _Builder:
    """`known`: domains of an earlier tree, by what they were made of; `built`: those of this one."""

    def __init__(
        self, summary: Summary, ladder: Ladder, looks: Sequence[tuple[int, Bin]], known: Mapping[object, Domain]
    ) -> None:
        self._summary = summary
        self._ladder = ladder
        self._bins = [look for _, look in looks]
        self._numbers = [number for number, _ in looks]
        self._as_numbered = self._numbers == [*range(len(looks))]
        self._are_alike = len({*self._numbers}) < len(looks)
        self.built: dict[object, Domain] = {}
        self._totals = tuple((index, shape.nodes) for index, shape in enumerate(summary.shapes))
        self._known = known

    def tree(self) -> Domain:
        root = self._root_of(self._summary.domains) or self._root_of(self._finest())
        return root or Domain(self._ladder.top, self._counted_bins(dict(self._totals)))

    def _finest(self) -> tuple[DomainGroup, ...]:
        groups = self._summary.domains
        ranks = [rank for group in groups if (rank := self._ladder.rank(group.level)) is not None]
        finest = min(ranks, default=0)
        return tuple(replace(group, children=()) for group in groups if self._ladder.rank(group.level) == finest)

    def _root_of(self, groups: tuple[DomainGroup, ...]) -> Domain | None:
        """None where the groups hold more nodes than there are, or do not nest."""
        outermost = {index: group.count for index, group in enumerate(groups)}
        for group in groups:
            for child, count in group.children:
                outermost[child] = outermost.get(child, 0) - count * group.count
        if any(count < 0 for count in outermost.values()) or len(outermost) > len(groups):
            return None
        rank_of = {level: self._ladder.rank(level) for level in {group.level for group in groups}}
        domains: dict[int, Domain] = {}
        for index in sorted(range(len(groups)), key=lambda index: rank_of[groups[index].level] or 0):
            group, rank = groups[index], rank_of[groups[index].level]
            if not rank or any(child not in domains or domains[child].rank >= rank for child, _ in group.children):
                return None
            # Of several alike nobody can tell later which was taken: only one that is alone keeps its name.
            example = group.example if group.count == 1 else f"{LIKE}{group.example}"
            inside = self._domain(rank, group.nodes, group.children, groups, domains, example)
            if inside is None:
                return None
            domains[index] = inside
        top = tuple((index, count) for index, count in outermost.items() if count)
        return self._domain(self._ladder.top, self._totals, top, groups, domains, "")

    def _domain(
        self,
        rank: int,
        nodes: _Counts,
        children: _Counts,
        groups: tuple[DomainGroup, ...],
        domains: Mapping[int, Domain],
        example: str,
    ) -> Domain | None:
        """From its whole histogram and its children: what no child holds is directly in it."""
        # Domains by identity: the very same are meant, with the names in them.
        inside = frozenset([(id(domains[child]), count) for child, count in children])
        made_of = rank, example, self._by_number(nodes), inside
        found = self._known.get(made_of)
        if found is None:
            direct = dict(nodes)
            for child, count in children:
                for shape, inner in groups[child].nodes:
                    direct[shape] = direct.get(shape, 0) - inner * count
            if any(count < 0 for count in direct.values()):
                return None
            units = self._counted_bins(direct)
            for child, count in children:
                units[domains[child]] = units.get(domains[child], 0) + count
            found = Domain(rank, units, example)
        self.built[made_of] = found
        return found

    def _by_number(self, nodes: _Counts) -> object:
        """The same for the same looks, whichever summary it is."""
        if self._as_numbered:
            return nodes
        numbers = self._numbers
        if not self._are_alike:
            return tuple([(numbers[shape], count) for shape, count in nodes])
        whole: dict[int, int] = {}
        for shape, count in nodes:
            whole[numbers[shape]] = whole.get(numbers[shape], 0) + count
        return frozenset(whole.items())

    def _counted_bins(self, counts: Mapping[int, int]) -> dict[Unit, int]:
        units: dict[Unit, int] = {}
        for shape, count in counts.items():
            if count:
                units[self._bins[shape]] = units.get(self._bins[shape], 0) + count
        return units
