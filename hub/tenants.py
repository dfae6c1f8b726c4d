"""What admins say of tenants: their namespaces, and what they may submit. Everybody may look at their own.

A namespace that another tenant has, or would have by its name, is refused unless it is forced: then both have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy.orm import Session

from hub.errors import ConflictError, Invalid, NotFound
from hub.federation import Federation
from hub.records import Actor
from hub.roles import admins_only
from hub.store import tenants, users
from hub.store.store import Store
from placement.kinds.problems import Problem, did_you_mean
from placement.safety.policy import is_reserved
from placement.safety.tenants import Tenant, Tenants

MAX_TENANTS = 10_000


class TenantBook:
    def __init__(self, store: Store, federation: Federation) -> None:
        self._store = store
        self._federation = federation

    async def list(self, actor: Actor) -> Sequence[Tenant]:
        """Every tenant that is described or has users; one's own for who is no admin."""
        known = self._federation.tenants
        if not actor.sees_every_tenant:
            return [known.of(actor.tenant)]
        names = known.described.keys() | await self._with_users()
        return [known.of(name) for name in sorted(names)]

    async def show(self, actor: Actor, name: str) -> Tenant:
        """Raises NotFound: also for another tenant than one's own."""
        found = await self.list(actor)
        for one in found:
            if one.name == name:
                return one
        close = did_you_mean(name, [one.name for one in found])
        mend = f"did you mean {close!r}?" if close else "muster tenant list shows them"
        raise NotFound(f"there is no tenant {name!r}", code="no-such-tenant", mend=mend)

    async def put(self, actor: Actor, changed: Sequence[Tenant], *, force: bool = False) -> Sequence[Tenant]:
        """Raises Forbidden, Invalid, ConflictError; then none of them counts."""
        await self.check(actor, changed, force=force)

        def write(session: Session) -> None:
            # Again, of what is stored now: two admins may have begun with the same.
            _refuse_clashes(changed, tenants.all_of(session), _names(session), force=force)
            tenants.save(session, changed)

        await self._store.write(write)
        return [self._federation.tenants.of(one.name) for one in changed]

    async def check(self, actor: Actor, changed: Sequence[Tenant], *, force: bool = False) -> None:
        """As `put`, without putting."""
        admins_only(actor, "change tenants")
        known = self._federation.tenants
        if problems := [problem for one in changed for problem in _problems(one)]:
            raise Invalid(
                f"{problems[0].path}: {problems[0].message}",
                code="invalid-tenant",
                mend=problems[0].mend,
                problems=problems,
            )
        if len(known.described.keys() | {one.name for one in changed}) > MAX_TENANTS:
            raise Invalid(
                f"there would be more than {MAX_TENANTS} tenants", code="invalid-tenant", mend="delete some first"
            )
        _refuse_clashes(changed, known, await self._with_users(), force=force)

    async def delete(self, actor: Actor, name: str) -> None:
        """What was said of it is forgotten: it has the namespace of its name again. Raises Forbidden, NotFound."""
        admins_only(actor, "change tenants")
        if name not in self._federation.tenants.described:
            raise NotFound(
                f"nobody described a tenant {name!r}", code="no-such-tenant", mend="muster tenant list shows them"
            )
        await self._store.write(lambda session: tenants.forget(session, name))

    async def _with_users(self) -> frozenset[str]:
        return await self._store.read(_names)


def _names(session: Session) -> frozenset[str]:
    return frozenset(user.tenant for user in users.everyone(session))


def _problems(one: Tenant) -> Iterator[Problem]:
    for number, namespace in enumerate(one.namespaces):
        if is_reserved(namespace):
            message = f"{namespace} belongs to the clusters themselves"
            yield Problem(0, f"{one.name}.namespaces[{number}]", message, "leave it out")


def _refuse_clashes(changed: Sequence[Tenant], known: Tenants, names: frozenset[str], *, force: bool) -> None:
    if force:
        return
    after = Tenants({**known.described, **{one.name: one for one in changed}})
    for one in changed:
        for own, other, their in after.clashes(one, names):
            raise ConflictError(
                f"{one.name} would have {own}, and tenant {other} has {their}",
                code="namespace-taken",
                mend="choose another namespace, or force it (--force): then both have it, and see each other's objects",
            )
