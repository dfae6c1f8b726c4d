"""The REST door: uvicorn in the hub's own loop, over TLS.

Uvicorn would take over the signals and the logging of its process; here it gets a socket and certificates, and is told
when to stop. The certificates are looked at again every minute and replaced in the running server when they changed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

from hub.rest_tls import RestTls

log = logging.getLogger(__name__)

GRACE_S = 5
CERTIFICATE_CHECK_S = 60.0


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's algorithm off only where it is; with it, each answer takes
    # the 40 ms of a delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


class RestServer:
    """`start` once; `stop` as often as one likes."""

    def __init__(self, app: ASGIApp, listener: socket.socket, tls: RestTls, *, on_end: Callable[[], None]) -> None:
        """`on_end` is called where serving ends that was not asked to."""
        self._listener = listener
        self._tls = tls
        self._on_end = on_end
        self._config = uvicorn.Config(
            app,
            ssl_context_factory=lambda config, default: tls.context,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            ws="websockets-sansio",
            ws_max_size=1 << 20,
            ws_ping_timeout=60,  # a pong waits behind what a slow reader has not read yet
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = _Server(self._config)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns when it answers."""
        serving = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="rest")
        self._tasks.append(serving)
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if serving.done():
            serving.result()
            raise RuntimeError("the REST server ended before it began")
        serving.add_done_callback(self._ended)
        self._tasks.append(asyncio.create_task(self._keep_certificates(), name="rest certificates"))

    async def stop(self) -> None:
        """Waits for the requests under way, GRACE_S at the most."""
        self._server.should_exit = True
        tasks, self._tasks = self._tasks, []
        for task in reversed(tasks):
            if task.get_name() != "rest":
                task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._listener.close()

    def _ended(self, serving: asyncio.Task[None]) -> None:
        if not self._server.should_exit:
            problem = None if serving.cancelled() else serving.exception()
            log.critical("the REST server ended", exc_info=problem)
            self._on_end()

    async def _keep_certificates(self) -> None:
        while True:
            await asyncio.sleep(CERTIFICATE_CHECK_S)
            try:
                await asyncio.to_thread(self._tls.refresh)
            except Exception:
                log.exception("the certificates could not be looked at; those before are still shown")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        hanging_up = asyncio.create_task(self._hang_up())
        try:
            await super().shutdown(sockets)
        finally:
            hanging_up.cancel()

    async def _hang_up(self) -> None:
        """asyncio waits half a minute for the TLS goodbye of each peer, and an idle client never says one."""
        while True:
            await asyncio.sleep(0.1)
            if self.server_state.tasks:
                continue
            for connection in list(self.server_state.connections):
                if connection.transport.get_write_buffer_size() == 0:
                    connection.transport.abort()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The process's signals are not this server's."""
        yield
