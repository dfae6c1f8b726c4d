"""Objects that configure whole clusters, given to those that a selector names: what admins say, and how it stands.

Saving and deleting order what follows from them in the same transaction. What clusters do of their own (one joins, one
gets or loses a label) is `hub.loops.distributing`'s to notice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session

from hub.errors import ConflictError, Invalid, NotFound
from hub.federation import Federation
from hub.records import Actor, Object
from hub.roles import admins_only
from hub.store import distributions
from hub.store.distributions import DistributionRecord, OrderRecord
from hub.store.store import Store
from placement.distribution import lifecycle, reading, states
from placement.distribution.lifecycle import Member
from placement.distribution.states import Reach, Shown
from placement.kinds.catalogue import Catalogue
from placement.kinds.problems import ManifestError, did_you_mean
from placement.selectors import BadSelector
from wire import capabilities

MAX_DISTRIBUTIONS = 500
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")


class Spokes(Protocol):
    def connected(self, cluster: str) -> bool: ...

    def can(self, cluster: str, capability: str) -> bool:
        """Of one that is connected."""


@dataclass(frozen=True, slots=True)
class DistributionState:
    record: DistributionRecord
    clusters: Mapping[str, Shown]  # those that have it, are to have it, or are to be rid of it


class Distributions:
    def __init__(
        self,
        store: Store,
        federation: Federation,
        catalogue: Catalogue,
        spokes: Spokes,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._federation = federation
        self._catalogue = catalogue
        self._spokes = spokes
        self._clock = clock

    async def list(self, actor: Actor) -> Sequence[DistributionState]:
        """Raises Forbidden."""
        admins_only(actor, "look at distributions")
        records, orders = await self._store.read(lambda db: (distributions.every(db), distributions.order_records(db)))
        return [self._state(one, [order for order in orders if order.distribution == one.name]) for one in records]

    async def show(self, actor: Actor, name: str) -> DistributionState:
        """Raises Forbidden, NotFound."""
        admins_only(actor, "look at distributions")

        def read(session: Session) -> tuple[DistributionRecord, Sequence[OrderRecord]]:
            return _known(session, name), distributions.order_records(session, name)

        return self._state(*await self._store.read(read))

    async def put(
        self,
        actor: Actor,
        name: str,
        text: bytes,
        *,
        to: str,
        namespace: str = "",
        adopt: bool = False,
        dry: bool = False,
    ) -> DistributionState:
        """Makes it, or puts it in the place of the one of that name; `dry`: only says which clusters it would be for.

        Raises Forbidden, Invalid, ConflictError; then nothing has changed.
        """
        admins_only(actor, "distribute objects")
        objects = self._checked(name, text, to, namespace)
        now = self._clock()
        if dry:
            await self._store.read(lambda session: self._refuse_shared(session, name, to, objects))
            record = DistributionRecord(name, 0, to, tuple(objects), adopt, False, actor.user, now)
            shown = {cluster: self._shown(cluster, True, record, None, "") for cluster in self._selected(to)}
            return DistributionState(record, shown)

        def write(session: Session) -> tuple[DistributionRecord, Sequence[OrderRecord]]:
            self._refuse_shared(session, name, to, objects)
            known = {one.name for one in distributions.every(session)}
            if name not in known and len(known) >= MAX_DISTRIBUTIONS:
                raise Invalid(
                    f"there are {MAX_DISTRIBUTIONS} distributions already",
                    code="invalid-distribution",
                    mend="delete some first, or put more objects into one file",
                )
            saved = distributions.save(session, name, to, objects, adopt, actor.user, now)
            distributions.reconcile(session, now)
            return saved, distributions.order_records(session, name)

        return self._state(*await self._store.write(write))

    async def delete(self, actor: Actor, name: str) -> DistributionState | None:
        """What is still to be removed where; None where nothing is. Raises Forbidden, NotFound."""
        admins_only(actor, "delete distributions")
        now = self._clock()

        def write(session: Session) -> tuple[DistributionRecord, Sequence[OrderRecord]] | None:
            _known(session, name)
            distributions.mark_deleting(session, name)
            distributions.reconcile(session, now)
            left = distributions.record(session, name)
            return None if left is None else (left, distributions.order_records(session, name))

        found = await self._store.write(write)
        return None if found is None else self._state(*found)

    # ---- what is looked at before ----

    def _checked(self, name: str, text: bytes, to: str, namespace: str) -> Sequence[Object]:
        if not _NAME.fullmatch(name):
            raise Invalid(
                f"{name!r} is no name of a distribution",
                code="invalid-distribution",
                mend="1 to 63 small letters, digits, - and .: --name storage",
            )
        try:
            lifecycle.parse(to)
        except BadSelector as error:
            mend = "--to env=prod, --to 'name in (a,b)', --to '*'"
            raise Invalid(str(error), code="invalid-selector", mend=mend) from error
        try:
            return reading.read(text, self._catalogue, namespace=namespace)
        except ManifestError as error:
            raise Invalid(
                f"this cannot be distributed: {error}",
                code="invalid-manifest",
                mend="mend what is named; nothing was changed",
                problems=error.problems,
            ) from error

    def _refuse_shared(self, session: Session, name: str, to: str, objects: Sequence[Object]) -> None:
        """An object that another distribution gives to the same cluster: they would undo each other's work."""
        mine, selected = {reading.key_of(obj) for obj in objects}, set(self._selected(to))
        for other in distributions.every(session):
            shared = mine.intersection(other.keys)
            if other.name == name or other.deleting or not shared:
                continue
            if both := sorted(selected.intersection(self._selected(other.selector))):
                raise ConflictError(
                    f"distribution {other.name} gives {min(shared)} to {', '.join(both)} already",
                    code="object-distributed",
                    mend="put it into one of the two, or select other clusters",
                )

    def _selected(self, to: str) -> Sequence[str]:
        wanted = lifecycle.parse(to)
        members = (Member(one.name, one.region, one.labels) for one in self._federation.fleet().clusters.values())
        return [member.name for member in members if lifecycle.selects(wanted, member)]

    # ---- how it stands ----

    def _state(self, record: DistributionRecord, orders: Sequence[OrderRecord]) -> DistributionState:
        shown = {
            one.cluster: self._shown(one.cluster, one.present, record, one.states, one.problem)
            for one in orders
            if not one.gone
        }
        return DistributionState(record, shown)

    def _shown(
        self,
        cluster: str,
        present: bool,
        record: DistributionRecord,
        heard: Sequence[states.ObjectState] | None,
        problem: str,
    ) -> Shown:
        return states.shown(present, record.keys, heard, self._reach(cluster), problem)

    def _reach(self, cluster: str) -> Reach:
        if not self._spokes.connected(cluster):
            return Reach.AWAY
        return Reach.HERE if self._spokes.can(cluster, capabilities.DISTRIBUTE) else Reach.TOO_OLD


def _known(session: Session, name: str) -> DistributionRecord:
    found = distributions.record(session, name)
    if found is None:
        close = did_you_mean(name, [one.name for one in distributions.every(session)])
        mend = f"did you mean {close!r}?" if close else "muster distribution list shows them"
        raise NotFound(f"there is no distribution {name!r}", code="no-such-distribution", mend=mend)
    return found
