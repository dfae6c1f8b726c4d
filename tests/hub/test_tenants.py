from __future__ import annotations

from pathlib import Path

import pytest

from hub.errors import ConflictError, Forbidden, HubError, Invalid, NotFound
from hub.records import UserRole
from hub.store import tenants
from hub.tenants import TenantBook
from placement.safety.levels import Level
from placement.safety.policy import Exemption
from placement.safety.tenants import Tenant, Tenants
from tests.hub.loops.rig import ADMIN, ANN, BOB, Hub, a_hub


@pytest.fixture
def book(hub: Hub) -> TenantBook:
    hub.federation.tenants = Tenants()
    return TenantBook(hub.store, hub.federation)


RED = Tenant(
    "red",
    ("red", "red-*"),
    Level.RESTRICTED,
    ("batch/v1/Job",),
    (Exemption(("red-net",), ("hostNetwork",), ("IPC_LOCK",), ("/data",), ("nets",)),),
    ("default",),
)


async def test_who_is_not_described_has_the_namespace_of_its_name(book: TenantBook) -> None:
    (one,) = await book.list(ANN)
    assert (one.namespaces, one.home, one.level, one.described) == (("red",), "red", Level.BASELINE, False)


@pytest.mark.parametrize("name", ["team_a", "a.b", "kube-system", "muster-system", "x" * 64, "a@b"])
def test_a_name_that_is_no_namespace_of_ones_own_gives_none(name: str) -> None:
    assert Tenants().of(name).namespaces == ()


async def test_what_is_described_is_kept_whole(book: TenantBook, hub: Hub) -> None:
    assert await book.put(ADMIN, [RED]) == [RED]
    assert hub.federation.tenants.of("red") == RED
    assert await book.show(ANN, "red") == RED
    await book.delete(ADMIN, "red")
    assert not hub.federation.tenants.of("red").described


async def test_it_is_known_after_a_restart(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "again.sqlite") as hub:
        await TenantBook(hub.store, hub.federation).put(ADMIN, [RED], force=True)
    async with a_hub(tmp_path / "again.sqlite", seed=1) as hub:
        assert (await hub.store.read(tenants.all_of)).of("red") == RED


async def test_only_admins_change_them_and_others_see_their_own(book: TenantBook) -> None:
    await book.put(ADMIN, [RED])
    with pytest.raises(Forbidden):
        await book.put(ANN, [RED])
    with pytest.raises(Forbidden):
        await book.delete(ANN, "red")
    assert [one.name for one in await book.list(BOB)] == ["blue"]
    with pytest.raises(NotFound):
        await book.show(BOB, "red")


@pytest.mark.parametrize("namespaces", [("red",), ("r*",), ("*",), ("blue", "red-x")])
async def test_two_tenants_never_share_a_namespace_by_accident(book: TenantBook, namespaces: tuple[str, ...]) -> None:
    await book.put(ADMIN, [RED])
    with pytest.raises(ConflictError, match="tenant red has") as refused:
        await book.put(ADMIN, [Tenant("blue", namespaces)])
    assert refused.value.code == "namespace-taken"
    assert await book.put(ADMIN, [Tenant("blue", namespaces)], force=True)


async def test_nor_one_that_another_has_by_its_name(book: TenantBook, hub: Hub) -> None:
    await hub.access.add_user(None, "ann", "red", UserRole.SUBMITTER)
    with pytest.raises(ConflictError, match="tenant red has red"):
        await book.put(ADMIN, [Tenant("blue", ("red",))])
    await book.put(ADMIN, [Tenant("blue", ("red", "blue"))], force=True)
    assert hub.federation.tenants.of("red").namespaces == ()  # it must be said, too
    assert hub.federation.tenants.of("green").namespaces == ("green",)


@pytest.mark.parametrize("namespace", ["kube-system", "kube-*", "muster-system"])
async def test_a_clusters_own_namespaces_are_nobodys(book: TenantBook, namespace: str) -> None:
    with pytest.raises(Invalid) as refused:
        await book.put(ADMIN, [Tenant("blue", (namespace,))])
    assert [problem.path for problem in refused.value.problems] == ["blue.namespaces[0]"]


async def test_of_several_with_one_wrong_none_counts(book: TenantBook, hub: Hub) -> None:
    with pytest.raises(HubError):
        await book.put(ADMIN, [Tenant("green", ("green",)), Tenant("blue", ("green",))])
    assert hub.federation.tenants.described == {}


async def test_admins_see_every_tenant_that_has_users(book: TenantBook, hub: Hub) -> None:
    await hub.access.add_user(None, "zoe", "zebra", UserRole.VIEWER)
    await book.put(ADMIN, [RED])
    assert [(one.name, one.described) for one in await book.list(ADMIN)] == [("red", True), ("zebra", False)]
