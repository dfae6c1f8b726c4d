"""Where tensors begin in a file of weights: safetensors and GGUF, read from their headers alone.

A file that is not what its name says answers None and is cut by content instead: nothing here decides what a model may
hold, only where two versions of it are likely to be alike. Headers come from whoever pushed the file: every length is
checked against the file before it is believed.

safetensors: 8 bytes, the header's length; JSON, name -> {data_offsets: [begin, end]} counted from the header's end.
GGUF (versions 2 and 3, little-endian): counts, key-value pairs, then for each tensor its offset from an aligned base.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO

import orjson

_MAX_SAFETENSORS_HEADER = 100_000_000  # as the format's own reader has it
_MAX_TENSORS = 1_000_000
_GGUF_MAGIC = b"GGUF"
_GGUF_ALIGNMENT = 32
# GGUF's value types: those of a fixed size, in bytes; 8 is a string, 9 an array.
_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_MAX_NESTING = 8
_MAX_DIMENSIONS = 16


class _NotThat(Exception):
    """The file is not of this format."""


def starts(file: BinaryIO, size: int) -> tuple[int, ...] | None:
    """Ascending offsets at which the header ends or a tensor begins, none at 0 or beyond the end.

    None where the file is of neither format. Moves the file's position.
    """
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    try:
        found = _gguf(_Reader(file, size)) if magic == _GGUF_MAGIC else _safetensors(file, size)
    except (_NotThat, struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return tuple(sorted({offset for offset in found if 0 < offset < size}))


def _safetensors(file: BinaryIO, size: int) -> Sequence[int]:
    prefix = file.read(8)
    if len(prefix) < 8:
        raise _NotThat
    (length,) = struct.unpack("<Q", prefix)
    if not 2 <= length <= min(_MAX_SAFETENSORS_HEADER, size - 8):
        raise _NotThat
    header = orjson.loads(file.read(length))
    base = 8 + length
    found = [base]
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        begin, end = tensor["data_offsets"]
        if not (type(begin) is int and type(end) is int and 0 <= begin <= end <= size - base):
            raise _NotThat
        found.append(base + begin)
    return found


def _gguf(reader: _Reader) -> Sequence[int]:
    reader.skip(4)
    version = reader.u32()
    if version not in (2, 3):
        raise _NotThat
    tensors, pairs = reader.u64(), reader.u64()
    if tensors > _MAX_TENSORS or pairs > _MAX_TENSORS:
        raise _NotThat
    alignment = _GGUF_ALIGNMENT
    for _ in range(pairs):
        key = reader.string()
        kind = reader.u32()
        if key == b"general.alignment" and kind == _UINT32:
            alignment = reader.u32()
        else:
            reader.skip_value(kind)
    offsets = []
    for _ in range(tensors):
        reader.string()
        dimensions = reader.u32()
        if dimensions > _MAX_DIMENSIONS:
            raise _NotThat
        reader.skip(8 * dimensions + 4)  # the dimensions, and the type
        offsets.append(reader.u64())
    if not 0 < alignment <= 1 << 20:
        raise _NotThat
    base = -(-reader.position // alignment) * alignment
    if any(base + offset > reader.size for offset in offsets):
        raise _NotThat
    return [base, *(base + offset for offset in offsets)]


class _Reader:
    """Reads forward through a buffered file; whatever goes beyond its end raises."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size
        self.position = 0

    def take(self, count: int) -> bytes:
        if count > self.size - self.position:
            raise _NotThat
        self.position += count
        data = self._file.read(count)
        if len(data) < count:
            raise _NotThat
        return data

    def skip(self, count: int) -> None:
        if count > self.size - self.position:
            raise _NotThat
        self.position += count
        self._file.seek(self.position)

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def string(self) -> bytes:
        length = self.u64()
        if length > 1 << 16:
            raise _NotThat
        return self.take(length)

    def skip_value(self, kind: int, depth: int = 0) -> None:
        if kind in _FIXED:
            self.skip(_FIXED[kind])
        elif kind == _STRING:
            self.skip(self.u64())
        elif kind == _ARRAY and depth < _MAX_NESTING:
            self._skip_array(depth)
        else:
            raise _NotThat

    def _skip_array(self, depth: int) -> None:
        kind, count = self.u32(), self.u64()
        if kind in _FIXED:
            self.skip(_FIXED[kind] * count)
            return
        if count > self.size:  # each entry has at least a byte
            raise _NotThat
        for _ in range(count):
            self.skip_value(kind, depth + 1)
