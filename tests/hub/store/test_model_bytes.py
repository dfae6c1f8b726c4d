"""Each step of a chunk's and an object's life, and what may come between them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from hub.store import model_bytes
from hub.store.model_bytes import StoredFile
from hub.store.store import Store
from registry import digests
from registry.cutting import Chunk

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DUE, LEASE = NOW + timedelta(hours=1), NOW + timedelta(hours=24)
LATER = NOW + timedelta(days=9)
ONE, TWO = (Chunk(digests.chunk_of(data), 1) for data in (b"1", b"2"))
SHA = digests.sha256_of(b"12")


async def stored(store: Store, chunk: Chunk, place: str, tenant: str = "red") -> bool:
    def put(session: Session) -> bool:
        assert model_bytes.expect(session, tenant, chunk, place, DUE, LEASE)
        return model_bytes.arrived(session, tenant, chunk, place, DUE, LEASE)

    return await store.write(put)


async def objects(store: Store, tenant: str = "red") -> dict[str, str]:
    return dict(await store.read(lambda session: model_bytes.objects(session, tenant, [ONE.name, TWO.name])))


async def deleted(store: Store, now: datetime) -> list[str]:
    """One collection, as the hub does it, but for the objects themselves."""
    await store.write(lambda session: model_bytes.sweep(session, now, now + timedelta(hours=1)))
    found = list(await store.write(lambda session: model_bytes.doom(session, now)))
    await store.write(lambda session: model_bytes.forget(session, found))
    return found


async def test_a_chunk_is_put_once_and_is_its_tenants_alone(store: Store) -> None:
    assert await stored(store, ONE, "a")
    assert not await store.write(lambda session: model_bytes.expect(session, "red", ONE, "b", DUE, LEASE))
    assert await store.write(lambda session: model_bytes.missing(session, "red", [ONE.name], LEASE)) == frozenset()
    assert await store.write(lambda session: model_bytes.missing(session, "blue", [ONE.name], LEASE)) == {ONE.name}
    assert await objects(store) == {ONE.name: "a"}
    assert await objects(store, "blue") == {}


async def test_an_object_that_comes_after_its_deletion_is_not_taken_and_is_deleted_again(store: Store) -> None:
    assert await store.write(lambda session: model_bytes.expect(session, "red", ONE, "a", DUE, LEASE))
    assert await deleted(store, LATER) == ["a"]
    due = LATER + timedelta(hours=1)
    assert not await store.write(lambda session: model_bytes.arrived(session, "red", ONE, "a", due, due))
    assert await objects(store) == {}
    assert await deleted(store, LATER) == []
    assert await deleted(store, due + timedelta(seconds=1)) == ["a"]


async def test_an_object_that_is_being_deleted_is_not_taken(store: Store) -> None:
    await store.write(lambda session: model_bytes.expect(session, "red", ONE, "a", DUE, LEASE))
    doomed = await store.write(lambda session: model_bytes.doom(session, LATER))
    later = LATER + timedelta(hours=1)
    assert not await store.write(lambda session: model_bytes.arrived(session, "red", ONE, "a", later, later))
    await store.write(lambda session: model_bytes.forget(session, doomed))  # of the deletion before
    assert await deleted(store, later + timedelta(seconds=1)) == ["a"]


async def test_of_two_that_bring_the_same_chunk_the_second_is_garbage(store: Store) -> None:
    for place in "ab":
        assert await store.write(lambda session, p=place: model_bytes.expect(session, "red", ONE, p, DUE, LEASE))
    for place in "ab":
        assert await store.write(lambda session, p=place: model_bytes.arrived(session, "red", ONE, p, DUE, LEASE))
    assert await objects(store) == {ONE.name: "a"}
    assert await deleted(store, DUE + timedelta(seconds=1)) == ["b"]


async def test_asking_for_a_chunk_leases_it_anew(store: Store) -> None:
    await stored(store, ONE, "a")
    again = LEASE + timedelta(hours=24)
    await store.write(lambda session: model_bytes.missing(session, "red", [ONE.name], again))
    await deleted(store, LEASE + timedelta(seconds=1))
    assert await objects(store) == {ONE.name: "a"}
    await deleted(store, again + timedelta(seconds=1))
    assert await objects(store) == {}


async def test_a_file_wants_all_its_chunks_and_keeps_them(store: Store) -> None:
    file = StoredFile(2, (ONE, TWO), False)
    await stored(store, ONE, "a")
    gone = await store.write(lambda session: model_bytes.add_file(session, "red", SHA, file, LEASE))
    assert gone == {TWO.name}
    assert await store.read(lambda session: model_bytes.find_file(session, "red", SHA)) is None
    await stored(store, TWO, "b")
    for _ in range(2):  # twice counts once
        assert not await store.write(lambda session: model_bytes.add_file(session, "red", SHA, file, LEASE))
    await store.write(lambda session: model_bytes.count_files(session, "red", [SHA], 1))
    assert await deleted(store, LATER) == []
    assert await objects(store) == {ONE.name: "a", TWO.name: "b"}
    await store.write(lambda session: model_bytes.count_files(session, "red", [SHA], -1))
    assert await deleted(store, LATER) == []  # their grace begins
    assert await objects(store) == {}
    assert sorted(await deleted(store, LATER + timedelta(hours=2))) == ["a", "b"]


async def test_a_damaged_chunk_is_taken_again_under_another_name(store: Store) -> None:
    await stored(store, ONE, "a")
    await stored(store, TWO, "b")
    await store.write(
        lambda session: model_bytes.add_file(session, "red", SHA, StoredFile(2, (ONE, TWO), False), LEASE)
    )
    await store.write(lambda session: model_bytes.damaged(session, "red", ONE.name, "a", DUE))
    assert await store.write(lambda session: model_bytes.missing(session, "red", [ONE.name], LEASE)) == {ONE.name}
    assert await stored(store, ONE, "c")
    await store.write(lambda session: model_bytes.damaged(session, "red", ONE.name, "a", DUE))  # told late
    assert await objects(store) == {ONE.name: "c", TWO.name: "b"}
    await store.write(lambda session: model_bytes.count_files(session, "red", [SHA], 1))
    assert await deleted(store, LATER) == ["a"]
    assert await objects(store) == {ONE.name: "c", TWO.name: "b"}


async def test_what_it_takes(store: Store) -> None:
    await stored(store, ONE, "a")
    await stored(store, ONE, "b", "blue")
    assert await store.read(lambda session: model_bytes.usage(session, "red")) == model_bytes.Usage(1, 1, 1, 0)
    assert await store.read(lambda session: model_bytes.usage(session, None)) == model_bytes.Usage(2, 2, 2, 0)
