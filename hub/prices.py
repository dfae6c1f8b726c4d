"""The price book as a whole: read by everybody, replaced by admins, at work from the next decision on."""

from __future__ import annotations

from hub.errors import Forbidden
from hub.federation import Federation
from hub.records import Actor, UserRole
from hub.store import prices
from hub.store.store import Store
from placement.money import PriceBook


class Prices:
    def __init__(self, store: Store, federation: Federation) -> None:
        self._store = store
        self._federation = federation

    async def book(self, actor: Actor) -> PriceBook:
        return self._federation.prices

    async def replace(self, actor: Actor, book: PriceBook) -> None:
        """Raises Forbidden."""
        if actor.role is not UserRole.ADMIN:
            raise Forbidden(
                f"{actor.user} is a {actor.role.value} and may not change prices",
                code="admins-only",
                mend="ask an admin to do it",
            )
        await self._store.write(lambda session: prices.replace(session, book))
