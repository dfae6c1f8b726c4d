"""The bytes of models: chunks taken in, files put together of them and proved, read again, and collected.

Nothing is believed: a chunk is hashed when it comes and whenever it is read; a file is read back once, whole, before
anything may refer to it. Chunks are held in memory one by one, so memory does not grow with a model.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from hub.errors import ConflictError, HubError, Invalid, NotFound
from hub.records import Actor
from hub.roles import no_viewers
from hub.store import model_bytes
from hub.store.model_bytes import StoredFile, Usage
from hub.store.pieces import in_pieces
from hub.store.store import Store, StoreClosed
from registry import chunk_lists, digests, pickles
from registry.blobs import BlobMissing, Blobs, BlobsUnavailable
from registry.chunk_lists import ListRefused, Piece
from registry.cutting import LARGEST, Chunk

log = logging.getLogger(__name__)

GRACE = timedelta(hours=1)  # between an object's becoming garbage and its deletion: who reads it comes to an end
LEASE = timedelta(hours=24)  # what was pushed and is not referred to is kept so long for the push to go on
MOST_MISSING = 10_000  # chunks named in one answer
PATIENCE_S = 20.0  # how long one request waits for a file to be proved
COLLECT_EVERY_S = 60.0
_AT_ONCE = 2  # files that are proved
_MOST_PROOFS = 64  # those that wait for it too
_BUSY_S = 1.0
_AHEAD = 2  # chunks that are read before they are asked for
_WINDOW = 32  # chunks whose objects are looked up together


class StorageFailed(HubError):
    """The bytes cannot be kept, or read as they were put; nothing wrong was given out."""

    http_status: ClassVar[int] = 503


@dataclass(frozen=True, slots=True)
class FileState:
    stored: bool
    missing: tuple[int, ...] = ()  # places in the list, MOST_MISSING at most
    proved: int = 0  # bytes so far, where it has all chunks and is not stored yet


@dataclass(slots=True)
class _Proof:
    task: asyncio.Task[None]
    done: int = 0


class Storage:
    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        *,
        clock: Callable[[], datetime],
        grace: timedelta = GRACE,
        lease: timedelta = LEASE,
        new_name: Callable[[], str] = lambda: secrets.token_hex(8),
        off_loop: Callable[..., Awaitable[Any]] = asyncio.to_thread,
    ) -> None:
        """`new_name` never answers the same twice."""
        self._store = store
        self._blobs = blobs
        self.clock = clock
        self._grace = grace
        self._lease = lease
        self._new_name = new_name
        self._off_loop = off_loop
        self._proofs: dict[tuple[str, str], _Proof] = {}
        self._proving = asyncio.Semaphore(_AT_ONCE)

    # --- in ---

    async def put_chunk(self, actor: Actor, tenant: str, name: str, data: bytes) -> bool:
        """Whether it was new. Raises Forbidden, Invalid, ConflictError, StorageFailed."""
        no_viewers(actor, "push models")
        if not digests.is_chunk(name) or not 0 < len(data) <= LARGEST:
            raise Invalid(
                f"{name[:80]!r} with {len(data)} bytes is no chunk",
                code="bad-chunk",
                mend=f"name it by its BLAKE3 in 64 hexadecimal digits, and send 1 to {LARGEST} bytes",
            )
        if digests.chunk_of(data) != name:
            raise Invalid(
                f"the bytes sent are not chunk {name}", code="wrong-hash", mend="send it again; the way there broke it"
            )
        return await self.keep_chunk(tenant, Chunk(name, len(data)), data)

    async def keep_chunk(self, tenant: str, chunk: Chunk, data: bytes) -> bool:
        """As `put_chunk`, of bytes that are proved."""
        place = f"chunks/{chunk.name[:2]}/{chunk.name}.{self._new_name()}"
        due, lease = self._moments()
        if not await self._store.write(lambda session: model_bytes.expect(session, tenant, chunk, place, due, lease)):
            return False
        try:
            await self._blobs.put(place, data)
        except BlobsUnavailable as error:
            raise _unavailable(error) from error
        due, lease = self._moments()
        if not await self._store.write(lambda session: model_bytes.arrived(session, tenant, chunk, place, due, lease)):
            raise ConflictError(
                f"storing chunk {chunk.name} took longer than {self._grace}", code="too-slow", mend="send it again"
            )
        return True

    async def put_file(self, actor: Actor, tenant: str, sha256: str, size: int, packed: bytes) -> FileState:
        """Asked again and again until it is stored: what is missing, or how far its proof has come.

        Raises Forbidden, Invalid, StorageFailed.
        """
        no_viewers(actor, "push models")
        chunks = _chunks_of(sha256, size, packed)
        _, lease = self._moments()
        names = {chunk.name for chunk in chunks}
        missing = await self._store.write(lambda session: model_bytes.missing(session, tenant, names, lease))
        if missing:
            places = [at for at, chunk in enumerate(chunks) if chunk.name in missing]
            return FileState(stored=False, missing=tuple(places[:MOST_MISSING]))
        if await self._store.write(lambda session: model_bytes.lease_file(session, tenant, sha256, lease)):
            return FileState(stored=True)
        key = (tenant, sha256)
        proof = self._proofs.get(key)
        if proof is None and len(self._proofs) >= _MOST_PROOFS:
            await asyncio.sleep(_BUSY_S)
            return FileState(stored=False)
        if proof is None:
            proof = self._proofs[key] = _Proof(asyncio.create_task(self._prove(tenant, sha256, chunks)))
            proof.task.add_done_callback(lambda task: self._proofs.pop(key, None))
        done, _ = await asyncio.wait({proof.task}, timeout=PATIENCE_S)
        if not done:
            return FileState(stored=False, proved=proof.done)
        proof.task.result()
        return FileState(stored=True)

    async def _prove(self, tenant: str, sha256: str, chunks: Sequence[Chunk]) -> None:
        async with self._proving:
            await self.keep_file(tenant, sha256, chunks)

    async def keep_file(self, tenant: str, sha256: str, chunks: Sequence[Chunk]) -> None:
        """Reads it back, whole. Raises Invalid where it is not the file that its digest says."""
        whole, head, tail = hashlib.sha256(), b"", b""
        size = 0
        pieces = [Piece(chunk, 0, chunk.size) for chunk in chunks]
        async for data in self._pieces(tenant, pieces):
            await self._off_loop(whole.update, data)
            size += len(data)
            if len(head) < pickles.LOOKED_AT:
                head = (head + data)[: pickles.LOOKED_AT]
            tail = (tail + data[-pickles.LOOKED_AT :])[-pickles.LOOKED_AT :]
            if proof := self._proofs.get((tenant, sha256)):
                proof.done = size
        if f"sha256:{whole.hexdigest()}" != sha256:
            raise Invalid(
                f"the chunks together are not {sha256}", code="wrong-hash", mend="cut the file again and push it"
            )
        _, lease = self._moments()
        file = StoredFile(size, tuple(chunks), pickles.runs_code("", head, tail))
        if await self._store.write(lambda session: model_bytes.add_file(session, tenant, sha256, file, lease)):
            raise ConflictError("a chunk went while the file was proved", code="chunk-gone", mend="push it again")

    # --- out ---

    async def read(self, tenant: str, sha256: str, begin: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `begin` up to `end`. Raises NotFound, StorageFailed, also on the way."""
        file = await self._store.read(lambda session: model_bytes.find_file(session, tenant, sha256))
        if file is None:
            raise NotFound(f"there is no file {sha256}", code="no-such-file", mend="it was deleted meanwhile")
        pieces = list(chunk_lists.pieces(file.chunks, begin, end))
        async for data in self._pieces(tenant, pieces):
            yield data

    async def _pieces(self, tenant: str, pieces: Sequence[Piece]) -> AsyncIterator[bytes]:
        ahead: deque[tuple[Piece, asyncio.Task[bytes]]] = deque()
        try:
            for window in in_pieces(pieces, _WINDOW):
                names = {piece.chunk.name for piece in window}
                places = await self._store.read(partial(model_bytes.objects, tenant=tenant, names=names))
                for piece in window:
                    place = places.get(piece.chunk.name, "")
                    ahead.append((piece, asyncio.create_task(self._chunk(tenant, piece.chunk, place))))
                    if len(ahead) > _AHEAD:
                        yield _cut(*await _first(ahead))
            while ahead:
                yield _cut(*await _first(ahead))
        finally:
            for _, task in ahead:
                task.cancel()
            await asyncio.gather(*(task for _, task in ahead), return_exceptions=True)

    async def _chunk(self, tenant: str, chunk: Chunk, place: str) -> bytes:
        try:
            data = await self._blobs.get(place) if place else b""
        except BlobMissing:
            data = b""
        except BlobsUnavailable as error:
            raise _unavailable(error) from error
        if digests.chunk_of(data) == chunk.name:
            return data
        if place:
            log.error("chunk %s of tenant %r is damaged: object %s", chunk.name, tenant, place)
            due, _ = self._moments()
            await self._store.write(lambda session: model_bytes.damaged(session, tenant, chunk.name, place, due))
        raise StorageFailed(
            f"chunk {chunk.name} is damaged or gone", code="damaged", mend="push the model once more: that mends it"
        )

    # --- what is not needed ---

    async def run(self) -> None:
        """For ever; ends when cancelled or when the store is closed."""
        while True:
            try:
                while await self.collect():
                    pass
            except StoreClosed:
                return
            except BlobsUnavailable as error:
                log.warning("objects that are not needed cannot be deleted: %s", error)
            except Exception:
                log.exception("collecting failed")
            await asyncio.sleep(COLLECT_EVERY_S)

    async def collect(self) -> int:
        """A bounded share of the work; answers how much was done, 0 when nothing is left. Raises BlobsUnavailable."""
        now = self.clock()
        swept = await self._store.write(lambda session: model_bytes.sweep(session, now, now + self._grace))
        doomed = await self._store.write(lambda session: model_bytes.doom(session, now))
        if doomed:
            await self._blobs.delete(doomed)
            await self._store.write(lambda session: model_bytes.forget(session, doomed))
        return swept + len(doomed)

    async def usage(self, actor: Actor) -> Usage:
        """The tenant's; all of it for those who see every tenant's."""
        tenant = None if actor.sees_every_tenant else actor.tenant
        return await self._store.read(lambda session: model_bytes.usage(session, tenant))

    async def close(self) -> None:
        tasks = [proof.task for proof in self._proofs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _moments(self) -> tuple[datetime, datetime]:
        now = self.clock()
        return now + self._grace, now + self._lease


def _unavailable(error: BlobsUnavailable) -> StorageFailed:
    return StorageFailed(
        f"the store of models does not answer as it should: {error}",
        code="storage-unavailable",
        mend="try again; if it stays, look at the disk or bucket that --models-store names",
    )


async def _first(ahead: deque[tuple[Piece, asyncio.Task[bytes]]]) -> tuple[Piece, bytes]:
    piece, task = ahead[0]
    data = await task
    ahead.popleft()
    return piece, data


def _cut(piece: Piece, data: bytes) -> bytes:
    return data if piece.end - piece.begin == len(data) else data[piece.begin : piece.end]


def _chunks_of(sha256: str, size: int, packed: bytes) -> tuple[Chunk, ...]:
    """Raises Invalid."""
    if not digests.is_sha256(sha256):
        raise Invalid(
            f"{sha256[:80]!r} is no SHA-256", code="bad-digest", mend="write sha256: and 64 hexadecimal digits"
        )
    try:
        chunks = chunk_lists.unpack(packed)
    except ListRefused as error:
        raise Invalid(f"the list of chunks: {error}", code="bad-chunks", mend="see docs/models.md") from error
    if (total := sum(chunk.size for chunk in chunks)) != size:
        raise Invalid(
            f"size is {size}, and the chunks have {total} bytes", code="bad-size", mend="send the file's own size"
        )
    return chunks
