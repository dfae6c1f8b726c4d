"""The tunnels of one spoke's stream: the hub's ends, by number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hub.link.tunnel_failed import TunnelFailed
from wire import link_pb2 as pb
from wire import translate_tunnels as translate
from wire.checks import ProtocolError
from wire.lanes import Outbox
from wire.tunnels import OPEN_TUNNELS, Closed, Piece, Resize, Tunnel, TunnelQuery

OPEN_S = 30.0


class LinkTunnel(Tunnel):
    """Closing it tells the spoke."""

    def __init__(self, number: int, outbox: Outbox[pb.FromHub], forget: Callable[[int], object]) -> None:
        super().__init__(self._to_spoke, self._grant_more)
        self._number = number
        self._outbox = outbox
        self._forget = forget
        self.opened = asyncio.Event()  # or closed
        self.pod = ""

    async def resize(self, columns: int, rows: int) -> None:
        self._outbox.push(pb.FromHub(tunnel_resize=translate.resize_to_wire(self._number, Resize(columns, rows))))

    def close(self, closed: Closed) -> None:
        if self.closed is None:
            self._outbox.push(pb.FromHub(tunnel_close=translate.closed_to_wire(self._number, closed)))
            self.ended(closed)

    def ended(self, closed: Closed) -> None:
        """By the other end, or with the stream."""
        super().close(closed)
        self.opened.set()
        self._forget(self._number)

    async def _to_spoke(self, piece: Piece) -> None:
        await self._outbox.send_bulk(pb.FromHub(tunnel_data=translate.piece_to_wire(self._number, piece)))

    def _grant_more(self, amount: int) -> None:
        self._outbox.push(pb.FromHub(tunnel_credit=pb.TunnelCredit(id=self._number, amount=amount)))


class TunnelStreams:
    def __init__(self, cluster: str, outbox: Outbox[pb.FromHub]) -> None:
        self._cluster = cluster
        self._outbox = outbox
        self._open: dict[int, LinkTunnel] = {}

    async def open(self, number: int, query: TunnelQuery) -> LinkTunnel:
        """Raises TunnelFailed."""
        if len(self._open) >= OPEN_TUNNELS:
            words = f"{OPEN_TUNNELS} tunnels to cluster {self._cluster} are open already"
            raise TunnelFailed(Closed("too-many", words))
        tunnel = self._open[number] = LinkTunnel(number, self._outbox, lambda one: self._open.pop(one, None))
        try:
            await self._outbox.send_bulk(pb.FromHub(tunnel_open=translate.open_to_wire(number, query)))
            async with asyncio.timeout(OPEN_S):
                await tunnel.opened.wait()
        except TimeoutError:
            closed = Closed("no-answer", f"the spoke of {self._cluster} did not answer within {OPEN_S:g} s")
            tunnel.close(closed)
            raise TunnelFailed(closed) from None
        except BaseException:
            tunnel.close(Closed("left", "whoever asked for it has gone"))
            raise
        if tunnel.closed is not None and not tunnel.pod:
            raise TunnelFailed(tunnel.closed)
        return tunnel

    def take(self, message: pb.FromSpoke) -> None:
        """Raises ProtocolError."""
        match message.WhichOneof("message"):
            case "tunnel_opened":
                if (tunnel := self._open.get(message.tunnel_opened.id)) is not None:
                    tunnel.pod = message.tunnel_opened.pod
                    tunnel.opened.set()
            case "tunnel_data":
                self._data(message.tunnel_data)
            case "tunnel_credit":
                if (tunnel := self._open.get(message.tunnel_credit.id)) is not None:
                    tunnel.granted(message.tunnel_credit.amount)
            case "tunnel_close":
                if (tunnel := self._open.get(message.tunnel_close.id)) is not None:
                    tunnel.ended(translate.closed_from_wire(message.tunnel_close))

    def end(self) -> None:
        for tunnel in list(self._open.values()):
            tunnel.ended(Closed("lost", f"the connection to cluster {self._cluster} was lost"))

    def _data(self, message: pb.TunnelData) -> None:
        tunnel = self._open.get(message.id)
        if tunnel is None:
            return  # was on its way when the tunnel was closed
        try:
            tunnel.feed(translate.piece_from_wire(message))
        except ProtocolError as error:
            tunnel.close(Closed("invalid", str(error)))
