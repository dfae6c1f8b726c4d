from __future__ import annotations

import hashlib
import io
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from registry import cutting, digests, tensors
from registry.cutting import LARGEST

MIB = 1 << 20


def weights(path: Path, sizes: dict[str, int], seed: int = 1, note: str = "") -> Path:
    """safetensors, by its own writer; `sizes` in bytes."""
    rng = np.random.default_rng(seed)
    tensors_ = {name: rng.integers(0, 255, size, dtype=np.uint8) for name, size in sizes.items()}
    save_file(tensors_, path, metadata={"note": note})
    return path


def gguf(sizes: list[int], alignment: int = 64) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    tokens = struct.pack("<IQ", 8, 3) + text("a") + text("bc") + text("")  # an array of strings
    pairs = (
        text("general.alignment") + struct.pack("<II", 4, alignment) + text("tokens") + struct.pack("<I", 9) + tokens
    )
    infos, offset = b"", 0
    for number, size in enumerate(sizes):
        infos += text(f"t{number}") + struct.pack("<IQQIQ", 2, size, 1, 0, offset)
        offset += -(-size // alignment) * alignment
    head = b"GGUF" + struct.pack("<IQQ", 3, len(sizes), 2) + pairs + infos
    return head + bytes(-len(head) % alignment) + bytes(offset)


def whole(path: Path) -> None:
    """What must be so of every file: the chunks are the file, in order, none too large."""
    found, data = cutting.cut(path), path.read_bytes()
    at = 0
    for chunk in found.chunks:
        assert 0 < chunk.size <= LARGEST
        assert chunk.name == digests.chunk_of(data[at : at + chunk.size])
        at += chunk.size
    assert at == found.size == len(data)
    assert found.sha256 == f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("size", [0, 1, 1000, 256 << 10, 5 * MIB + 3])
def test_any_file_is_its_chunks(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(np.random.default_rng(size).bytes(size))
    whole(path)


def test_weights_are_cut_where_their_large_tensors_begin(tmp_path: Path) -> None:
    path = weights(tmp_path / "w.safetensors", {"a": 9 * MIB, "b": 3 * MIB, "c": 1000, "d": 2000, "e": MIB})
    whole(path)
    data = path.read_bytes()
    base = 8 + int.from_bytes(data[:8], "little")
    header = orjson.loads(data[8:base])
    begins = {base + header[name]["data_offsets"][0] for name in ("a", "b", "e")}
    ends, at = set(), 0
    for chunk in cutting.cut(path).chunks:
        at += chunk.size
        ends.add(at)
    assert begins <= ends | {base} or begins - {min(begins)} <= ends


def test_a_changed_tensor_changes_its_own_chunks_only_whatever_the_header_says(tmp_path: Path) -> None:
    sizes = {"a": 8 * MIB, "b": 8 * MIB, "c": 8 * MIB}
    before = cutting.cut(weights(tmp_path / "1.safetensors", sizes))
    rng = np.random.default_rng(1)
    changed = {name: rng.integers(0, 255, size, dtype=np.uint8) for name, size in sizes.items()}
    changed["b"][5 * MIB] ^= 1
    path = tmp_path / "2.safetensors"
    save_file(changed, path, metadata={"note": "a header that is longer than it was before"})
    after = cutting.cut(path)
    new = {chunk.name for chunk in after.chunks} - {chunk.name for chunk in before.chunks}
    assert sum(chunk.size for chunk in after.chunks if chunk.name in new) < LARGEST + 4096


def test_an_insertion_moves_only_the_cuts_beside_it(tmp_path: Path) -> None:
    data = np.random.default_rng(7).bytes(24 * MIB)
    one, other = tmp_path / "1.bin", tmp_path / "2.bin"
    one.write_bytes(data)
    other.write_bytes(data[: 10 * MIB] + b"inserted" + data[10 * MIB :])
    known = {chunk.name for chunk in cutting.cut(one).chunks}
    new = [chunk for chunk in cutting.cut(other).chunks if chunk.name not in known]
    assert sum(chunk.size for chunk in new) <= 2 * LARGEST


def test_gguf_is_cut_at_its_tensors(tmp_path: Path) -> None:
    data = gguf([5 * MIB, 300, 2 * MIB])
    found = tensors.starts(io.BytesIO(data), len(data))
    assert found is not None
    assert [end - begin for begin, end in pairwise(found)] == [5 * MIB, 320]
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    whole(path)


@given(st.binary(max_size=400), st.integers(0, 60), st.integers(0, 255))
def test_a_header_that_lies_is_no_header(noise: bytes, at: int, value: int) -> None:
    """Whatever is written over a right one: it is read to no harm, and says no offset beyond the file."""
    safe = orjson.dumps({"t": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}})
    for right in (gguf([100, 50], 32), struct.pack("<Q", len(safe)) + safe + bytes(8)):
        wrong = bytearray(right + noise)
        wrong[at % len(wrong)] = value
        for data in (bytes(wrong), noise, b"GGUF" + noise, struct.pack("<Q", 1 << 60) + noise):
            found = tensors.starts(io.BytesIO(data), len(data))
            assert found is None or all(0 < offset < len(data) for offset in found)
            assert found is None or list(found) == sorted(set(found))
