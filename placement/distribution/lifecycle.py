"""What is to be told to a cluster about a distribution, as one table: what it is to have × what it was last told.

Level-triggered: nothing here remembers what changed. A cluster that joins, gets or loses a label, a file that changes
and a distribution that is deleted are all seen as a difference between the two sides, whenever somebody looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from placement import selectors
from placement.selectors import Requirement

# Beside its labels, and before any label of that name.
NAME, REGION = "name", "region"
EVERY = "*"


class Wish(StrEnum):
    HAVE = "have"  # it is selected
    LACK = "lack"  # it is not, or the distribution is being deleted


class Told(StrEnum):
    NOTHING = "nothing"
    OLDER = "older"  # to have an earlier revision
    PRESENT = "present"  # to have the present one
    LEAVING = "leaving"  # to be rid of it
    GONE = "gone"  # the same, and it has said that nothing is left


class Step(StrEnum):
    KEEP = "keep"
    DISTRIBUTE = "distribute"  # tell it to have the present revision
    WITHDRAW = "withdraw"  # tell it to be rid of it
    FORGET = "forget"  # there is nothing more to be said


STEPS: Mapping[tuple[Wish, Told], Step] = {
    (Wish.HAVE, Told.NOTHING): Step.DISTRIBUTE,
    (Wish.HAVE, Told.OLDER): Step.DISTRIBUTE,
    (Wish.HAVE, Told.PRESENT): Step.KEEP,
    (Wish.HAVE, Told.LEAVING): Step.DISTRIBUTE,
    (Wish.HAVE, Told.GONE): Step.DISTRIBUTE,
    (Wish.LACK, Told.NOTHING): Step.KEEP,
    # Also where it never answered: it may have what it was told, and the answer may be lost.
    (Wish.LACK, Told.OLDER): Step.WITHDRAW,
    (Wish.LACK, Told.PRESENT): Step.WITHDRAW,
    (Wish.LACK, Told.LEAVING): Step.KEEP,
    (Wish.LACK, Told.GONE): Step.FORGET,
}


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    region: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Distribution:
    name: str
    revision: int
    selector: str
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """The last order to a cluster, and whether it is done with it."""

    distribution: str
    cluster: str
    revision: int
    present: bool  # to have it; else to be rid of it
    gone: bool = False  # with the latter: nothing is left


@dataclass(frozen=True, slots=True)
class Order:
    step: Step
    distribution: str
    cluster: str


def parse(selector: str) -> tuple[Requirement, ...]:
    """`*` is every cluster. Raises BadSelector."""
    if selector.strip() == EVERY:
        return ()
    found = selectors.parse(selector)
    if not found:
        raise selectors.BadSelector(f"the selector is empty: write env=prod, name=CLUSTER, or {EVERY} for all")
    return found


def selects(requirements: Sequence[Requirement], member: Member) -> bool:
    known = {**member.labels, NAME: member.name, REGION: member.region}
    return all(one.holds(known) for one in requirements)


def orders(
    distributions: Iterable[Distribution], members: Iterable[Member], standing: Iterable[Standing]
) -> Iterator[Order]:
    """What changes; nothing where everything was told. Of a cluster that is no member there is nothing to be said."""
    known = {one.name: one for one in distributions}
    here = {member.name: member for member in members}
    told = {(one.distribution, one.cluster): one for one in standing}
    for name, one in known.items():
        wanted = parse(one.selector)
        for cluster, member in here.items():
            wish = Wish.HAVE if not one.deleting and selects(wanted, member) else Wish.LACK
            step = STEPS[wish, _told(told.get((name, cluster)), one.revision)]
            if step is not Step.KEEP:
                yield Order(step, name, cluster)
    for name, cluster in told:
        if cluster not in here or name not in known:
            yield Order(Step.FORGET, name, cluster)


def _told(standing: Standing | None, revision: int) -> Told:
    if standing is None:
        return Told.NOTHING
    if not standing.present:
        return Told.GONE if standing.gone else Told.LEAVING
    return Told.PRESENT if standing.revision == revision else Told.OLDER
