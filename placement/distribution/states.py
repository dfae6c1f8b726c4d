"""How a distribution stands in a cluster: of each object, and of all together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from placement.objects import ObjectKey


class State(StrEnum):
    PENDING = "Pending"  # it is to be made, and is not yet
    APPLIED = "Applied"  # it is as the file says
    FAILED = "Failed"  # the cluster does not take it, or has another of that name
    REFUSED = "Refused"  # the cluster's owner does not allow it
    REMOVING = "Removing"  # it is being deleted
    OFFLINE = "Offline"  # its spoke is away


# Of several, what people should look at first.
WORST_FIRST = (State.OFFLINE, State.FAILED, State.REFUSED, State.REMOVING, State.PENDING, State.APPLIED)


class Reach(StrEnum):
    HERE = "here"  # its spoke is connected
    AWAY = "away"
    TOO_OLD = "too-old"  # connected, and cannot distribute


@dataclass(frozen=True, slots=True)
class ObjectState:
    key: ObjectKey
    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    state: State
    reason: str
    objects: tuple[ObjectState, ...]


class Ordered(StrEnum):
    HAVE = "have"
    LEAVE = "leave"


class Heard(StrEnum):
    NOTHING = "nothing"  # of the last order
    STATES = "states"


# What is shown of an object; None: as the cluster said itself.
SHOWN: Mapping[tuple[Ordered, Heard, Reach], State | None] = {
    (Ordered.HAVE, Heard.NOTHING, Reach.HERE): State.PENDING,
    (Ordered.HAVE, Heard.NOTHING, Reach.AWAY): State.OFFLINE,
    (Ordered.HAVE, Heard.NOTHING, Reach.TOO_OLD): State.PENDING,
    (Ordered.HAVE, Heard.STATES, Reach.HERE): None,
    (Ordered.HAVE, Heard.STATES, Reach.AWAY): State.OFFLINE,
    (Ordered.HAVE, Heard.STATES, Reach.TOO_OLD): State.PENDING,  # a spoke that was turned back
    (Ordered.LEAVE, Heard.NOTHING, Reach.HERE): State.REMOVING,
    (Ordered.LEAVE, Heard.NOTHING, Reach.AWAY): State.OFFLINE,
    (Ordered.LEAVE, Heard.NOTHING, Reach.TOO_OLD): State.REMOVING,
    (Ordered.LEAVE, Heard.STATES, Reach.HERE): None,
    (Ordered.LEAVE, Heard.STATES, Reach.AWAY): State.OFFLINE,
    (Ordered.LEAVE, Heard.STATES, Reach.TOO_OLD): State.REMOVING,
}


def shown(
    present: bool, keys: Sequence[ObjectKey], heard: Sequence[ObjectState] | None, reach: Reach, problem: str = ""
) -> Shown:
    """`keys`: of the file; `heard`: what the spoke said of the last order, None where it has not; `problem`: why the
    spoke does not take the order at all."""
    ordered = Ordered.HAVE if present else Ordered.LEAVE
    if problem and reach is Reach.HERE:
        return _all_of(keys, State.FAILED, problem)
    state = SHOWN[ordered, Heard.NOTHING if heard is None else Heard.STATES, reach]
    if state is None and heard is not None:
        worst = worst_of(heard)
        return Shown(worst.state if worst else _empty(ordered), worst.reason if worst else "", tuple(heard))
    why = _why(ordered, reach, heard)
    if heard is None or state is None:
        return _all_of(keys, state or State.PENDING, why)
    objects = tuple(ObjectState(one.key, state, f"last known: {one.state}") for one in heard)
    return Shown(state, why, objects)


def worst_of(states: Iterable[ObjectState]) -> ObjectState | None:
    """The one to look at first, its reason naming it."""
    found = min(states, key=lambda one: WORST_FIRST.index(one.state), default=None)
    if found is None or not found.reason:
        return found
    return replace(found, reason=f"{found.key}: {found.reason}")


def _empty(ordered: Ordered) -> State:
    return State.APPLIED if ordered is Ordered.HAVE else State.REMOVING


def _all_of(keys: Sequence[ObjectKey], state: State, why: str) -> Shown:
    return Shown(state, why, tuple(ObjectState(key, state) for key in keys))


def _why(ordered: Ordered, reach: Reach, heard: Sequence[ObjectState] | None) -> str:
    match reach, ordered:
        case Reach.TOO_OLD, _:
            return "its spoke is older than distributions: upgrade it"
        case Reach.AWAY, Ordered.HAVE:
            return "its spoke is away; it is told when it is back" if heard is None else "its spoke is away"
        case Reach.AWAY, _:
            return "its spoke is away; what it has is removed when it is back"
    return ""
