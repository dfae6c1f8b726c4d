"""One end of a tunnel: bounded both ways, whatever the other end does."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import link_pb2 as pb
from wire import translate_tunnels as translate
from wire.checks import ProtocolError
from wire.orders import JobRef
from wire.tunnels import PIECE_BYTES, WINDOW, Closed, Piece, Port, Process, Resize, Tunnel, TunnelQuery, cost


class Wire:
    """Two ends, joined: what one sends the other is fed; grants come back."""

    def __init__(self) -> None:
        self.sent: list[Piece] = []
        self.left = Tunnel(self._right, lambda amount: self.right.granted(amount))
        self.right = Tunnel(self._left, lambda amount: self.left.granted(amount))

    async def _right(self, piece: Piece) -> None:
        self.sent.append(piece)
        assert self.right.feed(piece), "the window was not kept"

    async def _left(self, piece: Piece) -> None:
        assert self.left.feed(piece), "the window was not kept"


async def read_all(tunnel: Tunnel) -> bytes:
    found = b""
    while isinstance(piece := await tunnel.read(), Piece):
        found += piece.data
        if piece.end:
            break
    return found


async def test_bytes_arrive_in_order_in_pieces() -> None:
    wire = Wire()
    data = bytes(range(256)) * 8192  # many windows
    reading = asyncio.create_task(read_all(wire.right))
    await wire.left.write(0, data, end=True)
    assert await reading == data
    assert max(len(piece.data) for piece in wire.sent) == PIECE_BYTES


async def test_a_reader_that_never_reads_stops_the_writer_and_no_more() -> None:
    wire = Wire()
    writing = asyncio.create_task(wire.left.write(0, b"x" * 10 * WINDOW))
    await asyncio.sleep(0.01)
    assert not writing.done()
    assert sum(map(cost, wire.sent)) <= WINDOW
    await wire.right.write(1, b"back")  # the other way is its own
    assert await wire.left.read() == Piece(1, b"back")
    wire.left.close(Closed("left", "has gone"))
    await asyncio.wait_for(writing, 5)


async def test_a_sender_beyond_its_window_is_closed() -> None:
    wire = Wire()
    piece = Piece(0, b"x" * PIECE_BYTES)
    while wire.right.feed(piece):
        pass
    assert wire.right.closed is not None
    assert wire.right.closed.code == "too-much"
    read = 0
    while (found := await wire.right.read()) is not None:
        assert isinstance(found, Piece)
        read += len(found.data)
    assert read <= WINDOW + PIECE_BYTES


async def test_empty_pieces_cost_too() -> None:
    wire = Wire()
    fed = 0
    while wire.right.feed(Piece(0, b"")):
        fed += 1
    assert fed <= WINDOW // 128


async def test_what_arrived_is_read_before_the_end() -> None:
    wire = Wire()
    await wire.left.write(1, b"last words")
    wire.right.close(Closed(exit_code=3))
    wire.right.close(Closed("lost", "later"))
    assert await wire.right.read() == Piece(1, b"last words")
    assert await wire.right.read() is None
    assert wire.right.closed == Closed(exit_code=3)


async def test_only_the_newest_size_waits() -> None:
    wire = Wire()
    for columns in range(1000):
        wire.right.feed(Resize(columns, 24))
    assert await wire.right.read() == Resize(999, 24)
    wire.right.close(Closed())
    assert await wire.right.read() is None


QUERIES = st.builds(
    TunnelQuery,
    st.just(JobRef("j-1", 3)),
    st.one_of(
        st.builds(
            Process,
            st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple),
            st.booleans(),
            st.booleans(),
            st.integers(0, 500),
            st.integers(0, 500),
        ),
        st.builds(Port, st.integers(1, 65_535), st.text(max_size=5)),
    ),
    st.text(max_size=5),
    st.none() | st.integers(0, 10_000),
    st.text(max_size=5),
)


@given(QUERIES)
def test_queries_come_back(query: TunnelQuery) -> None:
    assert translate.query_from_wire(translate.open_to_wire(7, query)) == query


@given(st.integers(0, 2), st.binary(max_size=10), st.booleans(), st.none() | st.integers(-1, 255), st.text(max_size=9))
def test_pieces_and_ends_come_back(channel: int, data: bytes, end: bool, code: int | None, words: str) -> None:
    piece = Piece(channel, data, end)
    assert translate.piece_from_wire(translate.piece_to_wire(7, piece)) == piece
    closed = Closed(words, words, code)
    assert translate.closed_from_wire(translate.closed_to_wire(7, closed)) == closed


REF = pb.JobEpoch(job="j", epoch=1)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.TunnelOpen(id=1), "tunnel_open.ref"),
        (pb.TunnelOpen(id=1, ref=REF), "tunnel_open.to"),
        (pb.TunnelOpen(ref=REF, process=pb.TunnelProcess()), "tunnel_open.process.command"),
        (
            pb.TunnelOpen(ref=REF, port=pb.TunnelPort(number=70_000)),
            "tunnel_open.port.number",
        ),
    ],
)
def test_what_cannot_be_meant_is_named(message: pb.TunnelOpen, field: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        translate.query_from_wire(message)
    assert refused.value.field.startswith(field)
