"""A gang onto named nodes and GPUs: all of the pods that are asked for, or none.

Where each pod goes is decided by `packing` on the tree of the cluster's nodes, first as the hub sees them (rounded
down, without hidden labels), so that what the hub promised is found again; only what fails there is tried on the nodes
exactly as they are. Room is sought for every replica of the workload, not only for the pods that exist already, so that
those that come later find it in the same domain; where there is not so much, for the pods at hand.

Pods of a gang that is partly placed (`placed`) go into the domain of the others where a level is required, and as near
to them as there is room otherwise. Pods in the order of their names follow the order of nodes, so that ranks that talk
most lie close. Within a node `cards` picks the GPUs; a share of memory goes to the card with the least that suffices.

A gang whose roles, or slices of them, have domains of their own is `seating`'s.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from placement import nested
from placement.assignment import Assignment, NodeAssignment, PodToPlace, Shortfall
from placement.bins import Unit
from placement.cards import NodeCards
from placement.demand import Slots, pairs
from placement.inventory import DEFAULT_LEVELS, Node
from placement.ladder import Ladder
from placement.nested_shortage import nested_shortage
from placement.packing import BinFill, Fill, Filled, Placement, place
from placement.seating import Seating, Stuck, look
from placement.shortage import shortage
from placement.survey import Leaf, Levels, Place, Survey, Surveyor, survey
from placement.verdict import LevelUnknown, Reason, TopologyShort
from placement.workload import TopologyMode, Workload

__all__ = ["Assignment", "NodeAssignment", "PodToPlace", "Shortfall", "assign"]

Scope = Place | Leaf


def assign(
    nodes: Sequence[Node],
    pods: Sequence[PodToPlace],
    workload: Workload,
    levels: Levels = DEFAULT_LEVELS,
    *,
    placed: Sequence[NodeAssignment] = (),
    cluster: str = "the cluster",
    surveyor: Surveyor | None = None,
) -> Assignment | Shortfall:
    """`nodes` with what is free on them now: what the pods of `placed` have is missing from it already.

    Who assigns again and again on thousands of nodes keeps a `surveyor` (for the same levels) and passes it each time.
    Raises ValueError where a pod's role is none of the workload's, or a pod is named twice.
    """
    _check(pods, workload, placed)
    if not pods:
        return Assignment(())
    for exact in (False, True):
        keeper = surveyor if surveyor is not None and not exact else Surveyor(levels, exact=exact)
        surveyed = keeper.survey(nodes)
        if unknown := nested.unknown_level(workload, surveyed.ladder):
            return Shortfall(LevelUnknown(cluster, unknown, surveyed.ladder.names()))
        ceiling = _ceiling(workload, surveyed.ladder)
        ground = _Ground(surveyed, workload, ceiling, placed)
        found = ground.assign(pods)
        if found is not None:
            return found
    return Shortfall(ground.why_not(pods, cluster, ever=_would_fit_when_empty(nodes, pods, workload, levels, ceiling)))


class _Ground:
    """The nodes as one tree, and the parts of it that the gang may go to, the best first."""

    def __init__(
        self, surveyed: Survey, workload: Workload, ceiling: int, placed: Sequence[NodeAssignment] = ()
    ) -> None:
        self._ladder = surveyed.ladder
        self._top = surveyed.top
        self._workload = workload
        self._ceiling = ceiling
        self._demands = surveyed.demands
        self._placed = Counter(pod.role for pod in placed)
        self._nested: Seating | None = None
        self._stuck: Stuck | None = None
        if nested.applies(workload):
            self._nested = Seating(surveyed.top, surveyed.ladder, self._demands, workload, placed)
        self._scopes = () if self._nested else tuple(_scopes(surveyed, Counter(pod.node for pod in placed), ceiling))

    def assign(self, pods: Sequence[PodToPlace]) -> Assignment | None:
        if self._nested is not None:
            found = self._nested.assign(pods)
            self._stuck = found if isinstance(found, Stuck) else None
            return Assignment(found) if isinstance(found, tuple) else None
        for scope in self._scopes:
            for slots in self._wanted(pods):
                placement = place(_look(scope), pairs(slots), self._ceiling)
                if placement is not None:
                    return Assignment(_seated(scope, placement, slots, pods))
        return None

    def why_not(self, pods: Sequence[PodToPlace], cluster: str, *, ever: bool) -> Reason:
        root = self._top.domain
        if self._nested is not None:
            return self._why_not_nested(self._nested, pods, cluster, ever=ever)
        only = [_look(scope) for scope in self._scopes] if self._placed and self._ceiling < root.rank else None
        slots = self._wanted(pods)[-1]
        return shortage(cluster, self._ladder, root, slots, self._ceiling, ever=ever, only=only)

    def _why_not_nested(self, seating: Seating, pods: Sequence[PodToPlace], cluster: str, *, ever: bool) -> Reason:
        scopes = seating.scopes()
        root = look(scopes[-1][-1]) if scopes else self._top.domain
        wanted = seating.wanted(pods)
        found = nested_shortage(cluster, self._ladder, root, self._workload, self._demands, wanted, ever=ever)
        if self._stuck is None or not isinstance(found, TopologyShort):
            return found
        # There may be room elsewhere; what counts is where the others are.
        level = self._ladder.name(self._stuck.rank)
        role = self._stuck.role.name if len(self._workload.roles) > 1 else ""
        return TopologyShort(
            cluster, level, self._stuck.pods, self._stuck.fitting, found.free_gpus, found.need_gpus, ever, role
        )

    def _wanted(self, pods: Sequence[PodToPlace]) -> list[Slots]:
        """Every replica that is not placed yet; then only the pods at hand."""
        roles = self._workload.roles
        at_hand = Counter(pod.role for pod in pods)
        everyone = {role.name: max(role.replicas - self._placed[role.name], at_hand[role.name]) for role in roles}
        wanted = [*self._demands.some(roles, everyone)]
        if everyone != {role.name: at_hand[role.name] for role in roles}:
            wanted += self._demands.some(roles, at_hand)
        return wanted


# ---- what is asked ----


def _check(pods: Sequence[PodToPlace], workload: Workload, placed: Sequence[NodeAssignment]) -> None:
    roles = {role.name for role in workload.roles}
    names = Counter(pod.name for pod in pods) + Counter({pod.pod for pod in placed})
    for pod in pods:
        if pod.role not in roles:
            raise ValueError(f"pod {pod.name} has role {pod.role!r}; {workload.name} has {sorted(roles)}")
        if names[pod.name] > 1:
            raise ValueError(f"pod {pod.name} is named twice")


def _ceiling(workload: Workload, ladder: Ladder) -> int:
    """The coarsest rank that the gang may span. A required level is one that exists here."""
    request = workload.topology
    rank = ladder.rank(request.level) if request is not None and request.mode is TopologyMode.REQUIRED else None
    return ladder.top if rank is None else rank


def _scopes(surveyed: Survey, placed: Mapping[str, int], ceiling: int) -> list[Scope]:
    top = surveyed.top
    leaves = sorted((leaf for node in placed if (leaf := surveyed.leaves.get(node))), key=lambda leaf: leaf.order)
    ways = [(_way_to(leaf), placed[leaf.node.name]) for leaf in leaves]
    if not ways:
        return [top]
    if ceiling == top.rank:
        # From the finest place that all of them share up to the whole cluster.
        shared = [scopes[0] for scopes in zip(*(way for way, _ in ways), strict=False) if len({*map(id, scopes)}) == 1]
        return list(reversed(shared))
    # Were they ever in two domains of the required level, the one with most of them counts.
    votes: dict[int, int] = {}
    at_ceiling: dict[int, Scope] = {}
    for way, pods in ways:
        for scope in way:
            if _look(scope).rank == ceiling:
                at_ceiling[id(scope)] = scope
                votes[id(scope)] = votes.get(id(scope), 0) + pods
    return [at_ceiling[max(votes, key=lambda mark: votes[mark])]] if votes else []


def _way_to(leaf: Leaf) -> list[Scope]:
    """From the whole cluster down to the node."""
    way: list[Scope] = [leaf]
    place: Place | None = leaf.place
    while place is not None:
        way.append(place)
        place = place.parent
    return way[::-1]


def _would_fit_when_empty(
    nodes: Sequence[Node], pods: Sequence[PodToPlace], workload: Workload, levels: Levels, ceiling: int
) -> bool:
    ground = _Ground(survey([_emptied(node) for node in nodes], levels, exact=True), workload, ceiling)
    return ground.assign(pods) is not None


def _emptied(node: Node) -> Node:
    """Nothing running on it, every card back. A card's full share is not known: its part of the node's is taken."""
    cards = len(node.gpus)
    each = max((node.capacity[device.resource] for device in node.devices if device.share_unit_mib), default=0)
    gpus = tuple(replace(gpu, free=True, healthy=True, free_share=each // cards) for gpu in node.gpus)
    return replace(node, ready=True, free=node.capacity, gpus=gpus)


# ---- from a nameless placement to named nodes ----


def _seated(scope: Scope, placement: Placement, slots: Slots, pods: Sequence[PodToPlace]) -> tuple[NodeAssignment, ...]:
    """Seats for every pod the placement has room for, given to the pods at hand, in their order."""
    waiting = {role: deque(sorted(_of_role(pods, role), key=_natural)) for role in {pod.role for pod in pods}}
    roles_of = {slot.spec: slot.roles for slot in slots}
    cards: dict[str, NodeCards] = {}
    seated: dict[str, NodeAssignment] = {}
    looks: dict[int, Unit] = {}  # what parts of the tree look like after the fills so far
    for spec, filled in placement.fills:
        # Cards are given out for every seat, also for pods that are yet to come: theirs stay together then.
        seats = iter(
            [
                (leaf.node.name, cards.setdefault(leaf.node.name, NodeCards(leaf.node)).serve(spec.devices, spec.need))
                for leaf, count in sorted(_seats(scope, filled, looks), key=lambda seat: seat[0].order)
                for _ in range(count)
            ]
        )
        for role, count in roles_of[spec]:
            for node, gpus in islice(seats, count):
                if waiting.get(role):
                    pod = waiting[role].popleft()
                    seated[pod.name] = NodeAssignment(pod.name, role, node, gpus)
    return tuple(seated[pod.name] for pod in pods)


def _seats(scope: Scope, filled: Filled, looks: dict[int, Unit]) -> list[tuple[Leaf, int]]:
    """The nodes that got something, and how many pods; `looks` notes what they, and all above them, look like then."""
    looks[id(scope)] = filled.after
    if isinstance(scope, Leaf):
        assert isinstance(filled, BinFill)  # noqa: S101  a node's fill is a bin's
        return [(scope, filled.pods)]
    assert isinstance(filled, Fill)  # noqa: S101  a domain's fill is a domain's
    alike: dict[Unit, deque[Scope]] = {}
    inside: list[Scope] = [*scope.leaves, *scope.places.values()]
    for inner in inside:
        alike.setdefault(looks.get(id(inner)) or _look(inner), deque()).append(inner)
    chosen = [(alike[part.before].popleft(), part) for part, count in filled.parts for _ in range(count)]
    return [seat for inner, part in chosen for seat in _seats(inner, part, looks)]


def _look(scope: Scope) -> Unit:
    return scope.bin if isinstance(scope, Leaf) else scope.domain


def _of_role(pods: Sequence[PodToPlace], role: str) -> Iterator[PodToPlace]:
    return (pod for pod in pods if pod.role == role)


def _natural(pod: PodToPlace) -> tuple[tuple[str, int], ...]:
    """worker-2 before worker-10."""
    return tuple((text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", pod.name))
