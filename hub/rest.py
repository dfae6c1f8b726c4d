"""The REST door: uvicorn in the hub's own loop, over TLS with the hub's own certificate.

Uvicorn would take over the signals and the logging of its process; here it gets a socket and a certificate, and is told
when to stop. The certificate is looked at again every hour and replaced in the running server when it is renewed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime

import uvicorn
from starlette.types import ASGIApp

from hub.pki import Authority

GRACE_S = 5
CERTIFICATE_CHECK_S = 3600.0


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
    """`start` and `stop` once each."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        authority: Authority,
        names: Sequence[str],
        clock: Callable[[], datetime],
    ) -> None:
        self._listener = listener
        self._authority = authority
        self._names = names
        self._clock = clock
        path = str(self._certificate_path())
        self._config = uvicorn.Config(
            app,
            ssl_certfile=path,
            ssl_keyfile=path,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
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
        self._tasks.append(asyncio.create_task(self._keep_certificate(), name="rest certificate"))

    async def stop(self) -> None:
        """Waits for the requests under way, GRACE_S at the most."""
        self._server.should_exit = True
        for task in reversed(self._tasks):
            if task.get_name() != "rest":
                task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._listener.close()

    async def _keep_certificate(self) -> None:
        while True:
            await asyncio.sleep(CERTIFICATE_CHECK_S)
            path = await asyncio.to_thread(self._certificate_path)
            if isinstance(self._config.ssl, ssl.SSLContext):
                self._config.ssl.load_cert_chain(path)  # for handshakes from now on

    def _certificate_path(self) -> str:
        return str(self._authority.server_certificate(self._names, self._clock()).path)


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
