from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import chunk_lists, digests
from registry.chunk_lists import ListRefused
from registry.cutting import LARGEST, Chunk

CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=20).map(
    lambda found: tuple(Chunk(digests.chunk_of(data), len(data)) for data in found)
)


@given(CHUNKS)
def test_what_is_packed_is_unpacked(chunks: tuple[Chunk, ...]) -> None:
    packed = chunk_lists.pack(chunks)
    assert len(packed) == chunk_lists.ENTRY_BYTES * len(chunks)
    assert chunk_lists.unpack(packed) == chunks


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=9), st.data())
def test_a_range_is_made_of_its_pieces(contents: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(contents)
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, len(whole)))
    by_name = {digests.chunk_of(each): each for each in contents}
    chunks = [Chunk(digests.chunk_of(each), len(each)) for each in contents]
    pieces = list(chunk_lists.pieces(chunks, begin, end))
    assert b"".join(by_name[one.chunk.name][one.begin : one.end] for one in pieces) == whole[begin:end]
    assert all(one.begin < one.end for one in pieces)


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (b"x" * 35, "35 bytes"),
        (chunk_lists.pack([Chunk("0" * 64, 0)]), "chunk 0 has 0 bytes"),
        (chunk_lists.pack([Chunk("0" * 64, LARGEST + 1)]), "not 1 to"),
        (chunk_lists.pack([Chunk("0" * 64, 5), Chunk("0" * 64, 6)]), "two sizes"),
        (bytes(chunk_lists.ENTRY_BYTES * (chunk_lists.MAX_CHUNKS + 1)), "at most"),
    ],
)
def test_what_is_no_list_is_refused(packed: bytes, said: str) -> None:
    with pytest.raises(ListRefused, match=said):
        chunk_lists.unpack(packed)
