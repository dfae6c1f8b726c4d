"""A TCP connection that can be cut: what lies between a spoke and its hub in the scenarios."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

from e2e.planes.ports import free_port


class Cable:
    """Listens on `port` of loopback and carries bytes to `target`, until it is cut or frozen."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._open = True
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"cable-{self.port}", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def cut(self) -> None:
        """Every connection breaks, and new ones are closed at once."""

        def now() -> None:
            self._open = False
            for end in list(self._ends):
                end.transport.abort()

        self._do(now)

    def freeze(self) -> None:
        """Connections stay, and nothing passes: what a dead router looks like."""
        self._do(self._flowing.clear)

    def mend(self) -> None:
        def now() -> None:
            self._open = True
            self._flowing.set()

        self._do(now)

    def close(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _do(self, action: Callable[[], None]) -> None:
        done = threading.Event()

        def run() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait(5)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._ends |= ends
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._ends -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._flowing.wait()
                sink.write(data)
                await sink.drain()
        sink.transport.abort()
