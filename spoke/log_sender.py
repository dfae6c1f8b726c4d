"""The spoke's end of the logs that readers at the hub have open: one task each, none faster than its reader."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Iterator

from spoke.port import AgentSide
from wire import lanes, translate
from wire import link_pb2 as pb
from wire.checks import ProtocolError
from wire.lanes import Outbox
from wire.orders import LogLines, LogQuery

log = logging.getLogger(__name__)

OPEN_LOGS = 64


class LogSender:
    def __init__(self, side: AgentSide, outbox: Outbox[pb.FromSpoke]) -> None:
        self._side = side
        self._outbox = outbox
        self._open: dict[int, tuple[asyncio.Task[None], _Credit]] = {}

    async def request(self, message: pb.LogRequest) -> None:
        try:
            query = translate.log_query_from_wire(message)
        except ProtocolError as error:
            await self._end(message.id, f"the spoke cannot read the request: {error}")
            return
        if message.id in self._open:
            return
        if len(self._open) >= OPEN_LOGS:
            await self._end(message.id, f"{OPEN_LOGS} logs are open already; close one, or try again")
            return
        credit = _Credit(message.window)
        task = asyncio.ensure_future(self._send(message.id, query, credit))
        self._open[message.id] = (task, credit)
        task.add_done_callback(lambda _: self._open.pop(message.id, None))

    def grant(self, message: pb.LogCredit) -> None:
        if message.id in self._open:
            self._open[message.id][1].add(message.amount)

    def stop(self, message: pb.LogStop) -> None:
        if message.id in self._open:
            self._open[message.id][0].cancel()

    async def close(self) -> None:
        tasks = [task for task, _ in self._open.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, request_id: int, query: LogQuery, credit: _Credit) -> None:
        try:
            await self._send_lines(request_id, query, credit)
        except KeyError as error:
            await self._end(request_id, str(error.args[0]) if error.args else "the job is not here")
        except Exception as error:
            log.exception("the log of %s ended early", query.ref)
            await self._end(request_id, f"the spoke cannot read on: {error or type(error).__name__}")
        else:
            await self._end(request_id, "")

    async def _send_lines(self, request_id: int, query: LogQuery, credit: _Credit) -> None:
        parts = self._side.logs(query)
        try:
            async for part in parts:
                for lines in _pieces(part):
                    await credit.spend(lanes.log_cost(lines.data))
                    chunk = translate.log_lines_to_wire(request_id, lines)
                    await self._outbox.send_bulk(pb.FromSpoke(log_chunk=chunk))
        finally:
            # Closed here and now rather than whenever it is collected: it may hold a connection to the cluster.
            if inspect.isasyncgen(parts):
                await parts.aclose()

    async def _end(self, request_id: int, error: str) -> None:
        # By the same lane as the chunks: it must not overtake them.
        await self._outbox.send_bulk(pb.FromSpoke(log_chunk=pb.LogChunk(id=request_id, end=True, error=error)))


def _pieces(part: LogLines) -> Iterator[LogLines]:
    """Only the last piece of a part can be resumed after: one that has a position is cut where it must be."""
    limit = lanes.LOG_PART_BYTES if part.position else lanes.LOG_CHUNK_BYTES
    pieces = list(whole_lines(part.data, limit))
    for number, data in enumerate(pieces, 1):
        yield LogLines(part.pod, data, part.position if number == len(pieces) else "")


def whole_lines(data: bytes, limit: int) -> Iterator[bytes]:
    """In parts of at most `limit` bytes that end with a line; a line longer than that is cut."""
    start = 0
    while len(data) - start > limit:
        cut = data.rfind(b"\n", start, start + limit) + 1 or start + limit
        yield data[start:cut]
        start = cut
    if start < len(data):
        yield data[start:]


class _Credit:
    """What may still be sent. A window of 0 is no limit."""

    def __init__(self, window: int) -> None:
        self._left = window
        self._unlimited = window == 0
        self._granted = asyncio.Event()

    def add(self, amount: int) -> None:
        self._left += amount
        self._granted.set()

    async def spend(self, cost: int) -> None:
        while not self._unlimited and self._left < cost:
            self._granted.clear()
            await self._granted.wait()
        self._left -= cost
