"""Who is calling, by bearer token; and who may make and unmake users.

A token is `muster-<id>.<secret>`: found by its id, proved by the hash of its 256-bit secret, compared in constant time.
The text is shown once, to whom it is made for, and is nowhere to be read again.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from hub.errors import ConflictError, Invalid, NotFound, Unauthenticated
from hub.records import Actor, UserRole
from hub.roles import admins_only
from hub.store import users
from hub.store.store import Store
from hub.store.users import User

PREFIX = "muster-"
FIRST_USER = "admin"
FIRST_TENANT = "default"
# What a token made elsewhere must be like, so that it can be found by its id and not be guessed.
_TOKEN = re.compile(r"muster-(?P<id>[A-Za-z0-9_-]{1,57})\.(?P<secret>[A-Za-z0-9_-]{32,})")
_DIFFERENT_CHARACTERS = 12
_NAME = re.compile(r"[a-z0-9]([-a-z0-9_.@]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Secret:
    """A fresh credential: the text for its bearer, and what the hub keeps of it."""

    id: str
    text: str
    hash: bytes


def new_secret(prefix: str = "") -> Secret:
    id_, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return Secret(id_, f"{prefix}{id_}.{secret}", hash_of(secret))


def hash_of(secret: str) -> bytes:
    """Secrets have 256 random bits: a plain hash cannot be searched, and costs nothing per request."""
    return hashlib.sha256(secret.encode()).digest()


def proves(secret: str, stored_hash: bytes) -> bool:
    return hmac.compare_digest(hash_of(secret), stored_hash)


class Access:
    def __init__(self, store: Store, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def authenticate(self, bearer: str) -> Actor:
        """Raises Unauthenticated."""
        id_, _, secret = bearer.removeprefix(PREFIX).partition(".")
        found = await self._store.read(lambda session: users.by_token(session, id_)) if secret else None
        if found is None or not proves(secret, found.token_hash):
            raise Unauthenticated(
                "the bearer token is not one of this hub's",
                code="bad-token",
                mend="log in with the token you were given (muster login), or ask an admin for a new one",
            )
        return Actor(found.user.name, found.user.tenant, found.user.role)

    async def bootstrap(self, token: str | None = None) -> str | None:
        """The first admin's token where there are no users yet, else None.

        With `token` (made by `new_bootstrap_token`, kept somewhere safe by the caller first) that one becomes the
        admin's, so that a crash on the way cannot lock everybody out.
        """
        text = token or new_bootstrap_token()
        id_, _, secret = text.removeprefix(PREFIX).partition(".")
        now = self._clock()

        def first(session: Session) -> bool:
            admin = User(FIRST_USER, FIRST_TENANT, UserRole.ADMIN)
            return users.count(session) == 0 and users.add(session, admin, id_, hash_of(secret), now)

        return text if await self._store.write(first) else None

    async def add_user(self, actor: Actor | None, name: str, tenant: str, role: UserRole) -> str:
        """Answers the token. `actor` None is the hub's own machine. Raises Forbidden, Invalid, ConflictError."""
        if actor is not None:
            admins_only(actor, "add users")
        for field, value in (("name", name), ("tenant", tenant)):
            if not _NAME.fullmatch(value):
                raise Invalid(
                    f"the {field} {value!r} is not one",
                    code=f"bad-{field}",
                    mend="use 1 to 63 of a-z, 0-9, '-', '_', '.', '@', beginning and ending with a letter or digit",
                )
        secret = new_secret(PREFIX)
        user, now = User(name, tenant, role), self._clock()
        if not await self._store.write(lambda session: users.add(session, user, secret.id, secret.hash, now)):
            raise ConflictError(
                f"there is a user {name} already",
                code="user-exists",
                mend="choose another name, or remove that one first",
            )
        return secret.text

    async def users(self, actor: Actor) -> tuple[User, ...]:
        """Raises Forbidden."""
        admins_only(actor, "list users")
        return await self._store.read(users.everyone)

    async def remove_user(self, actor: Actor, name: str) -> None:
        """From the next request on, the token counts no more. Raises Forbidden, NotFound, ConflictError."""
        admins_only(actor, "remove users")

        def remove(session: Session) -> None:
            known = {user.name: user for user in users.everyone(session)}
            if name not in known:
                raise NotFound(f"there is no user {name}", code="no-such-user", mend="muster user list names them")
            if known[name].role is UserRole.ADMIN and users.count(session, UserRole.ADMIN) == 1:
                raise ConflictError(
                    f"{name} is the last admin",
                    code="last-admin",
                    mend="make another admin first, then remove this one",
                )
            users.remove(session, name)

        await self._store.write(remove)


def new_bootstrap_token() -> str:
    return new_secret(PREFIX).text


def weakness_of(token: str) -> str:
    """Why it cannot be the first admin's token; "" where it can."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return (
            "is not of the form muster-ID.SECRET, ID of 1 to 57 and SECRET of 32 or more letters, digits, '-' and '_'"
        )
    different = len(set(found["secret"]))
    if different < _DIFFERENT_CHARACTERS:
        return f"has a secret of only {different} different characters: take {len(found['secret'])} random ones"
    return ""
