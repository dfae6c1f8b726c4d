"""Which pods of a role go into one domain together: those of one slice, or, of a role without slices, all.

Which pod is in which slice: the one with index `i` in slice `i // size`. A pod's index is what its controller says
(`PodToPlace.index`), else the number that its name ends in, where that is less than the role's pods. Where some pod of
the role has none, all are alike: they first complete the slices that are short of some, and then make new ones, in the
order of their names.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from placement.assignment import NodeAssignment, PodToPlace
from placement.bins import HOST_RANK
from placement.survey import Leaf, Place
from placement.workload import Role

Scope = Place | Leaf
Chain = tuple[Scope, ...]  # from the whole cluster down; () where there is none

_LAST_NUMBER = re.compile(r"(?:^|[^0-9])([0-9]{1,9})$")


@dataclass(slots=True)
class Crew:
    seats: int  # to be found; more than `pods` where some are yet to come
    pods: list[PodToPlace] = field(default_factory=list)
    home: Chain = ()  # the domain where others of its slice are


def of_role(
    role: Role,
    slice_rank: int,
    pods: Sequence[PodToPlace],
    placed: Sequence[tuple[NodeAssignment, Chain]],
    *,
    ahead: bool,
) -> list[Crew]:
    """`ahead`: with seats for pods that do not exist yet."""
    mine = sorted(pods, key=natural)
    coming = max(role.replicas - len(placed), len(mine)) if ahead else len(mine)
    if role.slices is None:
        return [Crew(coming, mine)] if coming else []
    limit = max(role.replicas, role.maximum or 0)
    indices = {pod.name: _index(pod.name, pod.index, limit) for pod in mine}
    indices |= {pod.pod: _index(pod.pod, pod.index, limit) for pod, _ in placed}
    known = {name: index // role.slices.size for name, index in indices.items() if index is not None}
    if len(known) == len(indices):
        made = _by_index(role, slice_rank, mine, placed, known, ahead=ahead)
    else:
        made = _in_any_order(role.slices.size, slice_rank, mine, placed, coming)
    return [crew for crew in made if crew.seats]


def sizes(role: Role, made: Iterable[Crew]) -> Mapping[int, int]:
    """As `nested` wants to know it."""
    if role.slices is not None:
        return Counter(crew.seats for crew in made)
    pods = sum(crew.seats for crew in made)
    return {1: pods} if pods else {}


def home(chains: Iterable[Chain], rank: int) -> Chain:
    """The way to the domain of `rank` that most of them lead through."""
    found = [there for chain in chains if (there := cut(chain, rank))]
    votes = Counter(id(there[-1]) for there in found)
    return max(found, key=lambda there: votes[id(there[-1])], default=())


def cut(chain: Chain, rank: int) -> Chain:
    """Down to the domain of `rank`; () where it leads through none."""
    for depth, scope in enumerate(chain):
        if (HOST_RANK if isinstance(scope, Leaf) else scope.rank) == rank:
            return chain[: depth + 1]
    return ()


def natural(pod: PodToPlace) -> tuple[tuple[str, int], ...]:
    """worker-2 before worker-10."""
    return tuple((text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", pod.name))


def _index(name: str, told: int | None, limit: int) -> int | None:
    if told is not None:
        return told
    number = _LAST_NUMBER.search(name)
    return int(number[1]) if number and int(number[1]) < limit else None


def _by_index(
    role: Role,
    rank: int,
    mine: Sequence[PodToPlace],
    placed: Sequence[tuple[NodeAssignment, Chain]],
    slice_of: Mapping[str, int],
    *,
    ahead: bool,
) -> list[Crew]:
    assert role.slices is not None  # noqa: S101  the caller saw it
    size, made = role.slices.size, dict[int, Crew]()
    for pod in mine:
        made.setdefault(slice_of[pod.name], Crew(0)).pods.append(pod)
    if ahead:
        for first in range(0, role.replicas, size):
            made.setdefault(first // size, Crew(0))
    seated: dict[int, list[Chain]] = {}
    for there, chain in placed:
        seated.setdefault(slice_of[there.pod], []).append(chain)
    for number, crew in made.items():
        others = seated.get(number, [])
        whole = min(size, max(role.replicas - number * size, 0)) if ahead else 0
        crew.seats = max(whole - len(others), len(crew.pods))
        crew.home = home(others, rank)
    return [made[number] for number in sorted(made)]


def _in_any_order(
    size: int, rank: int, mine: Sequence[PodToPlace], placed: Sequence[tuple[NodeAssignment, Chain]], coming: int
) -> list[Crew]:
    homes: dict[int, tuple[Chain, int]] = {}
    for _, chain in placed:
        if there := cut(chain, rank):
            homes[id(there[-1])] = there, homes.get(id(there[-1]), (there, 0))[1] + 1
    short = sorted(
        ((-count % size, there) for there, count in homes.values() if count % size), key=lambda each: each[0]
    )
    made, left, waiting = [], coming, deque(mine)
    for missing, there in short:
        made.append(Crew(min(missing, left), home=there))
        left -= made[-1].seats
    made += [Crew(min(size, left - first)) for first in range(0, left, size)]
    for crew in made:
        crew.pods = [waiting.popleft() for _ in range(min(crew.seats, len(waiting)))]
    return made
