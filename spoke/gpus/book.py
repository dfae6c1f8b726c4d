"""Which cards of which node are marked unfit, and why, from all that was told of them. Pure.

Three ways a mark ends. What the owner wrote holds while it is written. What a monitor says (a condition, a taint, a
metric) holds while it says so and for `recovery_s` after that, so that one that flaps gives no card back between two
troubles. What happened (an Xid in an Event or in a log) holds on. Both end at once when the node is started anew,
another node has its name, or its owner writes that it is repaired.

Missing cards count once they have been missing for `missing_s`: a device plugin that is started anew gives out none for
a moment. Memory is bounded: so many signs of each source and node, the rest is one sign for every card.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from spoke.gpus.event_signs import NodeEvent
from spoke.gpus.node_signs import NodeSigns
from spoke.gpus.signs import EVERY, Card, Sign

AT_MOST = 64  # signs of one source about one node
_OWNER = "owner"
_COUNTERS = "counters"


@dataclass(frozen=True, slots=True)
class Patience:
    recovery_s: float = 120.0
    missing_s: float = 20.0


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Names:
    """Of one card: what its index goes with."""

    uuid: str = ""
    pci: str = ""


@dataclass(frozen=True, slots=True)
class Happened:
    """A sign that stays. `boot` is the node's at that time, so that it can be told whether it was started since."""

    node: str
    boot: str
    at: datetime
    sign: Sign


@dataclass(frozen=True, slots=True)
class Marks:
    """Of one node. `every`: why all its cards are unfit; `cards`: why single ones are; `pods`: whose those are.

    `missing` cards are among none of these: which they are, nobody says.
    """

    every: str = ""
    cards: Mapping[int, str] = field(default_factory=dict)
    pods: Mapping[tuple[str, str], str] = field(default_factory=dict)
    missing: int = 0
    owned: frozenset[int] = frozenset()  # of `cards`, those of which it is known whose they are

    def __bool__(self) -> bool:
        return bool(self.every or self.cards or self.missing)


NONE = Marks()


@dataclass(slots=True)
class _Node:
    boot: str = ""
    repaired_at: datetime | None = None
    told: dict[str, tuple[Sign, ...]] = field(default_factory=dict)  # by source, what it says now
    fading: dict[tuple[str, Sign], float] = field(default_factory=dict)  # said no more; until when it counts
    happened: dict[Sign, Happened] = field(default_factory=dict)
    excused: set[tuple[Card, str]] = field(default_factory=set)
    names: dict[int, Names] = field(default_factory=dict)
    missing: int = 0
    missing_since: float = 0.0
    marks: Marks = NONE


class Book:
    """`now` is in seconds of any clock that never goes back. What changes marks answers whether it did."""

    def __init__(self, patience: Patience = PATIENCE) -> None:
        self._patience = patience
        self._nodes: dict[str, _Node] = {}
        self._restless: set[str] = set()  # nodes of which something ends or begins to count by time alone

    def marks(self, node: str) -> Marks:
        known = self._nodes.get(node)
        return known.marks if known is not None else NONE

    def all_marks(self) -> Mapping[str, Marks]:
        return {name: known.marks for name, known in self._nodes.items() if known.marks}

    def happenings(self) -> Sequence[Happened]:
        """What must not be forgotten when the agent ends."""
        return [one for known in self._nodes.values() for one in known.happened.values()]

    # ---- what is told ----

    def remember(self, happened: Iterable[Happened]) -> None:
        """From before; of nodes that are not seen yet."""
        for one in happened:
            self._node(one.node).happened[one.sign] = one

    def node(self, signs: NodeSigns, now: float) -> bool:
        known = self._node(signs.node)
        if (known.boot, known.repaired_at) != (signs.boot, signs.repaired_at):
            known.fading.clear()
            # Counters keep the last Xid until their exporter is started anew: what they tell already is excused.
            known.excused = {(sign.card, sign.why) for sign in known.told.pop(_COUNTERS, ())}
        known.boot, known.repaired_at = signs.boot, signs.repaired_at
        known.happened = {sign: one for sign, one in known.happened.items() if _still_counts(one, known)}
        if signs.missing != known.missing:
            known.missing, known.missing_since = signs.missing, now
        known.told[_OWNER] = signs.by_owner[:AT_MOST]
        self._say(known, "node", signs.by_monitors, now)
        return self._renew(signs.node, now)

    def keep(self, names: Iterable[str]) -> None:
        """All other nodes are gone."""
        for name in self._nodes.keys() - set(names):
            self.drop(name)

    def drop(self, node: str) -> None:
        self._nodes.pop(node, None)
        self._restless.discard(node)

    def measured(self, node: str, found: Sequence[Sign], names: Mapping[int, Names], now: float) -> bool:
        """All that counters say of the node's cards now, and what they are called."""
        known = self._nodes.get(node)
        if known is None:
            return False
        known.names.update(names)
        known.excused &= {(sign.card, sign.why) for sign in found}
        counted = [sign for sign in found if (sign.card, sign.why) not in known.excused]
        self._say(known, _COUNTERS, counted, now)
        return self._renew(node, now)

    def counted_unfit(self) -> set[str]:
        """The nodes of which counters say something bad: they must be read on, to see it end."""
        return {name for name, known in self._nodes.items() if known.told.get(_COUNTERS)}

    def event(self, event: NodeEvent, now: float, wall: datetime) -> bool:
        """`wall`: the time of day, for an event that does not say when."""
        known, at = self._node(event.node), event.at or wall
        if event.rebooted:
            known.happened = {sign: one for sign, one in known.happened.items() if one.at > at}
        elif known.repaired_at is None or at > known.repaired_at:
            for sign in event.signs if len(known.happened) < AT_MOST else ():
                before = known.happened.get(sign)
                if before is None or before.at < at:
                    known.happened[sign] = Happened(event.node, known.boot, at, sign)
        return self._renew(event.node, now)

    def settle(self, now: float) -> set[str]:
        """The nodes whose marks have changed by time alone."""
        return {node for node in list(self._restless) if self._renew(node, now)}

    def due(self) -> bool:
        """Whether time alone will change something."""
        return bool(self._restless)

    # ---- inside ----

    def _node(self, name: str) -> _Node:
        return self._nodes.setdefault(name, _Node())

    def _say(self, known: _Node, source: str, found: Sequence[Sign], now: float) -> None:
        said = tuple(dict.fromkeys(found))
        if len(said) > AT_MOST:
            said = (Sign(EVERY, f"{len(said)} signs at once: {said[0].why}"),)
        for sign in known.told.get(source, ()):
            if sign not in said:
                known.fading[source, sign] = now + self._patience.recovery_s
        for sign in said:
            known.fading.pop((source, sign), None)
        known.told[source] = said

    def _renew(self, name: str, now: float) -> bool:
        known = self._nodes[name]
        known.fading = {key: until for key, until in known.fading.items() if until > now}
        missing = known.missing if now - known.missing_since >= self._patience.missing_s else 0
        restless = bool(known.fading) or missing != known.missing
        (self._restless.add if restless else self._restless.discard)(name)
        signs = [sign for told in known.told.values() for sign in told]
        signs += [sign for _, sign in known.fading] + list(known.happened)
        marks = _marks(signs, known.names, missing)
        changed = marks != known.marks
        known.marks = marks
        return changed


def _marks(signs: Iterable[Sign], names: Mapping[int, Names], missing: int) -> Marks:
    every: list[str] = []
    cards: dict[int, list[str]] = {}
    pods: dict[tuple[str, str], str] = {}
    owned: set[int] = set()
    for sign in signs:
        index = _index(sign.card, names)
        if index is not None:
            cards.setdefault(index, []).append(sign.why)
            owned.update([index] if sign.pods else ())
        else:
            # A card by a name that goes with no index: until it does, it may be any of them.
            every.append(sign.why if sign.card.every else f"{sign.card}: {sign.why}")
        for pod in sign.pods:
            pods.setdefault(pod, sign.why)
    by_index = {index: _together(whys) for index, whys in sorted(cards.items())}
    return Marks(_together(every), by_index, pods, missing, frozenset(owned))


def _index(card: Card, names: Mapping[int, Names]) -> int | None:
    if card.index is not None:
        return card.index
    if card.every:
        return None
    return next(
        (
            i
            for i, name in names.items()
            if (card.uuid and name.uuid == card.uuid) or (card.pci and name.pci == card.pci)
        ),
        None,
    )


def _together(whys: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(whys))


def _still_counts(one: Happened, known: _Node) -> bool:
    if known.repaired_at is not None and one.at <= known.repaired_at:
        return False
    return not one.boot or one.boot == known.boot
