"""Tunnels between values and messages; what comes in is checked field by field."""

from __future__ import annotations

from wire import link_pb2 as pb
from wire.checks import ProtocolError, fits
from wire.translate import ref_from_wire, ref_to_wire
from wire.tunnels import STDERR, Closed, Piece, Port, Process, Resize, TunnelQuery


@fits("tunnel_open")
def open_to_wire(tunnel: int, query: TunnelQuery) -> pb.TunnelOpen:
    message = pb.TunnelOpen(
        id=tunnel, ref=ref_to_wire(query.ref), role=query.role, rank=query.rank, container=query.container
    )
    match query.to:
        case Process(command, tty, stdin, columns, rows):
            message.process.CopyFrom(
                pb.TunnelProcess(command=command, tty=tty, stdin=stdin, columns=columns, rows=rows)
            )
        case Port(number, service):
            message.port.CopyFrom(pb.TunnelPort(number=number, service=service))
    return message


def query_from_wire(message: pb.TunnelOpen) -> TunnelQuery:
    """Raises ProtocolError."""
    ref = ref_from_wire(message.ref, "tunnel_open.ref")
    rank = message.rank if message.HasField("rank") else None
    to: Process | Port
    match message.WhichOneof("to"):
        case "process":
            process = message.process
            if not process.command:
                raise ProtocolError("tunnel_open.process.command", "is empty")
            to = Process(tuple(process.command), process.tty, process.stdin, process.columns, process.rows)
        case "port":
            if not 1 <= message.port.number <= 65_535:
                raise ProtocolError("tunnel_open.port.number", f"{message.port.number} is no port")
            to = Port(message.port.number, message.port.service)
        case _:
            raise ProtocolError("tunnel_open.to", "is missing, or of a newer hub")
    return TunnelQuery(ref, to, message.role, rank, message.container)


@fits("tunnel_data")
def piece_to_wire(tunnel: int, piece: Piece) -> pb.TunnelData:
    return pb.TunnelData(id=tunnel, channel=piece.channel, data=piece.data, end=piece.end)


def piece_from_wire(message: pb.TunnelData) -> Piece:
    """Raises ProtocolError."""
    if message.channel > STDERR:
        raise ProtocolError("tunnel_data.channel", f"{message.channel} is none")
    return Piece(message.channel, message.data, message.end)


@fits("tunnel_resize")
def resize_to_wire(tunnel: int, resize: Resize) -> pb.TunnelResize:
    return pb.TunnelResize(id=tunnel, columns=resize.columns, rows=resize.rows)


@fits("tunnel_close")
def closed_to_wire(tunnel: int, closed: Closed) -> pb.TunnelClose:
    return pb.TunnelClose(id=tunnel, code=closed.code, message=closed.message[:4096], exit_code=closed.exit_code)


def closed_from_wire(message: pb.TunnelClose) -> Closed:
    return Closed(message.code, message.message, message.exit_code if message.HasField("exit_code") else None)
