"""A TCP proxy that breaks connections when told to: after so many bytes, at once, or by letting nothing through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class CuttingProxy:
    """`budget()` is asked at each new connection: how many bytes pass, both ways together, before it is cut."""

    def __init__(self, target_port: int, budget: Callable[[], float] = lambda: float("inf")) -> None:
        self.target_port = target_port
        self.budget = budget
        self.cuts = 0
        self.connections = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None

    async def listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def stall(self) -> None:
        """What is under way gets nowhere, and nobody is told: a machine that vanished."""
        self._flowing.clear()

    def flow(self) -> None:
        self._flowing.set()

    def cut_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.flow()
        self.cut_all()
        # Not cancelled: a stream's callback of Python 3.11 cannot bear a task that was.
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        left = [self.budget()]
        self._open |= {writer, far_writer}
        pumps = [
            asyncio.ensure_future(self._pump(reader, far_writer, left)),
            asyncio.ensure_future(self._pump(far_reader, writer, left)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._open -= {writer, far_writer}
            writer.transport.abort()
            far_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: list[float]) -> None:
        while True:
            data = await reader.read(4096)
            await self._flowing.wait()
            if not data:
                raise ConnectionError
            left[0] -= len(data)
            if left[0] < 0:
                self.cuts += 1
                writer.write(data[: int(len(data) + left[0])])  # in the middle of whatever it was
                raise ConnectionError
            writer.write(data)
            await writer.drain()
