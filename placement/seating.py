"""Pods of a gang whose roles or slices have domains of their own (`nested`), onto named nodes and GPUs.

Which pods go together is `crews`' part. A slice some of whose pods have places goes into their domain, and a role that
must lie in one domain into that of its other pods; only what has no pod placed yet is packed as the hub packs it. The
tree is changed while this is tried, and put back afterwards: it is the surveyor's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from placement import crews, nested
from placement.assignment import NodeAssignment, PodToPlace
from placement.bins import HOST_RANK, Bin, Domain, Spec, Unit, held
from placement.cards import NodeCards
from placement.crews import Chain, Crew, Scope
from placement.demand import Demands
from placement.ladder import Ladder
from placement.packing import Fill, Filled, spread
from placement.survey import Leaf, Place
from placement.workload import Role, TopologyMode, TopologyRequest, Workload


@dataclass(frozen=True, slots=True)
class Stuck:
    """Pods of a role that must join others, in the domain where those are, and how many of them fit there."""

    role: Role
    rank: int
    pods: int
    fitting: int


class Seating:
    """One gang on one tree. Every required level is one that the cluster has."""

    def __init__(
        self, top: Place, ladder: Ladder, demands: Demands, workload: Workload, placed: Sequence[NodeAssignment]
    ) -> None:
        self._top = top
        self._ladder = ladder
        self._demands = demands
        self._roles = {role.name: role for role in workload.roles}
        self._workload = workload
        self._there = _chains(top, placed)
        self._placed = placed
        self._tree = _Tree()

    def assign(self, pods: Sequence[PodToPlace]) -> tuple[NodeAssignment, ...] | Stuck | None:
        """With room for pods that are yet to come; where there is not so much, for the pods at hand."""
        stuck: Stuck | None = None
        for ahead in (True, False):
            for scope in self.scopes():
                found = self._seated(scope, self._crews(pods, ahead))
                self._tree.put_back()
                if isinstance(found, list):
                    by_name = {one.pod: one for one in found}
                    return tuple(by_name[pod.name] for pod in pods)
                stuck = found or stuck
        return stuck

    def wanted(self, pods: Sequence[PodToPlace]) -> nested.Wanted:
        """What the pods at hand need."""
        return {name: crews.sizes(self._roles[name], made) for name, made in self._crews(pods, ahead=False).items()}

    def scopes(self) -> list[Chain]:
        """Where the gang may go, the best first: the domain that is required, else from the finest that all placed
        pods share upwards."""
        here = [chain for chain in self._there.values() if chain]
        if not here:
            return [(self._top,)]
        request = self._workload.topology
        if request is not None and request.mode is TopologyMode.REQUIRED:
            home = crews.home(here, self._rank(request))
            return [home] if home else []
        shared = [level[0] for level in zip(*here, strict=False) if len({*map(id, level)}) == 1]
        return [tuple(shared[: depth + 1]) for depth in reversed(range(len(shared)))]

    # ---- what goes where ----

    def _crews(self, pods: Sequence[PodToPlace], ahead: bool) -> dict[str, list[Crew]]:
        return {
            name: crews.of_role(
                role,
                self._slice_rank(role),
                [pod for pod in pods if pod.role == name],
                [(pod, self._there[pod.pod]) for pod in self._placed if pod.role == name],
                ahead=ahead,
            )
            for name, role in self._roles.items()
        }

    def _seated(self, scope: Chain, owed: Mapping[str, list[Crew]]) -> list[NodeAssignment] | Stuck | None:
        try:
            return self._tried(scope, owed)
        except BaseException:
            self._tree.put_back()  # others will look at the tree, whatever went wrong here
            raise

    def _tried(self, scope: Chain, owed: Mapping[str, list[Crew]]) -> list[NodeAssignment] | Stuck | None:
        found: list[NodeAssignment] = []
        fresh: dict[str, list[Crew]] = {}
        # Those that are bound to small domains come first.
        for name, made in sorted(owed.items(), key=lambda each: self._slice_rank(self._roles[each[0]])):
            answer = self._joined(self._roles[name], made)
            if isinstance(answer, Stuck):
                return answer
            found += answer
            fresh[name] = [crew for crew in made if not crew.home]
        homes = {name: self._home(self._roles[name]) for name, made in fresh.items() if made}
        for name, home in sorted(homes.items(), key=lambda each: -len(each[1])):
            made = fresh[name]
            if home:
                packed = self._packed(home, {name: made})
                if packed is None:
                    return self._no_room_at_home(self._roles[name], home, made)
                found += packed
                fresh[name] = []
        rest = self._packed(scope, fresh)
        return None if rest is None else [*found, *rest]

    def _joined(self, role: Role, made: Sequence[Crew]) -> list[NodeAssignment] | Stuck:
        """The slices that have pods somewhere already, completed there."""
        found: list[NodeAssignment] = []
        for crew in made:
            if crew.home:
                unit, spec = look(crew.home[-1]), self._demands.spec(role)
                if (fitting := held(unit, spec)) < crew.seats:
                    return Stuck(role, unit.rank, crew.seats, fitting)
                leaves = self._tree.take(crew.home, spread(unit, spec, crew.seats), spec)
                found += self._given(role.name, spec, leaves, [crew])
        return found

    def _home(self, role: Role) -> Chain:
        """Where a role that must lie in one domain has most of its pods already."""
        if role.topology is None or role.topology.mode is not TopologyMode.REQUIRED:
            return ()
        chains = [self._there[pod.pod] for pod in self._placed if pod.role == role.name]
        return crews.home(chains, self._rank(role.topology))

    def _no_room_at_home(self, role: Role, home: Chain, made: Sequence[Crew]) -> Stuck:
        pods, unit = sum(crew.seats for crew in made), look(home[-1])
        return Stuck(role, unit.rank, pods, min(pods, held(unit, self._demands.spec(role))))

    def _packed(self, scope: Chain, fresh: Mapping[str, list[Crew]]) -> list[NodeAssignment] | None:
        wanted = {name: crews.sizes(self._roles[name], made) for name, made in fresh.items() if made}
        unit = look(scope[-1])
        if any(rank > unit.rank and not crews.cut(scope, rank) for rank in self._domains_of(wanted)):
            return None  # something that must lie in a domain would lie in none
        found = nested.fit(unit, self._workload, self._ladder, self._demands, wanted)
        if found is None:
            return None
        seated: list[NodeAssignment] = []
        for (name, part), (spec, filled) in zip(found.owners, found.placement.fills, strict=True):
            leaves = self._tree.take(scope, filled, spec)
            whose = [c for c in fresh[name] if self._roles[name].slices is None or c.seats == part.size]
            seated += self._given(name, spec, leaves, whose)
        return seated

    def _domains_of(self, wanted: nested.Wanted) -> Iterator[int]:
        for role in (self._roles[name] for name in wanted):
            if role.topology is not None and role.topology.mode is TopologyMode.REQUIRED:
                yield self._rank(role.topology)
            if role.slices is not None:
                yield self._slice_rank(role)

    def _slice_rank(self, role: Role) -> int:
        return (self._ladder.rank(role.slices.level) or HOST_RANK) if role.slices is not None else HOST_RANK

    def _rank(self, request: TopologyRequest) -> int:
        return self._ladder.rank(request.level) or HOST_RANK

    def _given(
        self, role: str, spec: Spec, leaves: Sequence[tuple[Leaf, int]], made: Sequence[Crew]
    ) -> list[NodeAssignment]:
        """Seats along the tree, to each crew as many as it wants: a slice's are neighbours, and in one domain."""
        # Cards are given out for every seat, also for pods that are yet to come: theirs stay together then.
        seats = iter(
            [
                (leaf.node.name, self._tree.cards(leaf).serve(spec.devices, spec.need))
                for leaf, count in sorted(leaves, key=lambda seat: seat[0].order)
                for _ in range(count)
            ]
        )
        found = []
        for crew in made:
            mine = [next(seats) for _ in range(crew.seats)]
            for pod, (node, gpus) in zip(crew.pods, mine, strict=False):
                found.append(NodeAssignment(pod.name, role, node, gpus, pod.index))
        return found


class _Tree:
    """Takes from named domains and all those above them, and puts back what was taken."""

    def __init__(self) -> None:
        self._before: list[tuple[Scope, Unit]] = []
        self._cards: dict[str, NodeCards] = {}

    def take(self, chain: Chain, filled: Filled, spec: Spec) -> list[tuple[Leaf, int]]:
        """The nodes that got something, and how many pods."""
        seats = self._taken(chain[-1], filled)
        before, after = filled.before, filled.after
        for scope in reversed(chain[:-1]):
            assert isinstance(scope, Place)  # noqa: S101  only a place has something below it
            above = scope.domain.swapped([(before, after, 1)], spec.need * filled.pods)
            before, after = scope.domain, above
            self._set(scope, above)
        return seats

    def cards(self, leaf: Leaf) -> NodeCards:
        return self._cards.setdefault(leaf.node.name, NodeCards(leaf.node))

    def put_back(self) -> None:
        for scope, unit in reversed(self._before):
            _set(scope, unit)
        self._before.clear()
        self._cards.clear()

    def _taken(self, scope: Scope, filled: Filled) -> list[tuple[Leaf, int]]:
        self._set(scope, filled.after)
        if isinstance(scope, Leaf):
            return [(scope, filled.pods)]
        assert isinstance(filled, Fill)  # noqa: S101  a domain's fill is a domain's
        alike: dict[Unit, deque[Scope]] = {}
        inside: list[Scope] = [*scope.leaves, *scope.places.values()]
        for inner in inside:
            alike.setdefault(look(inner), deque()).append(inner)
        chosen = [(alike[part.before].popleft(), part) for part, count in filled.parts for _ in range(count)]
        return [seat for inner, part in chosen for seat in self._taken(inner, part)]

    def _set(self, scope: Scope, unit: Unit) -> None:
        self._before.append((scope, look(scope)))
        _set(scope, unit)


def look(scope: Scope) -> Unit:
    return scope.bin if isinstance(scope, Leaf) else scope.domain


def _set(scope: Scope, unit: Unit) -> None:
    if isinstance(scope, Leaf):
        assert isinstance(unit, Bin)  # noqa: S101  a node looks like a bin
        scope.bin = unit
    else:
        assert isinstance(unit, Domain)  # noqa: S101  and a place like a domain
        scope.domain = unit


def _chains(top: Place, placed: Sequence[NodeAssignment]) -> dict[str, Chain]:
    """The way from the whole cluster down to each placed pod's node; () where the node is gone."""
    if not placed:
        return {}
    nodes = {pod.node for pod in placed}
    found = {chain[-1].node.name: chain for chain in _ways(top, ()) if chain[-1].node.name in nodes}
    return {pod.pod: found.get(pod.node, ()) for pod in placed}


def _ways(place: Place, above: tuple[Place, ...]) -> Iterator[tuple[*tuple[Place, ...], Leaf]]:
    here = (*above, place)
    for leaf in place.leaves:
        yield (*here, leaf)
    for inner in place.places.values():
        yield from _ways(inner, here)
