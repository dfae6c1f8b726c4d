"""The spoke's end of tunnels: one task each, which opens what was asked for and carries bytes both ways.

A tunnel ends when its process or connection does, when the hub closes it, when the pod it goes to is gone or its job is
not here any more, and with the link's stream: what runs in the pod for it ends then too.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from spoke.cluster.port import ClusterError, PodStream
from spoke.port import AgentSide
from spoke.reaching import Reached, TunnelRefused
from wire import link_pb2 as pb
from wire import translate_tunnels as translate
from wire.checks import ProtocolError
from wire.lanes import Outbox
from wire.tunnels import OPEN_TUNNELS, STDIN, Closed, Piece, Process, Resize, Tunnel, TunnelQuery

log = logging.getLogger(__name__)

LOOK_S = 1.0  # whether the pod is there still
OPEN_S = 25.0


class TunnelServer:
    def __init__(self, side: AgentSide, outbox: Outbox[pb.FromSpoke]) -> None:
        self._side = side
        self._outbox = outbox
        self._open: dict[int, tuple[Tunnel, asyncio.Task[None]]] = {}

    def open(self, message: pb.TunnelOpen) -> None:
        number = message.id
        if number in self._open:
            return
        try:
            query = translate.query_from_wire(message)
        except ProtocolError as error:
            self._say_closed(number, Closed("invalid", f"the spoke cannot read the request: {error}"))
            return
        if len(self._open) >= OPEN_TUNNELS:
            self._say_closed(number, Closed("too-many", f"{OPEN_TUNNELS} tunnels are open already; close one"))
            return
        tunnel = Tunnel(lambda piece: self._send(number, piece), lambda amount: self._grant(number, amount))
        task = asyncio.ensure_future(self._serve(number, tunnel, query))
        self._open[number] = (tunnel, task)
        task.add_done_callback(lambda _: self._open.pop(number, None))

    def data(self, message: pb.TunnelData) -> None:
        if message.id not in self._open:
            return  # was on its way when the tunnel was closed
        tunnel, _ = self._open[message.id]
        try:
            tunnel.feed(translate.piece_from_wire(message))
        except ProtocolError as error:
            tunnel.close(Closed("invalid", str(error)))

    def resize(self, message: pb.TunnelResize) -> None:
        if message.id in self._open:
            self._open[message.id][0].feed(Resize(message.columns, message.rows))

    def credit(self, message: pb.TunnelCredit) -> None:
        if message.id in self._open:
            self._open[message.id][0].granted(message.amount)

    def closed(self, message: pb.TunnelClose) -> None:
        if message.id in self._open:
            tunnel, task = self._open[message.id]
            tunnel.close(translate.closed_from_wire(message))
            task.cancel()

    async def close(self) -> None:
        tasks = [task for _, task in self._open.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, number: int, tunnel: Tunnel, query: TunnelQuery) -> None:
        try:
            closed = await self._carry(number, tunnel, query)
        except TunnelRefused as error:
            closed = Closed(error.code, str(error))
        except ClusterError as error:
            closed = Closed("cluster", str(error))
        except Exception as error:
            log.exception("a tunnel to %s ended early", query.ref)
            closed = Closed("failed", f"the spoke cannot go on: {error or type(error).__name__}")
        closed = tunnel.closed or closed
        tunnel.close(closed)
        # By the same lane as the pieces: it must not overtake them.
        await self._outbox.send_bulk(pb.FromSpoke(tunnel_close=translate.closed_to_wire(number, closed)))

    async def _carry(self, number: int, tunnel: Tunnel, query: TunnelQuery) -> Closed:
        async with asyncio.timeout(OPEN_S):
            reached = await self._side.reach(query)
        log.info("a tunnel to %s of %s: %s", reached.pod, query.ref, _words(query))
        try:
            opened = pb.TunnelOpened(id=number, pod=reached.pod)
            await self._outbox.send_bulk(pb.FromSpoke(tunnel_opened=opened))
            return await _both_ways(tunnel, reached)
        finally:
            # In a task of its own, for this one may be under cancellation.
            await asyncio.shield(asyncio.ensure_future(_close(reached.stream)))

    async def _send(self, number: int, piece: Piece) -> None:
        await self._outbox.send_bulk(pb.FromSpoke(tunnel_data=translate.piece_to_wire(number, piece)))

    def _grant(self, number: int, amount: int) -> None:
        self._outbox.push(pb.FromSpoke(tunnel_credit=pb.TunnelCredit(id=number, amount=amount)))

    def _say_closed(self, number: int, closed: Closed) -> None:
        self._outbox.push(pb.FromSpoke(tunnel_close=translate.closed_to_wire(number, closed)))


async def _both_ways(tunnel: Tunnel, reached: Reached) -> Closed:
    """Returns when the pod's end has, or the pod itself."""
    down = asyncio.ensure_future(_from_pod(tunnel, reached.stream))
    up = asyncio.ensure_future(_to_pod(tunnel, reached.stream))
    gone = asyncio.ensure_future(_until_gone(reached))
    waiting: set[asyncio.Future[Any]] = {down, up, gone}
    try:
        while True:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if down in done:  # first: how it ended says more than that nothing can be written any more
                return down.result()
            if gone in done:
                return gone.result()
            up.result()  # raises what it failed with; else the hub sends no more
    finally:
        for task in (down, up, gone):
            task.cancel()
        await asyncio.gather(down, up, gone, return_exceptions=True)


async def _from_pod(tunnel: Tunnel, stream: PodStream) -> Closed:
    while (received := await stream.read()) is not None:
        await tunnel.write(*received)
    return Closed(exit_code=stream.exit_code)


async def _to_pod(tunnel: Tunnel, stream: PodStream) -> None:
    while (piece := await tunnel.read()) is not None:
        if isinstance(piece, Resize):
            await stream.resize(piece.columns, piece.rows)
        elif piece.channel == STDIN:
            if piece.data:
                await stream.write(piece.data)
            if piece.end:
                await stream.write_end()


async def _until_gone(reached: Reached) -> Closed:
    while reached.is_there():  # noqa: ASYNC110  what watches tell of pods has no event for this
        await asyncio.sleep(LOOK_S)
    return Closed("gone", f"{reached.pod} has ended")


async def _close(stream: PodStream) -> None:
    try:
        await stream.close()
    except Exception as error:
        log.info("a tunnel's end at its pod was not closed: %s", error)


def _words(query: TunnelQuery) -> str:
    match query.to:
        case Process(command):
            return f"exec {command[0][:60]}"
        case port:
            return f"port {port.number}"
