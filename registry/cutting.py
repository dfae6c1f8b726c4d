"""How a file becomes chunks: weights at their tensors' beginnings and then every 4 MiB, everything else by content.

Two versions of a model share what they share only if both are cut at the same places. A tensor keeps its place in the
file's order, so its beginning is the best place there is; what has no such structure is cut where its own bytes say
(FastCDC), so that an insertion moves only the cuts beside it. Tensors of a few KiB are gathered: a chunk costs a
request and a row wherever it goes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pyfastcdc import FastCDC

from registry import digests, tensors

LARGEST = 4 << 20  # bytes of a chunk
_SMALLEST = 256 << 10  # a chunk of gathered tensors grows to this
_AVERAGE = 1 << 20  # of chunks by content; they too have _SMALLEST to LARGEST bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    name: str  # BLAKE3, 64 hexadecimal digits
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class CutFile:
    size: int  # bytes
    sha256: str  # "sha256:…"
    chunks: tuple[Chunk, ...]  # in order; none for an empty file


def spans(path: Path, file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """(offset, size) of each chunk, in order, covering the file. `file` is the same file, opened for reading."""
    if not size:
        return
    found = tensors.starts(file, size)
    if found is None:
        for chunk in FastCDC(_AVERAGE, min_size=_SMALLEST, max_size=LARGEST).cut_file(path):
            yield chunk.offset, chunk.length
    else:
        yield from _between(found, size)


def cut(path: Path) -> CutFile:
    """Reads the file once. Raises OSError."""
    whole = hashlib.sha256()
    chunks = []
    size = path.stat().st_size
    with path.open("rb") as file:
        for offset, length in spans(path, file, size):
            file.seek(offset)
            data = file.read(length)
            whole.update(data)
            chunks.append(Chunk(digests.chunk_of(data), len(data)))
    return CutFile(size, f"sha256:{whole.hexdigest()}", tuple(chunks))


def _between(starts: tuple[int, ...], size: int) -> Iterator[tuple[int, int]]:
    """A large tensor's cuts count from its own beginning, whatever the size of what lies before it."""
    gathered, begin = 0, 0  # what is gathered begins at `gathered`
    for end in (*starts, size):
        if end - begin < _SMALLEST:
            if end - gathered >= _SMALLEST:
                yield gathered, end - gathered
                gathered = end
        else:
            if begin > gathered:
                yield gathered, begin - gathered
            for offset in range(begin, end, LARGEST):
                yield offset, min(LARGEST, end - offset)
            gathered = end
        begin = end
    if size > gathered:
        yield gathered, size - gathered
