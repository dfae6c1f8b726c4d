"""The summary a spoke sends up: its nodes grouped by what no decision can tell apart.

Its size grows with the distinct shapes and domains, not with the nodes. It is written from `survey`, and `capacity`
reads from it the very tree that the spoke packs into. Nodes that are not ready are counted and offer nothing.

`summarise` starts from nothing every time; a `Summariser` remembers each node until another value replaces it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from placement.bins import Bin, Domain, canon
from placement.inventory import DEFAULT_LEVELS, DomainGroup, JobEpoch, Node, Shape, Summary
from placement.resources import PODS, Resources
from placement.survey import Levels, Survey, Surveyor


def summarise(
    nodes: Iterable[Node],
    kinds: Iterable[str] = (),
    levels: Levels = DEFAULT_LEVELS,
    revision: int = 0,
    counted: Iterable[JobEpoch] = (),
) -> Summary:
    """`counted` are the jobs whose pods `nodes` already leave out of what is free."""
    return Summariser(levels).summarise(nodes, kinds, revision, counted)


class Summariser:
    """For a cluster that is summarised again and again. Nodes are compared by identity: replace those that change."""

    def __init__(self, levels: Levels = DEFAULT_LEVELS) -> None:
        self._surveyor = Surveyor(levels)

    def summarise(
        self, nodes: Iterable[Node], kinds: Iterable[str] = (), revision: int = 0, counted: Iterable[JobEpoch] = ()
    ) -> Summary:
        surveyed = self._surveyor.survey(nodes)
        bins = sorted(surveyed.top.domain.bins().items(), key=lambda item: canon(item[0]))
        shape_of = {found: index for index, (found, _) in enumerate(bins)}
        return Summary(
            revision=revision,
            levels=surveyed.levels,
            node_classes=surveyed.classes,
            shapes=tuple(_shape(surveyed, found, count) for found, count in bins),
            domains=_domain_groups(surveyed, shape_of),
            kinds=frozenset(kinds),
            hidden_labels=surveyed.hidden,
            counted=frozenset(counted),
            gpus_total=surveyed.gpus_total,
            gpus_free=surveyed.gpus_free,
            nodes_total=surveyed.nodes,
        )


def _shape(surveyed: Survey, found: Bin, count: int) -> Shape:
    free = found.free
    if PODS not in surveyed.classes[found.node_class].capacity:
        free = Resources({name: amount for name, amount in free.items() if name != PODS})
    return Shape(found.node_class, free, count, found.shares)


def _domain_groups(surveyed: Survey, shape_of: dict[Bin, int]) -> tuple[DomainGroup, ...]:
    """Every distinct domain once, with how many there are in the cluster; coarse to fine."""
    counts: Counter[Domain] = Counter()
    _count_domains(surveyed.top.domain, 1, counts)
    groups = sorted(counts.items(), key=lambda item: (-item[0].rank, canon(item[0])))
    group_of = {domain: index for index, (domain, _) in enumerate(groups)}
    return tuple(
        DomainGroup(
            level=surveyed.ladder.name(domain.rank),
            count=count,
            nodes=tuple(sorted((shape_of[found], n) for found, n in domain.bins().items())),
            example=domain.example,
            children=tuple(sorted((group_of[unit], n) for unit, n in domain.units.items() if isinstance(unit, Domain))),
        )
        for domain, count in groups
    )


def _count_domains(domain: Domain, times: int, counts: Counter[Domain]) -> None:
    for unit, count in domain.units.items():
        if isinstance(unit, Domain):
            counts[unit] += count * times
            _count_domains(unit, count * times, counts)
