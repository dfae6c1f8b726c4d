"""The catalogue's tables, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from hub.models.records import Variant
from hub.records import Actor, UserRole
from hub.store import model_bytes, models
from hub.store.model_bytes import StoredFile
from hub.store.store import Store
from registry import digests, manifest
from registry.cutting import Chunk
from registry.manifest import File, Packed
from registry.variants import Measured, Requirements

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LEASE = NOW + timedelta(hours=24)
ALICE = Actor("alice", "red", UserRole.SUBMITTER)
ADMIN = Actor("admin", "default", UserRole.ADMIN)


def made(word: str, name: str = "default") -> tuple[Variant, Packed]:
    packed = manifest.build([File("a", 1, digests.sha256_of(word.encode()))], {})
    requires, measured = Requirements(accelerator="nvidia", vram=1 << 34), Measured(quality=0.5)
    return Variant(name, packed.digest, 1, 1, False, requires, measured, NOW, "alice"), packed


def store_file(session: Session, tenant: str, word: str) -> None:
    chunk = Chunk(digests.chunk_of(word.encode()), 1)
    place = f"{tenant}-{word}"
    assert model_bytes.expect(session, tenant, chunk, place, LEASE, LEASE)
    assert model_bytes.arrived(session, tenant, chunk, place, LEASE, LEASE)
    file = StoredFile(1, (chunk,), False)
    assert not model_bytes.add_file(session, tenant, digests.sha256_of(word.encode()), file, LEASE)


def publish(session: Session, tenant: str, name: str, word: str) -> int:
    number = models.new_version(session, tenant, name, "alice", NOW)
    models.save_variant(session, tenant, name, number, *made(word))
    return number


async def test_versions_variants_and_aliases_are_read_as_they_were_written(store: Store) -> None:
    def write(session: Session) -> None:
        for word in "xy":
            store_file(session, "red", word)
        assert [publish(session, "red", "org/llama", word) for word in "xy"] == [1, 2]
        models.save_variant(session, "red", "org/llama", 2, *made("x", "int8"))
        models.set_alias(session, "red", "org/llama", "champion", 1)
        models.set_alias(session, "red", "org/llama", "champion", 2)

    await store.write(write)
    (model,) = await store.read(lambda session: models.visible(session, ALICE))
    assert (model.tenant, model.name, model.aliases) == ("red", "org/llama", {"champion": 2})
    assert [(one.number, [each.name for each in one.variants]) for one in model.versions] == [
        (1, ["default"]),
        (2, ["default", "int8"]),
    ]
    assert model.versions[0].variants[0] == made("x")[0]
    digest = made("x")[1].digest
    assert await store.read(lambda session: models.packed(session, "red", digest)) == made("x")[1]
    assert await store.read(lambda session: models.packed(session, "blue", digest)) is None


async def test_a_manifest_stays_while_a_variant_has_it_and_its_files_with_it(store: Store) -> None:
    sha256 = digests.sha256_of(b"x")
    later = LEASE + timedelta(seconds=1)

    def write(session: Session) -> None:
        store_file(session, "red", "x")
        for name in ("one", "two"):
            publish(session, "red", name, "x")

    await store.write(write)
    for name, there in (("one", True), ("two", False)):
        found = await store.read(lambda session, n=name: models.one(session, "red", n))
        assert found is not None
        await store.write(lambda session, f=found: models.delete_model(session, f))
        await store.write(lambda session: model_bytes.sweep(session, later, later))
        kept = await store.read(lambda session: model_bytes.find_file(session, "red", sha256))
        assert (kept is not None) is there
    assert await store.read(lambda session: models.visible(session, ADMIN)) == ()


async def test_each_sees_their_own_and_everybodys(store: Store) -> None:
    def write(session: Session) -> None:
        for tenant in ("red", "blue", ""):
            store_file(session, tenant, "x")
            publish(session, tenant, "same", "x")

    await store.write(write)
    seen = await store.read(lambda session: models.visible(session, ALICE))
    assert {one.tenant for one in seen} == {"red", ""}
    named = await store.read(lambda session: models.named(session, ALICE, "same"))
    assert {one.tenant for one in named} == {"red", ""}
    assert len(await store.read(lambda session: models.visible(session, ADMIN))) == 3
    assert await store.read(lambda session: models.count(session, "blue")) == 1


async def test_numbers_are_given_once_while_the_model_lives(store: Store) -> None:
    def write(session: Session) -> list[int]:
        store_file(session, "red", "x")
        first = [publish(session, "red", "m", "x") for _ in range(2)]
        models.delete_version(session, "red", "m", 2)
        return [*first, publish(session, "red", "m", "x")]

    assert await store.write(write) == [1, 2, 3]
