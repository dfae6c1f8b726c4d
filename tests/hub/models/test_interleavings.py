"""Pushes, deletions, collections and crashes, a step of one and a step of another in any order: what is referred to is
there, whole, all the time; and in the end nothing else is."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from hub.errors import ConflictError, HubError
from hub.models.catalogue import Models, Publication
from hub.models.storage import GRACE, LEASE, Storage
from hub.records import Actor, UserRole
from hub.store import model_rows
from hub.store.rows import Row
from hub.store.store import Store
from registry import chunk_lists, digests, manifest
from registry.cutting import Chunk
from registry.manifest import File
from registry.references import Revision
from tests.registry.fakes import MemoryBlobs

T = TypeVar("T")

ALICE = Actor("alice", "red", UserRole.SUBMITTER)
CONTENTS = [bytes([65 + at]) * (10 + at) for at in range(4)]
FILES = [(0, 1), (1, 2), (2, 3, 2), (0, 3), (1,)]  # of which chunks each is
TABLES = [model_rows.table_of(row) for row in (
    model_rows.ModelRow, model_rows.ModelVersionRow, model_rows.ModelVariantRow, model_rows.ModelAliasRow,
    model_rows.ModelManifestRow, model_rows.ModelFileRow, model_rows.ModelChunkRow, model_rows.ModelGarbageRow,
)]  # fmt: skip


class Gate:
    """Whoever takes a turn waits until the test lets it."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        self.open = False

    async def turn(self) -> None:
        if self.open:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await future


class SteppedStore:
    """As the store's one writer: transactions one after the other, in the order that the test lets them."""

    def __init__(self, gate: Gate) -> None:
        self.engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        Row.metadata.create_all(self.engine, tables=TABLES)
        self._gate = gate

    async def write(self, function: Callable[[Session], T]) -> T:
        await self._gate.turn()
        with Session(self.engine) as session, session.begin():
            return function(session)

    async def read(self, function: Callable[[Session], T]) -> T:
        await self._gate.turn()
        with Session(self.engine) as session:
            return function(session)


class SteppedBlobs(MemoryBlobs):
    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate
        self.deleted: set[str] = set()
        self.late: set[str] = set()  # landed after their deletion: slower than the grace

    async def put(self, name: str, data: bytes) -> None:
        await self._gate.turn()
        await super().put(name, data)
        if name in self.deleted:
            self.late.add(name)
        await self._gate.turn()

    async def delete(self, names: Sequence[str]) -> None:
        for name in names:
            await self._gate.turn()
            self.deleted.add(name)
            await super().delete([name])


class World:
    def __init__(self) -> None:
        self.gate = Gate()
        self.store, self.blobs = SteppedStore(self.gate), SteppedBlobs(self.gate)
        self.now = datetime(2026, 3, 1, tzinfo=UTC)
        self.tasks: set[asyncio.Task[None]] = set()
        self._names = iter(range(1_000_000))
        self.failed: list[BaseException] = []
        self.begin()

    def begin(self) -> None:
        self.storage = Storage(
            cast(Store, self.store),
            self.blobs,
            clock=lambda: self.now,
            new_name=lambda: str(next(self._names)),
            off_loop=_inline,
        )
        self.models = Models(cast(Store, self.store), self.storage)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            except HubError as error:
                # Whoever asked is told, and may ask again.
                if error.http_status >= 500:
                    self.failed.append(error)
            except Exception as error:
                self.failed.append(error)

        task = asyncio.create_task(run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def crash(self) -> None:
        await self.storage.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.gate.waiting.clear()
        self.begin()

    async def settle(self) -> None:
        for _ in range(12):
            await asyncio.sleep(0)

    async def push(self, name: str, which: Sequence[int]) -> None:
        files = []
        for at in which:
            parts = [CONTENTS[each] for each in FILES[at]]
            chunks = [Chunk(digests.chunk_of(part), len(part)) for part in parts]
            whole = b"".join(parts)
            sha256 = f"sha256:{hashlib.sha256(whole).hexdigest()}"
            for _ in range(4):
                state = await self.storage.put_file(ALICE, "red", sha256, len(whole), chunk_lists.pack(chunks))
                if state.stored:
                    break
                for place in state.missing:
                    with suppress(ConflictError):
                        await self.storage.put_chunk(ALICE, "red", chunks[place].name, parts[place])
            files.append(File(f"file-{at}", len(whole), sha256))
        await self.models.publish(ALICE, Publication(name, files))

    async def delete(self, name: str, version: int) -> None:
        await self.models.delete(ALICE, name, version)

    async def collect(self) -> None:
        await self.storage.collect()

    def check(self) -> None:
        """What is referred to is there, whole; and what is counted is so."""
        assert not self.failed, self.failed
        assert len(self.blobs.names) == len(set(self.blobs.names)), "a name was used twice"
        with Session(self.store.engine) as session:
            execute = session.connection().execute
            files = {row.sha256: row for row in execute(select(model_rows.files))}
            chunks = {row.name: row for row in execute(select(model_rows.chunks))}
            manifests = [
                manifest.read(manifest.Packed(row.digest, row.manifest, row.config))
                for row in execute(select(model_rows.manifests))
            ]
            named = set(execute(select(model_rows.variants.c.digest)).scalars())
            assert named == set(execute(select(model_rows.manifests.c.digest)).scalars())
        uses = Counter(sha256 for each in manifests for sha256 in {file.sha256 for file in each.files})
        assert {sha256: row.uses for sha256, row in files.items()} == {sha256: uses[sha256] for sha256 in files}
        assert set(uses) <= set(files)
        listed = Counter(
            name for row in files.values() for name in {chunk.name for chunk in chunk_lists.unpack(row.chunks)}
        )
        assert set(listed) <= set(chunks)
        for name, row in chunks.items():
            assert row.uses == listed[name]
            assert digests.chunk_of(self.blobs.objects.get(row.object, b"")) == name, "a chunk lost its object"

    async def end(self) -> None:
        """All comes to rest: what is published is read, and nothing else is kept."""
        await self.crash()
        self.gate.open = True
        for _ in range(3):  # files, then their chunks, then the chunks' objects
            self.now += LEASE + GRACE + timedelta(seconds=1)
            while await self.storage.collect():
                pass
        self.check()
        needed: set[str] = set()
        for model in await self.models.list(ALICE):
            for version in model.versions:
                found = await self.models.resolve(ALICE, model.name, Revision(version=version.number))
                for file in manifest.read(found.packed).files:
                    parts = [CONTENTS[each] for each in FILES[int(file.path.removeprefix("file-"))]]
                    needed |= {digests.chunk_of(part) for part in parts}
                    data = b"".join([piece async for piece in self.storage.read("red", file.sha256, 0, file.size)])
                    assert data == b"".join(parts)
        kept = {name.split("/")[2].partition(".")[0] for name in self.blobs.objects if name not in self.blobs.late}
        assert kept <= needed
        assert len(set(self.blobs.objects) - self.blobs.late) <= len(needed)


async def _inline(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


STEPS = st.one_of(
    st.tuples(st.just("push"), st.sampled_from("ab"), st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True)),
    st.tuples(st.just("delete"), st.sampled_from("ab"), st.integers(0, 3)),
    st.tuples(st.just("collect")),
    st.tuples(st.just("wait"), st.sampled_from([1, 30 * 60, 3 * 3600, 26 * 3600])),
    st.tuples(st.just("crash")),
    *[st.tuples(st.just("go"), st.integers(0, 9), st.integers(1, 12))] * 5,
)


async def play(steps: Sequence[tuple[Any, ...]]) -> None:
    world = World()
    for step, *given_ in steps:
        if step == "go":
            for _ in range(given_[1]):
                if world.gate.waiting:
                    future = world.gate.waiting.pop(given_[0] % len(world.gate.waiting))
                    if not future.done():
                        future.set_result(None)
                    await world.settle()
                    world.check()
        elif step == "wait":
            world.now += timedelta(seconds=given_[0])
        elif step == "crash":
            await world.crash()
        else:
            world.start(getattr(world, step)(*given_))
            await world.settle()
    await world.end()
    world.store.engine.dispose()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=5, max_size=40))
def test_nothing_that_is_referred_to_ever_goes(steps: list[tuple[Any, ...]]) -> None:
    asyncio.run(play(steps))
