from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.errors import Forbidden
from hub.models import storage
from hub.models.storage import Storage, StorageFailed
from hub.records import Actor, UserRole
from hub.store.store import Store
from registry import chunk_lists, digests
from registry.blobs import BlobsUnavailable
from registry.cutting import Chunk
from tests.registry.fakes import MemoryBlobs

ALICE = Actor("alice", "red", UserRole.SUBMITTER)
PARTS = [b"first", b"second", b"third"]
CHUNKS = [Chunk(digests.chunk_of(part), len(part)) for part in PARTS]
WHOLE = b"".join(PARTS)
SHA = f"sha256:{hashlib.sha256(WHOLE).hexdigest()}"


class SlowBlobs(MemoryBlobs):
    def __init__(self) -> None:
        super().__init__()
        self.may_read = asyncio.Event()
        self.full = False
        self.reads = 0

    async def put(self, name: str, data: bytes) -> None:
        if self.full:
            raise BlobsUnavailable("no space left on device")
        await super().put(name, data)

    async def get(self, name: str) -> bytes:
        self.reads += 1
        await self.may_read.wait()
        return await super().get(name)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store, None]:
    made = Store(f"sqlite:///{tmp_path}/hub.sqlite")
    await made.open()
    yield made
    await made.close()


async def test_who_waits_for_a_proof_is_told_how_far_it_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PATIENCE_S", 0.01)
    blobs = SlowBlobs()
    kept = Storage(store, blobs, clock=lambda: datetime.now(UTC))
    packed = chunk_lists.pack(CHUNKS)
    first = await kept.put_file(ALICE, "red", SHA, len(WHOLE), packed)
    assert (first.stored, first.missing) == (False, (0, 1, 2))
    for chunk, part in zip(CHUNKS, PARTS, strict=True):
        assert await kept.put_chunk(ALICE, "red", chunk.name, part)
        assert not await kept.put_chunk(ALICE, "red", chunk.name, part)
    for _ in range(2):
        state = await kept.put_file(ALICE, "red", SHA, len(WHOLE), packed)
        assert (state.stored, state.missing, state.proved) == (False, (), 0)
    blobs.may_read.set()
    while not (await kept.put_file(ALICE, "red", SHA, len(WHOLE), packed)).stored:
        pass
    assert b"".join([data async for data in kept.read("red", SHA, 3, 12)]) == WHOLE[3:12]
    await kept.close()


async def test_no_more_than_so_many_wait_to_be_proved(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PATIENCE_S", 0.01), ("_BUSY_S", 0.01), ("_MOST_PROOFS", 1)):
        monkeypatch.setattr(storage, name, value)
    blobs = SlowBlobs()
    kept = Storage(store, blobs, clock=lambda: datetime.now(UTC))
    other = f"sha256:{hashlib.sha256(PARTS[0]).hexdigest()}"
    for chunk, part in zip(CHUNKS, PARTS, strict=True):
        await kept.put_chunk(ALICE, "red", chunk.name, part)
    assert not (await kept.put_file(ALICE, "red", SHA, len(WHOLE), chunk_lists.pack(CHUNKS))).stored
    one = chunk_lists.pack(CHUNKS[:1])
    states = [await kept.put_file(ALICE, "red", other, len(PARTS[0]), one)]
    assert blobs.reads == len(CHUNKS)  # of the first file alone
    blobs.may_read.set()
    states += [await kept.put_file(ALICE, "red", other, len(PARTS[0]), one)]
    while not states[-1].stored:
        states.append(await kept.put_file(ALICE, "red", other, len(PARTS[0]), one))
    assert (await kept.put_file(ALICE, "red", SHA, len(WHOLE), chunk_lists.pack(CHUNKS))).stored
    await kept.close()


async def test_a_full_disk_is_told_and_what_was_begun_is_garbage(store: Store) -> None:
    blobs = SlowBlobs()
    kept = Storage(store, blobs, clock=lambda: datetime.now(UTC))
    blobs.full = True
    with pytest.raises(StorageFailed, match="no space left"):
        await kept.put_chunk(ALICE, "red", CHUNKS[0].name, PARTS[0])
    usage = await kept.usage(ALICE)
    assert (usage.chunks, usage.garbage) == (0, 1)
    blobs.full = False
    assert await kept.put_chunk(ALICE, "red", CHUNKS[0].name, PARTS[0])
    with pytest.raises(Forbidden):
        await kept.put_chunk(Actor("vera", "red", UserRole.VIEWER), "red", CHUNKS[1].name, PARTS[1])
