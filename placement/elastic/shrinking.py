"""Elastic jobs made smaller so that one that waits gets in: tried before anybody is evicted.

Every pod beyond a job's minimum may be asked back for a job of at least its priority; that is what it says by being
elastic. They are asked of the jobs of the lowest priority first, and among these of those that lose least by it, and no
more of them than are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from placement.elastic import sizes
from placement.fleet import Fleet, Reservation
from placement.workload import Workload

F = TypeVar("F")

# Whether the job gets in with these parts of others gone; what it then gets.
Trial = Callable[[Sequence["Part"]], F | None]


@dataclass(frozen=True, slots=True)
class Part:
    """The pods that a running job gives up."""

    held: Reservation
    target: Workload

    @property
    def given_up(self) -> Reservation:
        """As a reservation of nothing but these pods."""
        return part_of(self.held, self.target)


def part_of(held: Reservation, target: Workload) -> Reservation:
    """What it holds beyond `target`, with its share of what all of it uses."""
    gone = sizes.added(held.workload, target)
    if gone is None:
        return replace(held, workload=replace(held.workload, roles=()), uses=())
    share = gone.total_gpus / held.workload.total_gpus if held.workload.total_gpus else gone.pods / held.workload.pods
    uses = tuple((product, amount * share) for product, amount in held.uses)
    return replace(held, workload=gone, uses=uses, usd_per_hour=held.usd_per_hour * share)


def shrinkable(held: Sequence[Reservation], fleet: Fleet, priority: int) -> list[Reservation]:
    """Those of one cluster that could give pods to a job of this priority, in the order in which they are asked."""
    able = [
        one
        for one in held
        if not one.settles
        and one.workload.hints.priority <= priority
        and sizes.slack(one.workload, running=True) > 0
        and fleet.leave_of(one) is None
        and _runs(one, fleet)
    ]
    return sorted(able, key=lambda one: (one.workload.hints.priority, one.usd_per_hour, one.job))


def fewest(able: Sequence[Reservation], trial: Trial[F]) -> tuple[tuple[Part, ...], F] | None:
    """As few pods as the job needs, of as few jobs; None where not even all of them would be enough."""
    parts: list[Part] = []
    found: F | None = None
    for one in able:
        parts.append(_giving(one, sizes.slack(one.workload, running=True)))
        if (found := trial(parts)) is not None:
            break
    if found is None:
        return None
    for part in tuple(parts[:-1]):  # the last one was needed
        without = [each for each in parts if each is not part]
        if (fit := trial(without)) is not None:
            parts, found = without, fit
    best = found
    for number in reversed(range(len(parts))):
        parts[number], best = _less_of(parts, number, best, trial)
    return tuple(parts), best


def _less_of(parts: Sequence[Part], number: int, found: F, trial: Trial[F]) -> tuple[Part, F]:
    """The fewest pods of one of them that are enough."""
    best = parts[number]
    too_few, enough = 0, best.held.workload.pods - best.target.pods
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        part = _giving(best.held, middle)
        given = best.held.workload.pods - part.target.pods
        if given >= enough:  # pods that go in steps
            too_few = middle
            continue
        fit = trial([*parts[:number], part, *parts[number + 1 :]])
        if fit is None:
            too_few = middle
        else:
            best, found, enough = part, fit, given
    return best, found


def _giving(held: Reservation, pods: int) -> Part:
    return Part(held, sizes.fewer(held.workload, pods, running=True))


def _runs(held: Reservation, fleet: Fleet) -> bool:
    progress = fleet.progress.get(held.job)
    return progress is not None and progress.epoch == held.epoch and progress.running_since is not None
