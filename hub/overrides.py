"""What admins say of overrides: look, declare, change, delete. Every change is in the audit.

An override changes nothing of jobs that have been placed: they keep what they were started with until they are placed
anew. Everybody may look: an override is part of why a job is what it is on a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from hub.errors import Invalid, NotFound
from hub.federation import Federation
from hub.records import Actor
from hub.roles import admins_only
from hub.store import audit, overrides
from hub.store.audit import Access
from hub.store.overrides import OverrideRecord
from hub.store.store import Store
from placement.kinds.problems import did_you_mean
from placement.overrides import selecting
from placement.overrides.override import Override

MAX_OVERRIDES = 1000
MAX_BYTES = 64 << 10  # of one
_TOLD = 2000  # characters of it in the audit


class OverrideBook:
    def __init__(self, store: Store, federation: Federation, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._federation = federation
        self._clock = clock

    async def list(self, actor: Actor) -> Sequence[OverrideRecord]:
        """In the order in which they are applied."""
        found = await self._store.read(overrides.every)
        return sorted(found, key=lambda one: (one.override.priority, one.override.name))

    async def show(self, actor: Actor, name: str) -> OverrideRecord:
        """Raises NotFound."""
        found = {one.override.name: one for one in await self.list(actor)}
        if name not in found:
            close = did_you_mean(name, list(found))
            mend = f"did you mean {close!r}?" if close else "muster override list shows them"
            raise NotFound(f"there is no override {name!r}", code="no-such-override", mend=mend)
        return found[name]

    def selected(self, override: Override) -> tuple[str, ...]:
        """The clusters that it means now."""
        return tuple(sorted(selecting.by_cluster([override], self._federation.fleet().clusters.values())))

    def check(self, actor: Actor, changed: Sequence[Override]) -> Sequence[str]:
        """Raises Forbidden, Invalid; answers warnings."""
        admins_only(actor, "change overrides")
        known = {one.name for one in self._federation.overrides}
        if len(known | {one.name for one in changed}) > MAX_OVERRIDES:
            raise Invalid(
                f"there would be more than {MAX_OVERRIDES} overrides", code="invalid-override", mend="delete some first"
            )
        for one in changed:
            if not one.changes:
                mend = "give images, storage_class, claims, env, tolerations, node_selector, runtime_class or patches"
                raise Invalid(f"override {one.name} changes nothing", code="invalid-override", mend=mend)
            if (size := len(overrides.written(one).encode())) > MAX_BYTES:
                message = f"override {one.name} has {size:,} bytes, at most {MAX_BYTES:,} are taken"
                raise Invalid(message, code="invalid-override", mend="make two of it")
        return [f"override {one.name} means no cluster that is there now" for one in changed if not self.selected(one)]

    async def put(self, actor: Actor, changed: Sequence[Override]) -> None:
        """Makes them, or puts them in the place of those of the same names. Raises Forbidden, Invalid."""
        self.check(actor, changed)
        now = self._clock()

        def write(session: Session) -> None:
            overrides.save(session, [OverrideRecord(one, actor.user, now) for one in changed])
            for one in changed:
                audit.note(session, _noted(actor, now, "override-apply", overrides.written(one)))

        await self._store.write(write)

    async def delete(self, actor: Actor, name: str) -> None:
        """Raises Forbidden, NotFound."""
        admins_only(actor, "delete overrides")
        await self.show(actor, name)
        now = self._clock()

        def write(session: Session) -> None:
            overrides.forget(session, name)
            audit.note(session, _noted(actor, now, "override-delete", name))

        await self._store.write(write)


def _noted(actor: Actor, now: datetime, action: str, detail: str) -> Access:
    """Of no job: its number is given when it is written."""
    told = detail if len(detail) <= _TOLD else detail[: _TOLD - 2] + " …"
    return Access(0, now, actor.user, "", action, "", "", told)
