"""A file's chunks in order, packed as they travel and are kept: 32 bytes of BLAKE3 and 4 of size each; and which of
them a range of the file needs."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from registry.cutting import LARGEST, Chunk

MAX_CHUNKS = 400_000  # of a file: 390 GiB at the least that chunks have on average, 1.5 TiB of weights
_ENTRY = struct.Struct(">32sI")
ENTRY_BYTES = _ENTRY.size


class ListRefused(Exception):
    """It is no list of a file's chunks."""


@dataclass(frozen=True, slots=True)
class Piece:
    chunk: Chunk
    begin: int  # within the chunk
    end: int


def pack(chunks: Sequence[Chunk]) -> bytes:
    return b"".join(_ENTRY.pack(bytes.fromhex(chunk.name), chunk.size) for chunk in chunks)


def unpack(data: bytes) -> tuple[Chunk, ...]:
    """Raises ListRefused."""
    if len(data) % ENTRY_BYTES:
        raise ListRefused(f"it has {len(data)} bytes, and each chunk takes {ENTRY_BYTES}")
    if len(data) > MAX_CHUNKS * ENTRY_BYTES:
        raise ListRefused(f"it names {len(data) // ENTRY_BYTES} chunks, at most {MAX_CHUNKS} are allowed")
    chunks = tuple(Chunk(name.hex(), size) for name, size in _ENTRY.iter_unpack(data))
    sizes: dict[str, int] = {}
    for at, chunk in enumerate(chunks):
        if not 0 < chunk.size <= LARGEST:
            raise ListRefused(f"chunk {at} has {chunk.size} bytes, not 1 to {LARGEST}")
        if sizes.setdefault(chunk.name, chunk.size) != chunk.size:
            raise ListRefused(f"chunk {at} is there with two sizes")
    return chunks


def pieces(chunks: Sequence[Chunk], begin: int, end: int) -> Iterator[Piece]:
    """What of which chunks makes the bytes from `begin` up to `end`, in order."""
    ends = list(accumulate(chunk.size for chunk in chunks))
    at = bisect_right(ends, begin)
    while begin < end:
        start = ends[at] - chunks[at].size
        yield Piece(chunks[at], begin - start, min(end, ends[at]) - start)
        begin, at = ends[at], at + 1
