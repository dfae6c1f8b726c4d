from __future__ import annotations

import pytest
from sqlalchemy import select

from hub.access import Access, new_bootstrap_token
from hub.errors import ConflictError, Forbidden, Invalid, NotFound, Unauthenticated
from hub.records import Actor, UserRole
from hub.store import rows
from hub.store.users import User
from tests.hub.loops.rig import ADMIN, ANN, EVE, Hub


@pytest.fixture
def access(hub: Hub) -> Access:
    return hub.access


async def test_the_first_admin_is_made_once(access: Access) -> None:
    token = await access.bootstrap()
    assert token is not None
    assert await access.authenticate(token) == Actor("admin", "default", UserRole.ADMIN)
    assert await access.bootstrap() is None


async def test_a_token_kept_beforehand_counts(access: Access) -> None:
    token = new_bootstrap_token()
    assert await access.bootstrap(token) == token
    assert (await access.authenticate(token)).user == "admin"


async def test_a_user_calls_with_the_token_it_was_given(access: Access) -> None:
    token = await access.add_user(ADMIN, "ann", "red", UserRole.SUBMITTER)
    assert await access.authenticate(token) == Actor("ann", "red", UserRole.SUBMITTER)
    assert await access.users(ADMIN) == (User("ann", "red", UserRole.SUBMITTER),)


@pytest.mark.parametrize(
    "spoil", [lambda t: "", lambda t: t[:-1], lambda t: t + "x", lambda t: "muster-.", lambda t: "x"]
)
async def test_a_wrong_token(access: Access, spoil: object) -> None:
    token = await access.add_user(None, "ann", "red", UserRole.SUBMITTER)
    with pytest.raises(Unauthenticated) as refused:
        await access.authenticate(spoil(token))  # type: ignore[operator]
    assert refused.value.code == "bad-token"
    assert token not in refused.value.message


async def test_the_secret_is_nowhere_in_the_database(hub: Hub, access: Access) -> None:
    token = await access.add_user(None, "ann", "red", UserRole.SUBMITTER)
    secret = token.partition(".")[2].encode()
    (row,) = await hub.store.read(lambda session: session.connection().execute(select(rows.users)).all())
    assert all(secret not in (value if isinstance(value, bytes) else str(value).encode()) for value in row)


async def test_a_removed_user_is_nobody(access: Access) -> None:
    token = await access.add_user(None, "ann", "red", UserRole.SUBMITTER)
    await access.remove_user(ADMIN, "ann")
    with pytest.raises(Unauthenticated):
        await access.authenticate(token)
    with pytest.raises(NotFound):
        await access.remove_user(ADMIN, "ann")


async def test_the_last_admin_stays(access: Access) -> None:
    await access.bootstrap()
    with pytest.raises(ConflictError, match="last admin"):
        await access.remove_user(ADMIN, "admin")
    await access.add_user(ADMIN, "second", "default", UserRole.ADMIN)
    await access.remove_user(ADMIN, "admin")


async def test_only_admins_make_and_see_users(access: Access) -> None:
    for actor in (ANN, EVE):
        for attempt in (
            access.add_user(actor, "x", "red", UserRole.ADMIN),
            access.users(actor),
            access.remove_user(actor, "x"),
        ):
            with pytest.raises(Forbidden):
                await attempt


async def test_names(access: Access) -> None:
    await access.add_user(None, "ann", "red", UserRole.VIEWER)
    with pytest.raises(ConflictError, match="ann already"):
        await access.add_user(None, "ann", "blue", UserRole.VIEWER)
    for name, tenant, code in (("Ann!", "red", "bad-name"), ("x", "", "bad-tenant"), ("x" * 64, "red", "bad-name")):
        with pytest.raises(Invalid) as refused:
            await access.add_user(None, name, tenant, UserRole.VIEWER)
        assert refused.value.code == code
